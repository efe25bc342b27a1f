//! What a rollout waits for, and how it looks in a terminal.

use std::collections::BTreeSet;
use std::time::Duration;

use serin::cli::render::render;
use serin::contract::{Awaited, RolloutView, WaitingFor};
use serin::core::ids::RolloutId;
use serin::core::judge::{GuardrailStatus, MetricAssessment, Verdict};
use serin::core::policy::Mode;
use serin::core::reason::{Reason, ReasonCode};
use serin::core::rollout::{Compared, Ending, Hold, Phase, Readiness, Rollout, Stage, Word};
use serin::core::split::{Split, Weight};
use serin::core::target::Target;

use super::example::{NOW, rollout, seconds, steered, target};

fn waiting(rollout: &Rollout, target: &Target) -> WaitingFor {
    RolloutView::new(rollout, Some(target)).waiting_for.expect("it waits for something")
}

fn check(rollout: &Rollout, target: &Target, on: Awaited, sentence: &str) {
    let found = waiting(rollout, target);
    assert_eq!((found.on, found.sentence.as_str()), (on, sentence));
}

fn harm() -> Reason {
    Reason::new(
        ReasonCode::Harm,
        "Rolled back at 25% after 18 min 40 s: errors of the canary are 2.7 times those of the baseline (1.14% \
         against 0.42%; interval of the ratio 1.9 to 3.6). Evidence 1:4,100 at a bound of 1:100.",
    )
}

#[test]
fn evidence_with_the_time_it_takes() {
    check(
        &rollout(),
        &steered(),
        Awaited::Evidence,
        "Waiting for evidence of no harm in errors: about 8 min 20 s at this traffic.",
    );
    assert_eq!(waiting(&rollout(), &steered()).remaining_seconds, Some(500.0));
}

#[test]
fn evidence_that_comes_before_the_minimum_duration() {
    let mut rollout = rollout();
    let last = rollout.last.as_mut().unwrap();
    last.remaining = Some(seconds(60));
    last.metrics[1].verdict = Verdict::Undecided;
    check(
        &rollout,
        &steered(),
        Awaited::Evidence,
        "Waiting for evidence of no harm in errors and latency: about 1 min at this traffic, and 6 min 30 s \
         until the step's minimum duration.",
    );
    assert_eq!(waiting(&rollout, &steered()).remaining_seconds, Some(390.0));
}

#[test]
fn evidence_that_takes_longer_than_the_steps_maximum() {
    let mut rollout = rollout();
    let step = rollout.phase.step().unwrap();
    let analysed = rollout.timers.analysed;
    let max = Some(analysed + Duration::from_secs(1200));
    rollout.plan_mut().policy.steps[step].max = max;
    rollout.last.as_mut().unwrap().remaining = Some(Duration::from_secs(7200));
    let found = waiting(&rollout, &steered());
    assert!(
        found.sentence.ends_with(
            "about 2 h at this traffic, so it will not be decided within this step's maximum, which is in 20 min."
        ),
        "{}",
        found.sentence
    );
    assert_eq!(found.remaining_seconds, Some(1200.0), "what comes first is the maximum");
    // Without a maximum there is none to be told.
    rollout.plan_mut().policy.steps[step].max = None;
    assert!(waiting(&rollout, &steered()).sentence.ends_with("about 2 h at this traffic."));
}

#[test]
fn evidence_without_a_forecast() {
    let mut rollout = rollout();
    rollout.last.as_mut().unwrap().remaining = None;
    check(
        &rollout,
        &steered(),
        Awaited::Evidence,
        "Waiting for evidence of no harm in errors; too early to estimate how long that takes.",
    );
}

#[test]
fn the_minimum_duration_with_the_time_left() {
    let mut rollout = rollout();
    rollout.last.as_mut().unwrap().metrics[0].verdict = Verdict::NotWorse;
    check(
        &rollout,
        &steered(),
        Awaited::Time,
        "Waiting for the step's minimum duration: 6 min 30 s of analysed time left; no metric is worse.",
    );
    rollout.timers.analysed = seconds(600);
    check(&rollout, &steered(), Awaited::Time, "Waiting for the next look: no metric is worse.");
}

#[test]
fn the_warm_up_and_the_first_counts() {
    let mut rollout = rollout();
    rollout.timers.analysed = seconds(0);
    rollout.timers.in_phase = seconds(20);
    check(&rollout, &steered(), Awaited::Time, "Waiting for the end of the warm-up: 40 s left.");
    rollout.timers.in_phase = seconds(65);
    rollout.last = None;
    check(&rollout, &steered(), Awaited::Data, "Waiting for the first counts of both arms.");
}

