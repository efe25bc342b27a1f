//! `serin judge`: recorded data in, decisions out.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use serin::cli::judged::{Judged, Streams};
use serin::cli::record::Line;
use serin::config::parse_policy;
use serin::core::judge::{Decision, JudgeState, NEXT_METHOD};
use serin::core::policy::Policy;

const POLICY: &str = "
name: recorded
steps:
  - {weight: 5%, min: 2m, max: 30m}
  - {weight: 25%, min: 2m, max: 30m}
  - {weight: 100%}
analysis: {interval: 10s, warm_up: 20s, dispersion: 1}
metrics:
  - {name: errors, template: http_errors}
  - {name: latency, template: http_latency}
  - {name: cpu, type: saturation, query: 'avg(cpu{$arm})'}
";

fn policy() -> Policy {
    parse_policy("recorded.yaml", POLICY.as_bytes()).unwrap()
}

/// A tick of ten seconds at 1,000 requests of the canary.
fn tick(stream: &str, t: f64, weight: f64, bad: u64) -> Value {
    let latency =
        |n: u64| json!({"le": [0.1, 0.25, 1, "+Inf"], "counts": [n * 8 / 10, n / 10, n / 20, n / 20]});
    json!({"stream": stream, "t": t, "weight": weight, "metrics": {
        "errors": {"canary": {"total": 1000, "bad": bad}, "baseline": {"total": 19000, "bad": 95}},
        "latency": {"canary": latency(1000), "baseline": latency(19000)},
        "cpu": {"canary": {"value": 0.5 + 0.01 * (t % 3.0)}, "baseline": {"value": 0.5 + 0.01 * (t % 7.0)}},
    }})
}

