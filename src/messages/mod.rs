//! What people read: the texts of notices, with links.

use crate::core::rollout::Notice;

/// A text for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// One line.
    pub title: String,
    /// Plain text of some lines, without the title.
    pub text: String,
}

/// Where people look further; `None` where the daemon's `public_url` or the runbook is not configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// The rollout's page.
    pub rollout: Option<String>,
    /// Its report.
    pub report: Option<String>,
    /// What to do when it is rolled back.
    pub runbook: Option<String>,
}

/// Makes texts of notices.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// Where people reach the daemon's page, without a slash at the end.
    pub public_url: Option<String>,
}

impl Words {
    /// The text of a notice.
    pub fn message(&self, notice: &Notice) -> Message {
        Message {
            title: format!("{} {}: {}", notice.target, notice.version, notice.kind.name()),
            text: notice.message.clone().unwrap_or_else(|| notice.sentence.clone()),
        }
    }

    /// The links of a notice.
    pub fn links(&self, notice: &Notice) -> Links {
        let base = self.public_url.as_deref();
        Links {
            rollout: base.map(|base| format!("{base}/rollouts/{}", notice.rollout)),
            report: base.map(|base| format!("{base}/rollouts/{}/report", notice.rollout)),
            runbook: None,
        }
    }
}
