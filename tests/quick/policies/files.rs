//! Policies in files: those that are shipped, directories of them, and what is told of dubious ones.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serin::config::{check_policies, load_policy, policy_warnings};
use serin::core::policy::GuardrailAction;

use super::{SMALL, read, with};

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(name)
}

#[test]
fn the_shipped_policies_are_read_without_a_warning() {
    for name in ["standard", "hotfix"] {
        let policy = load_policy(shipped(&format!("{name}.yaml"))).unwrap_or_else(|p| panic!("{p}"));
        assert_eq!(policy.name, name);
        assert_eq!(policy.steps.iter().map(|s| s.weight.0).collect::<Vec<_>>(), [500, 2500, 10_000]);
        assert!(!policy.description.is_empty());
        let warnings = policy_warnings(&policy);
        assert!(warnings.is_empty(), "{warnings:#?}");
    }
    for (name, weights) in [
        ("cautious", &[100, 500, 1000, 2500, 5000, 9500, 10_000][..]),
        ("low-traffic", &[2500, 5000, 10_000]),
    ] {
        let policy = load_policy(shipped(&format!("{name}.yaml"))).unwrap_or_else(|p| panic!("{p}"));
        assert_eq!(policy.name, name);
        assert_eq!(policy.steps.iter().map(|s| s.weight.0).collect::<Vec<_>>(), weights, "holdback included");
        assert_eq!(policy.bake.limits.len(), 1);
    }
    for name in ["payments", "database-migration", "production", "staging"] {
        let policy = load_policy(shipped(&format!("{name}.yaml"))).unwrap_or_else(|p| panic!("{p}"));
        assert_eq!(policy.name, name);
        let warnings: Vec<String> =
            policy_warnings(&policy).into_iter().map(|warning| warning.field).collect();
        // Staging goes on without proof, on purpose.
        assert_eq!(warnings, if name == "staging" { &["steps[0].at_max"][..] } else { &[] }, "{name}");
    }
    let standard = load_policy(shipped("standard.yaml")).unwrap();
    assert_eq!(standard.steps[0].min, Duration::from_secs(1800));
    // "At once" is within 5 minutes of the first breach, the others within 15.
    for guardrail in standard.guardrails.iter().filter(|g| g.action == GuardrailAction::RollBack) {
        let limit =
            if guardrail.name.ends_with("at-once") || guardrail.name.ends_with("5s") { 5 } else { 15 };
        let latest = guardrail.hold_for + guardrail.over;
        assert!(latest <= Duration::from_secs(limit * 60), "{}", guardrail.name);
    }
    let hotfix = load_policy(shipped("hotfix.yaml")).unwrap();
    for guardrail in &hotfix.guardrails {
        assert_eq!(guardrail.action, GuardrailAction::RollBack, "{}", guardrail.name);
        assert!(guardrail.hold_for + guardrail.over <= Duration::from_secs(300), "{}", guardrail.name);
    }
}

#[test]
fn a_rollback_for_what_comes_by_chance_is_dubious() {
    let with = |requests: u32, limit: &str, action: &str| {
        let rail = format!(
            "{{name: a, metric: errors, stat: rate, above: {limit}, over: 2m, min_requests: {requests}, action: {action}}}"
        );
        let warnings = policy_warnings(&read(&format!("{SMALL}guardrails: [{rail}]\n")).unwrap());
        let about = |warning: &serin::config::Problem| warning.field == "guardrails[0].min_requests";
        warnings.into_iter().find(about).map(|warning| warning.to_string())
    };
    let told = with(100, "2%", "roll_back").expect("3 of 100 are chance");
    assert!(told.contains("3 bad requests of 100 are enough to roll back"), "{told}");
    assert!(told.contains("at least 250"), "{told}");
    assert_eq!(with(250, "2%", "roll_back"), None);
    assert!(with(71, "7%", "roll_back").expect("4.97").contains("at least 72"));
    assert_eq!(with(72, "7%", "roll_back"), None);
    assert_eq!(with(100, "5%", "roll_back"), None);
    assert_eq!(with(100, "2%", "alert"), None);
}

#[test]
fn what_is_dubious_is_told() {
    let warnings = policy_warnings(&read(SMALL).unwrap());
    let told = warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(told.contains("policy small: steps[0].max: without `max` the step waits"), "{told}");
    assert!(told.contains("policy small: guardrails: no guardrail has an absolute limit"), "{told}");

    let text = SMALL.replace("- {weight: 5%, min: 10m}\n", "").replace("http_errors", "http_latency")
        + "analysis: {dispersion: 1, false_rollback_rate: 20%, silent: {after: 10s, then: hold}}
guardrails:
  - {name: a, metric: errors, stat: p99, above: {ratio_to_baseline: 1}, min_requests: 20, action: alert}
bake: {duration: 0s}
";
    let warnings = policy_warnings(&read(&text).unwrap());
    let told = warnings.iter().map(|w| w.field.as_str()).collect::<Vec<_>>();
    assert_eq!(
        told,
        [
            "steps",
            "analysis.false_rollback_rate",
            "analysis.dispersion",
            "analysis.silent.after",
            "analysis.silent.then",
            "metrics",
            "guardrails[0].ratio_to_baseline",
            "guardrails[0].min_requests",
            "bake.duration",
            "guardrails",
        ]
    );
}

#[test]
fn directories_are_read_and_a_name_belongs_to_one_policy() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("a.yaml", SMALL);
    write("b.yml", &SMALL.replace("small", "other"));
    write("c.yaml", &with("# the same name again\n"));
    write("d.yaml", "name: broken\n");
    write("notes.txt", "not a policy");
    let missing = folder.path().join("missing.yaml");
    let results = check_policies(&[folder.path().to_owned(), folder.path().join("a.yaml"), missing]);
    let names =
        results.iter().map(|(path, _)| path.file_name().unwrap().to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(names, ["a.yaml", "b.yml", "c.yaml", "d.yaml", "missing.yaml"]);
    assert_eq!(results[0].1.as_ref().unwrap().name, "small");
    assert_eq!(results[1].1.as_ref().unwrap().name, "other");
    let twice = results[2].1.as_ref().unwrap_err().to_string();
    assert!(twice.contains("the policy `small` is already in") && twice.contains("a.yaml"), "{twice}");
    assert_eq!(results[3].1.as_ref().unwrap_err().0.len(), 2);
    assert!(results[4].1.as_ref().unwrap_err().to_string().contains("cannot be read"));

    let empty = tempfile::tempdir().unwrap();
    let results = check_policies(&[empty.path()]);
    assert!(results[0].1.as_ref().unwrap_err().to_string().contains("the directory has no policy"));
}
