//! The bodies of Alertmanager's and Grafana's webhooks: what is read of them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::core::alert::{Alert, AlertWish};
use crate::core::time::Timestamp;

/// Characters of an alert's name and of its severity that are kept.
const MOST_NAME: usize = 200;
/// Characters of what it says that are kept.
const MOST_SUMMARY: usize = 300;

/// The webhook of Alertmanager (version 4) or Grafana (version 1).
#[derive(Deserialize, ToSchema)]
pub struct AlertsBody {
    /// `4`, or `1` of Grafana.
    #[schema(pattern = "^[14]$")]
    version: String,
    /// The group's alerts.
    #[schema(value_type = Vec<AlertBody>)]
    pub(super) alerts: Vec<Value>,
}

/// One alert.
#[derive(Deserialize, ToSchema)]
struct AlertBody {
    /// `firing` or `resolved`.
    status: Status,
    /// Its labels.
    labels: BTreeMap<String, String>,
    /// Its texts.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    annotations: Value,
    /// When it began (RFC 3339).
    #[serde(default, rename = "startsAt")]
    starts_at: Option<String>,
    /// Names its labels.
    #[serde(default)]
    fingerprint: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Status {
    Firing,
    Resolved,
}

/// An alert with all of its labels.
pub(super) struct Told {
    pub alert: Alert,
    pub labels: BTreeMap<String, String>,
}

impl AlertsBody {
    /// Who has sent it; `None` if it is in no known form.
    pub(super) fn sender(&self) -> Option<&'static str> {
        match self.version.as_str() {
            "4" => Some("alertmanager"),
            "1" => Some("grafana"),
            _ => None,
        }
    }
}

/// Reads one alert; else its name, as far as it has one, and what is wrong.
pub(super) fn read(value: &Value, now: Timestamp) -> Result<Told, (String, String)> {
    let name = cut(value["labels"]["alertname"].as_str().unwrap_or("an alert"), MOST_NAME);
    let body = AlertBody::deserialize(value)
        .map_err(|error| (name.clone(), cut(&error.to_string(), MOST_SUMMARY)))?;
    let starts_at = starts_at(body.starts_at.as_deref())
        .ok_or_else(|| (name.clone(), "`startsAt` must be a time in RFC 3339".to_owned()))?;
    let said = |key: &str| body.annotations.get(key).and_then(Value::as_str);
    let alert = Alert {
        id: id(body.fingerprint.as_deref(), &body.labels),
        name,
        severity: body.labels.get("severity").map(|severity| cut(severity, MOST_NAME)),
        firing: body.status == Status::Firing,
        starts_at,
        received_at: now,
        summary: cut(said("summary").or(said("description")).unwrap_or_default(), MOST_SUMMARY),
        wish: AlertWish::Tell,
        names_canary: None,
    };
    Ok(Told { alert, labels: body.labels })
}

/// `Some(None)`: it does not say. The year 1 is how Go writes that.
fn starts_at(text: Option<&str>) -> Option<Option<Timestamp>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Some(None) };
    let at = Timestamp(text.parse::<jiff::Timestamp>().ok()?.as_millisecond());
    Some((at.0 > 0).then_some(at))
}

/// The fingerprint, or a hash of the labels where there is none that can be used.
fn id(fingerprint: Option<&str>, labels: &BTreeMap<String, String>) -> String {
    let usable = |text: &&str| {
        (1..=64).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    if let Some(fingerprint) = fingerprint.filter(usable) {
        return fingerprint.to_owned();
    }
    let mut hash = Sha256::new();
    for (label, value) in labels {
        hash.update(format!("{label}\0{value}\0"));
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// One line of at most so many characters.
fn cut(text: &str, most: usize) -> String {
    let line = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    line.collect::<Vec<_>>().join(" ").chars().take(most).collect()
}
