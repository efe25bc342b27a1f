//! What the audit log is told of a request.

use std::sync::{Arc, Mutex};

use super::{Via, lock};
use crate::api::Api;
use crate::core::access::AuditRecord;

/// Longest text of one field, in characters.
const LONGEST: usize = 300;

/// What a handler says of the request that it carries out; the gate writes it down with the result.
#[derive(Clone, Debug, Default)]
pub(in crate::api) struct Note(Arc<Mutex<Said>>);

#[derive(Clone, Debug, Default)]
struct Said {
    by: Option<String>,
    via: Option<Via>,
    action: Option<String>,
    subject: String,
}

impl Note {
    /// What is done, to what.
    pub(super) fn set(&self, action: &str, subject: &str) {
        let mut said = lock(&self.0);
        said.action = Some(clean(action));
        said.subject = clean(subject);
    }

    /// Who does it, as far as it is known.
    pub(super) fn who(&self, by: Option<&str>, via: Via) {
        let mut said = lock(&self.0);
        said.by = by.map(clean);
        said.via = Some(via);
    }

    /// What an open request says of itself.
    pub(super) fn said(&self, by: Option<&str>) {
        if let Some(by) = by {
            lock(&self.0).by = Some(clean(by));
        }
    }
}

/// How a request ended.
pub(super) struct Outcome<'a> {
    pub(super) from: &'a str,
    /// What the table calls it.
    pub(super) action: &'a str,
    /// `done`, or a problem's code.
    pub(super) result: &'a str,
    pub(super) status: u16,
}

/// Writes a line, into the store and into the log. A store that fails does not undo what was done; the
/// log has it all the same.
pub(super) async fn record(api: &Api, note: &Note, outcome: Outcome<'_>) {
    let said = lock(&note.0).clone();
    let record = AuditRecord {
        at: api.handle.clock().wall(),
        by: said.by,
        via: said.via.map_or("none", Via::name).to_owned(),
        from: outcome.from.to_owned(),
        action: said.action.unwrap_or_else(|| outcome.action.to_owned()),
        subject: said.subject,
        result: outcome.result.to_owned(),
        status: outcome.status,
    };
    tell(&record);
    let stored = api.handle.store().add_audit(&record);
    match tokio::time::timeout(api.limits.health, stored).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("a line of the audit log could not be stored: {error}"),
        Err(_) => tracing::warn!("a line of the audit log could not be stored in time"),
    }
}

/// The line of the log.
fn tell(record: &AuditRecord) {
    tracing::info!(
        target: "serin::audit",
        by = record.by.as_deref().unwrap_or("-"),
        via = %record.via,
        from = %record.from,
        action = %record.action,
        subject = %record.subject,
        result = %record.result,
        status = record.status,
        "audit"
    );
}

/// Text from outside, short and without control characters.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}
