//! The daemon's configuration: what is read, and what is said about what is wrong.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use serin::config::{Config, Problems, load_config, parse_config};
use serin::notifiers::NotifierConfig;
use serin::providers::ProviderConfig;
use serin::routers::RouterConfig;
use serin::routers::haproxy::KeptSessions;
use serin::secrets::SecretSource;

const GOOD: &str = r#"
store: {path: serin.db}
policies: [policies/standard.yaml]
providers:
  prom: {type: prometheus, url: "http://127.0.0.1:9090"}
  pages: {type: scrape}
routers:
  edge: {type: envoy, listen: "127.0.0.1:7424"}
  lb: {type: haproxy, socket: /run/haproxy.sock}
targets:
  shop:
    router: edge
    provider: prom
    route: routing.shop
    stable: {backend: shop-a, labels: {envoy_cluster_name: shop-a}}
    canary: {backend: shop-b, labels: {envoy_cluster_name: shop-b}}
"#;

/// Read as if it stood at the top of the repository.
fn read(text: &str) -> Result<Config, Problems> {
    parse_config(&root().join("x.yaml"), text.as_bytes())
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The good configuration with replacements is refused; the problems without the file's path.
fn told(replacements: &[(&str, &str)]) -> String {
    let mut text = GOOD.to_owned();
    for (from, to) in replacements {
        assert!(text.contains(from), "`{from}` is not in the configuration");
        text = text.replacen(from, to, 1);
    }
    let problems = read(&text).expect_err(&text).to_string();
    problems.replace(&format!("{}/", root().display()), "")
}

#[test]
fn the_example_is_read() {
    let config = load_config(root().join("serin.example.yaml")).unwrap_or_else(|p| panic!("{p}"));
    assert_eq!(config.listen.to_string(), "127.0.0.1:7423");
    assert_eq!(config.store.path, root().join("serin.db"));
    assert_eq!(
        config.policies.keys().collect::<Vec<_>>(),
        [
            "all-at-once",
            "cautious",
            "database-migration",
            "demo",
            "hotfix",
            "low-traffic",
            "payments",
            "production",
            "staging",
            "standard"
        ]
    );
    let target = &config.targets["checkout"];
    assert_eq!(target.stable.labels["envoy_cluster_name"], "checkout-a");
    assert_eq!(target.stable_version.as_deref(), Some("1.4.2"));
    let RouterConfig::Haproxy(haproxy) = &config.routers["lb"] else { panic!() };
    assert_eq!((&*haproxy.socket, haproxy.sessions), ("/run/haproxy/admin.sock", KeptSessions::Drain));
    assert!(matches!(config.notifiers["chat"], NotifierConfig::Webhook(_)));
}

#[test]
fn a_small_configuration_has_the_documented_defaults() {
    let config = read(GOOD).unwrap_or_else(|p| panic!("{p}"));
    assert_eq!(config.listen.to_string(), "127.0.0.1:7423");
    assert_eq!(config.notifiers, [("log".to_owned(), NotifierConfig::Log)].into());
    assert_eq!(config.retention.observations, Duration::from_secs(30 * 86_400));
    assert_eq!(config.engine.concurrency, 16);
    let ProviderConfig::Prometheus(prometheus) = &config.providers["prom"] else { panic!() };
    assert_eq!((prometheus.deadline, prometheus.max_series), (Duration::from_secs(10), 10_000));
    let RouterConfig::Envoy(envoy) = &config.routers["edge"] else { panic!() };
    assert_eq!((&*envoy.layer, envoy.forget_after), ("serin", Duration::from_secs(86_400)));
}

#[test]
fn secrets_are_named_and_never_repeated() {
    let config = read(&GOOD.replace(
        "\"http://127.0.0.1:9090\"}",
        "\"http://127.0.0.1:9090\", basic_auth: {user: u, password: {file: secret/p}}, \
         headers: {X-Scope-OrgID: {env: TENANT}}}",
    ))
    .unwrap_or_else(|p| panic!("{p}"));
    let ProviderConfig::Prometheus(prometheus) = &config.providers["prom"] else { panic!() };
    let file = SecretSource::File(root().join("secret/p"));
    assert_eq!(prometheus.basic_auth, Some(("u".to_owned(), file)));
    assert_eq!(prometheus.headers["X-Scope-OrgID"], SecretSource::Env("TENANT".to_owned()));

    for (field, says) in [
        (
            "bearer_token: hunter2-x",
            "bearer_token: a secret must not stand in the configuration itself; expected `{env: NAME}`",
        ),
        ("bearer_token: {env: hunter2-x}", "this is not the name of an environment variable"),
        ("bearer_token: {value: hunter2-x}", "there is no field `value` here"),
        ("bearer_token: [hunter2-x]", "a list stands here"),
        ("basic_auth: {user: u, password: hunter2-x}", "a secret must not stand"),
        ("headers: {Authorization: hunter2-x}", "a secret must not stand"),
        ("ca_file: {env: hunter2-x}", "a mapping stands here"),
    ] {
        let found = told(&[("9090\"}", &format!("9090\", {field}}}"))]);
        assert!(found.contains(says), "{field}: {found}");
        assert!(!found.contains("hunter2"), "the secret is repeated: {found}");
    }
    let found = told(&[("http://127", "http://me:hunter2@127")]);
    assert!(found.contains("the URL holds a user or password") && !found.contains("hunter2"), "{found}");
}

#[test]
fn an_unknown_field_is_refused_with_the_nearest_one() {
    let found = told(&[("store:", "stroe: 1\nstore:")]);
    assert_eq!(
        found.split(" (").next().unwrap(),
        "x.yaml:2:1: stroe: there is no field `stroe` here; expected `store`, perhaps"
    );
    let found = told(&[("route: routing.shop", "route: routing.shop\n    canry: {}")]);
    assert!(
        found.contains("targets.shop.canry: there is no field `canry` here; expected `canary`"),
        "{found}"
    );
    let found = told(&[("type: scrape", "type: scrape, url: x")]);
    assert!(found.contains("providers.pages.url: there is no field `url` here"), "{found}");
}

#[test]
fn all_problems_come_at_once_also_those_of_policies() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("broken.yaml");
    std::fs::write(&policy, "name: broken\nsteps: []\n").unwrap();
    let found = told(&[
        ("store: {path: serin.db}", "listen: 0.0.0.0:7423"),
        ("policies/standard.yaml", &policy.display().to_string()),
        ("router: edge", "router: egde"),
        ("provider: prom", "provider: datadog"),
    ]);
    for says in [
        "x.yaml:2:1: the field `store` is missing",
        "x.yaml:2:9: listen: 0.0.0.0:7423 can be reached from other machines, and there is no `authentication`",
        "targets.shop.router: there is no router `egde`; expected `edge`, perhaps",
        "targets.shop.provider: there is no provider `datadog`; expected one of pages, prom",
        "broken.yaml:2:8: steps: there is no step",
        "broken.yaml:1:1: the field `metrics` is missing",
    ] {
        assert!(found.contains(says), "{says}\nnot in\n{found}");
    }
    assert_eq!(found.lines().count(), 6, "{found}");
}

