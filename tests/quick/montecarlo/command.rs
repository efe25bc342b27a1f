//! `serin plan` and `serin simulate`, as they are called.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn serin(arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_serin"))
        .args(arguments.split_whitespace())
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .unwrap()
}

fn out(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // No progress bar where nobody looks.
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The same on one line: sentences are wrapped.
fn unwrapped(output: &Output) -> String {
    out(output).split_whitespace().collect::<Vec<_>>().join(" ")
}

const SIMULATE: &str = "simulate --policy policies/standard.yaml --runs 20 --seed 3 --rps 300";
const PLAN: &str = "plan --policy policies/standard.yaml --runs 10 --rps 100 --error-rate 0.1%";

#[test]
fn simulate_tells_false_rollbacks_and_delays() {
    let text = unwrapped(&serin(&format!("{SIMULATE} --shape drift --shape cold-start --cold-errors 2")));
    for part in [
        "standard@",
        "20 runs, seed 3",
        "300 requests/s, 1% errors, median latency 80 ms (sigma 0.8)",
        "drift, cold-start",
        "Rolled back by the tests, falsely",
        "Promoted",
        "of 20 harmless versions (",
        "the policy promises at most 1%",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let text = unwrapped(&serin(&format!("{SIMULATE} --error-ratio 4 --onset 10m")));
    for part in [
        "errors ×4, from 10 min on",
        "Found by the tests",
        "Time until found",
        "The regression was found in 20 of 20",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn simulate_writes_json_that_a_seed_repeats() {
    let ask = |more: &str| -> Value {
        serde_json::from_str(&out(&serin(&format!("{SIMULATE} --output json --latency-factor 2 {more}"))))
            .unwrap()
    };
    let report = ask("--threads 1");
    assert_eq!(report, ask("--threads 2"));
    assert_eq!(report["runs"], 20);
    assert_eq!(report["traffic"]["truth"]["latency_factor"], 2.0);
    assert_eq!(report["harmless"], false);
    assert_eq!(report["dispersion"], 3.0);
    assert_eq!(ask("--phi 1")["dispersion"], 1.0);
    let found = report["found_by_tests"]["count"].as_u64().unwrap()
        + report["found_by_guardrails"]["count"].as_u64().unwrap();
    assert_eq!(found, 20, "{report}");
    assert!(report["detection"]["median_seconds"].as_f64().unwrap() < 900.0, "{report}");
}

#[test]
fn simulate_knows_hostile_traffic_by_name() {
    let ask = "simulate --policy policies/standard.yaml --runs 4 --seed 3";
    let some = format!("{ask} --hostile bursts-100-in-10s --hostile errors-x5-1000 --history off");
    let text = unwrapped(&serin(&some));
    for part in [
        "4 runs for each line, seed 3",
        "bursts-100-in-10s off",
        "outside",
        "Goal: at most 1% of harmless releases rolled back",
        "errors-x5-1000 off 100%",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let report: Value =
        serde_json::from_str(&out(&serin(&format!("{some} --output json --threads 1")))).unwrap();
    assert_eq!(report["harmless"][0]["shape"], "bursts-100-in-10s");
    assert_eq!(report["harmless"][0]["history"], false);
    let by = report["harmless"][0]["by"].as_object().unwrap();
    let causes: u64 = by.values().map(|times| times.as_u64().unwrap()).sum();
    assert_eq!(report["harmless"][0]["rolled_back"]["count"], causes);
    assert_eq!(report["harmful"][0]["found"]["count"], 4);

    let text = unwrapped(&serin(&format!("{ask} --hostile list")));
    assert!(text.contains("ejection-1-of-20") && text.contains("late-x3-100"), "{text}");
    let output = serin(&format!("{ask} --hostile nothing"));
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--hostile list"), "{output:?}");
}

#[test]
fn simulate_tells_causes_and_takes_shapes_that_last() {
    let shapes =
        "--shape incidents --burst-size 100 --burst-lasts 10s --shape pods --pods 3 --baseline-pods 57";
    let report: Value =
        serde_json::from_str(&out(&serin(&format!("{SIMULATE} {shapes} --history on --output json"))))
            .unwrap();
    assert_eq!(report["history"], true);
    assert_eq!(report["traffic"]["shapes"][0]["shape"], "incidents");
    assert_eq!(report["traffic"]["shapes"][1]["baseline"], 57);
    assert!(report["rolled_back_by"].is_object() && report["held_by"].is_object(), "{report}");
    let output = serin(&format!("{SIMULATE} --shape users --baseline-pods 3"));
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("--baseline-pods belongs to --shape pods or ejection"), "{told}");
}

#[test]
fn plan_tells_each_step_and_warns() {
    let text = unwrapped(&serin(PLAN));
    for part in [
        "at 100 requests/s and 0.1% errors",
        "taken as usual",
        "5% for 30 min to 4 h",
        "25% for 30 min to 4 h",
        "A harmless version goes on after",
        "smallest",
        "×1.5",
        "! errors: at 100 requests/s and 0.1% errors, ×2 (twice the errors) is found in",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let json = out(&serin(&format!("{PLAN} --output json")));
    let plan: serin::montecarlo::plan::Plan = serde_json::from_str(&json).unwrap();
    assert_eq!((plan.steps.len(), plan.runs), (2, 10));
}

#[test]
fn wrong_use_ends_with_2_and_says_what_would_be_right() {
    for (arguments, part) in [
        ("simulate", "--policy"),
        ("simulate --policy policies/standard.yaml --error-rate 120%", "from 0% to 100%"),
        (
            "simulate --policy policies/standard.yaml --rps 0",
            "the requests per second is 0; it must be between",
        ),
        ("simulate --policy policies/standard.yaml --rps NaN", "the requests per second is NaN"),
        (
            "simulate --policy policies/standard.yaml --burst-factor 3",
            "--burst-factor belongs to --shape bursts",
        ),
        ("simulate --policy policies/standard.yaml --shape bursts --burst-factor 2.5", "whole number"),
        ("simulate --policy policies/standard.yaml --shape drift --shape drift", "twice"),
        ("simulate --policy policies/standard.yaml --phi 0.5", "--phi must be between 1 and 1000"),
        ("simulate --policy policies/standard.yaml --runs 0", "--runs"),
        ("simulate --policy policies/standard.yaml --tail-share 1%", "--tail-time"),
        ("plan --policy policies/standard.yaml --rps 100", "--error-rate"),
        ("plan --policy policies/standard.yaml --rps 100 --error-rate 1% --phi 0", "the dispersion is 0"),
        (
            "plan --policy policies/standard.yaml --rps 100 --error-rate 1% --latency-median 80ms",
            "--latency-sigma",
        ),
    ] {
        let output = serin(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments}: {said}");
        assert!(said.contains(part), "{arguments}: {part} in\n{said}");
        assert!(output.stdout.is_empty(), "{arguments}");
    }
    // A policy that is none is no wrong use.
    let output = serin("plan --policy policies/none.yaml --rps 100 --error-rate 1%");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("policies/none.yaml"), "{output:?}");
}
