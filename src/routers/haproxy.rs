//! HAProxy over its Runtime API: Serin sets the weights of servers and reads them back.
//!
//! A target's `route` is a backend; a pool is one or more of its servers, separated by commas. All
//! servers of a role get the same weight, in 0..=256, so that the role's share of the traffic, not of the
//! servers, is right. [`smallest_canary`] says how small a canary can be; a smaller one is refused. How
//! near a split can be met is said (and tested) at `weights::weights`.
//!
//! The weights are the truth about the split: a server that is down or in maintenance gets nothing
//! whatever its weight, and HAProxy gives its share to the others. Servers of the backend that are in no
//! pool keep their weights and take their share from all pools, so there should be none but backups.
//! What `show stat` says of the servers and of requests that none of them could take is told beside the
//! split; it is read every few seconds, and nothing waits for it.
//! The backend needs a dynamic balancing algorithm (`roundrobin`, `leastconn`, `random`, a consistent
//! hash), and the socket `level admin`.
//!
//! Weight 0 stops new clients, but not those that stick to a server by a cookie or a stick table: they go
//! on reaching it. With [`KeptSessions::Drain`] that is accepted. With [`KeptSessions::Shutdown`] the
//! servers of a canary at 0 are put into maintenance, which makes HAProxy forget the stickiness, and
//! their sessions are shut down; when the canary rises again they are made ready first. Serin then owns
//! the maintenance state of servers at weight 0.
//!
//! A reload gives HAProxy the weights of its file: write `weight 0` for the canary there, or keep the
//! state over reloads with `load-server-state-from-file`.

mod socket;
mod state;
mod stats;
mod weights;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tracing::{debug, info};

use self::socket::Socket;
use self::state::Server;
use self::stats::Known;
pub use self::weights::smallest_canary;
use super::RouterBuildError;
use super::trail::READ_EVERY;
use crate::core::pools::ObservedSplit;
use crate::core::split::Role;
use crate::ports::{Route, RouterError, TrafficRouter};

/// How an HAProxy is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct HaproxyConfig {
    /// `/path/to/socket`, or `tcp:HOST:PORT`.
    pub socket: String,
    /// For each command.
    pub deadline: Duration,
    /// What happens to kept sessions at weight 0: `drain` (they stay until they end) or `shutdown`.
    pub sessions: KeptSessions,
}

/// What happens to sessions that stick to a canary whose weight becomes 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptSessions {
    /// They go on until they end by themselves; clients that stick by a cookie or a stick table still
    /// reach the canary.
    Drain,
    /// They are closed, and clients that stick go elsewhere.
    Shutdown,
}

impl HaproxyConfig {
    /// Builds the router; HAProxy need not be there yet.
    ///
    /// # Errors
    /// If the socket's address is not one.
    pub fn build(&self) -> Result<Arc<dyn TrafficRouter>, RouterBuildError> {
        Ok(HaproxyRouter::new(self)?)
    }
}

/// The split is not kept waiting longer for what else is known.
const LONGEST_STATS: Duration = Duration::from_secs(2);

/// Drives one HAProxy.
pub struct HaproxyRouter {
    reach: RwLock<Arc<Reach>>,
    /// Raised when it is reached elsewhere, to wake those who wait for a change.
    pulse: watch::Sender<u64>,
    /// The newest generation of each target. The inner lock is held while weights are being set, so
    /// that an older call cannot end after a newer one.
    generations: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<u64>>>>,
    /// What is known of each target's servers.
    known: Mutex<BTreeMap<String, Known>>,
    begun: tokio::time::Instant,
}

/// How it is reached now.
struct Reach {
    socket: Socket,
    sessions: KeptSessions,
}

impl Reach {
    fn new(config: &HaproxyConfig) -> Result<Reach, RouterBuildError> {
        Ok(Reach { socket: Socket::new(&config.socket, config.deadline)?, sessions: config.sessions })
    }
}

#[async_trait]
impl TrafficRouter for HaproxyRouter {
    async fn load(&self, routes: &[Route]) -> Result<(), RouterError> {
        for route in routes {
            let held = self.generation(&route.target);
            let mut held = held.lock().await;
            *held = (*held).max(route.generation);
        }
        Ok(())
    }

    async fn apply(&self, route: &Route) -> Result<(), RouterError> {
        let held = self.generation(&route.target);
        let mut held = held.lock().await;
        if *held > route.generation {
            return Ok(());
        }
        *held = route.generation;
        let reach = self.reach();
        let servers = servers(&reach, &route.route).await?;
        let pools = Pools::of(route, &servers)?;
        let wanted = weights::weights(route.split, &pools.sizes())
            .map_err(|why| RouterError::Refused(format!("target {}: {why}", route.target)))?;
        let commands = pools.commands(&route.route, &wanted, reach.sessions);
        if !commands.is_empty() {
            reach.socket.command(&commands).await?;
            info!(target = route.target, generation = route.generation, split = %route.split, "weights set");
        }
        Ok(())
    }

