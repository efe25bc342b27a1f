//! What people read: the texts of notices, with figures and links. A policy's own text comes first, then
//! the daemon's template for the kind, then the built-in one.

mod builtin;
mod escape;
mod fields;
mod sandbox;

pub use escape::{html, markdown};
pub use fields::{FIELDS, sample};
pub use sandbox::{MOST_OUTPUT, MOST_TEMPLATE, TemplateProblem};

use std::collections::BTreeMap;

use crate::core::notice::{Notice, NoticeKind};

/// Longest title, in characters.
const MOST_TITLE: usize = 200;

/// A text for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// One line.
    pub title: String,
    /// Plain text of some lines, without the title.
    pub text: String,
    /// The text as HTML: everything escaped, links are links.
    pub html: String,
}

/// Where people look further; `None` where the daemon's `public_url` or the runbook is not configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// The rollout's page.
    pub rollout: Option<String>,
    /// Its report.
    pub report: Option<String>,
    /// Its charts.
    pub chart: Option<String>,
    /// What to do when it is rolled back.
    pub runbook: Option<String>,
}

/// The daemon's own templates of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KindTemplates {
    /// For all channels that have none of their own.
    pub all: Option<String>,
    /// By channel.
    pub channels: BTreeMap<String, String>,
}

/// Makes texts of notices.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// Where people reach the daemon's page, without a slash at the end.
    pub public_url: Option<String>,
    /// The daemon's own templates of a channel.
    pub templates: BTreeMap<NoticeKind, String>,
}

/// Says what is wrong with a template for notices of the kind with that name. It is rendered for a notice
/// that has everything.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn check(kind: &str, template: &str) -> Result<(), TemplateProblem> {
    let Some(kind) = NoticeKind::ALL.iter().copied().find(|known| known.name() == kind) else {
        let kinds: Vec<&str> = NoticeKind::ALL.iter().map(|kind| kind.name()).collect();
        return Err(TemplateProblem {
            message: format!("there is no kind of message `{}`", kind.escape_debug()),
            expected: format!("one of {}", kinds.join(", ")),
        });
    };
    let words =
        Words { public_url: Some("https://serin.example.com".to_owned()), templates: BTreeMap::new() };
    let text = words.render(template, &sample(kind))?;
    if text.trim().is_empty() {
        return Err(TemplateProblem {
            message: "the template gives no text".to_owned(),
            expected: "a text for people".to_owned(),
        });
    }
    Ok(())
}

impl Words {
    /// The text of a notice.
    pub fn message(&self, notice: &Notice) -> Message {
        let text = match &notice.message {
            Some(text) => text.clone(),
            None => self.text(notice),
        };
        let text = text.trim().to_owned();
        Message { title: self.title(notice), html: escape::paragraphs(&text), text }
    }

    /// The links of a notice.
    pub fn links(&self, notice: &Notice) -> Links {
        // A digest is of no one rollout.
        let base = self.public_url.as_deref().filter(|_| !notice.rollout.is_empty());
        let page =
            |view: &str, rest: &str| base.map(|base| format!("{base}/{view}/{}{rest}", notice.rollout));
        Links {
            rollout: page("rollouts", ""),
            report: page("reports", ""),
            chart: page("rollouts", "#charts"),
            runbook: notice.runbook.clone(),
        }
    }

    /// Renders any template over a notice, as [`check`] has checked it.
    ///
    /// # Errors
    /// What is wrong with the template.
    pub fn render(&self, template: &str, notice: &Notice) -> Result<String, TemplateProblem> {
        sandbox::render(template, &fields::Fields::new(notice, self.links(notice)))
    }

    /// What a policy's own template makes of a notice; `None` if it has none, or it fails.
    pub fn own(&self, templates: &BTreeMap<String, String>, notice: &Notice) -> Option<String> {
        let template = templates.get(notice.kind.name())?;
        self.tried(template, notice)
    }

    fn text(&self, notice: &Notice) -> String {
        if notice.rollout.is_empty() {
            return notice.sentence.clone();
        }
        let own = self.templates.get(&notice.kind);
        own.and_then(|template| self.tried(template, notice))
            .or_else(|| self.tried(builtin::text(notice.kind), notice))
            .unwrap_or_else(|| notice.sentence.clone())
    }

    fn title(&self, notice: &Notice) -> String {
        let title = match notice.rollout.is_empty() {
            true => notice.sentence.lines().next().unwrap_or_default().to_owned(),
            false => self
                .tried(builtin::title(notice.kind), notice)
                .unwrap_or_else(|| format!("{} {}: {}", notice.target, notice.version, notice.kind.name())),
        };
        let one_line = title.split_whitespace().collect::<Vec<_>>().join(" ");
        match one_line.char_indices().nth(MOST_TITLE) {
            Some((end, _)) => format!("{}…", &one_line[..end]),
            None => one_line,
        }
    }

    /// A text must come, whatever a template does.
    fn tried(&self, template: &str, notice: &Notice) -> Option<String> {
        match self.render(template, notice) {
            Ok(text) if !text.trim().is_empty() => Some(text),
            Ok(_) => None,
            Err(problem) => {
                tracing::warn!(kind = notice.kind.name(), key = %notice.key, %problem,
                    "a template failed; the built-in text is taken");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
