//! The options of shapes, made into shapes.

use std::time::Duration;

use super::args::{BurstSizes, ShapeArgs, ShapeName};
use crate::montecarlo::traffic::{Bursts, Shape};

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
            ShapeName::BadPod => {
                Shape::BadPod { pods: self.pods.unwrap_or(1), error_sd: self.pod_errors.unwrap_or(0.2) }
            }
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
        use ShapeName::{BadPod, Bursts, ColdStart, Drift, Noise, Shocks};
        [
            ("--burst-factor", self.burst_factor.is_some(), Bursts),
            ("--burst-sizes", self.burst_sizes.is_some(), Bursts),
            ("--drift-period", self.drift_period.is_some(), Drift),
            ("--drift-errors", self.drift_errors.is_some(), Drift),
            ("--drift-traffic", self.drift_traffic.is_some(), Drift),
            ("--shock-every", self.shock_every.is_some(), Shocks),
            ("--shock-lasts", self.shock_lasts.is_some(), Shocks),
            ("--shock-errors", self.shock_errors.is_some(), Shocks),
            ("--shock-latency", self.shock_latency.is_some(), Shocks),
            ("--noise-errors", self.noise_errors.is_some(), Noise),
            ("--noise-latency", self.noise_latency.is_some(), Noise),
            ("--noise-time", self.noise_time.is_some(), Noise),
            ("--cold-lasts", self.cold_lasts.is_some(), ColdStart),
            ("--cold-errors", self.cold_errors.is_some(), ColdStart),
            ("--cold-latency", self.cold_latency.is_some(), ColdStart),
            ("--pods", self.pods.is_some(), BadPod),
            ("--pod-errors", self.pod_errors.is_some(), BadPod),
        ]
        .into_iter()
        .filter(|(_, given, shape)| *given && !self.shape.contains(shape))
        .map(|(option, _, shape)| format!("{option} belongs to --shape {}", called(shape)))
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
        ShapeName::BadPod => "bad-pod",
    }
}
