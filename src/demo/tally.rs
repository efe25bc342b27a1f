//! What one life of the demo's service has counted, and its metrics page in the Prometheus text format.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// The histogram's upper bounds in seconds, from 1 ms to 10 s: fine where the demo's requests are.
pub const BOUNDS: [f64; 20] = [
    0.001, 0.0025, 0.005, 0.0075, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0,
];

/// What one life of the service has counted. A life is what a process is elsewhere: every new one
/// begins from nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    /// The label `version`.
    pub version: String,
    /// When the life began, in seconds since 1970.
    pub started: f64,
    /// Requests that were answered, by status.
    pub by_status: BTreeMap<u16, u64>,
    /// Requests per bucket, not cumulative; the last one is above every bound.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// The sum of all durations in seconds.
    pub seconds: f64,
}

impl Tally {
    /// A life that has seen nothing.
    pub fn new(version: impl Into<String>, started: f64) -> Tally {
        Tally {
            version: version.into(),
            started,
            by_status: BTreeMap::new(),
            buckets: [0; BOUNDS.len() + 1],
            seconds: 0.0,
        }
    }

    /// Counts one answered request.
    pub fn count(&mut self, status: u16, duration: Duration) {
        *self.by_status.entry(status).or_default() += 1;
        let seconds = duration.as_secs_f64();
        self.buckets[BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
        self.seconds += seconds;
    }

    /// All answered requests.
    pub fn requests(&self) -> u64 {
        self.by_status.values().sum()
    }

    /// Those that were answered with a server error.
    pub fn errors(&self) -> u64 {
        self.by_status.range(500..600).map(|(_, count)| count).sum()
    }

    /// The metrics page. Series with labels appear with their first request, as client libraries have it.
    pub fn page(&self) -> String {
        let mut page = String::with_capacity(4096);
        // Writing to a String cannot fail.
        let _ = self.write_page(&mut page);
        page
    }

    fn write_page(&self, page: &mut String) -> std::fmt::Result {
        let version = escape(&self.version);
        writeln!(
            page,
            "# HELP process_start_time_seconds Start time of the process since unix epoch in seconds."
        )?;
        writeln!(page, "# TYPE process_start_time_seconds gauge")?;
        writeln!(page, "process_start_time_seconds {}", self.started)?;
        if self.by_status.is_empty() {
            return Ok(());
        }
        writeln!(page, "# HELP http_requests_total Requests that were answered, by status code.")?;
        writeln!(page, "# TYPE http_requests_total counter")?;
        for (code, count) in &self.by_status {
            writeln!(page, "http_requests_total{{code=\"{code}\",version=\"{version}\"}} {count}")?;
        }
        let name = "http_request_duration_seconds";
        writeln!(page, "# HELP {name} Time from a request's arrival to its answer.")?;
        writeln!(page, "# TYPE {name} histogram")?;
        let mut cumulative = 0;
        for (bound, count) in BOUNDS.iter().zip(&self.buckets) {
            cumulative += count;
            writeln!(page, "{name}_bucket{{version=\"{version}\",le=\"{bound}\"}} {cumulative}")?;
        }
        let requests = self.requests();
        writeln!(page, "{name}_bucket{{version=\"{version}\",le=\"+Inf\"}} {requests}")?;
        writeln!(page, "{name}_sum{{version=\"{version}\"}} {}", self.seconds)?;
        writeln!(page, "{name}_count{{version=\"{version}\"}} {requests}")
    }
}

/// A label's value as the text format wants it.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_life_shows_only_when_it_began() {
        let page = Tally::new("v1", 1_700_000_000.25).page();
        let lines: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines, ["process_start_time_seconds 1700000000.25"]);
    }

    #[test]
    fn the_page_says_what_was_counted() {
        let mut tally = Tally::new("a \"b\"\\\n", 0.0);
        tally.count(200, Duration::from_millis(10)); // on a bound: belongs to it
        tally.count(200, Duration::from_micros(10_001));
        tally.count(503, Duration::from_secs(60));
        assert_eq!((tally.requests(), tally.errors()), (3, 1));
        let page = tally.page();
        let version = r#"version="a \"b\"\\\n""#;
        for line in [
            format!("http_requests_total{{code=\"200\",{version}}} 2"),
            format!("http_requests_total{{code=\"503\",{version}}} 1"),
            format!("http_request_duration_seconds_bucket{{{version},le=\"0.0075\"}} 0"),
            format!("http_request_duration_seconds_bucket{{{version},le=\"0.01\"}} 1"),
            format!("http_request_duration_seconds_bucket{{{version},le=\"0.0125\"}} 2"),
            format!("http_request_duration_seconds_bucket{{{version},le=\"10\"}} 2"),
            format!("http_request_duration_seconds_bucket{{{version},le=\"+Inf\"}} 3"),
            format!("http_request_duration_seconds_sum{{{version}}} 60.020001"),
            format!("http_request_duration_seconds_count{{{version}}} 3"),
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn the_bounds_rise() {
        assert!(BOUNDS.is_sorted_by(|a, b| a < b));
    }
}
