//! Which instances Prometheus scrapes for each arm, and which of them answer: the series `up`. An instance that was
//! never scraped has no other series.
//!
//! Targets are an arm's by its labels. Where those are the service's own and not the scrape configuration's, `up` does
//! not carry them; then they are found by the jobs that the arms' counters come from: an instance that the arm has
//! counters of, and, where the job is one arm's alone, every instance of the job. What both arms are scraped from is a
//! proxy, and says nothing of either. Nothing is known where there is no `up`; that is no fault.

use std::collections::{BTreeMap, BTreeSet};

use super::starts::{Counters, has};
use super::{Prometheus, decode, query};
use crate::core::counter::{SeriesId, has_series_of};
use crate::core::metric::{Cursor, Listed, NoData};
use crate::core::time::Timestamp;
use crate::ports::{ArmSelector, CountsRequest};

/// The series that says whether the last scrape of a target was answered.
const UP: &str = "up";

/// A target of the scrape configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    labels: BTreeMap<String, String>,
    /// The instance's key.
    instance: String,
    answers: bool,
}

impl Prometheus {
    /// The targets that carry the labels of an arm.
    pub(super) async fn targets_by_labels(
        &self,
        requests: &[CountsRequest],
    ) -> Result<BTreeSet<Target>, NoData> {
        let mut queries: BTreeMap<Vec<&String>, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
        for arm in requests.iter().flat_map(|request| [&request.canary, &request.baseline]) {
            if arm.labels.is_empty() {
                continue;
            }
            let wanted = queries.entry(arm.labels.keys().collect()).or_default();
            for (label, value) in &arm.labels {
                wanted.entry(label.clone()).or_default().insert(value.clone());
            }
        }
        let mut targets = BTreeSet::new();
        for wanted in queries.values() {
            targets.extend(self.targets_where(wanted, at(requests)).await?);
        }
        Ok(targets)
    }

    /// The targets of the jobs of those arms that no target is known of by its labels.
    pub(super) async fn targets_by_jobs(
        &self,
        requests: &[CountsRequest],
        counted: &[[&Counters<'_>; 2]],
        known: &BTreeSet<Target>,
    ) -> Result<BTreeSet<Target>, NoData> {
        let nameless = |one: &&Counters<'_>| !known.iter().any(|target| has(&target.labels, one.labels));
        let jobs = counted.iter().flatten().copied().filter(nameless).flat_map(Counters::jobs);
        let jobs: BTreeSet<String> = jobs.map(str::to_owned).collect();
        if jobs.is_empty() {
            return Ok(BTreeSet::new());
        }
        self.targets_where(&BTreeMap::from([("job".to_owned(), jobs)]), at(requests)).await
    }

    async fn targets_where(
        &self,
        wanted: &BTreeMap<String, BTreeSet<String>>,
        at: Timestamp,
    ) -> Result<BTreeSet<Target>, NoData> {
        let query = query::gauge_now(UP, wanted, &self.pin)?;
        let found = decode::vector(&self.transport.query(&query, at).await?, self.max_series)?;
        let target = |(mut labels, answers): (BTreeMap<String, String>, f64)| {
            labels.remove("__name__");
            let instance = SeriesId::instance_of(&labels)?;
            Some(Target { labels, instance, answers: answers > 0.0 })
        };
        Ok(found.into_iter().filter_map(target).collect())
    }
}

/// The time that is looked at.
fn at(requests: &[CountsRequest]) -> Timestamp {
    let at = requests.iter().map(|request| request.now.minus(request.lag));
    at.max().unwrap_or_default()
}

/// One arm with what is known of it.
#[derive(Clone, Copy)]
struct Arm<'a> {
    selector: &'a ArmSelector,
    counters: &'a Counters<'a>,
    cursor: Option<&'a Cursor>,
}

impl Arm<'_> {
    /// Whether the arm has, or had, counters of the instance.
    fn knows(&self, instance: &str) -> bool {
        self.counters.has_instance(instance)
            || self.cursor.is_some_and(|cursor| has_series_of(cursor, instance))
    }

    fn has_job_of(&self, target: &Target) -> bool {
        target.labels.get("job").is_some_and(|job| self.counters.jobs().any(|known| known == job))
    }

    /// Whether none of the arm's labels says that the target is another one's.
    fn may_have(&self, target: &Target) -> bool {
        self.selector
            .labels
            .iter()
            .all(|(label, value)| target.labels.get(label).is_none_or(|is| is == value))
    }
}

/// The instances of both arms.
pub(super) fn listed(
    request: &CountsRequest,
    [canary, baseline]: [&Counters<'_>; 2],
    targets: &BTreeSet<Target>,
) -> [Option<Listed>; 2] {
    let cursor = request.cursor.as_ref();
    let canary =
        Arm { selector: &request.canary, counters: canary, cursor: cursor.map(|cursor| &cursor.canary) };
    let baseline = Arm {
        selector: &request.baseline,
        counters: baseline,
        cursor: cursor.map(|cursor| &cursor.baseline),
    };
    [of_arm(canary, baseline, targets), of_arm(baseline, canary, targets)]
}

fn of_arm(arm: Arm<'_>, other: Arm<'_>, targets: &BTreeSet<Target>) -> Option<Listed> {
    let labels = &arm.selector.labels;
    let own = |target: &&Target| !labels.is_empty() && has(&target.labels, labels);
    let mut found: Vec<&Target> = targets.iter().filter(own).collect();
    if found.is_empty() {
        let is_own = |target: &&Target| match (arm.knows(&target.instance), other.knows(&target.instance)) {
            (is_known, false) => {
                arm.may_have(target) && (is_known || arm.has_job_of(target) && !other.has_job_of(target))
            }
            (_, true) => false,
        };
        found = targets.iter().filter(is_own).collect();
    } else {
        // What else runs beside the service, such as an exporter, is another job. A canary that was never scraped
        // is most likely scraped as the other arm is.
        for known in [arm, other] {
            if found.iter().any(|target| known.has_job_of(target)) {
                found.retain(|target| known.has_job_of(target));
                break;
            }
        }
        found.retain(|target| !(arm.knows(&target.instance) && other.knows(&target.instance)));
    }
    if found.is_empty() {
        return None;
    }
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let never = found.iter().filter(|target| !target.answers && !arm.knows(&target.instance));
    Some(Listed {
        of: count(found.len()),
        ready: count(found.iter().filter(|target| target.answers).count()),
        never: never.map(|target| target.instance.clone()).collect(),
    })
}
