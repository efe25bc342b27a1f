//! What every route needs. A route that does not stand here is refused.

use axum::http::Method;

use crate::core::access::Permission::{self, Administer, Approve, Operate, View};

/// What a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Rule {
    /// Nothing: it tells and changes nothing that is Serin's.
    Open,
    /// One of these permissions, for some target; the handler looks at which one.
    Any(&'static [Permission]),
    /// The permission for every target: what the route gives is not cut to some.
    Everywhere(Permission),
    /// Own metrics: as the configuration says, open or the permission to view every target.
    Metrics,
}

/// One route by one method.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct Entry {
    pub(in crate::api) method: &'static str,
    /// As it is matched.
    pub(in crate::api) path: &'static str,
    pub(in crate::api) rule: Rule,
    /// What the audit log calls it, if it is written there; handlers say it more exactly.
    pub(in crate::api) audited: Option<&'static str>,
}

impl Entry {
    /// Whether it may bring a canary down or keep it where it is: that waits for no store, and has places of its
    /// own.
    pub(in crate::api) fn is_urgent(&self) -> bool {
        const URGENT: [&str; 2] = ["/api/v1/rollouts/{id}/commands", "/api/v1/hooks/alertmanager"];
        self.method == "POST" && URGENT.contains(&self.path)
    }
}

const fn reads(path: &'static str) -> Entry {
    Entry { method: "GET", path, rule: Rule::Any(&[View]), audited: None }
}

const fn open(path: &'static str) -> Entry {
    Entry { method: "GET", path, rule: Rule::Open, audited: None }
}

const fn changes(method: &'static str, path: &'static str, rule: Rule, action: &'static str) -> Entry {
    Entry { method, path, rule, audited: Some(action) }
}

/// Every route.
pub(in crate::api) const TABLE: &[Entry] = &[
    open("/livez"),
    open("/readyz"),
    Entry { method: "GET", path: "/metrics", rule: Rule::Metrics, audited: None },
    // The page and its parts: the same for everybody, without data.
    open("/"),
    open("/assets/{*path}"),
    open("/api/v1/openapi.json"),
    open("/api/v1/docs"),
    reads("/api/v1/me"),
    changes("POST", "/api/v1/session", Rule::Open, "login"),
    changes("DELETE", "/api/v1/session", Rule::Open, "logout"),
    reads("/api/v1/overview"),
    reads("/api/v1/stream"),
    reads("/api/v1/annotations"),
    reads("/api/v1/outbox"),
    changes("POST", "/api/v1/outbox/{id}/retry", Rule::Everywhere(Administer), "outbox.retry"),
    reads("/api/v1/rollouts"),
    changes("POST", "/api/v1/rollouts", Rule::Any(&[Operate]), "start"),
    reads("/api/v1/rollouts/{id}"),
    changes("POST", "/api/v1/rollouts/{id}/commands", Rule::Any(&[Operate, Approve, Administer]), "command"),
    // Whoever has the link can say yes for the person that it names.
    changes("POST", "/api/v1/rollouts/{id}/approval-links", Rule::Any(&[Administer]), "approval_link"),
    // The link itself says who it is for, and is signed.
    open("/api/v1/approvals/{link}"),
    changes("POST", "/api/v1/approvals/{link}", Rule::Open, "approval_link.use"),
    changes("POST", "/api/v1/hooks/alertmanager", Rule::Any(&[Operate]), "hook.alertmanager"),
    reads("/api/v1/freezes"),
    changes("POST", "/api/v1/freezes", Rule::Any(&[Operate]), "freeze.start"),
    changes("DELETE", "/api/v1/freezes/{id}", Rule::Any(&[Operate]), "freeze.end"),
    reads("/api/v1/rollouts/{id}/events"),
    reads("/api/v1/rollouts/{id}/evidence"),
    reads("/api/v1/rollouts/{id}/observations"),
    reads("/api/v1/rollouts/{id}/series"),
    reads("/api/v1/rollouts/{id}/report"),
    reads("/api/v1/targets"),
    changes("POST", "/api/v1/targets", Rule::Everywhere(Administer), "target.apply"),
    reads("/api/v1/targets/{name}"),
    changes("PUT", "/api/v1/targets/{name}", Rule::Everywhere(Administer), "target.apply"),
    changes("DELETE", "/api/v1/targets/{name}", Rule::Everywhere(Administer), "target.delete"),
    changes("POST", "/api/v1/targets/{name}/adopt", Rule::Any(&[Operate]), "target.adopt"),
    changes("POST", "/api/v1/targets/{name}/zero", Rule::Any(&[Operate]), "target.zero"),
    reads("/api/v1/policies"),
    changes("POST", "/api/v1/policies", Rule::Everywhere(Administer), "policy.apply"),
    // Reads a policy that the caller sends, and keeps nothing of it.
    Entry { method: "POST", path: "/api/v1/policies/check", rule: Rule::Any(&[View]), audited: None },
    reads("/api/v1/policies/{name}"),
    changes("PUT", "/api/v1/policies/{name}", Rule::Everywhere(Administer), "policy.apply"),
    changes("DELETE", "/api/v1/policies/{name}", Rule::Everywhere(Administer), "policy.delete"),
    reads("/api/v1/reload"),
    changes("POST", "/api/v1/reload", Rule::Everywhere(Administer), "reload"),
    reads("/api/v1/policies/{name}/plan"),
    Entry { method: "GET", path: "/api/v1/tokens", rule: Rule::Everywhere(Administer), audited: None },
    changes("POST", "/api/v1/tokens", Rule::Everywhere(Administer), "token.create"),
    changes("DELETE", "/api/v1/tokens/{name}", Rule::Everywhere(Administer), "token.revoke"),
    Entry { method: "GET", path: "/api/v1/audit", rule: Rule::Everywhere(Administer), audited: None },
];

