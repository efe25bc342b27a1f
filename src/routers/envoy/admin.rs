//! What Envoy's admin interface tells: the hosts of the clusters, and requests for which there was no host,
//! no cluster or no route. It is read in the background, for all targets at once; nothing waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use serde::Deserialize;
use tracing::debug;

use super::super::RouterBuildError;
use super::super::trail::{READ_EVERY, Trail};
use crate::core::pools::{FrontState, PoolState};
use crate::core::split::Role;
use crate::ports::Route;

/// For each page.
const DEADLINE: Duration = Duration::from_secs(5);
/// No page is longer.
const LONGEST: usize = 16 << 20;
/// The counters that are read; `http.admin` is the admin interface's own.
const COUNTERS: &str = "^(cluster\\..*\\.(upstream_rq_total|upstream_cx_none_healthy|lb_healthy_panic)|\
                        http\\..*\\.(no_route|no_cluster))$";
/// The trail's name of requests that met no route or no cluster. Envoy counts them for a listener, not for a
/// route.
const UNROUTED: &str = "/unrouted";

/// The admin interfaces of the proxies.
pub(super) struct Admin {
    urls: Vec<String>,
    client: reqwest::Client,
    state: Mutex<State>,
}

struct State {
    asked_at: Option<Duration>,
    is_reading: bool,
    /// In the order of the URLs.
    proxies: Vec<Proxy>,
}

#[derive(Default)]
struct Proxy {
    /// By name; `None` while it cannot be read.
    clusters: Option<BTreeMap<String, Cluster>>,
    trail: Trail,
}

/// The hosts of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cluster {
    hosts: u32,
    up: u32,
    draining: u32,
}

/// One reading of one proxy.
struct Reading {
    clusters: BTreeMap<String, Cluster>,
    counters: BTreeMap<String, u64>,
}

impl Admin {
    /// `None` without URLs.
    pub(super) fn new(urls: &[String]) -> Result<Option<Arc<Admin>>, RouterBuildError> {
        if urls.is_empty() {
            return Ok(None);
        }
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(DEADLINE)
            .build()
            .map_err(|error| {
                RouterBuildError(format!("no HTTP client for Envoy's admin interface: {error}"))
            })?;
        let proxies = urls.iter().map(|_| Proxy::default()).collect();
        Ok(Some(Arc::new(Admin {
            urls: urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect(),
            client,
            state: Mutex::new(State { asked_at: None, is_reading: false, proxies }),
        })))
    }

    /// Begins to read, if that was not done lately. `clusters` are those that matter.
    pub(super) fn refresh(self: &Arc<Self>, now: Duration, clusters: BTreeSet<String>) {
        let mut state = self.lock();
        if state.is_reading || state.asked_at.is_some_and(|asked| now < asked + READ_EVERY) {
            return;
        }
        state.asked_at = Some(now);
        state.is_reading = true;
        drop(state);
        let admin = Arc::clone(self);
        tokio::spawn(async move {
            let readings = join_all(admin.urls.iter().map(|url| admin.read(url, &clusters))).await;
            let mut state = admin.lock();
            state.is_reading = false;
            for (proxy, reading) in state.proxies.iter_mut().zip(readings) {
                proxy.clusters = reading.map(|reading| {
                    proxy.trail.add(now, reading.counters);
                    reading.clusters
                });
            }
        });
    }

    async fn read(&self, url: &str, clusters: &BTreeSet<String>) -> Option<Reading> {
        let stats =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("filter", COUNTERS).finish();
        let pages = async {
            let hosts = self.page(&format!("{url}/clusters?format=json")).await?;
            let stats = self.page(&format!("{url}/stats?{stats}")).await?;
            Ok::<_, String>(Reading {
                clusters: hosts_of(&hosts, clusters)?,
                counters: counters(&stats, clusters),
            })
        };
        pages.await.inspect_err(|why| debug!(url, why, "an admin interface cannot be read")).ok()
    }

