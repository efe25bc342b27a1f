//! Every channel that speaks HTTP, at its receiver.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serin::notifiers::alertmanager::AlertmanagerConfig;
use serin::notifiers::grafana::GrafanaConfig;
use serin::notifiers::opsgenie::OpsgenieConfig;
use serin::notifiers::pagerduty::PagerdutyConfig;
use serin::notifiers::slack::{SlackConfig, SlackWay};
use serin::notifiers::statuspage::StatuspageConfig;
use serin::notifiers::teams::TeamsConfig;
use serin::notifiers::webhook::{WebhookConfig, WebhookForm};
use serin::notifiers::{Address, NotifierConfig};

use crate::testkit::channels::secret;
use crate::testkit::receivers::opsgenie::API_KEY;
use crate::testkit::receivers::pagerduty::ROUTING_KEY;
use crate::testkit::receivers::slack::{CHANNEL, TOKEN};

pub fn pagerduty(url: &str, folder: &Path, deadline: Duration) -> NotifierConfig {
    NotifierConfig::Pagerduty(PagerdutyConfig {
        url: url.to_owned(),
        routing_key: secret(folder, "routing-key", ROUTING_KEY),
        source: "serin".to_owned(),
        deadline,
    })
}

pub fn opsgenie(url: &str, folder: &Path, deadline: Duration) -> NotifierConfig {
    NotifierConfig::Opsgenie(OpsgenieConfig {
        url: url.to_owned(),
        api_key: secret(folder, "api-key", API_KEY),
        tags: vec!["team-shop".to_owned()],
        deadline,
    })
}

pub fn slack_api(url: &str, folder: &Path, deadline: Duration) -> NotifierConfig {
    let token = secret(folder, "slack-token", TOKEN);
    let way = SlackWay::Api { url: url.to_owned(), token, channel: CHANNEL.to_owned() };
    NotifierConfig::Slack(SlackConfig { way, deadline })
}

pub fn slack_webhook(url: &str, folder: &Path, deadline: Duration) -> NotifierConfig {
    NotifierConfig::Slack(SlackConfig { way: SlackWay::Webhook(secret(folder, "slack-url", url)), deadline })
}

pub fn teams(url: &str, folder: &Path, deadline: Duration) -> NotifierConfig {
    NotifierConfig::Teams(TeamsConfig { webhook: secret(folder, "teams-url", url), deadline })
}

pub fn alertmanager(url: &str, deadline: Duration) -> NotifierConfig {
    NotifierConfig::Alertmanager(AlertmanagerConfig {
        url: url.to_owned(),
        labels: BTreeMap::from([("team".to_owned(), "shop".to_owned())]),
        headers: BTreeMap::new(),
        resolve_after: Duration::from_secs(7 * 86_400),
        deadline,
    })
}

pub fn grafana(url: &str, folder: &Path, deadline: Duration) -> NotifierConfig {
    NotifierConfig::Grafana(GrafanaConfig {
        url: url.to_owned(),
        token: secret(folder, "grafana-token", "grafana-secret"),
        tags: vec!["shop".to_owned()],
        dashboard: None,
        deadline,
    })
}

pub fn webhook(url: &str, folder: &Path, form: WebhookForm, deadline: Duration) -> NotifierConfig {
    NotifierConfig::Webhook(WebhookConfig {
        url: Address::Secret(secret(folder, "hook-url", &format!("{url}/hook-secret"))),
        form,
        secret: Some(secret(folder, "hook-key", "signing-key")),
        deadline,
        headers: BTreeMap::new(),
    })
}

pub fn statuspage(url: &str, deadline: Duration) -> NotifierConfig {
    NotifierConfig::Statuspage(StatuspageConfig {
        url: Address::Plain(format!("{url}/incidents")),
        method: "PATCH".to_owned(),
        body: r#"{"incident": {"name": {{ title }}, "body": {{ sentence }}, "at": {{ weight }}}}"#.to_owned(),
        kinds: Vec::new(),
        headers: BTreeMap::new(),
        deadline,
    })
}