#[test]
fn the_arms_must_be_told_apart() {
    let a = "labels: {envoy_cluster_name: shop-a}";
    let b = "labels: {envoy_cluster_name: shop-b}";
    let found = told(&[(b, a)]);
    assert!(
        found.contains("targets.shop.canary: the series of `stable` and `canary` cannot be told apart"),
        "{found}"
    );
    // The canary has a label of its own: the stable arm's selector would match its series too.
    let found = told(&[(b, "labels: {envoy_cluster_name: shop-a, track: canary}")]);
    assert!(found.contains("cannot be told apart"), "{found}");
    // No label at all: there is no version label.
    let found = told(&[(&format!(", {b}"), "")]);
    assert!(
        found.contains("targets.shop.canary: the pool has no label by which its series can be told")
            && found.contains("expected `labels: {version: \"{version}\"}`"),
        "{found}"
    );
    // The version tells them apart, if the running one is known.
    let version = "labels: {version: \"{version}\"}";
    let found = told(&[(a, version), (b, version)]);
    assert!(found.contains("targets.shop.stable: the label `version` needs the running version"), "{found}");
    assert_eq!(found.lines().count(), 1, "{found}");
    let text = GOOD.replace(a, version).replace(b, version) + "    stable_version: \"1.0\"\n";
    let config = read(&text).unwrap_or_else(|p| panic!("{p}"));
    assert_eq!(config.targets["shop"].stable_version.as_deref(), Some("1.0"));
    // A third pool must differ from both.
    let text = GOOD.to_owned() + &format!("    baseline: {{backend: shop-c, {a}}}\n");
    let found = read(&text).unwrap_err().to_string();
    assert!(found.contains("`stable` and `baseline` cannot be told apart"), "{found}");
}

