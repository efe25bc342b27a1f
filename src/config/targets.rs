//! The targets of the configuration, and whether their arms can be told apart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use strum::VariantArray;

use super::decode::{Field, Fields, all, shorten, suggest};
use super::problem::{Problems, Report};
use super::readers::{Named, http_url, labels};
use super::references::{ProviderKind, References, RouterKind};
use super::yaml;
use crate::core::spec::{Pool, SplitBy, TargetSpec};

/// Stands for the version that a pool runs.
const VERSION: &str = "{version}";

/// Reads one target that stands alone, such as the body of a request; `file` says where problems are. It has the
/// fields of the configuration's `targets`, and its name in the field `name`, which may be left out where `name` is
/// known. No route or cluster may be one of `others`.
///
/// # Errors
/// All problems.
pub fn parse_target(
    file: &str,
    bytes: &[u8],
    name: Option<&str>,
    references: &References,
    others: &BTreeMap<String, Arc<TargetSpec>>,
) -> Result<TargetSpec, Problems> {
    let report = Report::new(file);
    let spec = yaml::read(bytes, &report).and_then(|node| {
        let root = Field::root(&node, &report);
        let spec = target(Called::Inside(name), &root, references)?;
        let others = others.values().filter(|other| other.name != spec.name);
        let mut all: Vec<(Option<&Field<'_>>, &TargetSpec)> = others.map(|other| (None, &**other)).collect();
        all.push((Some(&root), &spec));
        check_shared(&all, references.routers.as_ref());
        Some(spec)
    });
    report.finish(spec)
}

/// The name in a document that declares one thing.
pub fn declared_name(bytes: &[u8]) -> Option<String> {
    let report = Report::new("");
    let node = yaml::read(bytes, &report)?;
    Field::root(&node, &report).fields("")?.get("name")?.name()
}

/// Where a target's name stands.
#[derive(Clone, Copy)]
enum Called<'n> {
    /// It is the key of the entry.
    Outside(&'n str),
    /// In the field `name`; that may be left out, or must be the same, where it is known otherwise.
    Inside(Option<&'n str>),
}

/// Reads all targets.
pub(super) fn targets(field: &Field<'_>, references: &References) -> Option<BTreeMap<String, TargetSpec>> {
    let entries = field.entries("a mapping: what is steered, by name")?;
    let read = entries.into_iter().map(|(name, field)| {
        let good = field.check_name(name);
        let spec = target(Called::Outside(name), &field, references).filter(|_| good);
        (field, spec)
    });
    let read: Vec<(Field<'_>, Option<TargetSpec>)> = read.collect();
    let told: Vec<(Option<&Field<'_>>, &TargetSpec)> =
        read.iter().filter_map(|(field, spec)| Some((Some(field), spec.as_ref()?))).collect();
    check_shared(&told, references.routers.as_ref());
    all(read.into_iter().map(|(_, spec)| spec.map(|spec| (spec.name.clone(), spec))))
        .map(|targets| targets.into_iter().collect())
}

/// No two targets on one router share a route, or on Envoy a cluster: one would steer the other's traffic,
/// and be judged by requests that came through the other's route. (HAProxy's servers belong to a backend,
/// which is the route.) Those without a field are right, and come first.
fn check_shared(targets: &[(Option<&Field<'_>>, &TargetSpec)], routers: Option<&Named<RouterKind>>) {
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
                if let Some(field) = field {
                    field.at_path(&["route"]).problem(message, "a route of its own for each target");
                }
            }
        }
        if routers.and_then(|routers| *routers.get(router)?) != Some(RouterKind::Envoy) {
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
                if let Some(field) = field {
                    let field = field.at_path(&[place, "backend"]);
                    field.problem(message, "clusters of its own for each target");
                }
            }
        }
    }
}

fn target(called: Called<'_>, field: &Field<'_>, references: &References) -> Option<TargetSpec> {
    let References { providers, routers } = references;
    let (providers, routers) = (providers.as_ref(), routers.as_ref());
    let fields = field.fields("a mapping with `router`, `provider`, `route`, `stable` and `canary`")?;
    let name = match called {
        Called::Outside(name) => Some(name.to_owned()),
        Called::Inside(name) => own_name(&fields, name),
    };
    let router = fields.need("router", "the name of a router").and_then(|f| reference(&f, routers, "router"));
    let provider =
        fields.need("provider", "the name of a provider").and_then(|f| reference(&f, providers, "provider"));
    let route = fields
        .need("route", "for Envoy the prefix of the runtime keys, for HAProxy the name of the backend")
        .and_then(|f| f.line(500));
    let labels_of_all = fields.or("labels", BTreeMap::new(), |f| labels(&f));
    let stable_version = fields.maybe("stable_version", |f| f.line(200));
    let environment = fields.maybe("environment", |f| f.name());
    let ways: Vec<(&str, SplitBy)> = SplitBy::VARIANTS.iter().map(|way| (way.into(), *way)).collect();
    let split_by = fields.or("split_by", SplitBy::Requests, |f| f.one_of(&ways));
    let stable = fields.need("stable", "the pool of the running version").and_then(|f| pool(&f));
    let canary = fields.need("canary", "the pool of the new version").and_then(|f| pool(&f));
    let baseline = fields.maybe("baseline", |f| pool(&f));
    let provider_kind =
        provider.as_ref().zip(providers).and_then(|(name, providers)| *providers.get(name)?);
    let router_kind = router.as_ref().zip(routers).and_then(|(name, routers)| *routers.get(name)?);
    let spec = stable.zip(canary).zip(baseline).zip(stable_version).map(
        |(((stable, canary), baseline), stable_version)| TargetSpec {
            name: name.clone().unwrap_or_default(),
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
            split_by: split_by.unwrap_or_default(),
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
    spec.filter(|_| name.is_some())
}

fn own_name(fields: &Fields<'_>, known: Option<&str>) -> Option<String> {
    let Some(known) = known else {
        return fields.need("name", "the target's name, such as `name: shop`").and_then(|f| f.name());
    };
    match fields.get("name") {
        None => fields.field.check_name(known).then(|| known.to_owned()),
        Some(field) => {
            let name = field.name()?;
            if name != known {
                field.problem(format!("the name is `{}`", shorten(&name)), format!("`{}`", shorten(known)));
            }
            (name == known).then_some(name)
        }
    }
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
fn check_backends(router: RouterKind, pools: &[NamedPool<'_, '_>]) {
    let what = match router {
        RouterKind::Envoy => "the name of its cluster in Envoy",
        RouterKind::Haproxy => "the names of its servers in HAProxy, separated by commas",
    };
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for NamedPool { name, pool, field } in pools {
        let parts = match router {
            RouterKind::Envoy => vec![pool.backend.trim()],
            RouterKind::Haproxy => pool.backend.split(',').map(str::trim).collect(),
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
fn check_arms(provider: ProviderKind, spec: &TargetSpec, pools: &[NamedPool<'_, '_>]) {
    let is_scrape = provider == ProviderKind::Scrape;
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
