//! All rollouts at a glance: `GET /overview`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;

use super::Api;
use super::access::{Permission, Principal};
use super::input::Params;
use super::problem::Problem;
use crate::contract::bodies::PhaseWord;
use crate::contract::{CountsView, OverviewRow, OverviewView, PHASES, worst};
use crate::core::ids::RolloutId;
use crate::core::judge::Assessment;
use crate::core::rollout::{EventKind, Phase, Rollout};
use crate::core::target::Target;
use crate::core::time::Timestamp;
use crate::ports::{RolloutFilter, Store, StoreError};

/// Rollouts in one overview.
pub(super) const ROWS: usize = 1000;
/// Looks in a small picture.
const LOOKS: usize = 40;
/// Rollouts that the median time to promotion is taken of.
const PROMOTIONS: usize = 200;
/// The longest time that ended rollouts are asked for.
const LONGEST: Duration = Duration::from_secs(90 * 86_400);

/// What is kept in memory for overviews: the last looks of rollouts, and when they were promoted.
#[derive(Clone, Default)]
pub(super) struct Sparks {
    kept: Arc<Mutex<BTreeMap<RolloutId, Looks>>>,
    promotions: Arc<Mutex<BTreeMap<RolloutId, Option<f64>>>>,
}

/// Canary over baseline of every metric at the last looks, in the policy's order.
#[derive(Clone, Debug, Default)]
struct Looks {
    last: u64,
    ratios: VecDeque<Vec<Option<f64>>>,
}

impl Looks {
    fn take(&mut self, seq: u64, assessment: &Assessment) {
        if seq <= self.last {
            return;
        }
        self.last = seq;
        let ratio =
            |ratio: Option<[f64; 3]>| ratio.map(|[_, estimate, _]| estimate).filter(|x| x.is_finite());
        self.ratios.push_back(assessment.metrics.iter().map(|metric| ratio(metric.ratio)).collect());
        while self.ratios.len() > LOOKS {
            self.ratios.pop_front();
        }
    }
}

impl Sparks {
    /// The small picture of a rollout's worst metric. Looks that were not taken in yet are read; one that
    /// is new stands in the rollout itself.
    pub(super) async fn of(&self, store: &dyn Store, rollout: &Rollout) -> Result<Vec<f64>, StoreError> {
        if rollout.phase.is_terminal() {
            return Ok(Vec::new());
        }
        let Some(index) = worst(rollout)
            .and_then(|worst| rollout.policy.metrics.iter().position(|metric| metric.name == worst.name))
        else {
            return Ok(Vec::new());
        };
        let mut looks = self.looks(|kept| kept.get(&rollout.id).cloned()).unwrap_or_default();
        let missing = rollout.tick_seq.saturating_sub(looks.last);
        if missing > 1 {
            let after = looks.last.max(rollout.tick_seq.saturating_sub(LOOKS as u64));
            for (tick, assessment) in store.observations(&rollout.id, after, LOOKS).await? {
                looks.take(tick.seq, &assessment);
            }
        }
        if let Some(last) = &rollout.last {
            looks.take(rollout.tick_seq, last);
        }
        let short = |x: f64| (x * 1e4).round() / 1e4;
        let spark = looks.ratios.iter().filter_map(|ratios| ratios.get(index).copied()?).map(short).collect();
        self.looks(|kept| {
            // Bounded whatever was asked for: those that are lost are read again.
            while kept.len() >= 2 * ROWS {
                kept.pop_first();
            }
            let entry = kept.entry(rollout.id.clone()).or_default();
            if entry.last <= looks.last {
                *entry = looks;
            }
        });
        Ok(spark)
    }

    /// Forgets those that have ended.
    pub(super) fn ended(&self, id: &RolloutId) {
        self.looks(|kept| kept.remove(id));
    }

