//! Who may reach the API: authentication, TLS, and the pages of other sites.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::core::access::{Grant, Role, Scope};

use super::decode::{Field, Fields, all, shorten};
use super::readers::{file_path, http_url};

/// How callers say who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// Whether tokens made by `serin token create` are taken.
    pub tokens: bool,
    /// An issuer of signed tokens.
    pub oidc: Option<OidcConfig>,
    /// Whether `/metrics` is answered to everybody.
    pub metrics_open: bool,
}

/// An OpenID Connect issuer whose tokens are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcConfig {
    /// Its identifier, exactly as it stands in the tokens; `/.well-known/openid-configuration` is below.
    pub issuer: String,
    /// Whom the tokens must be made for.
    pub audience: String,
    /// The claim with the names that `roles` maps: a text or a list of texts.
    pub roles_claim: String,
    /// What a value of that claim may do.
    pub roles: BTreeMap<String, Grant>,
    /// The claim that names its holder in logs.
    pub name_claim: String,
    /// Certificates of authorities that are trusted beside the machine's own, for the issuer.
    pub ca_file: Option<PathBuf>,
}

/// The files of the API's certificate, in PEM; read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

pub(super) fn authentication(field: &Field<'_>, base: &Path) -> Option<Authentication> {
    let fields = field.fields("a mapping with `tokens`, `oidc` or both")?;
    let tokens = fields.or("tokens", false, |f| f.boolean());
    let oidc = fields.maybe("oidc", |f| oidc(&f, base));
    let metrics_open = fields.or("metrics", false, |f| f.one_of(&[("open", true), ("protected", false)]));
    fields.close();
    let read = Authentication { tokens: tokens?, oidc: oidc?, metrics_open: metrics_open? };
    if !read.tokens && read.oidc.is_none() {
        field.problem("nobody could log in", "`tokens: true`, an `oidc` section, or both");
        return None;
    }
    Some(read)
}

fn oidc(field: &Field<'_>, base: &Path) -> Option<OidcConfig> {
    let fields = field.fields("a mapping with `issuer`, `audience` and `roles`")?;
    let issuer =
        fields.need("issuer", "the issuer's URL, such as https://login.example.com").and_then(|f| issuer(&f));
    let audience = fields
        .need("audience", "whom the issuer makes the tokens for, such as serin")
        .and_then(|f| f.line(200));
    let roles_claim = fields.or("roles_claim", "groups".to_owned(), |f| f.line(200));
    let name_claim = fields.or("name_claim", "email".to_owned(), |f| f.line(200));
    let roles = fields
        .need("roles", "what each value of `roles_claim` may do, such as `engineers: {role: operator}`")
        .and_then(|f| roles(&f));
    let ca_file = fields.maybe("ca_file", |f| file_path(&f, base));
    fields.close();
    Some(OidcConfig {
        issuer: issuer?,
        audience: audience?,
        roles_claim: roles_claim?,
        roles: roles?,
        name_claim: name_claim?,
        ca_file: ca_file?,
    })
}

/// Keys that come over an open line could be anybody's.
fn issuer(field: &Field<'_>) -> Option<String> {
    let issuer = http_url(field, false)?;
    if !is_safe_url(&issuer) {
        field.problem(
            "the issuer's keys would come over a line that anybody can change",
            "an https URL; http only on this machine",
        );
        return None;
    }
    Some(issuer)
}

/// Whether what comes from the URL can be trusted to be its host's.
pub fn is_safe_url(text: &str) -> bool {
    let Ok(url) = url::Url::parse(text) else { return false };
    match url.host() {
        None => false,
        Some(_) if url.scheme() == "https" => true,
        Some(url::Host::Domain(name)) => url.scheme() == "http" && name == "localhost",
        Some(url::Host::Ipv4(ip)) => url.scheme() == "http" && ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => url.scheme() == "http" && ip.is_loopback(),
    }
}

fn roles(field: &Field<'_>) -> Option<BTreeMap<String, Grant>> {
    let entries = field.entries("a mapping of names to `{role: …, services: […]}`")?;
    if entries.is_empty() {
        field.problem("no name has a role, so nobody could do anything", "at least one");
        return None;
    }
    let read = entries.into_iter().map(|(name, field)| grant(&field).map(|grant| (name.to_owned(), grant)));
    all(read).map(|roles| roles.into_iter().collect())
}

fn grant(field: &Field<'_>) -> Option<Grant> {
    let fields = field.fields("a mapping with `role` and `services`")?;
    let roles: Vec<_> = Role::ALL.iter().map(|role| (role.name(), *role)).collect();
    let names: Vec<_> = Role::ALL.iter().map(|role| role.name()).collect();
    let role = fields.need("role", &format!("one of {}", names.join(", "))).and_then(|f| f.one_of(&roles));
    let scope = fields.or("services", Scope::all(), |f| scope(&f));
    fields.close();
    let (role, scope) = (role?, scope?);
    if role == Role::Admin && !scope.is_all() {
        field.problem(
            "an administrator of some services could make tokens for all of them",
            "`services: ['*']`, or another role",
        );
        return None;
    }
    Some(Grant { role, scope })
}

fn scope(field: &Field<'_>) -> Option<Scope> {
    let items = field.list(crate::core::access::MOST_PATTERNS, "a list of targets' names or patterns")?;
    let patterns = all(items.iter().map(|item| item.line(crate::core::access::LONGEST_PATTERN)))?;
    Scope::new(&patterns)
        .map_err(|error| field.problem(error.to_string(), "such as ['checkout*', 'search']"))
        .ok()
}

pub(super) fn tls(field: &Field<'_>, base: &Path) -> Option<TlsConfig> {
    let fields = field.fields("a mapping with `certificate` and `key`")?;
    let file = |fields: &Fields<'_>, name: &'static str, what: &str| {
        fields.need(name, what).and_then(|f| file_path(&f, base))
    };
    let certificate = file(&fields, "certificate", "a PEM file with the certificate and its chain");
    let key = file(&fields, "key", "a PEM file with the certificate's private key");
    fields.close();
    Some(TlsConfig { certificate: certificate?, key: key? })
}

/// The origins whose pages may call the API from a browser.
pub(super) fn cors(field: &Field<'_>) -> Option<Vec<String>> {
    let fields = field.fields("a mapping with `origins`")?;
    let origins = fields.need("origins", "a list such as [https://grafana.example.com]").and_then(|f| {
        let items = f.list(100, "a list of origins such as [https://grafana.example.com]")?;
        all(items.iter().map(origin))
    });
    fields.close();
    origins
}

fn origin(field: &Field<'_>) -> Option<String> {
    const EXPECTED: &str = "a scheme and a host, with a port where it is not the usual one, such as \
                            https://grafana.example.com";
    let text = field.raw(EXPECTED)?;
    let origin = url::Url::parse(text).ok().map(|url| url.origin().ascii_serialization());
    // A browser sends exactly this; `*` would let every page in the world call the API.
    if origin.as_deref() != Some(text) || !text.starts_with("http") {
        field.problem(format!("`{}` is not an origin", shorten(text)), EXPECTED);
        return None;
    }
    Some(text.to_owned())
}
