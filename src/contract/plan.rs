//! What was planned and what is steered: policies and targets.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{SeenView, SplitView, percent};
use crate::core::limit::{Breach, GuardrailLimit, Severity};
use crate::core::policy::{
    AtMax, Direction, Guardrail, GuardrailAction, Limit, LimitOutcome, Metric, Mode, Policy, Signal, Step,
};
use crate::core::source::MetricSource;
use crate::core::spec::TargetSpec;
use crate::core::target::Target;

/// A target: what is steered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TargetView {
    /// Its name.
    pub name: String,
    /// False for a target that is stored but no longer in the configuration.
    pub configured: bool,
    /// The configured router.
    pub router: Option<String>,
    /// The configured provider.
    pub provider: Option<String>,
    /// Where the router finds it.
    pub route: Option<String>,
    /// What runs as stable, as far as Serin knows.
    pub stable_version: Option<String>,
    /// What the router shall do.
    pub wanted: SplitView,
    /// Counts the changes of `wanted`.
    pub generation: u64,
    /// What the data plane was last seen to do.
    pub seen: Option<SeenView>,
    /// The proxies that were ever there and are not forgotten yet, where the router knows them.
    pub nodes: Vec<NodeView>,
    /// Those that are not known to follow the wanted split.
    pub unconfirmed_nodes: Vec<String>,
    /// What was found at the router and the store knows nothing of, while that is not decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<FoundView>,
    /// The rollout that has the target.
    pub active_rollout: Option<String>,
    /// Counts the changes.
    pub revision: u64,
    /// Where it is declared: the file, or who called the API.
    #[serde(default)]
    pub declared_in: Option<String>,
    /// What is wrong with a declaration of this name that is not in force.
    #[serde(default)]
    pub declaration_problems: Vec<String>,
    /// Fields of the newest declaration that are applied when the rollout has ended, or `removal`.
    #[serde(default)]
    pub waiting_for_rollout: Vec<String>,
}

/// A split that the store knows nothing of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FoundView {
    /// What the router has.
    pub split: SplitView,
    /// Since when that is known (RFC 3339, UTC).
    pub since: String,
    /// Who has decided, while that is not carried out yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
}

/// A proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// Its id.
    pub id: String,
    /// Whether its stream is open.
    pub connected: bool,
    /// Whether it follows the newest split.
    pub confirmed: bool,
    /// The newest generation that it accepted.
    pub generation: u64,
    /// When its stream was last open (RFC 3339, UTC).
    pub last_seen: String,
    /// Why it refused the newest generation.
    pub refused: Option<String>,
}

impl TargetView {
    /// The view of a target; `spec` is its configuration, where there is one.
    pub fn new(target: &Target, spec: Option<&TargetSpec>) -> TargetView {
        TargetView {
            name: target.name.clone(),
            configured: spec.is_some(),
            router: spec.map(|spec| spec.router.clone()),
            provider: spec.map(|spec| spec.provider.clone()),
            route: spec.map(|spec| spec.route.clone()),
            stable_version: target
                .stable_version
                .clone()
                .or_else(|| spec.and_then(|spec| spec.stable_version.clone())),
            wanted: SplitView::new(target.wanted),
            generation: target.generation,
            seen: SeenView::of(target),
            nodes: target
                .nodes
                .iter()
                .map(|(id, node)| NodeView {
                    id: id.clone(),
                    connected: node.connected,
                    confirmed: node.generation >= target.generation,
                    generation: node.generation,
                    last_seen: node.last_seen.to_string(),
                    refused: node.refused.clone(),
                })
                .collect(),
            unconfirmed_nodes: super::unconfirmed(target),
            found: target.found.as_ref().map(|found| FoundView {
                split: SplitView::new(found.split),
                since: found.at.to_string(),
                decided_by: found.decided.as_ref().map(|decided| decided.by.clone()),
            }),
            active_rollout: target.active.as_ref().map(|id| id.0.clone()),
            revision: target.revision,
            declared_in: None,
            declaration_problems: Vec::new(),
            waiting_for_rollout: Vec::new(),
        }
    }
}

/// One step of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StepPlanView {
    /// The canary's weight.
    pub weight_percent: f64,
    /// At least so much analysed time.
    pub min_seconds: f64,
    /// After so much analysed time without proof `at_max` applies; `None`: never.
    pub max_seconds: Option<f64>,
    /// What then.
    #[schema(value_type = super::vocabulary::AtMax)]
    pub at_max: AtMax,
    /// Each arm must have had so many requests before the next step.
    #[serde(default)]
    pub min_requests: u64,
}