#[test]
fn data() {
    let mut silent = rollout();
    silent.timers.silent = seconds(40);
    check(
        &silent,
        &steered(),
        Awaited::Data,
        "Waiting for data of the canary: none for 40 s while the baseline is seen; after 1 min it is rolled back.",
    );
    let mut blind = rollout();
    blind.timers.blind = seconds(90);
    check(&blind, &steered(), Awaited::Data, "Waiting for data: neither arm has been seen for 1 min 30 s.");
    let mut one = rollout();
    one.last.as_mut().unwrap().metrics[1].verdict = Verdict::NoData;
    check(&one, &steered(), Awaited::Data, "Waiting for data of latency.");
}

#[test]
fn traffic() {
    let mut rollout = rollout();
    for metric in &mut rollout.last.as_mut().unwrap().metrics {
        metric.verdict = Verdict::NoData;
        metric.canary_requests = 0;
    }
    check(
        &rollout,
        &steered(),
        Awaited::Traffic,
        "Waiting for traffic: the canary has had no request that counts in this step.",
    );
}

#[test]
fn a_proxy() {
    let mut settling = rollout();
    settling.phase = Phase::Progressing { step: 1, stage: Stage::Settling };
    check(&settling, &steered(), Awaited::Proxy, "Waiting for 1 of 3 proxies to confirm 25%: edge-3.");
    let mut unknown = steered();
    unknown.nodes.clear();
    check(&settling, &unknown, Awaited::Proxy, "Waiting for the router to show 25%.");
    let mut many = steered();
    for index in 0..5 {
        let node = many.nodes["edge-3"].clone();
        many.nodes.insert(format!("far-{index}"), node);
    }
    check(
        &settling,
        &many,
        Awaited::Proxy,
        "Waiting for 6 of 8 proxies to confirm 25%: edge-3, far-0, far-1 and 3 more.",
    );
}

#[test]
fn a_person() {
    for (hold, begins) in [
        (Hold::User, "Waiting for a person: it is paused"),
        (Hold::Drift, "Waiting for a person: somebody has lowered the canary's weight"),
        (Hold::Plan, "Waiting for a person, or for evidence: the step has lasted its maximum"),
    ] {
        let mut rollout = rollout();
        // What mends itself is said after what a person must do.
        rollout.holds = BTreeSet::from([hold, Hold::Blind]);
        let found = waiting(&rollout, &steered());
        assert_eq!(found.on, Awaited::Person);
        assert!(found.sentence.starts_with(begins), "{}", found.sentence);
    }
}

#[test]
fn instances_that_are_ready_are_shown_also_where_they_are_enough() {
    let word = |ready, of| Some(Word { ready, of, ..Word::default() });
    let mut rollout = rollout();
    rollout.data.readiness =
        Readiness { router: word(19, 20), metrics: word(17, 20), ..Readiness::default() };
    let view = RolloutView::new(&rollout, Some(&steered()));
    let shown = render(&view, 100, false);
    assert!(shown.contains("Instances   17 of 20 ready: 3 do not start"), "{shown}");
    let json = serde_json::to_value(&view).unwrap();
    assert_eq!(
        json["instances"],
        serde_json::json!({"ready": 17, "listed": 20, "least": 16, "by": "metrics"})
    );
    // Too few are what is waited for.
    rollout.data.readiness.router = word(12, 20);
    rollout.holds = BTreeSet::from([Hold::NotReady]);
    let found = waiting(&rollout, &steered()).sentence;
    let few = "12 of 20 canary instances are ready: 8 do not start (by the router's health checks), and at least 16";
    assert!(found.contains(few) && found.contains("--override"), "{found}");
}

#[test]
fn restarts_are_shown_with_those_of_the_last_quarter_of_an_hour() {
    let mut rollout = rollout();
    let restarts = &mut rollout.data.restarts;
    (restarts.canary.total, restarts.canary.instances) = (4, 2);
    restarts.canary.recent = (0..3).map(|i| (NOW, format!("i{i}"))).collect();
    restarts.baseline.instances = 20;
    let view = RolloutView::new(&rollout, Some(&steered()));
    let shown = render(&view, 100, false);
    let line = "canary 4 (3 in 15 min on 2 instances), baseline 0 (0 in 15 min on 20 instances)";
    assert!(shown.contains(line), "{shown}");
}

