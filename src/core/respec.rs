//! A target that is declared anew while a rollout has it.
//!
//! A rollout keeps what is judged and split as it began: the router and the route, the provider, the labels, which
//! pools there are and what they are at the router. What only says where things are reached, or who is told, is taken
//! at once.

use super::spec::{Pool, TargetSpec};

/// A target's declaration while a rollout has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Respec {
    /// What is in force until the rollout has ended.
    pub in_force: TargetSpec,
    /// The fields of the new declaration that wait for that.
    pub waiting: Vec<String>,
}

impl Respec {
    /// `began` is the declaration that the rollout began with, `now` the newest one.
    pub fn new(began: &TargetSpec, now: &TargetSpec) -> Respec {
        let mut waiting = Vec::new();
        let mut note = |differs: bool, field: &str| {
            if differs {
                waiting.push(field.to_owned());
            }
        };
        note(began.router != now.router, "router");
        note(began.provider != now.provider, "provider");
        note(began.route != now.route, "route");
        note(began.labels != now.labels, "labels");
        note(began.split_by != now.split_by, "split_by");
        let mut in_force = began.clone();
        in_force.environment.clone_from(&now.environment);
        reach(&mut in_force.stable, &now.stable, "stable", &mut note);
        reach(&mut in_force.canary, &now.canary, "canary", &mut note);
        match (&mut in_force.baseline, &now.baseline) {
            (Some(began), Some(now)) => reach(began, now, "baseline", &mut note),
            (None, None) => {}
            (Some(_), None) | (None, Some(_)) => note(true, "baseline"),
        }
        Respec { in_force, waiting }
    }
}

/// A pool is reached where the newest declaration says; what it is, and what its series are, stays.
fn reach(began: &mut Pool, now: &Pool, name: &str, note: &mut impl FnMut(bool, &str)) {
    note(began.backend != now.backend, &format!("{name}.backend"));
    note(began.labels != now.labels, &format!("{name}.labels"));
    began.endpoints.clone_from(&now.endpoints);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn spec() -> TargetSpec {
        let pool = |backend: &str| Pool {
            backend: backend.to_owned(),
            labels: BTreeMap::from([("pool".to_owned(), backend.to_owned())]),
            endpoints: vec![format!("http://{backend}/metrics")],
        };
        TargetSpec {
            name: "shop".into(),
            router: "edge".into(),
            provider: "prom".into(),
            route: "shop".into(),
            labels: BTreeMap::new(),
            stable: pool("a"),
            canary: pool("b"),
            baseline: None,
            stable_version: Some("v1".into()),
            environment: None,
            split_by: Default::default(),
        }
    }

    #[test]
    fn addresses_and_the_environment_are_taken_at_once() {
        let mut now = spec();
        now.canary.endpoints = vec!["http://elsewhere/metrics".into()];
        now.environment = Some("production".into());
        assert_eq!(Respec::new(&spec(), &now), Respec { in_force: now.clone(), waiting: Vec::new() });
    }

    #[test]
    fn what_is_judged_and_split_waits_and_is_named() {
        let mut now = spec();
        now.router = "other".into();
        now.provider = "other".into();
        now.route = "other".into();
        now.labels = BTreeMap::from([("job".to_owned(), "shop".to_owned())]);
        now.stable.backend = "c".into();
        now.canary.labels.clear();
        now.baseline = Some(Pool::default());
        let respec = Respec::new(&spec(), &now);
        assert_eq!(respec.in_force, spec(), "nothing of it is in force");
        let fields = ["router", "provider", "route", "labels", "stable.backend", "canary.labels", "baseline"];
        assert_eq!(respec.waiting, fields);
    }
}
