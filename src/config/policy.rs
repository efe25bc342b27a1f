//! Policies: YAML → validated types.

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::core::alert::FiringAlerts;
use crate::core::policy::{
    Analysis, AtMax, Bake, Guardrail, GuardrailAction, Limit, LimitOutcome, MIN_BAD, MIN_REQUESTS, Metric,
    Mode, Policy, Preflight, SmallPool, Step, TrafficShare,
};
use crate::core::split::Weight;
use crate::core::words;

use super::decode::{Field, Fields, all};
use super::metric::{self, Known};
use super::problem::{Problems, Report};
use super::readers::unique;
use super::templates::MetricKind;
use super::{bake, gates, guardrail, hooks, kinds, people, values, yaml};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// Reads a policy. `file_name` is only used to say where problems are.
///
/// # Errors
/// All problems of the file.
pub fn parse_policy(file_name: &str, bytes: &[u8]) -> Result<Policy, Problems> {
    let report = Report::new(file_name);
    let node = yaml::read(bytes, &report);
    let policy = node.and_then(|node| {
        let root = Field::root(&node, &report);
        for (key, expected) in [
            ("extends", "the whole policy, as `serin policy show FILE --resolved` prints it"),
            ("abstract", "a policy that extends this one, or `abstract` left out"),
        ] {
            if root.has(key) {
                let message = format!("`{key}` means something only in files that are read together");
                root.at_path(&[key]).problem(message, expected);
                return None;
            }
        }
        policy(&root, version(&[bytes]), false)
    });
    report.finish(policy)
}