fn run(arguments: &[&str], input: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recorded.yaml");
    std::fs::write(&path, POLICY).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_serin"))
        .args(["judge", "--policy"])
        .arg(&path)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may stop reading at the first wrong line.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn input(ticks: impl IntoIterator<Item = Value>) -> String {
    ticks.into_iter().map(|tick| format!("{tick}\n")).collect()
}

#[test]
fn every_tick_is_answered_and_the_end_is_told() {
    let bad = (0..30).map(|i| tick("bad", f64::from(i) * 10.0, 5.0, 25));
    let good = (0..90).map(|i| tick("good", f64::from(i) * 10.0, if i < 40 { 5.0 } else { 25.0 }, 5));
    let text = input(bad.chain(good));
    let output = run(&[], &text);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let ticks = lines(&output);
    let of = |stream: &'static str| ticks.iter().filter(move |tick| tick["stream"] == stream);
    let last = of("bad").next_back().unwrap();
    assert_eq!(
        (last["decision"].as_str(), &last["metrics"]["errors"]["verdict"]),
        (Some("roll_back"), &json!("worse"))
    );
    assert!(last["metrics"]["errors"]["ln_e_harm"].as_f64().unwrap() > 4.0);
    assert_eq!(last["metrics"]["errors"]["phi"], 1.0);
    assert!(last["reasons"][0].as_str().unwrap().starts_with("errors: canary 2.5%"), "{last}");
    assert!(of("bad").count() < 30, "a stream is over once it is rolled back");
    assert!(of("good").any(|tick| tick["decision"] == "advance"));
    assert_eq!(of("good").next_back().unwrap()["decision"], "promote");

    let output = run(&["--final"], &text);
    assert_eq!(output.status.code(), Some(0));
    let ends = lines(&output);
    assert_eq!((ends.len(), &ends[0]["stream"], &ends[1]["stream"]), (2, &json!("bad"), &json!("good")));
    assert_eq!((&ends[0]["decision"], &ends[0]["decided_at"]), (&json!("roll_back"), &last["t"]));
    assert_eq!(ends[1]["decision"], "promote");
    // With bursts taken to be larger, the same data prove less.
    let patient = lines(&run(&["--final", "--phi", "50"], &text));
    let (soon, late) = (ends[0]["decided_at"].as_f64().unwrap(), patient[0]["decided_at"].as_f64());
    assert!(late.is_none_or(|late| late > soon), "{patient:?}");
    // What does not end is undecided.
    let short = lines(&run(&["--final"], &input((0..5).map(|i| tick("a", f64::from(i) * 10.0, 5.0, 5)))));
    assert_eq!((&short[0]["decision"], &short[0]["decided_at"]), (&json!("hold"), &Value::Null));
}

#[test]
fn missing_arms_and_metrics_are_no_data() {
    let mut one = tick("a", 0.0, 5.0, 5);
    one["metrics"]["errors"].as_object_mut().unwrap().remove("canary");
    one["metrics"].as_object_mut().unwrap().remove("cpu");
    let answer = &lines(&run(&[], &input([one])))[0];
    assert_eq!(answer["decision"], "hold");
    assert_eq!(answer["metrics"]["errors"]["verdict"], "no_data");
    assert_eq!(answer["metrics"]["cpu"]["verdict"], "no_data");
}

/// What is wrong with the third line of the stream `a`, and what is said of it.
fn wrong_lines() -> Vec<(String, &'static str)> {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut third = tick("a", 20.0, 5.0, 5);
        change(&mut third);
        third.to_string()
    };
    let whole = with(&|_| {});
    vec![
        (with(&|t| t["metrics"]["errors"]["canary"]["bad"] = json!(-3)), "this is no tick"),
        (with(&|t| t["metrics"]["errors"]["canary"]["bad"] = json!(1001)), "1001 bad of 1000 requests"),
        (with(&|t| t["metrics"]["latency"]["canary"]["le"] = json!([0.1, 0.5, 1, "+Inf"])), "buckets"),
        (with(&|t| t["metrics"]["latency"]["canary"]["counts"] = json!([1, 2, 3])), "3 buckets for 4 bounds"),
        (with(&|t| t["metrics"]["cpu"]["canary"]["value"] = json!("NaN")), "this is no tick"),
        (whole.replace("\"value\":0.5", "\"value\":1e999,\"x\":0.5"), "this is no tick"),
        (with(&|t| t["metrics"]["errors"]["canary"] = json!({"value": 1.0})), "is not a proportion"),
        (with(&|t| t["metrics"]["errors_total"] = json!({})), "has no metric `errors_total`"),
        (with(&|t| t["t"] = json!(10.0)), "not later than 10"),
        (with(&|t| t["t"] = json!(5.0)), "not later than 10"),
        (with(&|t| t["weight"] = json!(7)), "the weight 7% is no step"),
        (with(&|t| t["weigth"] = json!(5)), "this is no tick"),
        (whole[..whole.len() / 2].to_owned(), "this is no tick"),
        ("[1, 2]".to_owned(), "this is no tick"),
    ]
}

#[test]
fn a_wrong_line_is_told_with_its_number_and_the_other_streams_go_on() {
    for (wrong, said) in wrong_lines() {
        let mut text = input([tick("a", 0.0, 5.0, 5), tick("b", 0.0, 5.0, 5), tick("a", 10.0, 5.0, 5)]);
        text.push_str(&format!("{wrong}\n"));
        text.push_str(&input([tick("b", 10.0, 5.0, 5)]));
        let output = run(&[], &text);
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{wrong}: {complaint}");
        assert!(complaint.contains("line 4:") && complaint.contains(said), "{wrong}: {complaint}");
        assert_eq!(lines(&output).len(), 3, "what came before is answered");
        let output = run(&["--keep-going"], &text);
        assert_eq!(output.status.code(), Some(2));
        let last = lines(&output).pop().unwrap();
        assert_eq!((&last["stream"], &last["t"]), (&json!("b"), &json!(10.0)), "{wrong}");
    }
}

#[test]
fn a_day_between_two_ticks_is_a_gap_that_is_not_tested() {
    let day = 86_400.0;
    let ticks = (0..6).map(|i| tick("a", f64::from(i) * 10.0, 5.0, 5)).chain([tick("a", day, 5.0, 900)]);
    let output = run(&[], &input(ticks));
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("line 7: stream a: more than ten intervals"));
    assert_eq!(lines(&output).last().unwrap()["decision"], "hold");
}