#[test]
fn every_hold_has_its_sentence() {
    let all = [
        (Hold::User, Awaited::Person),
        (Hold::Drift, Awaited::Person),
        (Hold::Plan, Awaited::Person),
        (Hold::Blind, Awaited::Data),
        (Hold::BothBad, Awaited::Health),
        (Hold::StableSmall, Awaited::Health),
        (Hold::NotReady, Awaited::Workload),
        (Hold::Guardrail, Awaited::Health),
        (Hold::Gate, Awaited::Gate),
        (Hold::Freeze, Awaited::Window),
        (Hold::Window, Awaited::Window),
    ];
    let mut sentences = BTreeSet::new();
    for (hold, on) in all {
        let mut rollout = rollout();
        rollout.holds = BTreeSet::from([hold]);
        let found = waiting(&rollout, &steered());
        assert_eq!(found.on, on, "{hold:?}");
        assert!(found.sentence.starts_with("Waiting for ") && found.sentence.ends_with('.'), "{hold:?}");
        assert!(sentences.insert(found.sentence), "{hold:?}");
    }
}

#[test]
fn every_phase_has_its_sentence_and_every_end_has_none() {
    let rolled = || harm();
    let forward = [
        (Phase::Scheduled, "Waiting for the target checkout, which rollout other has."),
        (Phase::Preflight, "Waiting for data of the baseline, before any traffic is moved."),
        (Phase::Preparing { step: 0 }, "Waiting for the canary to be ready for the step's traffic."),
        (Phase::Baking, "Waiting for the end of the bake at 100%: 26 min 30 s left."),
    ];
    for (phase, sentence) in forward {
        let mut target = steered();
        if phase == Phase::Scheduled {
            target.active = Some(RolloutId("other".into()));
        }
        let rollout = Rollout { phase, ..rollout() };
        assert_eq!(waiting(&rollout, &target).sentence, sentence);
    }
    let ends = [
        Phase::Succeeded,
        Phase::RolledBack { reason: rolled() },
        Phase::Cancelled { reason: rolled(), superseded_by: None },
        Phase::Failed { reason: rolled() },
    ];
    for phase in ends {
        let rollout = Rollout { phase, ..rollout() };
        let view = RolloutView::new(&rollout, Some(&target()));
        assert_eq!((view.waiting_for, view.ended), (None, true));
    }
}

#[test]
fn the_way_back_waits_for_the_proxies_and_then_for_the_last_requests() {
    let mut rollout = rollout();
    rollout.phase = Phase::RollingBack { reason: harm(), ending: Ending::RolledBack };
    rollout.holds = BTreeSet::from([Hold::User]);
    let mut target = steered();
    target.want(Split::STABLE);
    check(
        &rollout,
        &target,
        Awaited::Proxy,
        "Waiting for 3 of 3 proxies to confirm the canary at 0%: edge-1, edge-2 and edge-3.",
    );
    let generation = target.generation;
    target.nodes.values_mut().for_each(|node| node.generation = generation);
    target.seen = Some(serin::core::target::SeenSplit { split: Split::STABLE, generation, at: NOW });
    rollout.timers.quiet = seconds(3);
    target.drain = seconds(30);
    check(
        &rollout,
        &target,
        Awaited::Traffic,
        "Waiting for the canary's last requests: its weight is 0, and it has been quiet for 3 s of 30 s.",
    );
}

#[test]
fn weights_are_told_only_while_the_rollout_has_its_target() {
    let view = RolloutView::new(&rollout(), Some(&steered()));
    assert_eq!(view.wanted.unwrap().canary_percent, 25.0);
    assert_eq!(view.unconfirmed_nodes, ["edge-3"]);
    let mut other = steered();
    other.active = Some(RolloutId("other".into()));
    let view = RolloutView::new(&rollout(), Some(&other));
    assert_eq!((view.wanted, view.seen, view.stable_version), (None, None, None));
    assert_eq!(view.unconfirmed_nodes, Vec::<String>::new());
}

// ------------------------------------------------------------------------------------------------- pictures

/// Compares with the checked-in text; `SERIN_BLESS=1` writes it anew, to be read before it is kept.
fn expect(name: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/quick/expected").join(name);
    if std::env::var_os("SERIN_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{name} differs; it is now:\n{text}");
}

fn progressing() -> RolloutView {
    RolloutView::new(&rollout(), Some(&steered()))
}

fn rolled_back() -> RolloutView {
    let mut rollout = rollout();
    rollout.phase = Phase::RolledBack { reason: harm() };
    rollout.ended_at = Some(NOW.plus(seconds(1120)));
    let last = rollout.last.as_mut().unwrap();
    last.ln_e_harm = 4_187_f64.ln();
    last.metrics[0].verdict = Verdict::Worse;
    last.metrics[0].ratio = Some([1.94, 2.71, 3.58]);
    last.metrics[0].canary_share = Some(0.0114);
    RolloutView::new(&rollout, Some(&target()))
}

