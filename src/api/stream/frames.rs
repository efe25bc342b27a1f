//! Events as they go over the wire.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::contract::{EventView, OverviewRow, RolloutView};
use crate::core::rollout::{EventRecord, Rollout};
use crate::core::target::Target;

/// A log line with where it belongs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct LogLine {
    rollout: String,
    target: String,
    #[serde(flatten)]
    event: EventView,
}

/// One event. JSON has no line breaks, so the data is one line.
fn frame(event: &str, id: Option<u64>, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).unwrap_or_else(|_| "null".to_owned());
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    Bytes::from(format!("event: {event}\n{id}data: {data}\n\n"))
}

/// The first event: which program answers.
pub(super) fn hello() -> Bytes {
    let revision = option_env!("SERIN_REVISION").unwrap_or("unknown");
    frame("hello", None, &json!({ "version": env!("CARGO_PKG_VERSION"), "revision": revision }))
}

/// A line of a rollout's log.
pub(super) fn log(position: u64, rollout: &Rollout, event: &EventRecord) -> Bytes {
    let line = LogLine {
        rollout: rollout.id.0.clone(),
        target: rollout.target.clone(),
        event: EventView::new(event),
    };
    frame("log", Some(position), &line)
}

/// A rollout at a glance.
pub(super) fn row(rollout: &Rollout, target: Option<&Target>, spark: Vec<f64>) -> Bytes {
    frame("rollout", None, &OverviewRow::new(rollout, target, spark))
}

/// A rollout, whole.
pub(super) fn whole(view: &RolloutView) -> Bytes {
    frame("rollout", None, view)
}
