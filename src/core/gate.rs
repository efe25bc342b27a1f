//! Gates: what must say yes before a rollout goes on. They are made by `config` only; what a gate said is
//! kept in the rollout ([`Gates`]), so that a restart asks nobody twice.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::calendar::Calendar;
use super::limit::{Breach, GuardrailLimit};
use super::secret::SecretSource;
use super::source::Matcher;
use super::split::Weight;
use super::time::Timestamp;

/// Something that must say yes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// Unique in the policy.
    pub name: String,
    /// What it stands before.
    pub before: Before,
    /// Who or what says yes.
    pub check: Check,
    /// It must have said yes within so much measured time since it was due; `None`: it is waited for.
    pub deadline: Option<Duration>,
    /// What follows when the deadline has passed.
    pub at_deadline: GateOutcome,
    /// What follows when it says no for good.
    pub on_refusal: GateOutcome,
    /// Once it has said yes, Serin does not roll back by itself any more: it holds and pages, and a named
    /// person decides.
    pub point_of_no_return: bool,
}

/// What a gate stands before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Before {
    /// The canary's first traffic.
    Start,
    /// The step of that weight, below 100%.
    Step(Weight),
    /// Every step after the first one, 100% too.
    EachStep,
    /// 100%.
    Promotion,
    /// The end of the bake.
    Finish,
    /// Nothing: it must say yes all along, in every step and in the bake.
    During,
}

/// What a gate stands before, of one rollout now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "name", content = "step", rename_all = "snake_case")]
pub enum Occasion {
    /// The canary's first traffic.
    Start,
    /// The step of that index, the last one (100%) too.
    Step(usize),
    /// The end of the bake.
    Finish,
    /// Nothing: it is asked all along.
    During,
}

/// What follows when a gate does not say yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum GateOutcome {
    /// Stay, and tell somebody.
    Hold,
    /// Take the canary back; before the start: do not begin.
    RollBack,
    /// Go on without it; the report says so.
    GoOn,
}

/// Who or what says yes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, IntoStaticStr)]
#[serde(tag = "type", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Check {
    /// Persons.
    Approval {
        /// All must be fulfilled, each by persons of its own: nobody counts twice.
        rules: Vec<ApprovalRule>,
        /// Whether the one who started the rollout counts.
        by_starter: bool,
    },
    /// A program elsewhere that is asked by HTTP.
    Webhook(WebhookCheck),
    /// A program on this machine.
    Command(CommandCheck),
    /// Health and version pages of an arm.
    Health(HealthCheck),
    /// No alert fires.
    Alerts(AlertsCheck),
    /// The calendar.
    Window {
        /// When it is open.
        calendar: Calendar,
        /// Outside: say no for good instead of waiting.
        refuse: bool,
    },
    /// A query against a limit.
    Metric {
        /// PromQL that gives one number; `$arm` stands for the canary's matchers.
        query: String,
        /// The limit, absolute.
        limit: GuardrailLimit,
        /// Which side of it is the bad one.
        breach: Breach,
        /// It must have been kept for so long.
        held_for: Duration,
    },
    /// The error budget is not spent.
    Slo {
        /// PromQL that gives the share of bad requests over the objective's time, in [0, 1].
        bad_share: String,
        /// The share of requests that must be good, in (0, 1).
        objective: f64,
        /// So much of the budget must be left, in [0, 1).
        budget_left: f64,
    },
}

/// So many persons of a team.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRule {
    /// The team; `None`: anybody who may approve.
    pub team: Option<String>,
    /// At least one.
    pub count: u32,
}

/// How a program elsewhere is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookCheck {
    /// Where it is.
    pub url: String,
    /// Whether the address may be a loopback, private, link-local or metadata address.
    pub allow_private: bool,
    /// What the body looks like.
    pub form: WebhookForm,
    /// Free words that are sent along.
    pub metadata: BTreeMap<String, String>,
    /// Extra headers.
    pub headers: BTreeMap<String, SecretSource>,
    /// Signs the body (HMAC-SHA256).
    pub secret: Option<SecretSource>,
    /// For one call.
    pub timeout: Duration,
    /// Time between two calls while the answer is "not yet" or a fault.
    pub poll: Duration,
    /// So many faults in a row are a no.
    pub most_faults: u32,
}

/// What the body of a webhook looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookForm {
    /// Serin's own: a CloudEvents 1.0 envelope.
    Serin,
    /// Flagger's: `{name, namespace, phase, checksum, metadata}`.
    Flagger,
}

/// How a program on this machine is run. Its exit code 0 is a yes, 75 "not yet", anything else a no.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandCheck {
    /// The program and its arguments; no shell. `{version}`, `{stable_version}`, `{target}`, `{rollout}`,
    /// `{weight}` in arguments are replaced.
    pub command: Vec<String>,
    /// Where it runs.
    pub directory: Option<PathBuf>,
    /// Environment variables of the daemon that it gets, beside `PATH` and `SERIN_*`.
    pub environment: Vec<String>,
    /// After so long it and its children are killed.
    pub timeout: Duration,
}

/// Which pages of an arm must say what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// The whole URL; `{version}` is replaced.
    pub url: String,
    /// Whether the address may be a loopback, private, link-local or metadata address.
    pub allow_private: bool,
    /// The status that it must have.
    pub status: u16,
    /// JSON pointers (RFC 6901) and the text that must stand there; `{version}` is replaced.
    pub json: BTreeMap<String, String>,
    /// Extra headers.
    pub headers: BTreeMap<String, SecretSource>,
    /// For one call.
    pub timeout: Duration,
}

