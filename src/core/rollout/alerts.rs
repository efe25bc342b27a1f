//! Alerts that come in: what they do to a rollout. An alert is no person: it acknowledges nothing, and past a
//! point of no return it takes nothing back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::change::Change;
use super::{Ending, EventKind, Hold, Illegal, Phase, Rollout};
use crate::core::alert::{Alert, AlertRecord, AlertWish, BEFORE, FiringAlerts};
use crate::core::limit::Severity;
use crate::core::notice::NoticeKind;
use crate::core::reason::{Reason, ReasonCode};
use crate::core::target::Target;
use crate::core::time::Timestamp;
use crate::core::words::duration;

/// Alerts of a rollout's target that are kept with it.
const MOST_KNOWN: usize = 100;
/// Alerts that are named in one sentence.
const MOST_NAMED: usize = 10;

/// What a rollout knows of the alerts of its target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alerts {
    /// By id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub known: BTreeMap<String, KnownAlert>,
    /// When the canary got traffic for the first time.
    #[serde(default)]
    pub exposed_at: Option<Timestamp>,
    /// Whether it was told what fires at the start.
    #[serde(default)]
    pub is_told: bool,
}

/// What a rollout knows of one alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownAlert {
    /// What is remembered of it.
    #[serde(flatten)]
    pub record: AlertRecord,
    /// It fired before the canary got traffic. Stays so: it counts from its first start.
    #[serde(default)]
    pub is_old: bool,
    /// It was acted on since it began.
    #[serde(default)]
    pub is_decided: bool,
    /// It holds the rollout.
    #[serde(default)]
    pub holds: bool,
    /// It has named the canary.
    #[serde(default)]
    pub names_canary: bool,
}

/// What an alert does to a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertDecision {
    /// Nothing: that was done already, or the rollout is on its way back.
    Nothing,
    /// It is over, and holds nothing any more.
    Release,
    /// It is named.
    Tell,
    /// The rollout does not advance while it fires.
    Hold,
    /// The rollout does not advance until a person resumes it.
    Pause,
    /// The canary is taken back.
    RollBack,
}

impl AlertDecision {
    /// The stable name, as in the API.
    pub fn name(self) -> &'static str {
        match self {
            AlertDecision::Nothing => "none",
            AlertDecision::Release => "release",
            AlertDecision::Tell => "tell",
            AlertDecision::Hold => "hold",
            AlertDecision::Pause => "pause",
            AlertDecision::RollBack => "rollback",
        }
    }
}

impl Alerts {
    /// What is remembered of a target's alerts when a rollout is asked for.
    pub fn remembered(records: Vec<AlertRecord>, now: Timestamp) -> Alerts {
        let mut recent: Vec<AlertRecord> =
            records.into_iter().filter(|record| record.last_at >= now.minus(BEFORE)).collect();
        recent.sort_by_key(|record| {
            std::cmp::Reverse((record.firing, record.is_urgent(), record.wish, record.last_at))
        });
        let known = recent.into_iter().take(MOST_KNOWN).map(|record| {
            let known =
                KnownAlert { record, is_old: true, is_decided: false, holds: false, names_canary: false };
            (known.record.id.clone(), known)
        });
        Alerts { known: known.collect(), ..Alerts::default() }
    }

    /// Takes in an alert, and says what it does.
    fn receive(
        &mut self,
        alert: &Alert,
        exposed_at: Option<Timestamp>,
        firing: FiringAlerts,
    ) -> AlertDecision {
        let Some(mut known) = self.taken(alert) else { return AlertDecision::Nothing };
        let decision = known.decide(alert, exposed_at, firing);
        self.keep(known);
        decision
    }

    /// What is known with what has come in; `None` if it is over and nothing was known of it.
    fn taken(&mut self, alert: &Alert) -> Option<KnownAlert> {
        match self.known.remove(&alert.id) {
            Some(mut known) => {
                known.is_decided &= known.record.firing;
                known.record.receive(alert);
                Some(known)
            }
            None => AlertRecord::new(alert).map(|record| KnownAlert {
                record,
                is_old: false,
                is_decided: false,
                holds: false,
                names_canary: false,
            }),
        }
    }

    /// What holds and what fires is kept longest.
    fn keep(&mut self, known: KnownAlert) {
        self.known.insert(known.record.id.clone(), known);
        if self.known.len() > MOST_KNOWN {
            let rank =
                |known: &KnownAlert| (known.holds, known.is_old, known.record.firing, known.record.last_at);
            let least =
                self.known.values().min_by_key(|known| rank(known)).map(|known| known.record.id.clone());
            least.map(|id| self.known.remove(&id));
        }
    }
}

