//! The words of the core's enumerations: derived once, and the same everywhere. The page's are a file that
//! `SERIN_BLESS=1` writes anew.

use std::fmt::Write;
use std::{env, fs};

use serde::Serialize;
use serin::core::incident::IncidentStep;
use serin::core::metric::NoData;
use serin::core::notice::NoticeKind;
use serin::core::reason::ReasonCode;
use serin::core::rollout::{CommandName, EventKind, Hold, PhaseName};
use serin::telemetry;

use crate::testkit::dashboards::folder;

/// The name by which it is stored and sent.
fn stored(word: &impl Serialize) -> String {
    let value = serde_json::to_value(word).expect("a word");
    value.as_str().expect("a text").to_owned()
}

#[test]
fn names_are_those_that_are_stored() {
    for hold in Hold::ALL {
        assert_eq!(hold.name(), stored(hold));
    }
    for kind in EventKind::ALL {
        assert_eq!(kind.name(), stored(kind));
    }
    for kind in NoticeKind::ALL {
        assert_eq!(kind.name(), stored(kind));
    }
    for code in ReasonCode::ALL {
        assert_eq!(code.name(), stored(code));
    }
    for step in [IncidentStep::Trigger, IncidentStep::Acknowledge, IncidentStep::Resolve] {
        assert_eq!(step.name(), stored(&step));
    }
}

#[test]
fn stored_names_stay_as_they_are() {
    // What was written by an earlier version must be read.
    assert_eq!(
        PhaseName::NAMES.join(" "),
        "scheduled preflight preparing progressing finalizing baking rolling_back verifying succeeded \
         rolled_back cancelled failed"
    );
    let commands: Vec<&str> = CommandName::ALL.iter().map(|command| command.name()).collect();
    assert_eq!(
        commands.join(" "),
        "pause resume advance promote rollback supersede approve refuse override_gate retry_gate acknowledge alerts \
         hook_failed"
    );
    assert!(Hold::ALL.iter().any(|hold| hold.name() == "no_return"));
    assert_eq!(NoData::NAMES[1..], *telemetry::COLLECT_FAULT_WORDS, "all but `waiting`, which is no fault");
}

#[test]
fn every_phase_that_is_no_end_has_its_number_in_the_metrics_and_on_the_dashboards() {
    let help = telemetry::ROLLOUT_PHASE.help;
    for (number, phase) in (1..).zip(PhaseName::active()) {
        assert!(help.contains(&format!("{number} {}", phase.name())), "{phase:?} is not in: {help}");
    }
    for hold in Hold::ALL {
        assert!(telemetry::ROLLOUT_HOLD.help.contains(hold.name()), "{hold:?}");
    }
    let wanted: Vec<String> = PhaseName::active().map(|phase| phase.name().replace('_', " ")).collect();
    let mut mapped = 0;
    for file in ["grafana/fleet.json", "grafana/rollout.json"] {
        let text = fs::read_to_string(folder().join(file)).expect("a dashboard");
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let mut found = Vec::new();
        mappings(&json, &mut found);
        for options in found.iter().filter(|options| options["1"]["text"] == "scheduled") {
            let words: Vec<&str> = (1..=wanted.len())
                .map(|number| options[number.to_string()]["text"].as_str().unwrap_or_default())
                .collect();
            assert_eq!(words, wanted, "{file}");
            mapped += 1;
        }
    }
    assert_eq!(mapped, 2);
    let counted = PhaseName::count([PhaseName::Verifying, PhaseName::Failed]);
    assert_eq!((counted["verifying"], counted["baking"], counted.len()), (1, 0, wanted.len()));
}

/// All value mappings of a dashboard.
fn mappings<'j>(json: &'j serde_json::Value, found: &mut Vec<&'j serde_json::Value>) {
    match json {
        serde_json::Value::Object(map) => {
            if map.get("type").is_some_and(|kind| kind == "value") {
                found.extend(map.get("options"));
            }
            map.values().for_each(|inner| mappings(inner, found));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|inner| mappings(inner, found)),
        _ => {}
    }
}

#[test]
fn the_pages_words_are_the_cores() {
    let path = folder().join("web/src/lib/core-words.ts");
    let text = page_words();
    if env::var_os("SERIN_BLESS").is_some() {
        fs::write(&path, &text).expect("a file that can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "{} is not the core's words; SERIN_BLESS=1 writes it anew:\n{text}",
        path.display()
    );
}

fn page_words() -> String {
    let list = |names: &[&str]| names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let mut text = "// The words of the core's enumerations. Made by tests/quick/core_words.rs (SERIN_BLESS=1), never by \
                    hand.\n"
        .to_owned();
    let mut add = |about: &str, name: &str, single: &str, names: &[&str]| {
        let _ = write!(
            text,
            "\n/** {about} */\nexport const {name} = [\n{}] as const;\nexport type {single} = (typeof \
             {name})[number];\n",
            names.iter().map(|name| format!("  \"{name}\",\n")).collect::<String>()
        );
    };
    add("The phases of a rollout, in the order of its life.", "PHASES", "Phase", PhaseName::NAMES);
    let holds: Vec<&str> = Hold::ALL.iter().map(|hold| hold.name()).collect();
    add("Why a rollout does not advance.", "HOLDS", "Hold", &holds);
    let commands: Vec<&str> = CommandName::ALL.iter().map(|command| command.name()).collect();
    add("What a rollout can be told.", "COMMANDS", "CommandName", &commands);
    text.push_str(
        "\n/** The phases in which a rollout takes each command. */\nexport const TAKEN_IN: Record<CommandName, \
         readonly Phase[]> = {\n",
    );
    for command in CommandName::ALL {
        let phases = PhaseName::NAMES.iter().zip(PhaseName::all());
        let taken: Vec<&str> =
            phases.filter(|(_, phase)| command.is_taken_in(*phase)).map(|(name, _)| *name).collect();
        let _ = writeln!(text, "  {}: [{}],", command.name(), list(&taken));
    }
    text.push_str("};\n");
    text
}
