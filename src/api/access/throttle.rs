//! Bounds on how often: wrong credentials of an address, requests of a principal, lines of refusals.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

use super::lock;
use crate::ports::Clock;

/// Keys that one bound remembers. Beyond it those that are idle are forgotten, then all.
const MOST_KEYS: usize = 10_000;
/// Wrong credentials that an address may send at once, and the time after which it may send one more.
const FAILURES: (u32, Duration) = (20, Duration::from_secs(3));
/// How long an address that sent more is not listened to.
const BLOCKED: Duration = Duration::from_secs(30);
/// Requests of one principal: at once, and the time after which it may send one more.
const REQUESTS: (u32, Duration) = (200, Duration::from_millis(20));
/// Lines of refusals that an address may cause in the audit log.
const REFUSALS: (u32, Duration) = (30, Duration::from_secs(10));
/// And all addresses together.
const ALL_REFUSALS: (u32, Duration) = (1_000, Duration::from_secs(1));
/// Blocked addresses, and credentials that worked lately, that are remembered.
const MOST_KEPT: usize = 1_000;

/// Serin's clock, as the limiter wants it.
#[derive(Clone)]
struct Ticks(Arc<dyn Clock>);

impl GovernorClock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.monotonic()
    }
}

type Limiter<K> = RateLimiter<K, DefaultKeyedStateStore<K>, Ticks, NoOpMiddleware<Duration>>;

/// A bound for each key, over a bounded number of keys.
struct Keyed<K: Hash + Eq + Clone> {
    limiter: Mutex<Limiter<K>>,
    quota: Quota,
    clock: Ticks,
}

impl<K: Hash + Eq + Clone> Keyed<K> {
    fn new((burst, every): (u32, Duration), clock: &Ticks) -> Keyed<K> {
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(every).unwrap_or(Quota::per_second(burst)).allow_burst(burst);
        let limiter = RateLimiter::new(quota, DefaultKeyedStateStore::default(), clock.clone());
        Keyed { limiter: Mutex::new(limiter), quota, clock: clock.clone() }
    }

    /// Takes one; else how long to wait for the next.
    fn take(&self, key: &K) -> Result<(), Duration> {
        let mut limiter = lock(&self.limiter);
        if limiter.len() >= MOST_KEYS {
            limiter.retain_recent();
            if limiter.len() >= MOST_KEYS {
                *limiter =
                    RateLimiter::new(self.quota, DefaultKeyedStateStore::default(), self.clock.clone());
            }
        }
        limiter.check_key(key).map_err(|early| early.wait_time_from(self.clock.now()))
    }
}

/// All bounds of one API.
pub(in crate::api) struct Throttles {
    clock: Ticks,
    failures: Keyed<IpAddr>,
    blocked: Mutex<HashMap<IpAddr, Duration>>,
    good: Mutex<HashMap<String, Duration>>,
    requests: Keyed<String>,
    refusals: Keyed<IpAddr>,
    all_refusals: Keyed<()>,
}

impl Throttles {
    pub(in crate::api) fn new(clock: Arc<dyn Clock>) -> Throttles {
        let clock = Ticks(clock);
        Throttles {
            failures: Keyed::new(FAILURES, &clock),
            blocked: Mutex::default(),
            good: Mutex::default(),
            requests: Keyed::new(REQUESTS, &clock),
            refusals: Keyed::new(REFUSALS, &clock),
            all_refusals: Keyed::new(ALL_REFUSALS, &clock),
            clock,
        }
    }

    /// How long the address is not listened to. A credential (by its hash) that has worked in the last
    /// hour is: others behind the same address must not be able to shut it out.
    pub(super) fn blocked(&self, from: IpAddr, credential: &str) -> Result<(), Duration> {
        const LATELY: Duration = Duration::from_secs(3600);
        let now = self.clock.now();
        let until = lock(&self.blocked).get(&network(from)).copied().unwrap_or_default();
        let known = lock(&self.good).get(credential).is_some_and(|at| now.saturating_sub(*at) < LATELY);
        if until <= now || known { Ok(()) } else { Err(until.saturating_sub(now)) }
    }

