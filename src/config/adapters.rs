//! The configuration of providers and routers: field `type` names the kind.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::providers::ProviderConfig;
use crate::providers::prometheus::PrometheusConfig;
use crate::providers::scrape::ScrapeConfig;
use crate::routers::RouterConfig;
use crate::routers::envoy::EnvoyConfig;
use crate::routers::haproxy::{HaproxyConfig, KeptSessions};

use super::decode::{Field, Fields, shorten};
use super::readers::{SECRET, deadline, file_path, headers, http_url, labels, secret, socket_address};

const SECOND: Duration = Duration::from_secs(1);

/// Reads a provider.
pub(super) fn provider(field: &Field<'_>, base: &Path) -> Option<ProviderConfig> {
    let fields = field.fields("a mapping with `type: prometheus` or `type: scrape`")?;
    let kinds = [("prometheus", true), ("scrape", false)];
    let is_prometheus = fields.need("type", "prometheus or scrape").and_then(|f| f.one_of(&kinds))?;
    let deadline = deadline(&fields, 10 * SECOND);
    let provider = if is_prometheus {
        prometheus(&fields, base, deadline).map(ProviderConfig::Prometheus)
    } else {
        let max_bytes = fields.or("max_bytes", 16 * 1024 * 1024, |f| f.integer(1024..=1024 * 1024 * 1024));
        deadline.zip(max_bytes).map(|(deadline, max_bytes)| {
            let max_bytes = usize::try_from(max_bytes).unwrap_or(usize::MAX);
            ProviderConfig::Scrape(ScrapeConfig { deadline, max_bytes })
        })
    };
    fields.close();
    provider
}

fn prometheus(fields: &Fields<'_>, base: &Path, deadline: Option<Duration>) -> Option<PrometheusConfig> {
    let url = fields.need("url", "the base URL, such as http://127.0.0.1:9090").and_then(|f| {
        let url = http_url(&f, false)?;
        if url.trim_end_matches('/').ends_with("/api/v1") {
            f.problem("the URL ends in /api/v1, which is added by Serin", "the part before it");
            return None;
        }
        Some(url)
    });
    let bearer_token = fields.maybe("bearer_token", |f| secret(&f, base));
    let basic_auth = fields.maybe("basic_auth", |f| {
        let fields = f.fields("a mapping with `user` and `password`")?;
        let user = fields.need("user", "the user's name").and_then(|f| f.line(500));
        let password = fields.need("password", SECRET).and_then(|f| secret(&f, base));
        fields.close();
        user.zip(password)
    });
    if fields.get("bearer_token").is_some()
        && let Some(field) = fields.get("basic_auth")
    {
        field.problem("there is a `bearer_token` and a `basic_auth`", "one of the two");
    }
    let headers = fields.or("headers", BTreeMap::new(), |f| headers(&f, base));
    let ca_file = fields.maybe("ca_file", |f| file_path(&f, base));
    let client_certificate_file = fields.maybe("client_certificate_file", |f| file_path(&f, base));
    let max_series = fields.or("max_series", 10_000, |f| f.integer(1..=1_000_000));
    let pin = fields.or("pin", BTreeMap::new(), |f| labels(&f));
    Some(PrometheusConfig {
        url: url?,
        deadline: deadline?,
        bearer_token: bearer_token?,
        basic_auth: basic_auth?,
        headers: headers?,
        ca_file: ca_file?,
        client_certificate_file: client_certificate_file?,
        max_series: usize::try_from(max_series?).ok()?,
        pin: pin?,
    })
}

/// Reads a router.
pub(super) fn router(field: &Field<'_>) -> Option<RouterConfig> {
    let fields = field.fields("a mapping with `type: envoy` or `type: haproxy`")?;
    let kinds = [("envoy", true), ("haproxy", false)];
    let is_envoy = fields.need("type", "envoy or haproxy").and_then(|f| f.one_of(&kinds))?;
    let router = if is_envoy {
        envoy(&fields).map(RouterConfig::Envoy)
    } else {
        haproxy(&fields).map(RouterConfig::Haproxy)
    };
    fields.close();
    router
}

/// Admin interfaces that are read.
const MOST_PROXIES: usize = 100;

fn envoy(fields: &Fields<'_>) -> Option<EnvoyConfig> {
    let listen = fields
        .need("listen", "where proxies reach Serin, such as 127.0.0.1:7424")
        .and_then(|f| socket_address(&f));
    let layer = fields.or("layer", "serin".to_owned(), |f| f.line(200));
    let range = 60 * SECOND..=30 * 24 * 3600 * SECOND;
    let forget_after = fields.or("forget_after", 24 * 3600 * SECOND, |f| f.duration(range));
    let admin = fields.or("admin", Vec::new(), |f| {
        let urls = f.list(MOST_PROXIES, "a list of URLs such as http://127.0.0.1:9901")?;
        super::decode::all(urls.iter().map(|url| http_url(url, false)))
    });
    Some(EnvoyConfig { listen: listen?, layer: layer?, forget_after: forget_after?, admin: admin? })
}

fn haproxy(fields: &Fields<'_>) -> Option<HaproxyConfig> {
    let socket = fields.need("socket", SOCKET).and_then(|field| {
        let socket = field.line(500)?;
        let good = match socket.strip_prefix("tcp:") {
            Some(address) => address.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
            }),
            None => socket.starts_with('/'),
        };
        if !good {
            field.problem(format!("`{}` is not the address of a socket", shorten(&socket)), SOCKET);
        }
        good.then_some(socket)
    });
    let deadline = deadline(fields, 5 * SECOND);
    let choices = [("drain", KeptSessions::Drain), ("shutdown", KeptSessions::Shutdown)];
    let sessions = fields.or("sessions", KeptSessions::Drain, |f| f.one_of(&choices));
    Some(HaproxyConfig { socket: socket?, deadline: deadline?, sessions: sessions? })
}

const SOCKET: &str = "`/path/to/socket` or `tcp:HOST:PORT`";

/// Two servers cannot have one address; port 0 takes a free one.
pub(super) fn check_addresses(
    root: &Field<'_>,
    listen: SocketAddr,
    routers: &BTreeMap<String, RouterConfig>,
) {
    let mut taken = vec![(listen, "the API's `listen`".to_owned())];
    for (name, router) in routers {
        let RouterConfig::Envoy(envoy) = router else { continue };
        let address = envoy.listen;
        let clash = taken.iter().find(|(other, _)| {
            let same_ip =
                other.ip() == address.ip() || other.ip().is_unspecified() || address.ip().is_unspecified();
            address.port() != 0 && other.port() == address.port() && same_ip
        });
        if let Some((_, owner)) = clash {
            let field = root.at_path(&["routers", name, "listen"]);
            field.problem(format!("{address} is already taken by {owner}"), "an address of its own");
        }
        taken.push((address, format!("routers.{name}.listen")));
    }
}
