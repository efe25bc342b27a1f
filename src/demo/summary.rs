//! The demo's closing summary: each decision in a sentence with its figures. Pure text from records.

use super::load::LoadCounts;
use super::scenario::{Release, Scenario, check};
use crate::core::rollout::{EventKind, EventRecord, Phase, Rollout};
use crate::core::words::count;

/// Everything that the demo knows at its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What was to be shown.
    pub scenario: Scenario,
    /// The releases that were begun, in order.
    pub releases: Vec<ReleaseReport>,
    /// All traffic.
    pub traffic: LoadCounts,
    /// From the first request to the end.
    pub seconds: f64,
}

/// What came of one release.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseReport {
    /// What was released, and what was to come of it.
    pub release: Release,
    /// The rollout at its end (or where the demo was stopped).
    pub rollout: Rollout,
    /// Its log.
    pub events: Vec<EventRecord>,
    /// Of its service, from the rollout's start to its end.
    pub canary: Served,
    /// Of the running version's service in the same time.
    pub stable: Served,
}

/// What a service has answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Requests.
    pub requests: u64,
    /// Those that failed.
    pub errors: u64,
}

impl Served {
    /// What came after `before`.
    pub fn since(self, before: Served) -> Served {
        Served {
            requests: self.requests.saturating_sub(before.requests),
            errors: self.errors.saturating_sub(before.errors),
        }
    }
}

impl Report {
    /// True if every release of the scenario was begun and went as the story says.
    pub fn is_as_told(&self) -> bool {
        self.releases.len() == self.scenario.releases().len()
            && self.releases.iter().all(|report| check(report.release.expected, &report.rollout).is_ok())
    }

    /// The summary, in lines of at most `width` columns.
    pub fn render(&self, width: usize) -> String {
        let mut page = Page { width: width.max(40), text: String::new() };
        page.line("What happened");
        for report in &self.releases {
            release(&mut page, report);
        }
        page.line("");
        page.paragraph("", &self.traffic());
        page.line("");
        page.line(if self.is_as_told() {
            "Everything went as the scenario says."
        } else {
            "It did NOT go as the scenario says."
        });
        page.text
    }

    /// All traffic in a sentence.
    fn traffic(&self) -> String {
        let answers = self.traffic.answers();
        let mut sentence = format!(
            "{} requests were answered in {:.0} s ({:.0} per second)",
            count(answers),
            self.seconds,
            answers as f64 / self.seconds.max(0.001)
        );
        let failed = self.traffic.sent.saturating_sub(answers);
        if failed > 0 {
            sentence.push_str(&format!("; {} got no answer", count(failed)));
        }
        if self.traffic.shed > 0 {
            let shed = count(self.traffic.shed);
            sentence.push_str(&format!("; {shed} more were not sent because this machine was too busy"));
        }
        sentence.push('.');
        sentence
    }
}

fn release(page: &mut Page, report: &ReleaseReport) {
    let Release { version, about, expected, .. } = report.release;
    let outcome = match &report.rollout.phase {
        Phase::Succeeded => "promoted".to_owned(),
        phase => phase.name().replace('_', " "),
    };
    let (mark, complaint) = match check(expected, &report.rollout) {
        Ok(()) => ("✓", None),
        Err(complaint) => ("✗", Some(complaint)),
    };
    page.line("");
    let since = |event: &EventRecord| event.at.since(report.rollout.created_at).as_secs_f64();
    let after = report.events.last().map_or(0.0, since);
    page.paragraph(&format!("{mark} "), &format!("{version}, which {about}: {outcome} after {after:.0} s."));
    for event in report.events.iter().filter(|event| is_decision(event.kind)) {
        page.paragraph(&format!("  {:>5.1} s  ", since(event)), &event.sentence);
    }
    page.paragraph("           ", &exposure(report));
    if let Some(complaint) = complaint {
        page.paragraph("  ✗ ", &complaint);
    }
}

/// What the users of the release have met.
fn exposure(report: &ReleaseReport) -> String {
    let Served { requests, errors } = report.canary;
    let all = requests + report.stable.requests;
    let share = if all > 0 { 100.0 * requests as f64 / all as f64 } else { 0.0 };
    let version = report.release.version;
    let mut sentence =
        format!("{version} got {} of {} requests meanwhile ({share:.1}%)", count(requests), count(all));
    if matches!(report.rollout.phase, Phase::RolledBack { .. }) && report.stable.requests > 0 {
        let expected = requests as f64 * report.stable.errors as f64 / report.stable.requests as f64;
        sentence.push_str(&format!(
            "; {} of them failed, where the running version would have failed about {expected:.0}",
            count(errors)
        ));
    }
    sentence.push('.');
    sentence
}

/// What moves traffic or ends the rollout.
fn is_decision(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Advanced
            | EventKind::Promoted
            | EventKind::RollbackStarted
            | EventKind::Succeeded
            | EventKind::Cancelled
            | EventKind::Failed
            | EventKind::HoldAdded
            | EventKind::Unconfirmed
    )
}

struct Page {
    width: usize,
    text: String,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// A text in lines that begin under each other, `label` before the first one.
    fn paragraph(&mut self, label: &str, text: &str) {
        let indent = label.chars().count();
        let room = self.width.saturating_sub(indent).max(20);
        let mut line = label.to_owned();
        let mut used = 0;
        for word in text.split_whitespace() {
            let length = word.chars().count();
            if used > 0 && used + 1 + length > room {
                self.line(&line);
                line = " ".repeat(indent);
                used = 0;
            }
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += length;
        }
        self.line(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_wrapped_under_their_label() {
        let mut page = Page { width: 40, text: String::new() };
        page.paragraph("  1.5 s  ", "a sentence that is a good deal longer than one line of forty");
        for line in page.text.lines() {
            assert!(line.chars().count() <= 40, "{line:?}");
        }
        assert_eq!(
            page.text,
            "  1.5 s  a sentence that is a good deal\n         longer than one line of forty\n"
        );
    }
}