#[test]
fn a_step_in_the_terminal() {
    expect("progressing-100.txt", &render(&progressing(), 100, false));
}

#[test]
fn a_step_in_a_terminal_of_80_columns() {
    let text = render(&progressing(), 80, false);
    assert!(!text.contains('…'), "nothing is cut at the usual width:\n{text}");
    expect("progressing-80.txt", &text);
}

#[test]
fn a_step_in_a_narrow_terminal() {
    let text = render(&progressing(), 44, false);
    for line in text.lines() {
        assert!(line.chars().count() <= 44, "{line:?}");
    }
    expect("progressing-44.txt", &text);
}

#[test]
fn colours_only_add_to_the_words() {
    let coloured = render(&progressing(), 100, true);
    expect("progressing-100-colour.txt", &coloured);
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\x1b') {
        plain.push_str(before);
        rest = after.split_once('m').expect("an end of the code").1;
    }
    plain.push_str(rest);
    assert_eq!(plain, render(&progressing(), 100, false));
}

#[test]
fn a_rollback_in_the_terminal() {
    expect("rolled-back-100.txt", &render(&rolled_back(), 100, false));
}

#[test]
fn the_end_at_100_percent_shows_what_was_compared_before() {
    let mut rollout = rollout();
    let compared = rollout.last.clone().unwrap();
    for metric in &mut rollout.last.as_mut().unwrap().metrics {
        let name = metric.name.clone();
        *metric = MetricAssessment { name, verdict: Verdict::Undecided, ..MetricAssessment::default() };
    }
    rollout.last_compared = Some(Compared { weight: Weight(2_500), assessment: compared });
    let at_a_step = std::mem::replace(&mut rollout.phase, Phase::Succeeded);
    rollout.ended_at = Some(NOW.plus(seconds(1120)));
    let view = RolloutView::new(&rollout, Some(&target()));
    expect("succeeded-100.txt", &render(&view, 100, false));
    // While a step is looked at, its own figures are shown.
    rollout.phase = at_a_step;
    let view = RolloutView::new(&rollout, Some(&steered()));
    assert!(!render(&view, 100, false).contains("Compared"));
    // An older daemon does not send them.
    let mut older = serde_json::to_value(&view).unwrap();
    older.as_object_mut().unwrap().remove("last_compared");
    assert_eq!(serde_json::from_value::<RolloutView>(older).unwrap().last_compared, None);
}

#[test]
fn a_start_without_any_data() {
    let mut rollout = rollout();
    rollout.phase = Phase::Preflight;
    rollout.last = None;
    rollout.plan_mut().policy.mode = Mode::Observe;
    let mut target = steered();
    target.wanted = Split::STABLE;
    target.seen = None;
    target.nodes.clear();
    expect("preflight-100.txt", &render(&RolloutView::new(&rollout, Some(&target)), 100, false));
}

#[test]
fn holds_and_guardrails() {
    let mut rollout = rollout();
    rollout.holds = BTreeSet::from([Hold::BothBad, Hold::Guardrail]);
    let guardrail = &mut rollout.last.as_mut().unwrap().guardrails[0];
    guardrail.status = GuardrailStatus::Breaching;
    guardrail.breaching_for = seconds(40);
    guardrail.sentence = "errors of the canary are at 6.1%, over the limit of 5%.".into();
    expect("held-100.txt", &render(&RolloutView::new(&rollout, Some(&steered())), 100, false));
}

#[test]
fn any_width_is_kept_to() {
    for view in [progressing(), rolled_back()] {
        for width in 30..140 {
            for line in render(&view, width, false).lines() {
                assert!(line.chars().count() <= width, "{width}: {line:?}");
            }
        }
    }
}

#[test]
fn names_cannot_write_into_the_terminal() {
    let mut view = progressing();
    view.created_by = "\x1b[2Jmallory".into();
    view.target = "check\nout".into();
    assert!(!render(&view, 100, false).contains('\x1b'));
    assert!(render(&view, 100, false).starts_with("check out"));
}

#[test]
fn the_view_keeps_its_form() {
    let text = serde_json::to_string_pretty(&progressing()).unwrap();
    expect("rollout.json", &format!("{text}\n"));
    assert_eq!(serde_json::from_str::<RolloutView>(&text).unwrap(), progressing());
}