impl KnownAlert {
    fn decide(
        &mut self,
        alert: &Alert,
        exposed_at: Option<Timestamp>,
        firing: FiringAlerts,
    ) -> AlertDecision {
        if !alert.firing {
            return if std::mem::take(&mut self.holds) {
                AlertDecision::Release
            } else {
                AlertDecision::Nothing
            };
        }
        self.is_old |= exposed_at.is_none_or(|at| self.record.has_fired(at.minus(BEFORE), at));
        let names_canary = alert.names_canary.is_some();
        if self.is_decided && (self.names_canary || !names_canary) {
            return AlertDecision::Nothing;
        }
        (self.is_decided, self.names_canary) = (true, names_canary);
        match (alert.wish, self.is_old && !names_canary) {
            (AlertWish::Tell, _) => AlertDecision::Tell,
            (_, true) => self.decide_old(firing),
            (AlertWish::Pause, false) => AlertDecision::Pause,
            (AlertWish::Rollback, false) => AlertDecision::RollBack,
        }
    }

    /// It is not the canary's doing.
    fn decide_old(&mut self, firing: FiringAlerts) -> AlertDecision {
        self.is_decided = true;
        self.holds =
            self.record.is_urgent() && self.record.wish > AlertWish::Tell && firing == FiringAlerts::Hold;
        if self.holds { AlertDecision::Hold } else { AlertDecision::Tell }
    }
}

/// When the canary got traffic. What a rollout of an older release of Serin has not stored is taken for its
/// beginning.
fn exposed_at(rollout: &Rollout, target: &Target) -> Option<Timestamp> {
    let exposed = target.last_exposed.as_ref() == Some(&rollout.id);
    rollout.alerts.exposed_at.or_else(|| exposed.then_some(rollout.created_at))
}

/// What an alert would do to a rollout as it is.
pub fn decision(rollout: &Rollout, target: &Target, alert: &Alert) -> AlertDecision {
    if !is_followed(&rollout.phase) {
        return AlertDecision::Nothing;
    }
    let firing = rollout.policy.firing_alerts;
    rollout.alerts.clone().receive(alert, exposed_at(rollout, target), firing)
}

/// On the way back there is nothing left to hold or to take back.
fn is_followed(phase: &Phase) -> bool {
    !phase.is_terminal()
        && !matches!(phase, Phase::Scheduled | Phase::RollingBack { .. } | Phase::Verifying { .. })
}

/// Takes in alerts.
pub(super) fn take(change: &mut Change, by: &str, alerts: &[Alert]) -> Result<(), Illegal> {
    let rollout = &change.state.rollout;
    if rollout.phase.is_terminal() {
        return Err(Illegal::Phase { phase: rollout.phase.name(), event: "alerts" });
    }
    if !is_followed(&rollout.phase) {
        // Known all the same: a scheduled rollout begins with it.
        for alert in alerts {
            if let Some(known) = change.state.rollout.alerts.taken(alert) {
                change.state.rollout.alerts.keep(known);
            }
        }
        return Ok(());
    }
    let exposed = exposed_at(rollout, &change.state.target);
    let firing = rollout.policy.firing_alerts;
    let mut found: BTreeMap<AlertDecision, Vec<&Alert>> = BTreeMap::new();
    for alert in alerts {
        let decision = change.state.rollout.alerts.receive(alert, exposed, firing);
        found.entry(decision).or_default().push(alert);
    }
    let mut of = |decision| found.remove(&decision).unwrap_or_default();
    for alert in of(AlertDecision::Release) {
        release(change, &alert.name);
    }
    let told: Vec<String> = of(AlertDecision::Tell).into_iter().map(title).collect();
    name(change, &told);
    if let Some(alert) = of(AlertDecision::RollBack).first() {
        let reason = Reason::new(ReasonCode::Alert, sentence(alert, exposed));
        change.roll_back(reason, Ending::RolledBack, None);
        return Ok(());
    }
    for alert in of(AlertDecision::Pause) {
        change.hold(Hold::User, Some(by), Severity::Medium, sentence(alert, exposed));
    }
    let held: Vec<&Alert> = of(AlertDecision::Hold);
    let why: Vec<String> = held.iter().map(|alert| old_sentence(change, alert, exposed)).collect();
    hold(change, held.into_iter().map(|alert| alert.id.clone()).collect(), why);
    Ok(())
}

