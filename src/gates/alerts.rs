//! No alert fires: by Prometheus' own `ALERTS` series, or by Alertmanager.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use url::Url;

use super::call::{Call, call};
use super::text::head;
use super::values::{values, without};
use super::webhook::detail;
use crate::core::counter::quote;
use crate::core::gate::{AlertsCheck, GateAnswer};
use crate::core::source::{MatchOp, Matcher};
use crate::outbound::guard::Guarded;
use crate::ports::{GateRequest, MetricsProvider};

const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_BYTES: usize = 4 << 20;
/// So many alerts are named.
const NAMED: usize = 5;

pub(super) async fn ask(
    guarded: &Guarded,
    check: &AlertsCheck,
    request: &GateRequest,
    provider: Option<&dyn MetricsProvider>,
) -> GateAnswer {
    let matchers: Vec<Matcher> =
        check.matchers.iter().map(|matcher| filled(matcher, &request.target)).collect();
    match &check.alertmanager {
        Some(base) => match firing(guarded, base, &matchers).await {
            Ok(names) => said(names.len(), &names, Duration::ZERO),
            Err(why) => GateAnswer::Fault(why),
        },
        None => match values([query(&matchers, check.quiet_for)], request, provider).await {
            Err(answer) => answer,
            Ok([Err(why)]) => without(&why),
            Ok([Ok(count)]) => said(count.max(0.0) as usize, &[], check.quiet_for),
        },
    }
}

/// `{target}` stands for the target's name, escaped where the value is a regular expression.
fn filled(matcher: &Matcher, target: &str) -> Matcher {
    let target = match matcher.op {
        MatchOp::Equal | MatchOp::NotEqual => target.to_owned(),
        MatchOp::Matches | MatchOp::NotMatches => regex::escape(target),
    };
    Matcher { value: matcher.value.replace("{target}", &target), ..matcher.clone() }
}

/// How many alerts fire, or have fired within the time. Without any series the answer is 0.
fn query(matchers: &[Matcher], quiet_for: Duration) -> String {
    let firing = ("alertstate", "=", "\"firing\"".to_owned());
    let own = matchers.iter().map(|matcher| (&*matcher.label, sign(matcher.op), quote(&matcher.value)));
    let all: Vec<String> = std::iter::once(firing)
        .chain(own)
        .map(|(label, sign, value)| format!("{label}{sign}{value}"))
        .collect();
    let series = format!("ALERTS{{{}}}", all.join(","));
    match quiet_for.as_millis() {
        0 => format!("count({series}) or vector(0)"),
        quiet => format!("count(max_over_time({series}[{quiet}ms])) or vector(0)"),
    }
}

fn sign(op: MatchOp) -> &'static str {
    match op {
        MatchOp::Equal => "=",
        MatchOp::NotEqual => "!=",
        MatchOp::Matches => "=~",
        MatchOp::NotMatches => "!~",
    }
}

#[derive(Deserialize)]
struct Alert {
    labels: BTreeMap<String, String>,
}

/// The names of active alerts that are neither silenced nor inhibited.
async fn firing(guarded: &Guarded, base: &str, matchers: &[Matcher]) -> Result<Vec<String>, String> {
    let base = format!("{}/api/v2/alerts", base.trim_end_matches('/'));
    let mut url = Url::parse(&base).map_err(|error| format!("Alertmanager's URL cannot be read: {error}"))?;
    url.query_pairs_mut()
        .append_pair("active", "true")
        .append_pair("silenced", "false")
        .append_pair("inhibited", "false")
        .extend_pairs(matchers.iter().map(|matcher| {
            ("filter", format!("{}{}{}", matcher.label, sign(matcher.op), quote(&matcher.value)))
        }));
    let answer = call(
        guarded,
        Call {
            method: Method::GET,
            url: url.as_str(),
            // An Alertmanager is usually near.
            allow_private: true,
            secrets: &BTreeMap::new(),
            headers: vec![("accept", "application/json".to_owned())],
            body: Vec::new(),
            timeout: TIMEOUT,
            max_bytes: MAX_BYTES,
        },
    )
    .await?;
    if answer.status != 200 {
        return Err(format!("Alertmanager: {}", detail(&answer)));
    }
    let alerts: Vec<Alert> = serde_json::from_slice(&answer.body)
        .map_err(|error| format!("Alertmanager's answer cannot be read: {error}"))?;
    let name =
        |alert: Alert| alert.labels.get("alertname").map_or("(without a name)".to_owned(), |name| head(name));
    Ok(alerts.into_iter().map(name).collect())
}

fn said(count: usize, names: &[String], quiet_for: Duration) -> GateAnswer {
    let within = if quiet_for.is_zero() { String::new() } else { format!(" within {quiet_for:?}") };
    if count == 0 {
        return GateAnswer::Yes(format!("no alert fires{within}"));
    }
    let mut which = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > NAMED {
        which.push_str(", …");
    }
    let which = if which.is_empty() { which } else { format!(": {which}") };
    GateAnswer::NotYet(match count {
        1 => format!("1 alert fires{within}{which}"),
        _ => format!("{count} alerts fire{within}{which}"),
    })
}
