//! Plans say what a step will see, and warn of what it will not.

use serin::montecarlo::plan::{Plan, Question, plan};
use serin::montecarlo::{Runs, traffic::Traffic, traffic::Truth};

fn question(requests_per_second: f64, error_rate: f64) -> Question {
    Question {
        requests_per_second,
        error_rate,
        latency: None,
        dispersion: None,
        runs: Runs { runs: 40, seed: 1, threads: 2 },
    }
}

fn standard(question: &Question) -> Plan {
    plan(&super::policy("standard.yaml"), question).unwrap()
}

#[test]
fn much_traffic_sees_much() {
    let plan = standard(&Question { latency: Some((0.08, 0.8)), ..question(2000.0, 0.01) });
    assert_eq!(plan.steps.iter().map(|s| s.weight_percent).collect::<Vec<_>>(), [5.0, 25.0]);
    for step in &plan.steps {
        assert!(step.warnings.is_empty(), "{:?}", step.warnings);
        // Half an hour at the least, and a minute of warm-up.
        assert_eq!(step.advance.median_seconds, Some(1860.0), "{step:?}");
        assert_eq!(step.metrics.iter().map(|m| m.latency).collect::<Vec<_>>(), [false, true]);
        for metric in &step.metrics {
            let smallest = metric.smallest_found.unwrap();
            assert!((1.05..2.0).contains(&smallest), "{metric:?}");
            let [_, double, five] = metric.found.as_slice() else { panic!("{metric:?}") };
            assert_eq!((double.factor, five.factor), (2.0, 5.0));
            assert_eq!(five.found.share, 1.0);
            let (double, five) = (double.time.median_seconds.unwrap(), five.time.median_seconds.unwrap());
            assert!(five <= double && double < 900.0, "{metric:?}");
        }
    }
}

#[test]
fn little_traffic_is_warned_of() {
    let plan = standard(&question(100.0, 0.001));
    // No regression of a latency that was not given.
    assert!(plan.latency_assumed && plan.steps.iter().all(|step| step.metrics.len() == 1));
    let first = &plan.steps[0];
    let found = &first.metrics[0].found;
    assert!(found[0].found.share < 0.3 && found[1].found.share < 0.8, "{found:?}");
    let warning = first.warnings.first().expect("a warning");
    assert!(
        warning.starts_with("errors: at 100 requests/s and 0.1% errors, ×2 (twice the errors) is found in "),
        "{warning}"
    );
    assert!(warning.contains("4-hour steps") && warning.contains("found in 80%"), "{warning}");

    let tiny = standard(&Question { runs: Runs { runs: 12, seed: 1, threads: 2 }, ..question(1.0, 0.001) });
    let words = tiny.steps[0].warnings.join("\n");
    assert!(words.contains("a harmless version is proven to be harmless in 0% of 4-hour steps"), "{words}");
}

#[test]
fn the_same_question_gets_the_same_plan() {
    let few = Question { runs: Runs { runs: 10, seed: 3, threads: 1 }, ..question(500.0, 0.01) };
    let first = standard(&few);
    assert_eq!(first, standard(&Question { runs: Runs { threads: 3, ..few.runs }, ..few.clone() }));
    assert_ne!(first, standard(&Question { runs: Runs { seed: 4, ..few.runs }, ..few.clone() }));
}

#[test]
fn the_dispersion_of_the_service_is_taken_where_it_is_known() {
    let asked = |dispersion| Question { dispersion, ..question(500.0, 0.01) };
    let doubled = |plan: &Plan| plan.steps[0].metrics[0].found[1].time.median_seconds.unwrap();
    let (independent, bursts) = (standard(&asked(Some(1.0))), standard(&asked(Some(6.0))));
    assert_eq!((independent.dispersion, bursts.dispersion), (1.0, 6.0));
    // The policy's own.
    assert_eq!(standard(&asked(None)).dispersion, 3.0);
    assert!(doubled(&independent) * 2.0 < doubled(&bursts), "{independent:?} {bursts:?}");
}

#[test]
fn figures_agree_with_whole_rollouts() {
    // The first step's ×2, as a rollout meets it whose guardrails are gone.
    let mut policy = super::policy("standard.yaml");
    policy.guardrails.clear();
    let plan = standard(&question(200.0, 0.01));
    let planned = plan.steps[0].metrics[0].found[1];
    let truth = Truth { error_ratio: 2.0, only: Some("errors".into()), ..Truth::default() };
    let traffic = Traffic { truth, ..Traffic::new(200.0, 0.01) };
    let outcomes = serin::montecarlo::rollouts(&policy, &traffic, Runs::new(40, 77), &|_| {});
    let summary = serin::montecarlo::Summary::new(&outcomes, &traffic.truth);
    let (a, b) = (planned.time.median_seconds.unwrap(), summary.detection.median_seconds.unwrap());
    assert!((0.5..2.0).contains(&(a / b)), "planned {a} s, simulated {b} s");
}

#[test]
fn wrong_questions_are_told_in_words() {
    let policy = super::policy("standard.yaml");
    let wrong = Question {
        dispersion: Some(0.5),
        latency: Some((-1.0, 0.8)),
        runs: Runs { runs: 0, seed: 1, threads: 1 },
        ..question(-5.0, 2.0)
    };
    assert_eq!(plan(&policy, &wrong).unwrap_err().len(), 5);
}