/// Which alerts must not fire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertsCheck {
    /// Alertmanager's base URL; `None`: the target's Prometheus (`ALERTS`).
    pub alertmanager: Option<String>,
    /// All must match; `{target}` in a value is replaced.
    pub matchers: Vec<Matcher>,
    /// None must have fired for so long (Prometheus only).
    pub quiet_for: Duration,
}

impl Check {
    /// The stable name of the check's kind.
    pub fn kind(&self) -> &'static str {
        self.into()
    }

    /// True if asking changes nothing: such a check is asked again until the step is taken, so that all of
    /// an occasion's say yes at the same time.
    pub fn is_repeatable(&self) -> bool {
        !matches!(self, Check::Approval { .. } | Check::Webhook(_) | Check::Command(_))
    }

    /// True if it must not be run again when nobody knows how it ended.
    pub fn is_once(&self) -> bool {
        matches!(self, Check::Command(_))
    }
}

/// What a check said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", content = "detail", rename_all = "snake_case")]
pub enum GateAnswer {
    /// Go on, with what was seen.
    Yes(String),
    /// Not yet: ask again.
    NotYet(String),
    /// No, for good.
    No(String),
    /// It could not be asked: ask again.
    Fault(String),
    /// It was begun, and nobody knows how it ended: it is not run again by itself.
    Lost(String),
}

/// Where a gate is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(tag = "name", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum GateStatus {
    /// It has not said yes.
    Waiting {
        /// What it last said, or what it waits for.
        detail: String,
    },
    /// A program runs.
    Running,
    /// It said yes.
    Open {
        /// Who, where a person did it.
        by: Option<String>,
        /// What it said.
        detail: String,
        /// When.
        at: Timestamp,
    },
    /// It said no for good.
    Refused {
        /// Who, where a person did it.
        by: Option<String>,
        /// What it said.
        detail: String,
        /// When.
        at: Timestamp,
    },
    /// A program was begun and nobody knows how it ended: a person must say what to do.
    Lost {
        /// What is known.
        detail: String,
    },
}

impl GateStatus {
    /// The stable name, as in the API.
    pub fn name(&self) -> &'static str {
        self.into()
    }
}

impl GateOutcome {
    /// The stable name, as in the API and in policies.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// One gate of a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GateState {
    /// Where it is.
    pub status: GateStatus,
    /// Measured since it was due.
    pub waited: Duration,
    /// How often it was asked: a part of the key that receivers see.
    pub asked: u32,
    /// Faults in a row.
    pub faults: u32,
    /// The deadline has passed and was told.
    pub is_late: bool,
}

/// A person's yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub by: String,
    /// The teams that they were in.
    pub teams: Vec<String>,
    /// When.
    pub at: Timestamp,
    /// Why, in their words.
    pub reason: Option<String>,
}

/// What the gates of a rollout have said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gates {
    /// What is waited for.
    pub occasion: Option<Occasion>,
    /// The gates of that occasion, by name.
    pub states: BTreeMap<String, GateState>,
    /// The gates that must say yes all along, by name.
    pub during: BTreeMap<String, GateState>,
    /// What persons said, by gate; kept until the occasion has passed.
    pub approvals: BTreeMap<String, Vec<Approval>>,
    /// Somebody wants the next step without waiting for proof; gates must say yes all the same.
    pub insisted: Option<Insisted>,
    /// The gate behind which Serin does not roll back by itself.
    pub no_return: Option<String>,
}

impl Gates {
    /// Nothing is waited for any more. What persons said and the point of no return stay on record.
    pub fn close(&mut self) {
        self.occasion = None;
        self.states.clear();
        self.during.clear();
        self.insisted = None;
    }
}

/// A person's wish to go on without waiting for proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Insisted {
    /// The step's index.
    pub step: usize,
    /// Who.
    pub by: String,
    /// The sentence.
    pub why: String,
}

/// Something that is done when a rollout has come to a point: a tag, a ticket, a flag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hook {
    /// Unique in the policy.
    pub name: String,
    /// When.
    pub on: Vec<HookPoint>,
    /// What.
    pub action: HookAction,
}

/// When a hook is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookPoint {
    /// The rollout begins.
    Started,
    /// A step was entered.
    Step,
    /// The new version has all traffic.
    Promoted,
    /// The bake is over.
    Succeeded,
    /// The old version has all traffic again.
    RolledBack,
    /// It ended without a verdict.
    Cancelled,
    /// The router could not be brought to the safe split.
    Failed,
}

/// What a hook does. Texts are templates over the notice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum HookAction {
    /// A call; repeated with the same key until it is answered with a success.
    Webhook {
        /// Where.
        url: String,
        /// Whether the address may be a loopback, private, link-local or metadata address.
        allow_private: bool,
        /// The body, a template; `None`: the notice as a CloudEvents 1.0 envelope.
        body: Option<String>,
        /// Extra headers.
        headers: BTreeMap<String, SecretSource>,
        /// Signs the body (HMAC-SHA256).
        secret: Option<SecretSource>,
        /// For one call.
        timeout: Duration,
    },
    /// A program, run at most once.
    Command(CommandCheck),
}
