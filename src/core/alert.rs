//! Alerts of other systems, as they come in, and what is remembered of them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::arms::arms;
use super::spec::{Pool, TargetSpec};
use super::split::Role;
use super::target::Target;
use super::time::Timestamp;

/// What fired within so much time before the canary got traffic is not taken for its doing: alerts come
/// again at the same time of the day.
pub const BEFORE: Duration = Duration::from_secs(25 * 3600);
/// Alerts of a target that are remembered.
pub const MOST_REMEMBERED: usize = 500;
/// Severities that hold a rollout.
const URGENT: [&str; 2] = ["critical", "page"];
/// Labels that name a group of instances.
const POOL_LABELS: [&str; 8] =
    ["pool", "backend", "cluster", "envoy_cluster_name", "server", "deployment", "replicaset", "pod"];

/// What an alert asks for, by the configured rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertWish {
    /// It is named, and changes nothing.
    Tell,
    /// The rollout does not advance until a person resumes it.
    Pause,
    /// The canary is taken back.
    Rollback,
}

/// What an alert does that comes in and had fired before the canary got traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FiringAlerts {
    /// The rollout does not advance while it fires, if it is urgent.
    #[default]
    Hold,
    /// It is named.
    Tell,
}

impl FiringAlerts {
    /// Whether that need not be written.
    pub fn is_usual(&self) -> bool {
        *self == FiringAlerts::Hold
    }
}

/// An alert as it came in, about one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Names its labels: the same for as long as it is the same alert.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its label `severity`.
    pub severity: Option<String>,
    /// Whether it fires; if not, it is over.
    pub firing: bool,
    /// When it began, as it says itself.
    pub starts_at: Option<Timestamp>,
    /// When it came in.
    pub received_at: Timestamp,
    /// What it says, cut to some hundred characters.
    pub summary: String,
    /// What it asks for.
    pub wish: AlertWish,
    /// The label by which it names the canary of the rollout that it is handed to: `version="2.1.0"`.
    #[serde(default)]
    pub names_canary: Option<String>,
}

impl Alert {
    /// When it began: whatever is earlier of what it says and when it came in.
    pub fn began_at(&self) -> Timestamp {
        self.starts_at.map_or(self.received_at, |starts_at| starts_at.min(self.received_at))
    }
}

/// What is remembered of an alert of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertRecord {
    /// Names its labels.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its label `severity`.
    pub severity: Option<String>,
    /// What it asks for.
    pub wish: AlertWish,
    /// Whether it fires, as far as was told.
    pub firing: bool,
    /// When it began the last time.
    pub began_at: Timestamp,
    /// When it was last known to fire.
    pub last_at: Timestamp,
    /// When it was last known to fire before it began the last time.
    #[serde(default)]
    pub before: Option<Timestamp>,
}

impl AlertRecord {
    /// The first time that it comes in; `None` if all that is known is that it is over.
    pub fn new(alert: &Alert) -> Option<AlertRecord> {
        alert.firing.then(|| AlertRecord {
            id: alert.id.clone(),
            name: alert.name.clone(),
            severity: alert.severity.clone(),
            wish: alert.wish,
            firing: true,
            began_at: alert.began_at(),
            last_at: alert.received_at,
            before: None,
        })
    }

    /// It has come in again.
    pub fn receive(&mut self, alert: &Alert) {
        self.wish = alert.wish;
        if !alert.firing {
            if self.firing {
                self.last_at = self.last_at.max(alert.received_at);
            }
            self.firing = false;
            return;
        }
        let began_at = alert.began_at();
        if began_at > self.last_at {
            // It had stopped meanwhile, told or not.
            self.before = Some(self.last_at);
            self.began_at = began_at;
        } else {
            self.began_at = self.began_at.min(began_at);
        }
        self.firing = true;
        self.last_at = self.last_at.max(alert.received_at);
    }

    /// Whether it was known to fire at some moment from `from` on and before `until`.
    pub fn has_fired(&self, from: Timestamp, until: Timestamp) -> bool {
        let last = self.began_at < until && (self.firing || self.last_at >= from);
        last || self.before.is_some_and(|before| before >= from && before < until)
    }

    /// Whether it may hold a rollout.
    pub fn is_urgent(&self) -> bool {
        self.severity.as_deref().is_some_and(|severity| URGENT.contains(&severity))
    }

    /// `Errors (critical)`.
    pub fn title(&self) -> String {
        match &self.severity {
            Some(severity) => format!("{} ({severity})", self.name),
            None => self.name.clone(),
        }
    }
}

/// Whether an alert with these labels is one that Serin itself has sent, or that is about Serin itself: it says
/// nothing about the service.
pub fn is_own(labels: &BTreeMap<String, String>, target: &str) -> bool {
    let name = labels.get("alertname").and_then(|name| name.strip_prefix("Serin"));
    let incident = labels.get("incident").and_then(|incident| incident.strip_prefix(target));
    name.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
        || incident.is_some_and(|rest| rest.starts_with('/'))
}

/// The label by which an alert names the canary of a release of `version` (its version, its pool, one of its
/// pods); `None` if it names the service as a whole, or another arm.
pub fn names_canary(
    labels: &BTreeMap<String, String>,
    spec: &TargetSpec,
    target: &Target,
    version: &str,
) -> Option<String> {
    let told = |label: &str, value: &str| Some(format!("{label}=\"{value}\""));
    if let Ok((canary, baseline)) = arms(spec, target, version) {
        let apart = canary.labels.iter().filter(|(label, value)| baseline.labels.get(*label) != Some(value));
        let said: Vec<_> =
            apart.filter_map(|(label, value)| Some((label, value, labels.get(label)?))).collect();
        if let Some((label, value, _)) = said.first() {
            return said.iter().all(|(_, value, said)| value == said).then(|| told(label, value)).flatten();
        }
    }
    let running = target.stable_version.as_deref().or(spec.stable_version.as_deref());
    if let Some(said) = labels.get("version") {
        return if said == version && running != Some(version) { told("version", said) } else { None };
    }
    let canary = spec.pool(Role::Canary, target.swapped)?;
    let stable = spec.pool(Role::Stable, target.swapped)?;
    let by_pool = POOL_LABELS.into_iter().find_map(|label| {
        let said = labels.get(label)?;
        let of = |pool: &Pool| fitting(pool, said, label == "pod");
        (of(canary) > of(stable)).then(|| told(label, said)).flatten()
    });
    by_pool.or_else(|| {
        let instance = labels.get("instance")?;
        let host = |url: &str| {
            url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next().map(str::to_owned)
        };
        let known = canary.endpoints.iter().any(|url| host(url).as_ref() == Some(instance));
        known.then(|| told("instance", instance)).flatten()
    })
}

/// The length of the longest name of the pool that a label's value is, or (of a pod) begins with.
fn fitting(pool: &Pool, said: &str, is_pod: bool) -> Option<usize> {
    let names = pool.backend.split(',').map(str::trim).filter(|name| !name.is_empty());
    let fits = |name: &&str| {
        said == *name || (is_pod && said.strip_prefix(*name).is_some_and(|rest| rest.starts_with('-')))
    };
    names.filter(fits).map(str::len).max()
}