/// The first 12 hexadecimal digits of the SHA-256 of the file, and of those that it extends.
pub(super) fn version<B: AsRef<[u8]>>(files: &[B]) -> String {
    let mut hash = Sha256::new();
    for (index, bytes) in files.iter().map(AsRef::as_ref).enumerate() {
        if index > 0 {
            // Where one file ends and the next one begins changes the version too.
            hash.update((bytes.len() as u64).to_be_bytes());
        }
        hash.update(bytes);
    }
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a policy. One that is only there to be extended may lack fields; it is `None` then, without a
/// problem.
pub(super) fn policy(root: &Field<'_>, version: String, is_base: bool) -> Option<Policy> {
    let fields = root.fields("a policy: a mapping with `name`, `steps`, `metrics` and more")?;
    let need = |name, expected| if is_base { fields.get(name) } else { fields.need(name, expected) };
    // They were followed already.
    for known in ["extends", "abstract"] {
        fields.get(known);
    }
    let name = need("name", "the name by which rollouts ask for it").and_then(|f| f.name());
    let description = fields.or("description", String::new(), |f| f.text(4000));
    let description = description.map(|text| text.trim_end().to_owned());
    let modes = [("act", Mode::Act), ("observe", Mode::Observe)];
    let mode = fields.or("mode", Mode::Act, |f| f.one_of(&modes));
    let analysis = match fields.get("analysis") {
        Some(field) => analysis(&field),
        None => Some((default_analysis(), MIN_REQUESTS)),
    };
    let (analysis, least) = match analysis {
        Some((analysis, least)) => (Some(analysis), least),
        None => (None, MIN_REQUESTS),
    };
    let steps = need("steps", "a list of steps up to 100%").and_then(|f| steps(&f, analysis.as_ref(), least));
    let (mut known, metrics) = match need("metrics", "a list of at least one metric to compare") {
        Some(field) => metrics(&field),
        None => (Vec::new(), None),
    };
    if is_base {
        // More may come, under any name.
        known.push(Known { name: None, kind: None });
    }
    let interval = analysis.as_ref().map(|analysis| analysis.interval);
    let guardrails = fields.or("guardrails", Vec::new(), |f| guardrails(&f, &known, interval));
    let usual = (Bake { duration: HOUR / 2, limits: Vec::new() }, None);
    let bake = fields.or("bake", usual, |f| bake::bake(&f, &known, steps.as_deref()));
    let holdback = bake.as_ref().and_then(|(_, holdback)| holdback.clone());
    let steps = steps.map(|mut steps| {
        let last = steps.len().saturating_sub(1);
        holdback.into_iter().for_each(|step| steps.insert(last, step));
        steps
    });
    let gates = fields.or("gates", Vec::new(), |f| gates::gates(&f, steps.as_deref()));
    let hooks = fields.or("hooks", Vec::new(), |f| hooks::hooks(&f));
    let preflight = fields.or("preflight", Preflight::default(), |f| people::preflight(&f));
    let verify = fields.maybe("verify", |f| people::verify(&f));
    let announce = fields.or("announce", Vec::new(), |f| people::announce(&f));
    let messages = fields.or("messages", BTreeMap::new(), |f| people::messages(&f));
    let runbook = fields.maybe("runbook", |f| people::runbook(&f));
    let alerts = [("hold", FiringAlerts::Hold), ("tell", FiringAlerts::Tell)];
    let firing_alerts = fields.or("firing_alerts", FiringAlerts::Hold, |f| f.one_of(&alerts));
    let pools = [("all", SmallPool::All), ("staged", SmallPool::Staged)];
    let small_pool = fields.or("small_pool", SmallPool::All, |f| f.one_of(&pools));
    fields.close();
    let (bake, _) = bake?;
    Some(Policy {
        name: name?,
        version,
        description: description?,
        mode: mode?,
        steps: steps?,
        analysis: analysis?,
        metrics: metrics?,
        guardrails: guardrails?,
        bake,
        gates: gates?,
        hooks: hooks?,
        preflight: preflight?,
        verify: verify?,
        announce: announce?,
        messages: messages?,
        runbook: runbook?,
        firing_alerts: firing_alerts?,
        small_pool: small_pool?,
    })
}

/// `{margin: 10%, action: hold}`, or `off`.
fn traffic_share(field: &Field<'_>) -> Option<Option<TrafficShare>> {
    if field.is_scalar() {
        return field.one_of(&[("off", None)]);
    }
    let usual = USUAL_SHARE;
    let fields = field.fields("`off`, or a mapping with `margin` and `action`")?;
    let margin = fields.or("margin", usual.margin, |f| f.ratio(0.0..=10.0));
    let actions = [
        ("alert", GuardrailAction::Alert),
        ("hold", GuardrailAction::Hold),
        ("roll_back", GuardrailAction::RollBack),
    ];
    let action = fields.or("action", usual.action, |f| f.one_of(&actions));
    fields.close();
    Some(Some(TrafficShare { margin: margin?, action: action? }))
}

const USUAL_SHARE: TrafficShare = TrafficShare { margin: 0.1, action: GuardrailAction::Hold };

fn default_analysis() -> Analysis {
    Analysis {
        interval: 10 * SECOND,
        lag: 5 * SECOND,
        warm_up: 60 * SECOND,
        false_rollback_rate: 0.01,
        no_harm_alpha: 0.05,
        dispersion: 3.0,
        burst: None,
        min_bad: MIN_BAD,
        history: 2 * HOUR,
        active_requests: None,
        traffic_share: Some(USUAL_SHARE),
        blind: Limit { after: 600 * SECOND, then: LimitOutcome::Hold },
        silent: Limit { after: 60 * SECOND, then: LimitOutcome::RollBack },
        confirm_within: 60 * SECOND,
    }
}

/// The analysis, and how many requests of each arm a step needs that says nothing of it.
fn analysis(field: &Field<'_>) -> Option<(Analysis, u64)> {
    let usual = default_analysis();
    let fields = field.fields("a mapping with `interval`, `warm_up` and more")?;
    let interval = fields.or("interval", usual.interval, |f| f.duration(SECOND / 10..=HOUR));
    let lag = fields.or("lag", usual.lag, |f| f.duration(Duration::ZERO..=600 * SECOND));
    let warm_up = fields.or("warm_up", usual.warm_up, |f| f.duration(Duration::ZERO..=HOUR));
    let false_rollback_rate =
        fields.or("false_rollback_rate", usual.false_rollback_rate, |f| f.ratio(0.000_01..=0.5));
    let no_harm_alpha = fields.or("no_harm_alpha", usual.no_harm_alpha, |f| f.ratio(0.000_01..=0.5));
    let dispersion = fields.or("dispersion", usual.dispersion, |f| f.number(1.0..=1000.0));
    let history = fields.or("history", usual.history, |f| f.duration(Duration::ZERO..=DAY));
    let active_requests = fields.maybe("active_requests", |f| kinds::query(&f));
    let share = fields.or("traffic_share", usual.traffic_share, |f| traffic_share(&f));
    let blind = fields.or("blind", usual.blind, |f| limit(&f, usual.blind, interval));
    let silent = fields.or("silent", usual.silent, |f| limit(&f, usual.silent, interval));
    let confirm_within = fields.or("confirm_within", usual.confirm_within, |f| f.duration(SECOND..=HOUR));
    let least = fields.or("min_requests", MIN_REQUESTS, min_requests);
    fields.close();
    let analysis = Analysis {
        interval: interval?,
        lag: lag?,
        warm_up: warm_up?,
        false_rollback_rate: false_rollback_rate?,
        no_harm_alpha: no_harm_alpha?,
        dispersion: dispersion?,
        // Of the method that is being built: no field of a file sets them yet.
        burst: usual.burst,
        min_bad: usual.min_bad,
        history: history?,
        active_requests: active_requests?,
        traffic_share: share?,
        blind: blind?,
        silent: silent?,
        confirm_within: confirm_within?,
    };
    Some((analysis, least?))
}

fn limit(field: &Field<'_>, usual: Limit, interval: Option<Duration>) -> Option<Limit> {
    let fields = field.fields("a mapping with `after` and `then`")?;
    let shortest = interval.unwrap_or(SECOND).max(SECOND);
    let after = fields.or("after", usual.after, |f| f.duration(shortest..=DAY));
    let outcomes = [("hold", LimitOutcome::Hold), ("roll_back", LimitOutcome::RollBack)];
    let then = fields.or("then", usual.then, |f| f.one_of(&outcomes));
    fields.close();
    Some(Limit { after: after?, then: then? })
}

/// How many requests of each arm are enough.
fn min_requests(field: Field<'_>) -> Option<u64> {
    field.integer(1..=1_000_000_000)
}

fn steps(field: &Field<'_>, analysis: Option<&Analysis>, least: u64) -> Option<Vec<Step>> {
    let items = field.list(50, "a list of steps such as `- {weight: 5%, min: 30m}`")?;
    if items.is_empty() {
        field.problem("there is no step", "at least one step; the last one has `weight: 100%`");
        return None;
    }
    let mut before: Option<Weight> = None;
    let mut read = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let is_last = index + 1 == items.len();
        let Some(fields) = item.fields("a step such as `{weight: 5%, min: 30m}`") else {
            read.push(None);
            continue;
        };
        let weight = weight(&fields, before, is_last);
        before = weight.or(before);
        let rest = match weight {
            Some(Weight::FULL) => full_step(&fields),
            _ => durations(&fields, analysis, least),
        };
        fields.close();
        read.push(weight.zip(rest).map(|(weight, (min, max, at_max, min_requests))| Step {
            weight,
            min,
            max,
            at_max,
            min_requests,
        }));
    }
    all(read)
}