impl StepPlanView {
    /// The view of a step.
    pub fn new(step: &Step) -> StepPlanView {
        StepPlanView {
            weight_percent: percent(step.weight),
            min_seconds: step.min.as_secs_f64(),
            max_seconds: step.max.map(|max| max.as_secs_f64()),
            at_max: step.at_max,
            min_requests: step.min_requests,
        }
    }
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PolicyView {
    /// Its name.
    pub name: String,
    /// The first 12 digits of its content's hash.
    pub version: String,
    /// When to use it.
    pub description: String,
    /// Whether it moves traffic.
    #[schema(value_type = super::vocabulary::Mode)]
    pub mode: Mode,
    /// The steps.
    pub steps: Vec<StepPlanView>,
    /// Time between two looks.
    pub interval_seconds: f64,
    /// Windows end this long before now.
    pub lag_seconds: f64,
    /// The unused first part of each step.
    pub warm_up_seconds: f64,
    /// The chance that a harmless release is rolled back by the tests, over all looks.
    pub false_rollback_rate: f64,
    /// The same for a harmful one that is advanced, for each metric.
    pub no_harm_alpha: f64,
    /// The dispersion that the tests are tempered by.
    pub dispersion: f64,
    /// No data of both arms for so long, and what then.
    pub blind_after_seconds: f64,
    /// What then.
    #[schema(value_type = super::vocabulary::LimitOutcome)]
    pub blind_then: LimitOutcome,
    /// No data of the canary alone for so long, and what then.
    pub silent_after_seconds: f64,
    /// What then.
    #[schema(value_type = super::vocabulary::LimitOutcome)]
    pub silent_then: LimitOutcome,
    /// A way back that is not seen within this time pages.
    pub confirm_within_seconds: f64,
    /// What is compared.
    pub metrics: Vec<PolicyMetricView>,
    /// The limits that hold whatever the tests say.
    pub guardrails: Vec<GuardrailPlanView>,
    /// How long 100% is watched.
    pub bake_seconds: f64,
    /// Where it is declared: the file, or who called the API.
    #[serde(default)]
    pub declared_in: Option<String>,
    /// What is wrong with a declaration of this name that is not in force.
    #[serde(default)]
    pub declaration_problems: Vec<String>,
}

/// A metric of a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PolicyMetricView {
    /// Its name.
    pub name: String,
    /// `proportion` or `latency`.
    pub kind: String,
    /// What counts as bad, in words.
    pub bad_means: String,
    /// How much worse is accepted, relatively.
    pub tolerance: f64,
    /// An absolute difference that is never called harm.
    pub harm_floor_percent: f64,
    /// An absolute difference that still counts as no harm.
    pub no_harm_floor_percent: f64,
    /// Which direction is better.
    #[schema(value_type = super::vocabulary::Direction)]
    pub direction: Direction,
    /// Where the counts come from.
    #[schema(value_type = super::shapes::MetricSource)]
    pub source: MetricSource,
}

impl PolicyView {
    /// The view of a policy.
    pub fn new(policy: &Policy) -> PolicyView {
        let analysis = &policy.analysis;
        let limit = |limit: Limit| (limit.after.as_secs_f64(), limit.then);
        let (blind_after_seconds, blind_then) = limit(analysis.blind);
        let (silent_after_seconds, silent_then) = limit(analysis.silent);
        PolicyView {
            name: policy.name.clone(),
            version: policy.version.clone(),
            description: policy.description.clone(),
            mode: policy.mode,
            steps: policy.steps.iter().map(StepPlanView::new).collect(),
            interval_seconds: analysis.interval.as_secs_f64(),
            lag_seconds: analysis.lag.as_secs_f64(),
            warm_up_seconds: analysis.warm_up.as_secs_f64(),
            false_rollback_rate: analysis.false_rollback_rate,
            no_harm_alpha: analysis.no_harm_alpha,
            dispersion: analysis.dispersion,
            blind_after_seconds,
            blind_then,
            silent_after_seconds,
            silent_then,
            confirm_within_seconds: analysis.confirm_within.as_secs_f64(),
            metrics: policy.metrics.iter().map(PolicyMetricView::new).collect(),
            guardrails: policy.guardrails.iter().map(GuardrailPlanView::new).collect(),
            bake_seconds: policy.bake.duration.as_secs_f64(),
            declared_in: None,
            declaration_problems: Vec::new(),
        }
    }
}

impl PolicyMetricView {
    fn new(metric: &Metric) -> PolicyMetricView {
        PolicyMetricView {
            name: metric.name.clone(),
            kind: metric.source.kind().to_owned(),
            bad_means: metric.bad_means.clone(),
            tolerance: metric.tolerance,
            harm_floor_percent: metric.harm_floor * 100.0,
            no_harm_floor_percent: metric.no_harm_floor * 100.0,
            direction: metric.direction,
            source: metric.source.clone(),
        }
    }
}

/// A guardrail of a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GuardrailPlanView {
    /// Its name.
    pub name: String,
    /// What is looked at.
    #[schema(value_type = super::shapes::Signal)]
    pub signal: Signal,
    /// The limit, in the signal's unit.
    #[schema(value_type = super::shapes::GuardrailLimit)]
    pub limit: GuardrailLimit,
    /// Whether values above or below the limit breach it.
    #[schema(value_type = super::vocabulary::Breach)]
    pub breach: Breach,
    /// The breach must last so long.
    pub hold_for_seconds: f64,
    /// The value is taken over this trailing time.
    pub over_seconds: f64,
    /// With fewer requests of an arm there is no value.
    pub min_requests: u64,
    /// How urgent.
    #[schema(value_type = super::vocabulary::Severity)]
    pub severity: Severity,
    /// What follows.
    #[schema(value_type = super::vocabulary::GuardrailAction)]
    pub action: GuardrailAction,
    /// Fires even if the baseline breaches too.
    pub regardless_of_baseline: bool,
}

impl GuardrailPlanView {
    fn new(guardrail: &Guardrail) -> GuardrailPlanView {
        GuardrailPlanView {
            name: guardrail.name.clone(),
            signal: guardrail.signal.clone(),
            limit: guardrail.limit,
            breach: guardrail.breach,
            hold_for_seconds: guardrail.hold_for.as_secs_f64(),
            over_seconds: guardrail.over.as_secs_f64(),
            min_requests: guardrail.min_requests,
            severity: guardrail.severity,
            action: guardrail.action,
            regardless_of_baseline: guardrail.regardless_of_baseline,
        }
    }
}