/// What the table says of a request.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) enum Found {
    /// This.
    Entry(&'static Entry),
    /// The route is there by other methods.
    OtherMethods,
    /// Nothing: the route was forgotten here.
    Nothing,
}

/// Looks a request up. `HEAD` is a `GET` without its body.
pub(in crate::api) fn find(path: &str, method: &Method) -> Found {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    let mut routes = TABLE.iter().filter(|entry| entry.path == path).peekable();
    if routes.peek().is_none() {
        return Found::Nothing;
    }
    routes.find(|entry| entry.method == method).map_or(Found::OtherMethods, Found::Entry)
}

/// The header `Allow` of a path.
pub(in crate::api) fn allowed(path: &str) -> String {
    let mut methods: Vec<&str> = Vec::new();
    for entry in TABLE.iter().filter(|entry| entry.path == path) {
        methods.push(entry.method);
        if entry.method == "GET" {
            methods.push("HEAD");
        }
    }
    methods.join(",")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_route_stands_here_twice() {
        let mut seen = BTreeSet::new();
        for entry in TABLE {
            assert!(seen.insert((entry.path, entry.method)), "{} {}", entry.method, entry.path);
        }
    }

    #[test]
    fn whatever_changes_something_is_audited_and_needs_more_than_to_view() {
        for entry in TABLE.iter().filter(|entry| entry.method != "GET") {
            let harmless = ["/api/v1/policies/check", "/api/v1/session", "/api/v1/approvals/{link}"]
                .contains(&entry.path);
            assert!(harmless || entry.audited.is_some(), "{entry:?}");
            let weak = matches!(entry.rule, Rule::Open) || entry.rule == Rule::Any(&[View]);
            assert!(harmless || !weak, "{entry:?}");
        }
    }

    #[test]
    fn commands_and_alerts_are_urgent() {
        let urgent: Vec<_> = TABLE.iter().filter(|entry| entry.is_urgent()).map(|entry| entry.path).collect();
        assert_eq!(urgent, ["/api/v1/rollouts/{id}/commands", "/api/v1/hooks/alertmanager"]);
    }

    #[test]
    fn unknown_routes_and_methods_are_not_found() {
        assert!(matches!(find("/api/v1/nothing", &Method::GET), Found::Nothing));
        assert!(matches!(find("/api/v1/overview", &Method::POST), Found::OtherMethods));
        assert!(matches!(find("/api/v1/targets", &Method::HEAD), Found::Entry(_)));
        assert_eq!(allowed("/api/v1/rollouts"), "GET,HEAD,POST");
    }
}