/// The weight of a step. It is given back for the comparison with the next step even where a problem of
/// the order was told.
fn weight(fields: &Fields<'_>, before: Option<Weight>, is_last: bool) -> Option<Weight> {
    let field = fields.need("weight", "the canary's share, such as `weight: 5%`")?;
    let ratio = field.ratio(0.0..=1.0)?;
    let Some(weight) = values::weight(ratio) else {
        field.problem(format!("{} is too fine", values::show_ratio(ratio)), "a multiple of 0.01%");
        return None;
    };
    if weight == Weight::ZERO {
        field.problem("a step of 0% gives the canary nothing to show", "more than 0%");
        return None;
    }
    if let Some(before) = before
        && weight <= before
    {
        field.problem(
            format!("{weight} is not above {before}, the weight of the step before"),
            if before == Weight::FULL {
                "100% in the last step only".to_owned()
            } else {
                format!("more than {before}")
            },
        );
    }
    if is_last && weight != Weight::FULL {
        field.problem(
            format!("the last step has {weight}, so the release would never be whole"),
            "100% in the last step",
        );
    }
    Some(weight)
}

type StepRest = (Duration, Option<Duration>, AtMax, u64);

/// At 100% nothing is compared any more, so that step has no durations of its own.
fn full_step(fields: &Fields<'_>) -> Option<StepRest> {
    let mut good = true;
    for name in ["min", "max", "at_max", "min_requests"] {
        if let Some(field) = fields.get(name) {
            let message = format!("`{name}` has no effect at 100%, where no baseline is left");
            field.problem(message, "`bake: {duration: 30m}` at the top level, to watch 100%");
            good = false;
        }
    }
    good.then_some((Duration::ZERO, None, AtMax::Hold, 0))
}

