//! One contract for every router, over real Envoy, real HAProxy and the split in the process; then what
//! only one of them can show.

mod only_envoy;
mod only_haproxy;
mod parts;
mod rigs;

use async_trait::async_trait;
use serin::core::split::{Role, Split};
use serin::ports::TrafficRouter;

use self::parts::{assert_share, canary, drive, route, seen};

/// A router under the contract, with the targets `shop` and `cart`, both at the canary's weight 0 and
/// generation 1.
#[async_trait]
trait Rig: Send + Sync {
    fn router(&self) -> &dyn TrafficRouter;
    /// Sends requests to a target; gives those that `stable` and `canary` got.
    async fn send(&self, target: &str, n: u64) -> (u64, u64);
    /// Changes the weights behind Serin's back; false if that cannot be done, or not be seen.
    async fn set_by_hand(&self, target: &str, stable: u16, canary: u16) -> bool;
}

async fn what_is_applied_is_observed(rig: impl Rig) {
    for (generation, weight) in [(2, 500), (3, 2_500), (4, 10_000), (5, 0), (6, 100)] {
        drive(rig.router(), &route("shop", canary(weight), generation)).await;
    }
}

async fn applying_again_changes_nothing(rig: impl Rig) {
    let wanted = route("shop", canary(500), 2);
    let first = drive(rig.router(), &wanted).await;
    for _ in 0..3 {
        rig.router().apply(&wanted).await.unwrap();
        let again = rig.router().observe(&wanted).await.unwrap();
        assert_eq!(again, first);
    }
}

async fn an_older_generation_is_ignored(rig: impl Rig) {
    drive(rig.router(), &route("shop", canary(2_500), 2)).await;
    let newest = route("shop", Split::STABLE, 3);
    drive(rig.router(), &newest).await;
    rig.router().apply(&route("shop", canary(2_500), 2)).await.unwrap();
    assert_eq!(rig.router().observe(&newest).await.unwrap().split, Some(Split::STABLE));
    assert_eq!(rig.send("shop", 400).await, (400, 0));
}

async fn shares_follow_the_weights_and_zero_is_zero(rig: impl Rig) {
    assert_eq!(rig.send("shop", 400).await, (400, 0), "before any rollout");
    for (generation, weight) in [(2, 500), (3, 2_500)] {
        drive(rig.router(), &route("shop", canary(weight), generation)).await;
        let (stable, of_canary) = rig.send("shop", 4_000).await;
        assert_eq!(stable + of_canary, 4_000);
        assert_share(of_canary, 4_000, f64::from(weight) / 10_000.0);
    }
    drive(rig.router(), &route("shop", canary(10_000), 4)).await;
    assert_eq!(rig.send("shop", 400).await, (0, 400));
    drive(rig.router(), &route("shop", Split::STABLE, 5)).await;
    assert_eq!(rig.send("shop", 1_000).await, (1_000, 0));
}

async fn pools_that_change_roles_keep_their_traffic(rig: impl Rig) {
    drive(rig.router(), &route("shop", canary(10_000), 2)).await;
    let mut promoted = route("shop", Split::STABLE, 3);
    let pools = [(Role::Stable, Role::Canary), (Role::Canary, Role::Stable)];
    promoted.pools = pools.map(|(role, was)| (role, promoted.pools[&was].clone())).into();
    drive(rig.router(), &promoted).await;
    assert_eq!(rig.send("shop", 400).await, (0, 400));
}

async fn targets_do_not_disturb_each_other(rig: impl Rig) {
    let (shop, cart) = (route("shop", canary(2_500), 2), route("cart", Split::STABLE, 1));
    drive(rig.router(), &shop).await;
    seen(rig.router(), &cart).await;
    assert_eq!(rig.send("cart", 400).await, (400, 0));
    let cart = route("cart", canary(10_000), 7);
    drive(rig.router(), &cart).await;
    assert_eq!(rig.router().observe(&shop).await.unwrap().split, Some(shop.split));
    assert_eq!(rig.send("cart", 400).await, (0, 400));
    let (_, of_canary) = rig.send("shop", 4_000).await;
    assert_share(of_canary, 4_000, 0.25);
}

async fn weights_set_by_hand_are_seen_and_can_be_set_right(rig: impl Rig) {
    let wanted = route("shop", canary(2_500), 2);
    drive(rig.router(), &wanted).await;
    for (stable, of_canary, found) in [(19, 1, canary(500)), (1, 1, canary(5_000)), (1, 0, Split::STABLE)] {
        if !rig.set_by_hand("shop", stable, of_canary).await {
            return;
        }
        assert_eq!(rig.router().observe(&wanted).await.unwrap().split, Some(found));
        drive(rig.router(), &wanted).await;
    }
}

macro_rules! contract {
    ($($name:ident: $rig:path;)*) => { $(
        mod $name {
            contract!(@each $rig: what_is_applied_is_observed applying_again_changes_nothing
                an_older_generation_is_ignored shares_follow_the_weights_and_zero_is_zero
                pools_that_change_roles_keep_their_traffic targets_do_not_disturb_each_other
                weights_set_by_hand_are_seen_and_can_be_set_right);
        }
    )* };
    (@each $rig:path: $($check:ident)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            super::$check($rig().await).await;
        }
    )* };
}

contract! {
    envoy: super::rigs::EnvoyRig::start;
    envoy_delta: super::rigs::EnvoyRig::start_delta;
    haproxy: super::rigs::HaproxyRig::start;
    in_process: super::rigs::InProcessRig::start;
}
