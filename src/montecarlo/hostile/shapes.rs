//! The named shapes of hostile traffic.

use crate::montecarlo::traffic::{Bursts, Hits, Latency, Shape, Traffic};

/// Traffic that real services have, to which a harmless release goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Hostile {
    /// As on the command line: `bursts-30-in-60s`.
    pub name: String,
    /// In words.
    pub words: String,
    /// The traffic.
    pub traffic: Traffic,
    /// The promise does not cover it.
    pub outside: Option<Outside>,
}

/// Why the promise does not cover a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// Bursts longer than a minute show only in the target's past.
    LongBursts,
    /// More than 50 errors a minute in one burst, at no more than 100 requests/s.
    LargeBursts,
    /// Pods that differ by 30% or more, and one canary pod.
    OnePod,
    /// What lasts in the pods shows only in the target's past.
    Pods,
    /// What lasts in the users shows nowhere.
    Users,
    /// A burst at the deploy in the canary alone looks like its doing.
    Deploy,
}

impl Outside {
    /// In words; `None` where the promise covers it since the target's past is known.
    pub fn why(self, history: bool) -> Option<&'static str> {
        match self {
            Outside::LongBursts | Outside::Pods if history => None,
            Outside::LongBursts => Some("bursts longer than 60 s, without history"),
            Outside::LargeBursts => {
                Some("more than 50 errors a minute in one burst at 100 requests/s or less")
            }
            Outside::OnePod => Some("pods that differ by a log-sd of 0.3 or more, one canary pod"),
            Outside::Pods => Some("lasting differences between pods, without history or `spread`"),
            Outside::Users => Some("lasting differences between users, without `spread`"),
            Outside::Deploy => Some("a burst at the deploy in the canary alone"),
        }
    }
}

/// The shape of this name.
pub fn shape(name: &str) -> Option<Hostile> {
    shapes().into_iter().find(|shape| shape.name == name)
}

/// All shapes, in the order of the tables.
pub fn shapes() -> Vec<Hostile> {
    let mut all = List(Vec::new());
    all.add("independent", "independent requests", None, []);
    all.add_to(Traffic::new(1000.0, 0.005), "independent-1000", "independent requests", None, []);
    bursts(&mut all);
    let pareto = Shape::Bursts(Bursts::Pareto { variance_factor: 10.0, tail: 2.5 });
    all.add("pareto-bursts", "bursts with Pareto sizes, dispersion 10", None, [pareto]);
    let shocks = Shape::Shocks { every: 900.0, lasts: 60.0, error_factor: 10.0, latency_factor: 3.0 };
    let words = "both arms fail 10 times as often and take 3 times as long for 60 s, every 15 min or so";
    all.add("shared-incidents", words, None, [shocks]);
    let drift = Shape::Drift { period: 3600.0, error_factor: 2.0, traffic_share: 0.3 };
    all.add("drift", "errors go up and down by ×2 and traffic by 30% within an hour", None, [drift]);
    let daily = Shape::Drift { period: 86_400.0, error_factor: 3.0, traffic_share: 0.5 };
    all.add("daily", "errors go up and down by ×3 and traffic by 50% within a day", None, [daily]);
    lasting(&mut all);
    passing(&mut all);
    services(&mut all);
    all.0
}

/// Half of the errors come in bursts.
fn bursts(all: &mut List) {
    for (rps, error_rate, suffix) in [(100.0, 0.01, ""), (1000.0, 0.005, "-1000")] {
        let traffic = || Traffic::new(rps, error_rate);
        for (hits, infix, place) in [(Hits::One, "", "one arm"), (Hits::Both, "-both", "both arms")] {
            for (size, lasts) in [
                (10, 10),
                (10, 60),
                (10, 300),
                (30, 10),
                (30, 60),
                (30, 300),
                (100, 10),
                (100, 60),
                (100, 300),
            ] {
                if hits == Hits::Both && (size, lasts) != (30, 60) && (size, lasts) != (100, 60) {
                    continue;
                }
                // More than 50 a minute, however short.
                let is_large = f64::from(size) > 50.0 * f64::from(lasts.max(60)) / 60.0;
                let outside = match hits {
                    Hits::Both => None,
                    Hits::One if lasts > 60 => Some(Outside::LongBursts),
                    Hits::One if is_large && rps <= 100.0 => Some(Outside::LargeBursts),
                    Hits::One => None,
                };
                let shape = Shape::Incidents { size, lasts: f64::from(lasts), share: 0.5, hits };
                let name = format!("bursts{infix}-{size}-in-{lasts}s{suffix}");
                let words = format!("half of the errors in bursts of {size} within {lasts} s in {place}");
                all.add_to(traffic(), &name, &words, outside, [shape]);
            }
        }
    }
}