fn durations(fields: &Fields<'_>, analysis: Option<&Analysis>, least: u64) -> Option<StepRest> {
    let interval = analysis.map_or(SECOND, |analysis| analysis.interval.max(SECOND));
    let min = fields
        .need("min", "the least time of analysis, such as `min: 30m`")
        .and_then(|f| f.duration(interval..=MONTH));
    let max = fields.maybe("max", |field| {
        let max = field.duration(SECOND..=MONTH)?;
        let show = words::show_duration;
        if let Some(min) = min
            && max < min
        {
            field.problem(format!("{} is less than `min`", show(max)), format!("at least {}", show(min)));
            return None;
        }
        let warm_up = analysis.map_or(Duration::ZERO, |analysis| analysis.warm_up);
        if max <= warm_up {
            let message = format!("{} is over before the warm-up of {} is", show(max), show(warm_up));
            field.problem(message, "more than the warm-up");
            return None;
        }
        Some(max)
    });
    let outcomes =
        [("hold", AtMax::Hold), ("roll_back", AtMax::RollBack), ("promote_unproven", AtMax::PromoteUnproven)];
    let at_max = fields.or("at_max", AtMax::Hold, |field| {
        if fields.get("max").is_none() {
            field.problem("`at_max` has no effect without `max`", "`max` to be set too, such as `max: 4h`");
        }
        field.one_of(&outcomes)
    });
    let min_requests = fields.or("min_requests", least, min_requests);
    Some((min?, max?, at_max?, min_requests?))
}

fn metrics(field: &Field<'_>) -> (Vec<Known>, Option<Vec<Metric>>) {
    let Some(items) = field.list(50, "a list of metrics such as `- {name: errors, template: envoy_errors}`")
    else {
        return (vec![Known { name: None, kind: None }], None);
    };
    if items.is_empty() {
        field.problem("there is no metric, so nothing could be judged", "at least one metric");
        return (Vec::new(), None);
    }
    let (known, read): (Vec<_>, Vec<_>) = items.iter().map(metric::metric).unzip();
    let names = known.iter().map(|known| known.name.as_deref());
    let unique = unique(&items, names);
    let counts =
        |known: &Known| matches!(known.kind, None | Some(MetricKind::Proportion | MetricKind::Latency));
    if !known.iter().any(counts) {
        field.problem(
            "no metric counts requests, so nothing would show that a canary gets none, or still gets some",
            "at least one metric of the type proportion or latency beside the others",
        );
        return (known, None);
    }
    (known, all(read).filter(|_| unique))
}

fn guardrails(field: &Field<'_>, known: &[Known], interval: Option<Duration>) -> Option<Vec<Guardrail>> {
    let items = field.list(100, "a list of guardrails")?;
    let read = items.iter().map(|item| guardrail::guardrail(item, known, interval)).collect::<Vec<_>>();
    let names = read.iter().map(|guardrail| guardrail.as_ref().map(|guardrail| &*guardrail.name));
    let unique = unique(&items, names);
    all(read).filter(|_| unique)
}
