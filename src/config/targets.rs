//! The targets of the configuration, and whether their arms can be told apart.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::target::{Pool, TargetSpec};
use crate::providers::ProviderConfig;
use crate::routers::RouterConfig;

use super::decode::{Field, Fields, all, shorten, suggest};
use super::readers::{Named, http_url, labels};

/// Stands for the version that a pool runs.
const VERSION: &str = "{version}";

/// Reads all targets. Providers and routers are `None` where they could not be read at all.
pub(super) fn targets(
    field: &Field<'_>,
    providers: Option<&Named<ProviderConfig>>,
    routers: Option<&Named<RouterConfig>>,
) -> Option<BTreeMap<String, TargetSpec>> {
    let entries = field.entries("a mapping: what is steered, by name")?;
    let read = entries.into_iter().map(|(name, field)| {
        let good = field.check_name(name);
        let spec = target(name, &field, providers, routers).filter(|_| good);
        (field, spec)
    });
    let read: Vec<(Field<'_>, Option<TargetSpec>)> = read.collect();
    let told: Vec<(&Field<'_>, &TargetSpec)> =
        read.iter().filter_map(|(field, spec)| Some((field, spec.as_ref()?))).collect();
    check_shared(&told, routers);
    all(read.into_iter().map(|(_, spec)| spec.map(|spec| (spec.name.clone(), spec))))
        .map(|targets| targets.into_iter().collect())
}

/// No two targets on one router share a route, or on Envoy a cluster: one would steer the other's traffic,
/// and be judged by requests that came through the other's route. (HAProxy's servers belong to a backend,
/// which is the route.)
fn check_shared(targets: &[(&Field<'_>, &TargetSpec)], routers: Option<&Named<RouterConfig>>) {
    let mut routes: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    let mut clusters: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for (field, spec) in targets.iter().filter(|(_, spec)| !spec.router.is_empty()) {
        let (name, router, route) = (spec.name.as_str(), spec.router.as_str(), spec.route.as_str());
        if !route.is_empty() {
            let first = *routes.entry((router, route)).or_insert(name);
            if first != name {
                let message = format!(
                    "the target {first} has the same route `{}` on the router {router}",
                    shorten(route)
                );
                field.at_path(&["route"]).problem(message, "a route of its own for each target");
            }
        }
        let kind = routers.and_then(|routers| routers.get(router)?.as_ref());
        if !matches!(kind, Some(RouterConfig::Envoy(_))) {
            continue;
        }
        for (place, pool) in pools(spec).filter(|(_, pool)| !pool.backend.trim().is_empty()) {
            let cluster = pool.backend.trim();
            let first = *clusters.entry((router, cluster)).or_insert(name);
            if first != name {
                let message = format!(
                    "the cluster `{}` belongs to the target {first} already, on the router {router}",
                    shorten(cluster)
                );
                field.at_path(&[place, "backend"]).problem(message, "clusters of its own for each target");
            }
        }
    }
}

fn target(
    name: &str,
    field: &Field<'_>,
    providers: Option<&Named<ProviderConfig>>,
    routers: Option<&Named<RouterConfig>>,
) -> Option<TargetSpec> {
    let fields = field.fields("a mapping with `router`, `provider`, `route`, `stable` and `canary`")?;
    let router = fields.need("router", "the name of a router").and_then(|f| reference(&f, routers, "router"));
    let provider =
        fields.need("provider", "the name of a provider").and_then(|f| reference(&f, providers, "provider"));
    let route = fields
        .need("route", "for Envoy the prefix of the runtime keys, for HAProxy the name of the backend")
        .and_then(|f| f.line(500));
    let labels_of_all = fields.or("labels", BTreeMap::new(), |f| labels(&f));
    let stable_version = fields.maybe("stable_version", |f| f.line(200));
    let environment = fields.maybe("environment", |f| f.name());
    let stable = fields.need("stable", "the pool of the running version").and_then(|f| pool(&f));
    let canary = fields.need("canary", "the pool of the new version").and_then(|f| pool(&f));
    let baseline = fields.maybe("baseline", |f| pool(&f));
    let provider_kind =
        provider.as_ref().zip(providers).and_then(|(name, providers)| providers.get(name)?.as_ref());
    let router_kind = router.as_ref().zip(routers).and_then(|(name, routers)| routers.get(name)?.as_ref());
    let spec = stable.zip(canary).zip(baseline).zip(stable_version).map(
        |(((stable, canary), baseline), stable_version)| TargetSpec {
            name: name.to_owned(),
            // What is missing here has its problem told, which refuses the whole file.
            router: router.unwrap_or_default(),
            provider: provider.unwrap_or_default(),
            route: route.unwrap_or_default(),
            labels: labels_of_all.unwrap_or_default(),
            stable,
            canary,
            baseline,
            stable_version,
            environment: environment.unwrap_or_default(),
        },
    );
    if let Some(spec) = &spec {
        let pools = named_pools(&fields, spec);
        if let Some(router) = router_kind {
            check_backends(router, &pools);
        }
        if let Some(provider) = provider_kind {
            check_arms(provider, spec, &pools);
        }
        check_versions(spec, &pools);
    }
    fields.close();
    spec
}

/// The name of a thing that is configured elsewhere in the file.
fn reference<T>(field: &Field<'_>, things: Option<&Named<T>>, what: &str) -> Option<String> {
    let name = field.name()?;
    let Some(things) = things else { return Some(name) };
    if !things.contains_key(&name) {
        let known = things.keys().collect::<Vec<_>>();
        field.problem(format!("there is no {what} `{}`", shorten(&name)), suggest(&name, &known));
    }
    Some(name)
}

fn pool(field: &Field<'_>) -> Option<Pool> {
    let fields = field.fields("a mapping with `backend`, and `labels` or `endpoints`")?;
    let backend = fields.or("backend", String::new(), |f| f.line(500));
    let labels = fields.or("labels", BTreeMap::new(), |f| labels(&f));
    let endpoints = fields.or("endpoints", Vec::new(), |f| {
        all(f.list(200, "a list of URLs of metrics pages")?.iter().map(|item| http_url(item, true)))
    });
    fields.close();
    Some(Pool { backend: backend?, labels: labels?, endpoints: endpoints? })
}

/// The pools that the target has, by the names of their fields.
fn pools(spec: &TargetSpec) -> impl Iterator<Item = (&'static str, &Pool)> {
    let all = [
        ("stable", Some(&spec.stable)),
        ("canary", Some(&spec.canary)),
        ("baseline", spec.baseline.as_ref()),
    ];
    all.into_iter().filter_map(|(name, pool)| Some((name, pool?)))
}

struct NamedPool<'p, 'f> {
    name: &'static str,
    pool: &'p Pool,
    field: Field<'f>,
}

fn named_pools<'p, 'f>(fields: &Fields<'f>, spec: &'p TargetSpec) -> Vec<NamedPool<'p, 'f>> {
    pools(spec).filter_map(|(name, pool)| Some(NamedPool { name, pool, field: fields.get(name)? })).collect()
}

/// Every pool has its own clusters or servers.
fn check_backends(router: &RouterConfig, pools: &[NamedPool<'_, '_>]) {
    let what = match router {
        RouterConfig::Envoy(_) => "the name of its cluster in Envoy",
        RouterConfig::Haproxy(_) => "the names of its servers in HAProxy, separated by commas",
    };
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for NamedPool { name, pool, field } in pools {
        let parts = match router {
            RouterConfig::Envoy(_) => vec![pool.backend.trim()],
            RouterConfig::Haproxy(_) => pool.backend.split(',').map(str::trim).collect(),
        };
        if parts.iter().any(|part| part.is_empty()) {
            field.problem("the pool does not say its `backend`", format!("`backend:` with {what}"));
            continue;
        }
        for part in parts {
            if let Some(owner) = owners.insert(part, name) {
                let message = format!("`{}` belongs to the pool `{owner}` already", shorten(part));
                field.problem(message, "each cluster or server in one place");
            }
        }
    }
}

/// The series of each two pools can be told apart, whichever of them plays canary and baseline.
fn check_arms(provider: &ProviderConfig, spec: &TargetSpec, pools: &[NamedPool<'_, '_>]) {
    let is_scrape = matches!(provider, ProviderConfig::Scrape(_));
    let mut complete = true;
    for NamedPool { pool, field, .. } in pools {
        if is_scrape && pool.endpoints.is_empty() {
            complete = false;
            field.problem(
                "the provider reads metrics pages, and the pool has none",
                "`endpoints: [http://HOST:PORT/metrics]`",
            );
        } else if !is_scrape && pool.labels.is_empty() {
            complete = false;
            field.problem(
                "the pool has no label by which its series can be told from the others', such as a version",
                "`labels: {version: \"{version}\"}`, or for Envoy `labels: {envoy_cluster_name: NAME}`; if the \
                 series have no such label yet, add one where they are scraped",
            );
        } else if !is_scrape && !pool.endpoints.is_empty() {
            field.problem("`endpoints` has no effect with this provider", "`labels` only");
        }
    }
    if !complete {
        return;
    }
    for (index, one) in pools.iter().enumerate() {
        for other in &pools[index + 1..] {
            let apart = labels_differ(spec, one.pool, other.pool)
                || (is_scrape && endpoints_differ(one.pool, other.pool));
            if !apart {
                other.field.problem(
                    format!(
                        "the series of `{}` and `{}` cannot be told apart: they have no label in common whose \
                         values differ{}",
                        one.name,
                        other.name,
                        if is_scrape { ", and share endpoints" } else { "" }
                    ),
                    "one label in both pools with values that differ, such as `version: \"{version}\"`",
                );
            }
        }
    }
}

/// True if some label is in both arms with different values: then no series is in both. A label that
/// only one of them has does not do: the other arm would match its series too.
fn labels_differ(spec: &TargetSpec, one: &Pool, other: &Pool) -> bool {
    let value = |pool: &Pool, label: &str| pool.labels.get(label).or_else(|| spec.labels.get(label)).cloned();
    let names = one.labels.keys().chain(other.labels.keys()).collect::<BTreeSet<_>>();
    names.into_iter().any(|label| match (value(one, label), value(other, label)) {
        // The version of the new release differs from the running one's.
        (Some(a), Some(b)) => a != b || a.contains(VERSION),
        _ => false,
    })
}

fn endpoints_differ(one: &Pool, other: &Pool) -> bool {
    one.endpoints.iter().all(|endpoint| !other.endpoints.contains(endpoint))
}

/// `{version}` in the running version's labels needs to be known before the first promotion.
fn check_versions(spec: &TargetSpec, pools: &[NamedPool<'_, '_>]) {
    if spec.stable_version.is_some() {
        return;
    }
    for NamedPool { pool, field, .. } in pools.iter().filter(|pool| pool.name != "canary") {
        if let Some(label) = pool.labels.iter().find(|(_, value)| value.contains(VERSION)) {
            field.problem(
                format!("the label `{}` needs the running version, which is not known", label.0),
                "`stable_version:` of the target with the version that runs now",
            );
        }
    }
}