#[test]
fn wrong_use_says_what_would_be_right() {
    let said = |arguments: &[&str]| {
        let output = run(arguments, "");
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(said(&["--phi", "0.5"]).contains("between 1 and 1000"));
    assert!(said(&["--history", "/nowhere.json"]).contains("/nowhere.json cannot be read"));
    assert!(said(&["/nowhere.jsonl"]).contains("/nowhere.jsonl cannot be read"));
}

/// Invariant 9: a line with everything that is stored, judged again, gives the same bits. An export that does not
/// say its method is of before there was another.
#[test]
fn an_export_judged_again_is_the_same_bit_for_bit() {
    for (said, method) in [(None, 2), (Some(2), 2), (Some(NEXT_METHOD), NEXT_METHOD)] {
        judged_again(said, method);
    }
}

fn judged_again(said: Option<u32>, method: u32) {
    let policy = policy();
    let mut streams = Streams::new(policy.clone(), None);
    let mut judge = JudgeState::of_method(method, &policy, None);
    for i in 0..60_u64 {
        let recorded: Line = serde_json::from_value(tick("r", i as f64 * 10.0, 5.0, 4 + i % 3)).unwrap();
        let mut stored = recorded.tick(i + 1).unwrap();
        for metric in &mut stored.metrics {
            let end = stored.at;
            metric.window = Some(serin::core::metric::Window {
                start: end.minus(std::time::Duration::from_secs(10)),
                end,
            });
        }
        let assessment = judge.observe(&policy, &stored);
        let said = said.filter(|_| i == 0);
        let line = serde_json::to_vec(&Line { method: said, ..Line::new("r", &stored) }).unwrap();
        let Ok(Judged::Tick(again)) = streams.take(&line) else { break };
        for (metric, (name, judged)) in assessment.metrics.iter().zip(&again.metrics.0) {
            assert_eq!(metric.name, *name);
            assert_eq!(metric.ln_e_harm.to_bits(), judged.ln_e_harm.to_bits());
            assert_eq!(metric.ln_e_no_harm.to_bits(), judged.ln_e_no_harm.to_bits());
            assert_eq!(metric.verdict, judged.verdict);
        }
        assert!(i < 30 || streams.ends().count() == 1);
    }
}

/// One request every 30 s, in turn of the canary and of the baseline; the canary's all fail.
#[test]
fn a_canary_of_little_traffic_that_fails_everything_is_never_promoted() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/low-traffic.yaml");
    let mut streams = Streams::new(serin::config::load_policy(&path).unwrap(), None);
    let mut t = 0;
    let mut requests = [0, 0];
    for weight in [25, 50] {
        for turn in 0..1000_u64 {
            t += 30;
            let (canary, baseline) = (turn % 2, 1 - turn % 2);
            let one = |n: u64| json!({"le": [0.1, 1, "+Inf"], "counts": [0, n, 0]});
            let line = json!({"stream": "d", "t": t, "weight": weight, "metrics": {
                "errors": {
                    "canary": {"total": canary, "bad": canary},
                    "baseline": {"total": baseline, "bad": 0},
                },
                "latency": {"canary": one(canary), "baseline": one(baseline)},
            }});
            match streams.take(line.to_string().as_bytes()).unwrap() {
                Judged::Tick(tick) => assert!(
                    !matches!(tick.decision, Decision::Advance | Decision::Promote),
                    "after {t} s: {:?}",
                    tick.reasons
                ),
                Judged::Over => {}
                Judged::Gap(stream) => panic!("a gap in {stream}"),
            }
            requests[usize::from(canary == 1)] += 1;
        }
    }
    assert_eq!(requests, [1000, 1000]);
    let end = streams.ends().next().unwrap();
    assert!(!matches!(end.decision, Decision::Advance | Decision::Promote), "{:?}", end);
}