    /// The credential was wrong; else how long the address is not listened to from now on.
    pub(super) fn failed(&self, from: IpAddr) -> Result<(), Duration> {
        let from = network(from);
        if self.failures.take(&from).is_ok() {
            return Ok(());
        }
        let now = self.clock.now();
        insert(&mut lock(&self.blocked), from, now + BLOCKED, |until| *until > now);
        Err(BLOCKED)
    }

    /// The credential was right.
    pub(super) fn worked(&self, credential: &str) {
        let now = self.clock.now();
        insert(&mut lock(&self.good), credential.to_owned(), now, |_| false);
    }

    /// One more request of a principal; else how long to wait.
    pub(super) fn request(&self, principal: &String) -> Result<(), Duration> {
        self.requests.take(principal)
    }

    /// Whether a refusal of that address is written down: nobody may fill the disk by being refused.
    pub(super) fn may_write_refusal(&self, from: IpAddr) -> bool {
        self.refusals.take(&network(from)).is_ok() && self.all_refusals.take(&()).is_ok()
    }
}

/// Puts a value into a map that has a bounded number of them: those that are not kept make room.
fn insert<K: Hash + Eq>(
    map: &mut HashMap<K, Duration>,
    key: K,
    value: Duration,
    keep: impl Fn(&Duration) -> bool,
) {
    if map.len() >= MOST_KEPT && !map.contains_key(&key) {
        map.retain(|_, value| keep(value));
        if map.len() >= MOST_KEPT {
            map.clear();
        }
    }
    map.insert(key, value);
}

/// An address as one caller has it: of IPv6 the network of 64 bits, since a caller has all of it.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => IpAddr::V4(ip),
            None => IpAddr::V6((u128::from(ip) & (u128::MAX << 64)).into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::core::time::Timestamp;

    #[derive(Default)]
    struct Hands(Mutex<Duration>);

    #[async_trait]
    impl Clock for Hands {
        fn wall(&self) -> Timestamp {
            Timestamp(0)
        }
        fn monotonic(&self) -> Duration {
            *lock(&self.0)
        }
        async fn sleep_until(&self, _until: Duration) {}
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_blocked_after_failures_and_free_again_later() {
        let clock = Arc::new(Hands::default());
        let throttles = Throttles::new(clock.clone());
        let (bad, other) = (address("10.0.0.1"), address("10.0.0.2"));
        for n in 0..FAILURES.0 {
            assert_eq!(throttles.blocked(bad, "x"), Ok(()), "{n}");
            assert_eq!(throttles.failed(bad), Ok(()), "{n}");
        }
        assert_eq!(throttles.failed(bad), Err(BLOCKED));
        assert_eq!(throttles.blocked(bad, "x"), Err(BLOCKED));
        assert_eq!(throttles.blocked(other, "x"), Ok(()));
        throttles.worked("known");
        assert_eq!(throttles.blocked(bad, "known"), Ok(()));
        *lock(&clock.0) = BLOCKED;
        assert_eq!(throttles.blocked(bad, "x"), Ok(()));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let throttles = Throttles::new(Arc::new(Hands::default()));
        for n in 0..3 * MOST_KEYS as u32 {
            let _ = throttles.failed(IpAddr::V4(n.into()));
            let _ = throttles.request(&n.to_string());
            throttles.worked(&n.to_string());
        }
        assert!(lock(&throttles.failures.limiter).len() <= MOST_KEYS);
        assert!(lock(&throttles.requests.limiter).len() <= MOST_KEYS);
        assert!(lock(&throttles.good).len() <= MOST_KEPT);
    }

    #[test]
    fn a_network_of_ipv6_is_one_caller() {
        assert_eq!(network(address("2001:db8::1")), network(address("2001:db8::ffff")));
        assert_ne!(network(address("2001:db8::1")), network(address("2001:db8:0:1::1")));
        assert_eq!(network(address("::ffff:10.0.0.1")), address("10.0.0.1"));
    }
}
