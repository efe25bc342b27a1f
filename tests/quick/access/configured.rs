//! The configuration of who may reach the API.

use std::path::Path;

use serin::config::{Config, parse_config};
use serin::core::access::Role;

fn read(sections: &str) -> Result<Config, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = format!(
        "store: {{path: serin.db}}\npolicies: [policies/standard.yaml]\nproviders: {{}}\nrouters: {{}}\ntargets: {{}}\n{sections}"
    );
    parse_config(&folder.join("x.yaml"), text.as_bytes()).map_err(|problems| problems.to_string())
}

const OIDC: &str = "authentication:\n  oidc:\n    issuer: https://login.example.com\n    audience: serin\n    \
                    roles:\n      engineers: {role: operator, services: ['checkout*']}\n";

#[test]
fn what_is_left_out_has_its_usual_value() {
    let config = read("").unwrap();
    assert!(config.authentication.is_none() && config.tls.is_none() && config.cors_origins.is_empty());
    let authentication = read("authentication: {tokens: true}\n").unwrap().authentication.unwrap();
    assert!(authentication.tokens && authentication.oidc.is_none());
    assert!(!authentication.metrics_open, "metrics are protected unless said otherwise");

    let oidc = read(OIDC).unwrap().authentication.unwrap().oidc.unwrap();
    assert_eq!((oidc.roles_claim.as_str(), oidc.name_claim.as_str()), ("groups", "email"));
    let grant = &oidc.roles["engineers"];
    assert_eq!((grant.role, grant.scope.patterns()), (Role::Operator, &["checkout*".to_owned()][..]));
}

#[test]
fn everything_can_be_said() {
    let config = read(
        "listen: 0.0.0.0:7423\nauthentication: {tokens: true, metrics: open}\n\
         tls: {certificate: c.pem, key: /k.pem}\ncors: {origins: [\"https://grafana.example.com\", \"http://a:3000\"]}\n",
    )
    .unwrap();
    assert!(config.authentication.unwrap().metrics_open);
    let tls = config.tls.unwrap();
    assert!(tls.certificate.ends_with("c.pem") && tls.certificate.is_absolute());
    assert_eq!(tls.key, Path::new("/k.pem"));
    assert_eq!(config.cors_origins, ["https://grafana.example.com", "http://a:3000"]);
}

#[test]
fn without_authentication_other_machines_are_not_listened_to() {
    for address in ["0.0.0.0:7423", "[::]:7423", "10.0.0.1:7423"] {
        let found = read(&format!("listen: '{address}'\n")).unwrap_err();
        assert!(
            found.contains("can be reached from other machines, and there is no `authentication`; expected"),
            "{found}"
        );
        assert!(found.contains("x.yaml:6:9: listen:"), "{found}");
        assert_eq!(found.lines().count(), 1, "{found}");
        assert!(read(&format!("listen: '{address}'\nauthentication: {{tokens: true}}\n")).is_ok());
    }
    // A section that is wrong is not the same as none.
    let found = read("listen: 0.0.0.0:7423\nauthentication: {tokens: maybe}\n").unwrap_err();
    assert_eq!(found.lines().count(), 1, "{found}");
}

#[test]
fn all_problems_come_at_once() {
    let found = read(
        "authentication:\n  tokens: false\n  metrics: closed\n  oidc:\n    issuer: http://login.example.com\n    \
         roles:\n      a: {role: king, services: ['[']}\n      b: {role: admin, services: [checkout]}\n      \
         c: {services: []}\n    x: 1\ntls: {certificate: c.pem}\ncors: {origins: ['*', 'https://a/b', 'https://A']}\n",
    )
    .unwrap_err();
    for says in [
        "authentication.metrics: `closed` is not known here; expected one of open, protected",
        "authentication.oidc.issuer: the issuer's keys would come over a line that anybody can change",
        "authentication.oidc: the field `audience` is missing",
        "authentication.oidc.roles.a.role: `king` is not known here",
        "authentication.oidc.roles.a.services: `[` is not a pattern of targets",
        "authentication.oidc.roles.b: an administrator of some services",
        "authentication.oidc.roles.c: the field `role` is missing",
        "authentication.oidc.roles.c.services: there is no pattern",
        "authentication.oidc.x: there is no field `x` here",
        "tls: the field `key` is missing",
        "cors.origins[0]: `*` is not an origin",
        "cors.origins[1]: `https://a/b` is not an origin",
        "cors.origins[2]: `https://A` is not an origin",
    ] {
        assert!(found.contains(says), "{says}\nnot in\n{found}");
    }
    assert_eq!(found.lines().count(), 13, "{found}");
    let found = read("authentication: {}\n").unwrap_err();
    assert!(found.contains("authentication: nobody could log in"), "{found}");
    let found =
        read("authentication: {tokens: true, oidc: {issuer: i, audience: a, roles: {}}}\n").unwrap_err();
    assert!(found.contains("no name has a role"), "{found}");
}

#[test]
fn keys_may_come_by_plain_http_from_this_machine_only() {
    for (issuer, good) in [
        ("https://login.example.com/realms/x", true),
        ("http://127.0.0.1:9000", true),
        ("http://localhost:9000", true),
        ("http://[::1]:9000", true),
        ("http://localhost.evil.example", false),
        ("http://10.0.0.1", false),
        ("ftp://127.0.0.1", false),
        ("https://me:hunter2@login.example.com", false),
    ] {
        let text = OIDC.replace("https://login.example.com", issuer);
        assert_eq!(read(&text).is_ok(), good, "{issuer}");
    }
}
