//! The options of shapes, made into shapes.

use std::time::Duration;

use super::options::{BurstHits, BurstSizes, ShapeArgs, ShapeName};
use crate::montecarlo::traffic::{Bursts, Hits, Shape};

/// The tail index of Pareto bursts: the variance of their sizes is finite, their skewness is not.
const TAIL: f64 = 2.5;

impl ShapeArgs {
    /// The shapes that are asked for.
    ///
    /// # Errors
    /// Options of shapes that are not asked for, and figures that make no shape.
    pub(super) fn shapes(&self) -> Result<Vec<Shape>, Vec<String>> {
        let mut problems = self.unused();
        let mut shapes = Vec::new();
        let mut seen = Vec::new();
        for name in &self.shape {
            if seen.contains(name) {
                problems.push(format!("--shape {} stands there twice", called(*name)));
                continue;
            }
            seen.push(*name);
            match self.shape(*name) {
                Ok(shape) => shapes.extend(shape),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(shapes) } else { Err(problems) }
    }

    fn shape(&self, name: ShapeName) -> Result<Option<Shape>, String> {
        let seconds =
            |given: Option<Duration>, default: f64| given.map_or(default, |time| time.as_secs_f64());
        Ok(Some(match name {
            ShapeName::Poisson => return Ok(None),
            ShapeName::Bursts => Shape::Bursts(self.bursts()?),
            ShapeName::Drift => Shape::Drift {
                period: seconds(self.drift_period, 86_400.0),
                error_factor: self.drift_errors.unwrap_or(2.0),
                traffic_share: self.drift_traffic.unwrap_or(0.5),
            },
            ShapeName::Shocks => Shape::Shocks {
                every: seconds(self.shock_every, 600.0),
                lasts: seconds(self.shock_lasts, 60.0),
                error_factor: self.shock_errors.unwrap_or(3.0),
                latency_factor: self.shock_latency.unwrap_or(1.5),
            },
            ShapeName::Noise => Shape::Noise {
                error_sd: self.noise_errors.unwrap_or(0.3),
                latency_sd: self.noise_latency.unwrap_or(0.05),
                correlation: seconds(self.noise_time, 60.0),
            },
            ShapeName::ColdStart => Shape::ColdStart {
                lasts: seconds(self.cold_lasts, 60.0),
                error_factor: self.cold_errors.unwrap_or(3.0),
                latency_factor: self.cold_latency.unwrap_or(2.0),
            },
            ShapeName::ColdPods => Shape::ColdPods {
                lasts: seconds(self.cold_lasts, 60.0),
                latency_factor: self.cold_latency.unwrap_or(2.0),
                added: self.cold_added,
            },
            ShapeName::BadPod => {
                Shape::BadPod { pods: self.pods.unwrap_or(1), error_sd: self.pod_errors.unwrap_or(0.2) }
            }
            ShapeName::Incidents => Shape::Incidents {
                size: self.burst_size.unwrap_or(30),
                lasts: seconds(self.burst_lasts, 60.0),
                share: self.burst_share.unwrap_or(0.5),
                hits: match self.burst_hits {
                    Some(BurstHits::Both) => Hits::Both,
                    _ => Hits::One,
                },
            },
            ShapeName::Pods => Shape::Pods {
                canary: self.pods.unwrap_or(1),
                baseline: self.baseline_pods.unwrap_or(19),
                error_sd: self.pod_errors.unwrap_or(0.2),
                latency_sd: self.pod_latency.unwrap_or(0.0),
            },
            ShapeName::Users => Shape::Users {
                users: self.users.unwrap_or(10_000),
                tail: self.user_tail.unwrap_or(1.5),
                error_sd: self.user_errors.unwrap_or(1.0),
            },
            ShapeName::Ejection => Shape::Ejection {
                canary: self.pods.unwrap_or(1),
                baseline: self.baseline_pods.unwrap_or(19),
                size: self.burst_size.unwrap_or(10),
                lasts: seconds(self.burst_lasts, 30.0),
                share: self.burst_share.unwrap_or(0.5),
            },
            ShapeName::Deploy => Shape::Deploy {
                lasts: seconds(self.deploy_lasts, 20.0),
                error_factor: self.deploy_errors.unwrap_or(10.0),
                both: self.deploy_hits != Some(BurstHits::One),
            },
            ShapeName::Client => Shape::Client {
                share: self.client_share.unwrap_or(0.3),
                error_factor: self.client_errors.unwrap_or(1.0),
            },
        }))
    }

    fn bursts(&self) -> Result<Bursts, String> {
        let variance_factor = self.burst_factor.unwrap_or(3.0);
        match self.burst_sizes.unwrap_or(BurstSizes::Fixed) {
            BurstSizes::Fixed if variance_factor.fract() == 0.0 && (1.0..=1e6).contains(&variance_factor) => {
                Ok(Bursts::Fixed { size: variance_factor as u32 })
            }
            BurstSizes::Fixed => Err(format!(
                "--burst-factor {variance_factor}: bursts of one size need a whole number from 1 to 1000000; \
                 or take --burst-sizes gamma"
            )),
            BurstSizes::Gamma => Ok(Bursts::Gamma { variance_factor }),
            BurstSizes::Pareto => Ok(Bursts::Pareto { variance_factor, tail: TAIL }),
        }
    }

    /// Options that belong to shapes that are not asked for.
    fn unused(&self) -> Vec<String> {
        use ShapeName::{
            BadPod, Bursts, Client, ColdPods, ColdStart, Deploy, Drift, Ejection, Incidents, Noise, Pods,
            Shocks, Users,
        };
        let options: [(&str, bool, &[ShapeName]); 32] = [
            ("--burst-factor", self.burst_factor.is_some(), &[Bursts]),
            ("--burst-sizes", self.burst_sizes.is_some(), &[Bursts]),
            ("--drift-period", self.drift_period.is_some(), &[Drift]),
            ("--drift-errors", self.drift_errors.is_some(), &[Drift]),
            ("--drift-traffic", self.drift_traffic.is_some(), &[Drift]),
            ("--shock-every", self.shock_every.is_some(), &[Shocks]),
            ("--shock-lasts", self.shock_lasts.is_some(), &[Shocks]),
            ("--shock-errors", self.shock_errors.is_some(), &[Shocks]),
            ("--shock-latency", self.shock_latency.is_some(), &[Shocks]),
            ("--noise-errors", self.noise_errors.is_some(), &[Noise]),
            ("--noise-latency", self.noise_latency.is_some(), &[Noise]),
            ("--noise-time", self.noise_time.is_some(), &[Noise]),
            ("--cold-lasts", self.cold_lasts.is_some(), &[ColdStart, ColdPods]),
            ("--cold-added", self.cold_added, &[ColdPods]),
            ("--cold-errors", self.cold_errors.is_some(), &[ColdStart]),
            ("--cold-latency", self.cold_latency.is_some(), &[ColdStart, ColdPods]),
            ("--pods", self.pods.is_some(), &[BadPod, Pods, Ejection]),
            ("--pod-errors", self.pod_errors.is_some(), &[BadPod, Pods]),
            ("--pod-latency", self.pod_latency.is_some(), &[Pods]),
            ("--baseline-pods", self.baseline_pods.is_some(), &[Pods, Ejection]),
            ("--burst-size", self.burst_size.is_some(), &[Incidents, Ejection]),
            ("--burst-lasts", self.burst_lasts.is_some(), &[Incidents, Ejection]),
            ("--burst-share", self.burst_share.is_some(), &[Incidents, Ejection]),
            ("--burst-hits", self.burst_hits.is_some(), &[Incidents]),
            ("--users", self.users.is_some(), &[Users]),
            ("--user-tail", self.user_tail.is_some(), &[Users]),
            ("--user-errors", self.user_errors.is_some(), &[Users]),
            ("--deploy-lasts", self.deploy_lasts.is_some(), &[Deploy]),
            ("--deploy-errors", self.deploy_errors.is_some(), &[Deploy]),
            ("--deploy-hits", self.deploy_hits.is_some(), &[Deploy]),
            ("--client-share", self.client_share.is_some(), &[Client]),
            ("--client-errors", self.client_errors.is_some(), &[Client]),
        ];
        let unused = options
            .into_iter()
            .filter(|(_, given, shapes)| *given && !shapes.iter().any(|shape| self.shape.contains(shape)));
        unused
            .map(|(option, _, shapes)| {
                let shapes: Vec<&str> = shapes.iter().map(|shape| called(*shape)).collect();
                format!("{option} belongs to --shape {}", shapes.join(" or "))
            })
            .collect()
    }
}

/// As the command line has it.
pub(super) fn called(name: ShapeName) -> &'static str {
    match name {
        ShapeName::Poisson => "poisson",
        ShapeName::Bursts => "bursts",
        ShapeName::Drift => "drift",
        ShapeName::Shocks => "shocks",
        ShapeName::Noise => "noise",
        ShapeName::ColdStart => "cold-start",
        ShapeName::ColdPods => "cold-pods",
        ShapeName::BadPod => "bad-pod",
        ShapeName::Incidents => "incidents",
        ShapeName::Pods => "pods",
        ShapeName::Users => "users",
        ShapeName::Ejection => "ejection",
        ShapeName::Deploy => "deploy",
        ShapeName::Client => "client",
    }
}