/// Pods and users that differ for good.
fn lasting(all: &mut List) {
    for (canary, baseline, total) in [(1, 19, 20), (3, 57, 60)] {
        for sd in [0.1, 0.2, 0.3, 0.5] {
            for (what, error_sd, latency_sd) in [("errors", sd, 0.0), ("latency", 0.0, sd)] {
                let one = canary == 1 && sd >= 0.3;
                let outside = if one { Outside::OnePod } else { Outside::Pods };
                let shape = Shape::Pods { canary, baseline, error_sd, latency_sd };
                let name = format!("pods-{canary}-of-{total}-{what}-{sd}");
                let words = format!("{canary} of {total} pods, whose {what} differ by a log-sd of {sd}");
                all.add(&name, &words, Some(outside), [shape]);
            }
        }
    }
    let users = Shape::Users { users: 10_000, tail: 1.5, error_sd: 1.0 };
    let words =
        "10,000 users by hash, traffic with Pareto tail 1.5, error rates that differ by a log-sd of 1";
    all.add("users", words, Some(Outside::Users), [users]);
}

/// What comes and goes, in the canary alone or by the change of the weights.
fn passing(all: &mut List) {
    for (canary, baseline, total) in [(1, 19, 20), (3, 57, 60)] {
        let shape = Shape::Ejection { canary, baseline, size: 10, lasts: 30.0, share: 0.5 };
        let words = format!("{canary} of {total} pods; one that fails 10 times is out for 30 s");
        all.add(&format!("ejection-{canary}-of-{total}"), &words, None, [shape]);
    }
    for (added, suffix, when) in
        [(false, "", "starts"), (true, "-added", "starts, and new ones at each step")]
    {
        for lasts in [60, 180] {
            let shape = Shape::ColdPods { lasts: f64::from(lasts), latency_factor: 2.0, added };
            let words = format!("twice as slow for {lasts} s after the canary {when}");
            all.add(&format!("cold-caches-{lasts}s{suffix}"), &words, None, [shape]);
        }
    }
    for correlation in [60, 600] {
        let shape = Shape::Noise { error_sd: 0.0, latency_sd: 0.1, correlation: f64::from(correlation) };
        let words = format!("the canary's latency wanders, log-sd 0.1, correlation time {correlation} s");
        all.add(&format!("wander-{correlation}s"), &words, None, [shape]);
    }
    for (both, name, outside) in
        [(true, "deploy-both", None), (false, "deploy-canary", Some(Outside::Deploy))]
    {
        let shape = Shape::Deploy { lasts: 20.0, error_factor: 10.0, both };
        let words = format!(
            "errors ×10 for the first 20 s of each step, in {}",
            if both { "both arms" } else { "the canary alone" }
        );
        all.add(name, &words, outside, [shape]);
    }
    let client = |error_factor| Shape::Client { share: 0.3, error_factor };
    all.add("client", "one client sends 30% of the canary's requests", None, [client(1.0)]);
    let words = "the same, and twice as many of its requests fail";
    all.add("client-worse", words, Some(Outside::Users), [client(2.0)]);
}

/// Services that are not like the usual one.
fn services(all: &mut List) {
    all.add_to(Traffic::new(0.2, 0.01), "low-traffic", "0.2 requests/s", None, []);
    for rps in [20.0, 100.0] {
        let latency = Latency { median_seconds: 0.8, ..Latency::default() };
        let traffic = Traffic { latency, ..Traffic::new(rps, 0.01) };
        all.add_to(traffic, &format!("slow-service-{rps}"), "a median latency of 0.8 s", None, []);
    }
    for rps in [100.0, 1000.0] {
        all.add_to(Traffic::new(rps, 0.019), &format!("near-limit-{rps}"), "1.9% errors", None, []);
    }
}

struct List(Vec<Hostile>);

impl List {
    /// At 100 requests/s and 1% errors.
    fn add<const N: usize>(&mut self, name: &str, words: &str, outside: Option<Outside>, shapes: [Shape; N]) {
        self.add_to(Traffic::new(100.0, 0.01), name, words, outside, shapes);
    }

    fn add_to<const N: usize>(
        &mut self,
        traffic: Traffic,
        name: &str,
        words: &str,
        outside: Option<Outside>,
        shapes: [Shape; N],
    ) {
        let (rps, percent) = (traffic.requests_per_second, traffic.error_rate * 100.0);
        let words = format!("{words}, at {rps} requests/s and {percent}% errors");
        let traffic = Traffic { shapes: shapes.to_vec(), ..traffic };
        self.0.push(Hostile { name: name.to_owned(), words, traffic, outside });
    }
}