#[test]
fn the_scrape_provider_needs_endpoints() {
    let found = told(&[("provider: prom", "provider: pages")]);
    assert_eq!(
        found.matches("the provider reads metrics pages, and the pool has none").count(),
        2,
        "{found}"
    );
    let pool = |labels: &str, port: u16| format!("{labels}endpoints: ['http://127.0.0.1:{port}/metrics']}}");
    let with = |stable: &str, canary: &str| {
        let text = GOOD.replace("provider: prom\n", "provider: pages\n");
        let text = text.replace("labels: {envoy_cluster_name: shop-a}}", stable);
        read(&text.replace("labels: {envoy_cluster_name: shop-b}}", canary))
    };
    with(&pool("", 1), &pool("", 2)).unwrap_or_else(|p| panic!("{p}"));
    with(&pool("labels: {x: a}, ", 1), &pool("labels: {x: b}, ", 1)).unwrap_or_else(|p| panic!("{p}"));
    let found = with(&pool("", 1), &pool("", 1)).unwrap_err().to_string();
    assert!(found.contains("cannot be told apart") && found.contains("share endpoints"), "{found}");
    let found = told(&[(
        "labels: {envoy_cluster_name: shop-b}",
        "labels: {envoy_cluster_name: shop-b}, endpoints: ['http://a/']",
    )]);
    assert!(found.contains("`endpoints` has no effect with this provider"), "{found}");
}

#[test]
fn backends_and_routes_are_used_once() {
    let found = told(&[("backend: shop-b, ", "")]);
    assert!(found.contains("targets.shop.canary: the pool does not say its `backend`"), "{found}");
    let found = told(&[("backend: shop-b", "backend: shop-a")]);
    assert!(found.contains("`shop-a` belongs to the pool `stable` already"), "{found}");
    let found = told(&[("router: edge", "router: lb"), ("backend: shop-b", "backend: 'x, shop-a'")]);
    assert!(found.contains("`shop-a` belongs to the pool `stable` already"), "{found}");
}

#[test]
fn targets_on_one_router_share_no_route_and_no_cluster() {
    let second =
        |name: &str| GOOD.split("targets:\n").nth(1).unwrap().replace("  shop:", &format!("  {name}:"));
    let refused = |text: &str| {
        let problems = read(text).unwrap_err().to_string();
        problems.replace(&format!("{}/", root().display()), "")
    };
    // All at once, each at its place, also of a third target.
    let third = second("third").replace("routing.shop", "routing.third").replace("shop-a", "third-a");
    let found = refused(&(GOOD.to_owned() + &second("again") + &third));
    for says in [
        "x.yaml:20:12: targets.again.route: the target shop has the same route `routing.shop` on the router edge",
        "x.yaml:21:23: targets.again.stable.backend: the cluster `shop-a` belongs to the target shop already",
        "x.yaml:22:23: targets.again.canary.backend: the cluster `shop-b` belongs to the target shop already",
        "x.yaml:28:23: targets.third.canary.backend: the cluster `shop-b` belongs to the target shop already",
    ] {
        assert!(found.contains(says), "{says}\nnot in\n{found}");
    }
    assert_eq!(found.lines().count(), 4, "{found}");
    // HAProxy's servers belong to their backend, and another router is another place.
    let lb = |text: String| text.replace("router: edge", "router: lb");
    let found = refused(&lb(GOOD.to_owned() + &second("again")));
    assert!(found.contains("targets.again.route") && found.lines().count() == 1, "{found}");
    read(&(GOOD.to_owned() + &lb(second("again")))).unwrap_or_else(|problems| panic!("{problems}"));
}

#[test]
fn addresses_and_urls_are_checked() {
    for (from, to, says) in [
        ("127.0.0.1:7424", "localhost:7424", "`localhost:7424` is not an address to listen on"),
        (
            "127.0.0.1:7424",
            "127.0.0.1:7423",
            "routers.edge.listen: 127.0.0.1:7423 is already taken by the API's `listen`",
        ),
        ("127.0.0.1:7424", "0.0.0.0:7423", "already taken"),
        ("http://127.0.0.1:9090", "127.0.0.1:9090", "this is not"),
        ("http://127.0.0.1:9090", "ftp://127.0.0.1", "this is not an http or https URL"),
        ("http://127.0.0.1:9090", "http://127.0.0.1/api/v1", "ends in /api/v1"),
        ("http://127.0.0.1:9090", "http://127.0.0.1/?a=b", "has a query"),
        ("/run/haproxy.sock", "run/haproxy.sock", "is not the address of a socket"),
        ("/run/haproxy.sock", "tcp:localhost", "is not the address of a socket"),
        ("type: haproxy", "type: nginx", "`nginx` is not known here; expected one of envoy, haproxy"),
        ("policies/standard.yaml", "policies/nothing.yaml", "nothing.yaml: the file cannot be read"),
        ("[policies/standard.yaml]", "[]", "there is no policy"),
        ("  shop:", "  'shop 1':", "`shop 1` is not a name"),
    ] {
        let found = told(&[(from, to)]);
        assert!(found.contains(says), "{from} → {to}: {found}");
        assert_eq!(found.lines().count(), 1, "{from} → {to}: {found}");
    }
}