    fn looks<R>(&self, work: impl FnOnce(&mut BTreeMap<RolloutId, Looks>) -> R) -> R {
        work(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Seconds from the request to the decision for 100%; never changes once it has succeeded.
    async fn promotion(&self, store: &dyn Store, rollout: &Rollout) -> Result<Option<f64>, StoreError> {
        let known = {
            let promotions = self.promotions.lock().unwrap_or_else(PoisonError::into_inner);
            promotions.get(&rollout.id).copied()
        };
        if let Some(seconds) = known {
            return Ok(seconds);
        }
        let events = store.events(&rollout.id, 0, 1000).await?;
        let promoted = events.iter().find(|event| event.kind == EventKind::Promoted);
        let seconds = promoted.map(|event| event.at.since(rollout.created_at).as_secs_f64());
        let mut promotions = self.promotions.lock().unwrap_or_else(PoisonError::into_inner);
        while promotions.len() >= 10 * PROMOTIONS {
            promotions.pop_first();
        }
        promotions.insert(rollout.id.clone(), seconds);
        Ok(seconds)
    }
}

/// What is shown of all rollouts.
struct Wanted {
    state: Option<String>,
    service: Option<String>,
    policy: Option<String>,
    text: Option<String>,
    ended_within: Duration,
}

impl Wanted {
    fn read(mut params: Params) -> Result<Wanted, Problem> {
        let wanted = Wanted {
            state: params.word("state", PHASES),
            service: params.text("service"),
            policy: params.text("policy"),
            text: params.text("q").map(|text| text.to_lowercase()),
            ended_within: params.duration("ended_within", LONGEST).unwrap_or(Duration::from_secs(86_400)),
        };
        params.finish()?;
        Ok(wanted)
    }

    fn shows(&self, rollout: &Rollout) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        is(&self.state, rollout.phase.name())
            && is(&self.service, &rollout.target)
            && is(&self.policy, &rollout.policy.name)
            && self.text.as_ref().is_none_or(|text| {
                [&rollout.id.0, &rollout.target, &rollout.version, &rollout.created_by]
                    .iter()
                    .any(|field| field.to_lowercase().contains(text))
            })
    }
}

/// `GET /overview`: what runs, what needs somebody, and what has ended lately; at most 1,000 rollouts.
#[utoipa::path(get, path = "/api/v1/overview", tag = "overview", operation_id = "overview_all",
    params(
        ("state" = Option<PhaseWord>, Query, description = "Only in this phase"),
        ("service" = Option<String>, Query, description = "Only of this target"),
        ("policy" = Option<String>, Query, description = "Only under this policy"),
        ("q" = Option<String>, Query, description = "Only those whose id, target, version or author contains this"),
        ("ended_within" = Option<String>, Query, description = "Ended ones of so long; 24h if it is not there, at most 90d", pattern = "^([0-9]{1,6}s|[0-9]{1,5}m|[0-9]{1,3}h|[1-8]?[0-9]d|90d)$"),
    ),
    responses((status = 200, description = "The overview", body = OverviewView)))]
pub(super) async fn overview(
    State(api): State<Api>,
    principal: Principal,
    params: Params,
) -> Result<Json<OverviewView>, Problem> {
    let wanted = Wanted::read(params)?;
    let store = api.handle.store();
    let now = api.handle.clock().wall();
    let since = now.minus(wanted.ended_within);
    let midnight = Timestamp(now.0 - now.0.rem_euclid(86_400_000));
    let active = RolloutFilter { active: Some(true), limit: ROWS, ..RolloutFilter::default() };
    let ended = RolloutFilter {
        active: Some(false),
        since: Some(since.min(midnight)),
        limit: ROWS,
        ..RolloutFilter::default()
    };
    let may = |rollout: &Rollout| principal.may(Permission::View, &rollout.target);
    let mut active = store.rollouts(&active).await?;
    let mut ended = store.rollouts(&ended).await?;
    active.retain(may);
    ended.retain(may);
    ended.sort_by(|a, b| b.ended_at.cmp(&a.ended_at).then_with(|| b.id.cmp(&a.id)));
    let targets = targets(store.as_ref()).await?;
    let mut rows = Vec::new();
    let mut counts = CountsView::default();
    for rollout in &active {
        let spark = api.sparks.of(store.as_ref(), rollout).await?;
        let row = OverviewRow::new(rollout, targets.get(&rollout.target), spark);
        count_active(&mut counts, rollout, &row);
        rows.extend(wanted.shows(rollout).then_some(row));
    }
    let mut seconds = Vec::new();
    for rollout in &ended {
        let row = OverviewRow::new(rollout, targets.get(&rollout.target), Vec::new());
        let today = rollout.ended_at.is_some_and(|at| at >= midnight);
        counts.ended_today += usize::from(today);
        counts.rolled_back_today += usize::from(today && matches!(rollout.phase, Phase::RolledBack { .. }));
        counts.needs_you += usize::from(row.needs_you);
        if rollout.ended_at.is_some_and(|at| at >= since) {
            if rollout.phase == Phase::Succeeded && seconds.len() < PROMOTIONS {
                seconds.extend(api.sparks.promotion(store.as_ref(), rollout).await?);
            }
            rows.extend(wanted.shows(rollout).then_some(row));
        }
    }
    counts.median_seconds_to_promotion = median(seconds);
    // Active ones come newest first, ended ones last first; the sort keeps that.
    rows.sort_by_key(|row| (!row.needs_you, row.ended));
    rows.truncate(ROWS);
    Ok(Json(OverviewView { at: now.to_string(), counts, items: rows }))
}

fn count_active(counts: &mut CountsView, rollout: &Rollout, row: &OverviewRow) {
    let baking = rollout.phase == Phase::Baking;
    counts.baking += usize::from(baking);
    counts.in_progress += usize::from(!baking);
    counts.needs_you += usize::from(row.needs_you);
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

/// All targets by name.
pub(super) async fn targets(store: &dyn Store) -> Result<BTreeMap<String, Target>, StoreError> {
    Ok(store.targets().await?.into_iter().map(|target| (target.name.clone(), target)).collect())
}
