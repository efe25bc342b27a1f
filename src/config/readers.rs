//! Values that many fields have: paths, addresses, secrets, headers, labels, and things by name.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::decode::{Field, Fields, all, shorten};
use super::selectors::{check_label, matched_value};
use crate::secrets::SecretSource;

const SECOND: Duration = Duration::from_secs(1);

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
    all(read).map(|labels| labels.into_iter().collect())
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
    all(read).map(|headers| headers.into_iter().collect())
}

/// A path; a relative one starts at `base`.
pub(super) fn file_path(field: &Field<'_>, base: &Path) -> Option<PathBuf> {
    field.line(4000).map(|path| base.join(path))
}

/// Things by name; one that has problems is there without its value, so that others may refer to it.
pub(super) type Named<T> = BTreeMap<String, Option<T>>;

pub(super) fn plain<T>(named: Named<T>) -> BTreeMap<String, T> {
    // Where a value is missing its problem is told, and the whole configuration is refused.
    named.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect()
}

pub(super) fn named<T>(
    fields: &Fields<'_>,
    name: &'static str,
    what: &str,
    read: impl Fn(&Field<'_>) -> Option<T>,
) -> Option<Named<T>> {
    by_name(&fields.need(name, what)?, what, read)
}

pub(super) fn by_name<T>(
    field: &Field<'_>,
    what: &str,
    read: impl Fn(&Field<'_>) -> Option<T>,
) -> Option<Named<T>> {
    let entries = field.entries(&format!("a mapping: {what}"))?;
    let read = |(name, field): (&str, Field<'_>)| {
        let good = field.check_name(name);
        let value = read(&field);
        (name.to_owned(), value.filter(|_| good))
    };
    Some(entries.into_iter().map(read).collect())
}

/// True if no name is there twice; else the problem is told.
pub(super) fn unique<'n>(items: &[Field<'_>], names: impl Iterator<Item = Option<&'n str>>) -> bool {
    let mut first_lines = BTreeMap::new();
    let mut is_unique = true;
    for (item, name) in items.iter().zip(names) {
        let Some(name) = name else { continue };
        if let Some(line) = first_lines.get(name) {
            item.problem(
                format!("the name `{name}` is there twice; it was first used in line {line}"),
                "names that differ",
            );
            is_unique = false;
        } else {
            first_lines.insert(name, item.mark.line);
        }
    }
    is_unique
}