    async fn observe(&self, route: &Route) -> Result<ObservedSplit, RouterError> {
        let reach = self.reach();
        let servers = servers(&reach, &route.route).await?;
        let pools = Pools::of(route, &servers)?;
        // A split that cannot be met is refused by `apply`; here it only cannot be what is found.
        let as_wanted = weights::weights(route.split, &pools.sizes())
            .is_ok_and(|wanted| pools.members.iter().all(|(role, server)| server.weight == wanted[role]));
        let split = if as_wanted { route.split } else { weights::split(&pools.sums()) };
        self.read_stats(&reach, route).await;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(&route.target);
        Ok(ObservedSplit {
            pools: known.map(|known| known.pools(route)).unwrap_or_default(),
            front: known.and_then(|known| known.front(route)),
            ..ObservedSplit::of(Some(split))
        })
    }

    /// Weights are only ever set for a route that is given, so there is nothing to stop.
    async fn authority(&self, _held: bool) {}

    async fn changed(&self, _target: &str) {
        // The sender lives as long as the router.
        let _ = self.pulse.subscribe().changed().await;
    }
}

impl HaproxyRouter {
    /// A router; HAProxy need not be there yet.
    ///
    /// # Errors
    /// If the socket's address is not one.
    pub fn new(config: &HaproxyConfig) -> Result<Arc<HaproxyRouter>, RouterBuildError> {
        Ok(Arc::new(HaproxyRouter {
            reach: RwLock::new(Arc::new(Reach::new(config)?)),
            pulse: watch::Sender::new(0),
            generations: Mutex::default(),
            known: Mutex::default(),
            begun: tokio::time::Instant::now(),
        }))
    }

    /// Makes ready another way to reach it, and gives what puts that in force: the weights are looked at again at
    /// once, and generations are kept.
    ///
    /// # Errors
    /// If the socket's address is not one.
    pub fn renew(
        self: &Arc<Self>,
        config: &HaproxyConfig,
    ) -> Result<impl FnOnce() + Send + use<>, RouterBuildError> {
        let (router, reach) = (Arc::clone(self), Arc::new(Reach::new(config)?));
        Ok(move || {
            *router.reach.write().unwrap_or_else(PoisonError::into_inner) = reach;
            // What was counted there says nothing of what is counted here.
            router.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
            router.pulse.send_modify(|count| *count += 1);
        })
    }

