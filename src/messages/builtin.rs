//! The texts where nobody wrote others.

use crate::core::notice::NoticeKind;

/// What every text ends with: reason, figures, links.
macro_rules! with_rest {
    ($head:literal) => {
        concat!(
            $head,
            "{% if reason is not none %}\nReason: {{ reason }}{% endif %}",
            "{% if environment is not none %}\nEnvironment: {{ environment }}{% endif %}",
            "{% if stable_version is not none %}\nBefore: {{ stable_version }}{% endif %}",
            "\nPolicy: {{ policy }}, started by {{ started_by }}",
            "{% if figures %}\n{% endif %}",
            "{% for figure in figures %}\n- {{ figure.metric }}: {{ figure.verdict }}",
            "{% if figure.canary is not none %}; canary {{ figure.canary }}{% endif %}",
            "{% if figure.baseline is not none %}, baseline {{ figure.baseline }}{% endif %}",
            "{% if figure.times is not none %}; {{ figure.times }} times ",
            "({{ figure.low }} to {{ figure.high }}){% endif %}{% endfor %}",
            "{% if links.rollout is not none or links.runbook is not none %}\n{% endif %}",
            "{% if links.rollout is not none %}\nRollout: {{ links.rollout }}",
            "\nChart: {{ links.chart }}\nReport: {{ links.report }}{% endif %}",
            "{% if links.runbook is not none %}\nRunbook: {{ links.runbook }}{% endif %}",
        )
    };
}

const STEP: &str = with_rest!(
    "{{ sentence }}\n{% if step is not none %}\nStep: {{ step }} of {{ steps }}, {{ weight }} of the traffic\
     {% endif %}"
);
const ANNOUNCED: &str = with_rest!(
    "{{ sentence }}\n{% if begins_at is not none %}\nBegins: {{ begins_at }} (in {{ begins_in }}){% endif %}"
);
const INCIDENT: &str = with_rest!(
    "{{ sentence }}\n{% if step is not none %}\nStep: {{ step }} of {{ steps }}, {{ weight }} of the traffic\
     {% endif %}{% if incident is not none %}\nIncident: {{ incident.key }}, since {{ incident.opened_at }}\
     {% endif %}"
);

/// The template of a kind's text.
pub(super) fn text(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Announced => ANNOUNCED,
        NoticeKind::RollbackStarted
        | NoticeKind::Unconfirmed
        | NoticeKind::RolledBack
        | NoticeKind::Verified
        | NoticeKind::NotVerified
        | NoticeKind::Failed
        | NoticeKind::Acknowledged
        | NoticeKind::Resolved => INCIDENT,
        _ => STEP,
    }
}

/// The template of a kind's title.
pub(super) fn title(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Announced => {
            "{{ target }} {{ version }} begins{% if begins_in is not none %} in {{ begins_in }}{% endif %}"
        }
        NoticeKind::Started => "{{ target }} {{ version }}: the rollout begins",
        NoticeKind::Step => {
            "{{ target }} {{ version }}: {{ weight }} of the traffic\
             {% if step is not none %}, step {{ step }} of {{ steps }}{% endif %}"
        }
        NoticeKind::Progress => "{{ target }} {{ version }}: in progress at {{ weight }}",
        NoticeKind::Gate => "{{ target }} {{ version }}: waiting for a gate",
        NoticeKind::Held => "{{ target }} {{ version }}: held at {{ weight }}",
        NoticeKind::Alert => "{{ target }} {{ version }}: alert at {{ weight }}",
        NoticeKind::Warning => "{{ target }} {{ version }}: about to roll back",
        NoticeKind::RollbackStarted => {
            "{{ target }} {{ version }}: rolling back{% if reason is not none %} ({{ reason }}){% endif %}"
        }
        NoticeKind::Unconfirmed => "{{ target }} {{ version }}: rollback not confirmed",
        NoticeKind::RolledBack => {
            "{{ target }} {{ version }}: rolled back{% if reason is not none %} ({{ reason }}){% endif %}"
        }
        NoticeKind::Verified => "{{ target }} {{ version }}: rollback verified",
        NoticeKind::NotVerified => "{{ target }} {{ version }}: service has not recovered after the rollback",
        NoticeKind::Promoted => "{{ target }} {{ version }}: receives all traffic",
        NoticeKind::Succeeded => "{{ target }} {{ version }}: done",
        NoticeKind::Cancelled => "{{ target }} {{ version }}: cancelled",
        NoticeKind::Failed => "{{ target }} {{ version }}: failed, the split is not safe",
        NoticeKind::Acknowledged => "{{ target }} {{ version }}: incident acknowledged",
        NoticeKind::Resolved => "{{ target }} {{ version }}: resolved",
    }
}