#[test]
fn durations_and_bounds_are_checked() {
    for (line, says) in [
        ("engine: {concurrency: 0}", "engine.concurrency: 0 is out of range"),
        ("engine: {call_deadline: -1s}", "`-1s` is negative"),
        ("engine: {reconcile_interval: 0s}", "0s is too little"),
        ("engine: {shutdown_deadline: 5}", "`5` has no unit"),
        ("retention: {observations: 30d, rollouts: 1d}", "`rollouts` is shorter than `observations`"),
        ("retention: {observations: 100000d}", "100000d is too much"),
    ] {
        let found = told(&[("store:", &format!("{line}\nstore:"))]);
        assert!(found.contains(says) && found.starts_with("x.yaml:2:"), "{line}: {found}");
    }
}

#[test]
fn a_missing_file_is_said_to_be_missing() {
    let found = load_config(Path::new("there/is/no.yaml")).unwrap_err().to_string();
    assert!(found.starts_with("there/is/no.yaml: the file cannot be read"), "{found}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        at in 0usize..700,
        cut in 0usize..60,
    ) {
        let _ = parse_config(Path::new("x.yaml"), &bytes);
        // Bytes in place of a part of a good configuration.
        let at = at.min(GOOD.len());
        let end = (at + cut).min(GOOD.len());
        let wounded = [&GOOD.as_bytes()[..at], &bytes, &GOOD.as_bytes()[end..]].concat();
        let _ = parse_config(&root().join("x.yaml"), &wounded);
    }
}

/// The good configuration with freezes.
fn frozen(freezes: &str) -> String {
    GOOD.replace("targets:", &format!("freezes:\n{freezes}\ntargets:"))
}

#[test]
fn freezes_are_planned_by_the_clock_of_their_zone() {
    let config = read(&frozen(
        "  - {from: 2026-12-20, until: 2027-01-04T06:00, why: holidays, time_zone: Europe/Berlin}\n  \
         - {targets: [\"pay-*\"], from: 2026-11-27, until: 2026-12-01, why: the busiest days}",
    ))
    .expect("it is right");
    let told: Vec<_> = config
        .freezes
        .iter()
        .map(|freeze| {
            let times = [freeze.from, freeze.until.expect("an end")].map(|time| time.to_string());
            format!("{} {} {}", freeze.id, freeze.targets.join(","), times.join(" "))
        })
        .collect();
    let expected = [
        "planned-1 * 2026-12-19T23:00:00.000Z 2027-01-04T05:00:00.000Z",
        "planned-2 pay-* 2026-11-27T00:00:00.000Z 2026-12-01T00:00:00.000Z",
    ];
    assert_eq!(told, expected);
}

#[test]
fn freezes_that_are_none_are_refused() {
    for (freeze, message) in [
        ("{until: 2026-12-20, from: 2027-01-04, why: x}", "is not after"),
        ("{from: 2026-12-20T00:00:00Z, until: 2027-01-04, why: x}", "is not a local time"),
        ("{from: 2026-12-20, until: 2027-01-04}", "`why`"),
        ("{from: 2026-12-20, until: 2027-01-04, why: x, time_zone: Europe/Berln}", "is not known"),
        ("{from: 2026-12-20, until: 2027-01-04, why: x, targets: []}", "there is no pattern"),
        ("{from: 2026-12-20, until: 2027-01-04, why: x, targets: [\"a\\nb\"]}", "freezes[0].targets"),
        ("{from: 2026-12-20, until: 2027-01-04, why: x, target: shop}", "targets"),
        ("{from: 2026-12-20, until: 9999-12-31, why: x}", "`9999-12-31` is too far away"),
    ] {
        let problems = read(&frozen(&format!("  - {freeze}"))).expect_err(freeze).to_string();
        assert!(problems.contains(message) && problems.contains("freezes[0]"), "{freeze}: {problems}");
    }
}