    fn reach(&self) -> Arc<Reach> {
        self.reach.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn generation(&self, target: &str) -> Arc<tokio::sync::Mutex<u64>> {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(generations.entry(target.to_owned()).or_default())
    }

    /// Reads what HAProxy counts, if that was not done lately. The split is known without it, so a failure
    /// only leaves nothing known of the servers.
    async fn read_stats(&self, reach: &Reach, route: &Route) {
        let now = self.begun.elapsed();
        {
            let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let known = all.entry(route.target.clone()).or_default();
            if known.asked_at.is_some_and(|asked| now < asked + READ_EVERY) {
                return;
            }
            known.asked_at = Some(now);
        }
        // Only the backend (2) and its servers (4).
        let question = format!("show stat {} 6 -1", route.route);
        let answer = tokio::time::timeout(LONGEST_STATS, reach.socket.ask(&question)).await;
        let answer = answer.unwrap_or(Err(RouterError::Timeout));
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = all.get_mut(&route.target) else { return };
        if let Err(error) = answer.and_then(|answer| known.take(self.begun.elapsed(), &answer)) {
            debug!(target = route.target, %error, "the state of the servers cannot be read");
            known.lose();
        }
    }
}

/// The servers of a backend as they are.
async fn servers(reach: &Reach, backend: &str) -> Result<Vec<Server>, RouterError> {
    state::check_name("backend", backend)?;
    let answer = reach.socket.ask(&format!("show servers state {backend}")).await?;
    if answer.trim_end() == "Can't find backend." {
        let all = reach.socket.ask("show backend").await?;
        let names: Vec<&str> = all.split_whitespace().filter(|word| !["#", "name"].contains(word)).collect();
        return Err(RouterError::Refused(format!(
            "there is no backend `{backend}`; there are: {}",
            names.join(", ")
        )));
    }
    state::servers(backend, &answer)
}

/// The servers of a target by the role that they play now.
struct Pools<'a> {
    members: Vec<(Role, &'a Server)>,
}

impl<'a> Pools<'a> {
    fn of(route: &Route, servers: &'a [Server]) -> Result<Pools<'a>, RouterError> {
        let mut members: Vec<(Role, &'a Server)> = Vec::new();
        for (role, pool) in &route.pools {
            for name in pool.backend.split(',').map(str::trim) {
                state::check_name("server", name)?;
                let Some(server) = servers.iter().find(|server| server.name == name) else {
                    let names: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
                    return Err(RouterError::Refused(format!(
                        "the backend `{}` has no server `{name}`; it has: {}",
                        route.route,
                        names.join(", ")
                    )));
                };
                if members.iter().any(|(_, member)| member.name == name) {
                    return Err(RouterError::Refused(format!(
                        "target {}: the server `{name}` is named twice in its pools",
                        route.target
                    )));
                }
                members.push((*role, server));
            }
        }
        Ok(Pools { members })
    }

    /// How many servers each role has.
    fn sizes(&self) -> BTreeMap<Role, u32> {
        self.by_role(|_| 1)
    }

    /// The weights of each role's servers together.
    fn sums(&self) -> BTreeMap<Role, u32> {
        self.by_role(|server| u32::from(server.weight))
    }

    fn by_role(&self, count: impl Fn(&Server) -> u32) -> BTreeMap<Role, u32> {
        let mut all = BTreeMap::new();
        for (role, server) in &self.members {
            *all.entry(*role).or_insert(0) += count(server);
        }
        all
    }

    /// What brings the servers to the wanted weights, and nothing for those that have theirs. Commands
    /// take effect one by one; in this order the canary's share is at no moment above both what it was
    /// and what it shall be, and some server always has weight: others up, canary down, others down,
    /// canary up, the last two the other way round where nothing is left for the others. `wanted` has
    /// every role that has servers.
    fn commands(&self, backend: &str, wanted: &BTreeMap<Role, u16>, sessions: KeptSessions) -> Vec<String> {
        let canary = |role: Role| role == Role::Canary;
        let full = wanted.iter().all(|(role, weight)| canary(*role) || *weight == 0);
        let mut steps: Vec<(u8, String)> = Vec::new();
        for (role, server) in &self.members {
            let (is, shall, name) = (server.weight, wanted[role], &server.name);
            let rises = shall > is;
            let place = match (canary(*role), rises) {
                (false, true) => 0,
                (true, false) => 1,
                (false, false) => 2,
                (true, true) => 3 - 2 * u8::from(full),
            };
            let mut add = |command: String| steps.push((place, command));
            if sessions == KeptSessions::Shutdown && is == 0 && rises && server.in_maintenance {
                add(format!("set server {backend}/{name} state ready"));
            }
            if shall != is {
                add(format!("set server {backend}/{name} weight {shall}"));
            }
            let stop = sessions == KeptSessions::Shutdown && canary(*role) && shall == 0;
            if stop && !server.in_maintenance {
                add(format!("set server {backend}/{name} state maint"));
                add(format!("shutdown sessions server {backend}/{name}"));
            }
        }
        steps.sort_by_key(|(place, _)| *place);
        steps.into_iter().map(|(_, command)| command).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, weight: u16) -> Server {
        Server { name: name.into(), weight, in_maintenance: false }
    }

    /// Carries the commands out one by one and gives the canary's share after each.
    fn shares(stable: (u16, u16), canary: (u16, u16)) -> Vec<f64> {
        let servers = [server("s", stable.0), server("c", canary.0)];
        let members = vec![(Role::Stable, &servers[0]), (Role::Canary, &servers[1])];
        let wanted = BTreeMap::from([(Role::Stable, stable.1), (Role::Canary, canary.1)]);
        let commands = Pools { members }.commands("b", &wanted, KeptSessions::Drain);
        let (mut s, mut c) = (f64::from(stable.0), f64::from(canary.0));
        let mut shares = vec![c / (s + c)];
        for command in commands {
            let (left, weight) = command.rsplit_once(" weight ").unwrap();
            *(if left.ends_with("/s") { &mut s } else { &mut c }) = weight.parse().unwrap();
            shares.push(c / (s + c));
        }
        shares
    }

    #[test]
    fn no_step_between_gives_the_canary_more_than_before_and_after() {
        let weights = [0, 1, 3, 19, 64, 99, 192, 256];
        let all = || weights.iter().flat_map(|s| weights.iter().map(move |c| (*s, *c)));
        for (before, after) in all().flat_map(|a| all().map(move |b| (a, b))) {
            if before == (0, 0) || after == (0, 0) {
                continue;
            }
            let shares = shares((before.0, after.0), (before.1, after.1));
            let last = f64::from(after.1) / f64::from(after.0 + after.1);
            let most = shares[0].max(last) + 1e-12;
            assert!(shares.iter().all(|share| *share <= most), "{before:?} to {after:?}: {shares:?}");
            assert!((shares[shares.len() - 1] - last).abs() < 1e-12);
        }
    }

    #[test]
    fn shutting_down_stops_a_canary_once_and_undoes_it_before_it_rises() {
        let mut canary = server("c", 13);
        let stable = server("s", 243);
        let commands = |canary: &Server, weight: u16| {
            let members = vec![(Role::Stable, &stable), (Role::Canary, canary)];
            let wanted = BTreeMap::from([(Role::Stable, 243), (Role::Canary, weight)]);
            Pools { members }.commands("b", &wanted, KeptSessions::Shutdown)
        };
        assert_eq!(
            commands(&canary, 0),
            ["set server b/c weight 0", "set server b/c state maint", "shutdown sessions server b/c"]
        );
        canary = Server { weight: 0, in_maintenance: true, ..canary };
        assert!(commands(&canary, 0).is_empty());
        assert_eq!(commands(&canary, 5), ["set server b/c state ready", "set server b/c weight 5"]);
        // A server with weight was put into maintenance by somebody else.
        canary.weight = 3;
        assert_eq!(commands(&canary, 5), ["set server b/c weight 5"]);
    }
}
