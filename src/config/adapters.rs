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
use crate::secrets::SecretSource;

use super::daemon::file_path;
use super::decode::{Field, Fields, shorten};
use super::metric::{check_label, matched_value};

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

fn envoy(fields: &Fields<'_>) -> Option<EnvoyConfig> {
    let listen = fields
        .need("listen", "where proxies reach Serin, such as 127.0.0.1:7424")
        .and_then(|f| socket_address(&f));
    let layer = fields.or("layer", "serin".to_owned(), |f| f.line(200));
    let range = 60 * SECOND..=30 * 24 * 3600 * SECOND;
    let forget_after = fields.or("forget_after", 24 * 3600 * SECOND, |f| f.duration(range));
    Some(EnvoyConfig { listen: listen?, layer: layer?, forget_after: forget_after? })
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

/// `127.0.0.1:7423`, `[::1]:7423`.
pub(super) fn socket_address(field: &Field<'_>) -> Option<SocketAddr> {
    const EXPECTED: &str = "an IP address with a port, such as 127.0.0.1:7423 or [::1]:7423";
    let text = field.raw(EXPECTED)?;
    let told = text
        .parse()
        .map_err(|_| (format!("`{}` is not an address to listen on", shorten(text)), EXPECTED.to_owned()));
    field.told(told)
}

/// For each call of an adapter.
pub(super) fn deadline(fields: &Fields<'_>, usual: Duration) -> Option<Duration> {
    fields.or("deadline", usual, |f| f.duration(SECOND / 10..=300 * SECOND))
}

/// Labels and their values.
pub(super) fn labels(field: &Field<'_>) -> Option<BTreeMap<String, String>> {
    let entries = field.entries("a mapping of labels to values")?;
    let read = entries.into_iter().map(|(label, value)| {
        let good = check_label(&value, label);
        let value = matched_value(&value);
        good.then_some(label.to_owned()).zip(value)
    });
    super::decode::all(read).map(|labels| labels.into_iter().collect())
}

/// An `http` or `https` URL without a password. Its text is not repeated in problems: it may hold one.
pub(super) fn http_url(field: &Field<'_>, may_have_query: bool) -> Option<String> {
    const EXPECTED: &str = "a URL such as http://127.0.0.1:9090";
    let text = field.raw(EXPECTED)?;
    let problem = match url::Url::parse(text) {
        Err(error) => format!("this is not a URL: {error}"),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => "this is not an http or https URL".to_owned(),
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "the URL holds a user or password; secrets do not belong into the configuration".to_owned()
        }
        Ok(url) if url.fragment().is_some() || (!may_have_query && url.query().is_some()) => {
            "the URL has a query or fragment".to_owned()
        }
        Ok(_) => return Some(text.to_owned()),
    };
    field.problem(problem, EXPECTED);
    None
}

pub(super) const SECRET: &str = "`{env: NAME}` for an environment variable, or `{file: PATH}`";

/// `{env: NAME}` or `{file: PATH}`. A secret that stands here is refused and not repeated.
pub(super) fn secret(field: &Field<'_>, base: &Path) -> Option<SecretSource> {
    if field.is_scalar() {
        field.problem("a secret must not stand in the configuration itself", SECRET);
        return None;
    }
    let fields = field.fields(SECRET)?;
    let env = fields.get("env");
    let file = fields.get("file");
    fields.close();
    match (env, file) {
        (Some(field), None) => {
            let name = field.raw("the name of an environment variable")?;
            let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
            if !first || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') || name.len() > 200 {
                field.problem(
                    "this is not the name of an environment variable",
                    "a name such as PROMETHEUS_TOKEN; the secret itself belongs into the variable",
                );
                return None;
            }
            Some(SecretSource::Env(name.to_owned()))
        }
        (None, Some(field)) => file_path(&field, base).map(SecretSource::File),
        _ => {
            field.problem("it must say where the secret is", SECRET);
            None
        }
    }
}

/// Headers whose values are secrets.
pub(super) fn headers(field: &Field<'_>, base: &Path) -> Option<BTreeMap<String, SecretSource>> {
    let entries = field.entries("a mapping of header names to `{env: NAME}` or `{file: PATH}`")?;
    let read = entries.into_iter().map(|(name, value)| {
        let good = crate::outbound::headers::name(name).is_ok();
        if !good {
            let message = format!("`{}` is not the name of a header", shorten(name));
            value.problem(message, "a name such as X-Scope-OrgID");
        }
        let value = secret(&value, base);
        good.then(|| name.to_owned()).zip(value)
    });
    super::decode::all(read).map(|headers| headers.into_iter().collect())
}
