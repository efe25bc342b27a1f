//! Policies that extend others.

use std::path::{Path, PathBuf};
use std::process::Command;

use serin::config::{PolicyFile, check_policies, check_policy_files, load_policy, resolved_policy};
use serin::core::policy::Policy;

const BASE: &str = "\
abstract: true
description: Of all.
analysis: {interval: 20s, warm_up: 30s}
metrics:
  - {name: errors, template: http_errors, tolerance: 10%}
  - {name: latency, template: http_latency}
guardrails:
  - {name: high, metric: errors, stat: rate, above: 5%, for: 1m, action: roll_back}
  - {name: low, metric: errors, stat: rate, above: 1%, for: 1m, action: alert}
gates:
  - {name: lead, before: start, approval: {}}
";
const TOP: &str = "\
extends: base.yaml
name: top
steps:
  - {weight: 5%, min: 10m}
  - {weight: 100%}
";

struct Folder(tempfile::TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        for (name, text) in files {
            let path = folder.path(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> Policy {
        load_policy(self.path(name)).unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// The problems, without the folder's name.
    fn told(&self, name: &str) -> String {
        let problems = load_policy(self.path(name)).expect_err(name).to_string();
        problems.replace(&format!("{}/", self.0.path().display()), "")
    }
}

#[test]
fn one_policy_is_laid_over_another() {
    let top = format!(
        "{TOP}analysis: {{warm_up: 1m}}
metrics:
  - {{name: errors, tolerance: 20%}}
  - {{name: other, template: envoy_errors}}
guardrails:
  - {{name: low, remove: true}}
  - {{name: high, above: 2%}}
gates:
  - {{name: lead, approval: ~, window: {{open: [{{from: \"09:00\", until: \"16:00\"}}]}}}}
"
    );
    let folder = Folder::with(&[("base.yaml", BASE), ("top.yaml", &top)]);
    let policy = folder.read("top.yaml");
    assert_eq!((&*policy.name, &*policy.description), ("top", "Of all."));
    // Field by field: one of its own, one taken over.
    assert_eq!((policy.analysis.warm_up.as_secs(), policy.analysis.interval.as_secs()), (60, 20));
    let names: Vec<&str> = policy.metrics.iter().map(|metric| &*metric.name).collect();
    assert_eq!(names, ["errors", "latency", "other"]);
    assert_eq!(policy.metrics[0].tolerance, 0.2);
    let guardrails: Vec<&str> = policy.guardrails.iter().map(|guardrail| &*guardrail.name).collect();
    assert_eq!(guardrails, ["high"]);
    assert_eq!(policy.guardrails[0].limit, serin::core::limit::GuardrailLimit::Absolute(0.02));
    assert_eq!(policy.gates[0].check.kind(), "window");
}

#[test]
fn the_version_is_of_all_files() {
    let folder = Folder::with(&[("base.yaml", BASE), ("top.yaml", TOP)]);
    let first = folder.read("top.yaml").version;
    assert_eq!(folder.read("top.yaml").version, first);
    std::fs::write(folder.path("base.yaml"), format!("{BASE}# a comment\n")).unwrap();
    assert_ne!(folder.read("top.yaml").version, first);
}

#[test]
fn what_is_wrong_is_told_of_the_file_that_it_stands_in() {
    let base = BASE.replace("interval: 20s", "interval: soon");
    let top = TOP.replace("min: 10m", "min: 10");
    let folder = Folder::with(&[("base.yaml", &base), ("top.yaml", &top)]);
    let found = folder.told("top.yaml");
    assert!(found.contains("base.yaml:3:22: analysis.interval: `soon` is not a duration"), "{found}");
    assert!(found.contains("top.yaml:4:23: steps[0].min: `10` has no unit"), "{found}");
    assert_eq!(found.lines().count(), 2, "{found}");
    for (top, says) in [
        ("extends: nothing.yaml\nname: a\n", "nothing.yaml: the file cannot be read"),
        (
            "extends: ../base.yaml\nname: a\n",
            "top.yaml:1:10: extends: `../base.yaml` does not lie below this file's folder",
        ),
        ("extends: /etc/passwd\nname: a\n", "does not lie below"),
        ("extends: [a]\nname: a\n", "this is not the name of a file"),
        ("extends: ~\nname: a\n", "this is not the name of a file"),
        ("extends: top.yaml\nname: a\n", "in a circle: top.yaml → top.yaml"),
        (
            "extends: base.yaml\nname: a\nguardrails: [{name: lwo, remove: true}]\n",
            "top.yaml:3:26: guardrails: there is no `lwo` that could be removed; expected `low`, perhaps",
        ),
        ("extends: base.yaml\n", "top.yaml:1:1: the field `name` is missing"),
    ] {
        let folder = Folder::with(&[("base.yaml", BASE), ("top.yaml", top)]);
        let found = folder.told("top.yaml");
        assert!(found.contains(says), "{top}: {found}");
    }
}

#[test]
fn circles_and_long_chains_are_told_with_their_chain() {
    let folder = Folder::with(&[
        ("a.yaml", "extends: b.yaml\nname: a\n"),
        ("b.yaml", "extends: c.yaml\nname: b\n"),
        ("c.yaml", "extends: b.yaml\nname: c\n"),
    ]);
    let found = folder.told("a.yaml");
    assert!(found.contains("c.yaml:1:10: extends: the policies extend each other in a circle: a.yaml → b.yaml → c.yaml → b.yaml"), "{found}");
    assert_eq!(found.lines().count(), 1, "{found}");
    let chain = |length: usize| {
        let folder = Folder::with(&[("p0.yaml", &TOP.replace("base.yaml", "p1.yaml"))]);
        for number in 1..length {
            let text = format!("extends: p{}.yaml\nname: p{number}\n", number + 1);
            std::fs::write(folder.path(&format!("p{number}.yaml")), text).unwrap();
        }
        std::fs::write(folder.path(&format!("p{length}.yaml")), BASE).unwrap();
        folder
    };
    assert_eq!(chain(8).read("p0.yaml").name, "top");
    let found = chain(9).told("p0.yaml");
    assert!(found.contains("more than 8 policies extend each other: p0.yaml → p1.yaml"), "{found}");
}

#[test]
#[cfg(unix)]
fn a_link_does_not_lead_out_of_the_folder() {
    let outside = Folder::with(&[("base.yaml", BASE)]);
    let folder = Folder::with(&[("top.yaml", TOP), ("sub/base.yaml", BASE)]);
    std::os::unix::fs::symlink(outside.path("base.yaml"), folder.path("base.yaml")).unwrap();
    assert!(folder.told("top.yaml").contains("`base.yaml` leads out of this file's folder"));
    std::fs::write(folder.path("top.yaml"), TOP.replace("base.yaml", "sub/base.yaml")).unwrap();
    assert_eq!(folder.read("top.yaml").name, "top");
}

#[test]
fn an_abstract_policy_is_checked_and_not_offered() {
    let folder = Folder::with(&[("base.yaml", BASE), ("top.yaml", TOP)]);
    let offered = check_policies(&[folder.0.path()]);
    assert_eq!(offered.len(), 1);
    assert_eq!(offered[0].1.as_ref().unwrap().name, "top");
    let all = check_policy_files(&[folder.0.path()]);
    assert_eq!(all[0].1, Ok(PolicyFile::Base));
    assert!(folder.told("base.yaml").contains("abstract: the policy is only there to be extended"));
    // What stands in it must be right.
    std::fs::write(folder.path("base.yaml"), BASE.replace("above: 1%", "above: much")).unwrap();
    let found = folder.told("base.yaml");
    assert!(
        found.contains("base.yaml:9:") && found.contains("guardrails[1].above: `much` is not a ratio"),
        "{found}"
    );
}

#[test]
fn what_is_resolved_can_be_read_again() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    for name in ["production", "staging", "payments", "database-migration", "standard", "low-traffic"] {
        let path = shipped.join(format!("{name}.yaml"));
        let text = resolved_policy(&path).unwrap_or_else(|problems| panic!("{problems}"));
        let again = serin::config::parse_policy("x.yaml", text.as_bytes())
            .unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        let first = load_policy(&path).unwrap();
        assert_eq!(Policy { version: first.version.clone(), ..again }, first, "{name}");
    }
}

#[test]
fn the_command_line_shows_it_resolved_and_checks_bases() {
    let folder = Folder::with(&[("base.yaml", BASE), ("top.yaml", TOP)]);
    let serin = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_serin")).args(words).output().expect("serin");
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code(), text)
    };
    let top = folder.path("top.yaml").display().to_string();
    let (code, text) = serin(&["policy", "show", &top, "--resolved"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("name: top\n") && text.contains("  interval: 20s\n") && !text.contains("extends"),
        "{text}"
    );
    let base = folder.path("base.yaml").display().to_string();
    let (code, text) = serin(&["policy", "check", &base, &top]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("base.yaml: right (abstract: there to be extended)"), "{text}");
    // What is no file is a policy of the daemon, which has it resolved.
    let nowhere = ["--server", "http://127.0.0.1:1", "policy", "show", "no-such-file", "--resolved"];
    let (code, text) = serin(&nowhere);
    assert_eq!(code, Some(3), "{text}");
}
