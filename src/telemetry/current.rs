//! Series that are there only as long as what they speak of: of targets and of their rollouts.
//!
//! A recorder keeps every series until the process ends; the figures of a rollout that has ended would
//! stay on every dashboard. So these are kept here, whole for each service, and replaced at once.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use super::table::Definition;

static CURRENT: Mutex<BTreeMap<String, Vec<Sample>>> = Mutex::new(BTreeMap::new());

/// What is to be said of one service now.
#[derive(Clone, Debug)]
pub struct Current {
    service: String,
    samples: Vec<Sample>,
}

#[derive(Clone, Debug)]
struct Sample {
    metric: Definition,
    labels: Vec<String>,
    value: f64,
}

impl Current {
    /// Nothing yet.
    pub fn new(service: &str) -> Current {
        Current { service: service.to_owned(), samples: Vec::new() }
    }

    /// Adds a series. `labels` are the values of the metric's labels after `service`, in the table's
    /// order. A value that is not finite is left out.
    pub fn add(&mut self, metric: Definition, labels: &[&str], value: f64) {
        debug_assert_eq!(metric.labels.len(), labels.len() + 1, "{}", metric.name);
        if value.is_finite() {
            let labels = std::iter::once(self.service.as_str()).chain(labels.iter().copied());
            let labels = labels.map(str::to_owned).collect();
            self.samples.push(Sample { metric, labels, value });
        }
    }

    /// Its lines, as they would be rendered.
    #[cfg(test)]
    pub(crate) fn lines(&self) -> Vec<String> {
        self.samples.iter().map(Sample::line).collect()
    }

    /// Puts this in the place of all that was said of the service before.
    pub fn publish(self) {
        CURRENT.lock().unwrap_or_else(PoisonError::into_inner).insert(self.service, self.samples);
    }
}

impl Sample {
    fn line(&self) -> String {
        let labels = self.metric.labels.iter().zip(&self.labels);
        let labels: Vec<String> =
            labels.map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        format!("{}{{{}}} {}", self.metric.name, labels.join(","), self.value)
    }
}

/// All of it as Prometheus text.
pub(super) fn render() -> String {
    let current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    let mut by_name: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    for sample in current.values().flatten() {
        by_name.entry(sample.metric.name).or_default().push(sample);
    }
    let mut text = String::new();
    for (name, samples) in by_name {
        let help = samples.first().map_or("", |sample| sample.metric.help);
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for sample in samples {
            let _ = writeln!(text, "{}", sample.line());
        }
    }
    text
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::super::table::{ROLLOUT_HOLD, ROLLOUT_STEP, ROLLOUT_VERDICT, TARGET_WEIGHT};
    use super::*;

    /// The lines about one service: tests share the process.
    fn lines(service: &str) -> Vec<String> {
        let label = format!("service=\"{service}\"");
        render().lines().filter(|line| line.contains(&label)).map(str::to_owned).collect()
    }

    #[test]
    fn what_is_not_said_any_more_is_gone() {
        let mut first = Current::new("going");
        first.add(ROLLOUT_STEP, &[], 2.0);
        first.add(TARGET_WEIGHT, &["wanted"], 0.25);
        first.publish();
        let both = [
            "serin_rollout_step{service=\"going\"} 2",
            "serin_target_canary_weight_ratio{service=\"going\",split=\"wanted\"} 0.25",
        ];
        assert_eq!(lines("going"), both);
        let mut second = Current::new("going");
        second.add(TARGET_WEIGHT, &["wanted"], 0.0);
        second.publish();
        assert_eq!(
            lines("going"),
            ["serin_target_canary_weight_ratio{service=\"going\",split=\"wanted\"} 0"]
        );
    }

    #[test]
    fn odd_values_and_names_do_no_harm() {
        let mut current = Current::new("odd \"one\"\\");
        current.add(ROLLOUT_VERDICT, &["a\nb"], f64::NAN);
        current.add(ROLLOUT_HOLD, &["user"], f64::INFINITY);
        current.add(ROLLOUT_HOLD, &["a\nb"], 1.0);
        current.publish();
        let wanted = "serin_rollout_hold{service=\"odd \\\"one\\\"\\\\\",hold=\"a\\nb\"} 1";
        let text = render();
        let found: Vec<&str> = text.lines().filter(|line| line.contains("service=\"odd")).collect();
        assert_eq!(found, [wanted]);
    }

    #[test]
    fn each_metric_has_its_help_once() {
        for service in ["helped-a", "helped-b"] {
            let mut current = Current::new(service);
            current.add(ROLLOUT_STEP, &[], 1.0);
            current.publish();
        }
        let text = render();
        assert_eq!(text.matches("# HELP serin_rollout_step ").count(), 1, "{text}");
        assert_eq!(text.matches("# TYPE serin_rollout_step gauge").count(), 1, "{text}");
    }
}