/// Before the first look of a rollout: names what fires, and holds for what may hold.
pub(super) fn at_start(change: &mut Change) {
    if std::mem::replace(&mut change.state.rollout.alerts.is_told, true) {
        return;
    }
    let firing = change.state.rollout.policy.firing_alerts;
    let fires = change.state.rollout.alerts.known.values_mut().filter(|known| known.record.firing);
    let undecided: Vec<&mut KnownAlert> = fires.filter(|known| !known.is_decided).collect();
    let (mut told, mut ids, mut why) = (Vec::new(), Vec::new(), Vec::new());
    for known in undecided {
        let title = format!("{}, since {}", known.record.title(), known.record.began_at);
        known.is_old = true;
        if known.decide_old(firing) == AlertDecision::Hold {
            ids.push(known.record.id.clone());
            why.push(format!("alert {title} fires before the canary has got traffic."));
        } else {
            told.push(title);
        }
    }
    if !told.is_empty() {
        let sentence = format!("Firing at the start: {}.", listed(&told));
        change.alert(NoticeKind::Alert, Severity::Low, sentence);
    }
    hold(change, ids, why);
}

/// The hold of these alerts. Those that held before it was dropped by a person hold no more.
fn hold(change: &mut Change, ids: Vec<String>, why: Vec<String>) {
    if ids.is_empty() {
        return;
    }
    let why = why.join(" ");
    if change.state.rollout.holds.contains(&Hold::Alert) {
        let sentence = format!("Held ({}) also by this: {why}", Hold::Alert.name());
        return change.record(EventKind::Alert, None, sentence);
    }
    for known in change.state.rollout.alerts.known.values_mut() {
        known.holds &= ids.contains(&known.record.id);
    }
    change.hold(Hold::Alert, None, Severity::High, why);
}

/// An alert that has held is over.
fn release(change: &mut Change, name: &str) {
    let held: Vec<&str> = {
        let known = change.state.rollout.alerts.known.values().filter(|known| known.holds);
        known.map(|known| known.record.name.as_str()).collect()
    };
    if held.is_empty() {
        change.unhold(Hold::Alert, &format!("alert {name} is over."));
    } else if change.state.rollout.holds.contains(&Hold::Alert) {
        let sentence = format!("Alert {name} is over; still held by {}.", held.join(", "));
        change.record(EventKind::Alert, None, sentence);
    }
}

/// Names alerts that change nothing.
fn name(change: &mut Change, told: &[String]) {
    if !told.is_empty() {
        let sentence = format!("Reported, without a hold: alert {}.", listed(told));
        change.alert(NoticeKind::Alert, Severity::Low, sentence);
    }
}

fn listed(told: &[String]) -> String {
    let mut text = told.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join("; ");
    if told.len() > MOST_NAMED {
        text.push_str(&format!("; and {} more", told.len() - MOST_NAMED));
    }
    text
}

fn title(alert: &Alert) -> String {
    let severity = alert.severity.as_ref().map(|severity| format!(" ({severity})")).unwrap_or_default();
    format!("{}{severity}{}", alert.name, said(alert))
}

fn said(alert: &Alert) -> String {
    if alert.summary.is_empty() { String::new() } else { format!(": {}", alert.summary) }
}

fn sentence(alert: &Alert, exposed: Option<Timestamp>) -> String {
    let since = alert.began_at();
    let when = match (&alert.names_canary, exposed) {
        (Some(label), _) => format!(" since {since} and names the canary ({label})"),
        (None, Some(exposed)) => {
            format!(" since {since}, {} after the canary got traffic", duration(since.since(exposed)))
        }
        (None, None) => format!(" since {since}"),
    };
    format!("alert {} fires{when}{}", alert.name, said(alert))
}

fn old_sentence(change: &Change, alert: &Alert, exposed: Option<Timestamp>) -> String {
    let began_at = change.state.rollout.alerts.known.get(&alert.id).map(|known| known.record.began_at);
    let since = began_at.unwrap_or_else(|| alert.began_at());
    let why = match exposed {
        Some(exposed) if since >= exposed => "it also fired in the 25 h before the canary got traffic",
        _ => "it fired before the canary got traffic",
    };
    format!(
        "alert {} fires since {since}; {why}, so it holds and does not roll back{}",
        alert.name,
        said(alert)
    )
}
