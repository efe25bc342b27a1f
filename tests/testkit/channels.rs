//! What tests of channels need: surroundings, secrets in files, notices with everything.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serin::clock::SystemClock;
use serin::core::incident::{IncidentChange, IncidentStep};
use serin::core::limit::Severity;
use serin::core::notice::{Figure, Notice, NoticeKind};
use serin::core::reason::ReasonCode;
use serin::core::split::Weight;
use serin::core::time::Timestamp;
use serin::messages::Words;
use serin::notifiers::Surroundings;
use serin::secrets::SecretSource;

use super::fakes::MemoryStore;

/// Long enough for a busy machine, short enough to wait for.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Words with links, a memory of its own, the machine's clock.
pub fn around(memory: &MemoryStore) -> Surroundings {
    Surroundings {
        words: Arc::new(Words {
            public_url: Some("https://serin.example.com".to_owned()),
            ..Words::default()
        }),
        memory: Arc::new(memory.clone()),
        clock: Arc::new(SystemClock::new()),
    }
}

/// A secret in a file.
pub fn secret(folder: &Path, name: &str, text: &str) -> SecretSource {
    let path = folder.join(name);
    std::fs::write(&path, format!("{text}\n")).expect("the secret is written");
    SecretSource::File(path)
}

/// A notice that has everything, with characters that mean something to receivers.
pub fn full_notice(seq: u64, kind: NoticeKind) -> Notice {
    let at = Timestamp(1_763_700_000_000 + i64::try_from(seq).expect("small") * 1000);
    let sentence = "Errors <b>rose</b> & \"more\": <!channel> [x](http://evil.example.com)".to_owned();
    Notice {
        rollout: "r1".to_owned(),
        target: "checkout".to_owned(),
        version: "v2".to_owned(),
        policy: "standard".to_owned(),
        stable_version: Some("v1".to_owned()),
        started_by: "erin".to_owned(),
        step: Some((2, 4)),
        weight: Weight(2500),
        reason: Some(ReasonCode::Harm),
        figures: vec![Figure {
            metric: "errors".to_owned(),
            verdict: "worse".to_owned(),
            canary: Some("2.7%".to_owned()),
            baseline: Some("0.4%".to_owned()),
            ratio: Some([3.1, 6.9, 15.0]),
        }],
        environment: Some("production".to_owned()),
        ..Notice::new(format!("r1/{seq}"), kind, Severity::Critical, at, sentence)
    }
}

/// The same, as a step of an incident.
pub fn incident(seq: u64, kind: NoticeKind, step: IncidentStep) -> Notice {
    let opened_at = Timestamp(1_763_700_000_000);
    let change = IncidentChange { key: "checkout/r1/7".to_owned(), step, opened_at, told: Vec::new() };
    Notice { incident: Some(change), ..full_notice(seq, kind) }
}

/// A notice as long as a runaway template makes it.
pub fn huge_notice(seq: u64) -> Notice {
    let mut notice = incident(seq, NoticeKind::RollbackStarted, IncidentStep::Trigger);
    let long = "<é&> ".repeat(6000);
    let figure = Figure {
        metric: long.clone(),
        verdict: long.clone(),
        canary: Some(long.clone()),
        baseline: None,
        ratio: None,
    };
    notice.figures = vec![figure; 40];
    notice.version = long.clone();
    notice.target = long.clone();
    notice.sentence = long;
    notice.incident = notice.incident.map(|change| IncidentChange { key: "k".repeat(2000), ..change });
    notice
}