    async fn page(&self, url: &str) -> Result<Vec<u8>, String> {
        // The error's own text may repeat the URL, which is in the log anyway.
        let told = |error: reqwest::Error| error.without_url().to_string();
        let answer = self.client.get(url).send().await.map_err(told)?;
        let mut answer = answer.error_for_status().map_err(told)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(told)? {
            if body.len() + chunk.len() > LONGEST {
                return Err(format!("the page is longer than {LONGEST} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// The hosts of each role's cluster; empty if nothing is known.
    pub(super) fn pools(&self, route: &Route) -> BTreeMap<Role, PoolState> {
        let state = self.lock();
        let known = |role: &Role, name: &str| Some((*role, pool(&state.proxies, name)?));
        route.pools.iter().filter_map(|(role, pool)| known(role, &pool.backend)).collect()
    }

    /// What became of the requests for a target. Those without a route or a cluster are not the proxy's to
    /// tell by targets: they count where the proxy does not know a cluster that the target gives weight to.
    pub(super) fn front(&self, route: &Route) -> Option<FrontState> {
        let state = self.lock();
        let mut front = FrontState::default();
        let mut how = BTreeSet::new();
        let mut is_known = false;
        for proxy in &state.proxies {
            let Some(clusters) = &proxy.clusters else { continue };
            front.over = front.over.max(proxy.trail.over());
            let mut lost = false;
            for (role, pool) in &route.pools {
                let name = &pool.backend;
                if !clusters.contains_key(name) {
                    if route.split.weight(*role).0 > 0 {
                        lost = true;
                        how.insert(format!("Envoy does not know the cluster {name} (NC, NR)"));
                    }
                    continue;
                }
                let sent = proxy.trail.grown(&counter(name, "upstream_rq_total"));
                let refused = proxy.trail.grown(&counter(name, "upstream_cx_none_healthy")).unwrap_or(0);
                is_known |= sent.is_some();
                front.requests += sent.unwrap_or(0) + refused;
                front.unanswerable += refused;
                if refused > 0 {
                    how.insert(format!("Envoy had no healthy host in the cluster {name} (503, UH)"));
                }
            }
            if let (true, Some(unrouted)) = (lost, proxy.trail.grown(UNROUTED)) {
                is_known = true;
                front.requests += unrouted;
                front.unanswerable += unrouted;
            }
        }
        front.how = how.into_iter().collect::<Vec<_>>().join(", ");
        is_known.then_some(front)
    }

    /// Nothing panics while it holds the lock, and if it did the data would still be whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the proxies know of a cluster: of the one that sees most hosts up, as a proxy that has just been
/// started knows fewer. `None` if no proxy can be read.
fn pool(proxies: &[Proxy], name: &str) -> Option<PoolState> {
    let readable: Vec<&Proxy> = proxies.iter().filter(|proxy| proxy.clusters.is_some()).collect();
    if readable.is_empty() {
        return None;
    }
    let seen = readable.iter().filter_map(|proxy| proxy.clusters.as_ref()?.get(name));
    let Some(best) = seen.max_by_key(|cluster| (cluster.up, cluster.hosts)) else {
        return Some(PoolState { missing: Some(format!("the cluster {name}")), ..PoolState::default() });
    };
    let grown = |what: &str| {
        let counted = readable.iter().filter_map(|proxy| proxy.trail.grown(&counter(name, what)));
        counted.reduce(u64::saturating_add)
    };
    Some(PoolState {
        servers: best.hosts,
        up: best.up,
        draining: best.draining,
        panic: grown("lb_healthy_panic").unwrap_or(0) > 0,
        requests: grown("upstream_rq_total"),
        ..PoolState::default()
    })
}

fn counter(cluster: &str, what: &str) -> String {
    format!("cluster.{cluster}.{what}")
}

/// `/clusters?format=json`.
#[derive(Deserialize)]
struct ClustersPage {
    #[serde(default)]
    cluster_statuses: Vec<ClusterStatus>,
}

#[derive(Deserialize)]
struct ClusterStatus {
    name: String,
    #[serde(default)]
    host_statuses: Vec<HostStatus>,
}

#[derive(Deserialize)]
struct HostStatus {
    #[serde(default)]
    health_status: HealthStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct HealthStatus {
    failed_active_health_check: bool,
    failed_outlier_check: bool,
    pending_active_hc: bool,
    pending_dynamic_removal: bool,
    excluded_via_immediate_hc_fail: bool,
    eds_health_status: Option<String>,
}

fn hosts_of(page: &[u8], wanted: &BTreeSet<String>) -> Result<BTreeMap<String, Cluster>, String> {
    let page: ClustersPage =
        serde_json::from_slice(page).map_err(|error| format!("/clusters cannot be read: {error}"))?;
    let ours = page.cluster_statuses.into_iter().filter(|cluster| wanted.contains(&cluster.name));
    let counted = ours.map(|cluster| {
        let mut counts = Cluster::default();
        for HostStatus { health_status: health } in &cluster.host_statuses {
            counts.hosts += 1;
            let failed = health.failed_active_health_check
                || health.failed_outlier_check
                || health.pending_active_hc
                || health.pending_dynamic_removal
                || health.excluded_via_immediate_hc_fail;
            match health.eds_health_status.as_deref() {
                Some("DRAINING") => counts.draining += 1,
                None | Some("HEALTHY" | "UNKNOWN" | "DEGRADED") if !failed => counts.up += 1,
                _ => {}
            }
        }
        (cluster.name, counts)
    });
    Ok(counted.collect())
}

/// `/stats`: `name: value`, a line each.
fn counters(page: &[u8], clusters: &BTreeSet<String>) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::from([(UNROUTED.to_owned(), 0)]);
    for line in String::from_utf8_lossy(page).lines() {
        let Some((name, value)) = line.rsplit_once(": ") else { continue };
        let Ok(value) = value.trim().parse::<u64>() else { continue };
        if name.starts_with("http.admin.") {
            continue;
        }
        if name.starts_with("http.") {
            *found.entry(UNROUTED.to_owned()).or_default() += value;
        } else if let Some((cluster, _)) =
            name.strip_prefix("cluster.").and_then(|rest| rest.rsplit_once('.'))
            && clusters.contains(cluster)
        {
            found.insert(name.to_owned(), value);
        }
    }
    found
}

#[cfg(test)]
#[path = "admin_tests.rs"]
mod tests;
