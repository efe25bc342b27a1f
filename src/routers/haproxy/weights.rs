//! From shares of traffic to HAProxy's integer weights and back.

use std::collections::BTreeMap;

use crate::core::split::{Role, Split, Weight};

/// The largest weight of a server.
const MOST: u32 = 256;

/// The weight of each server of each role, such that the roles' shares of the traffic come as near to
/// the split as integers in 0..=256 allow; of equally near ones the smallest. `servers`: how many each
/// role has.
///
/// A role without weight gets 0, and one with weight never 0. With one server a role the canary is met
/// within 0.1 percentage points from 0.39% to 99.61% (and within 1% of its value up to 10%); the more
/// servers stable has, the smaller a canary can be. Above that range the canary gets a little less than
/// wanted, never more.
///
/// # Errors
/// A sentence if a role has weight but no server, or canary or baseline would have to be smaller than
/// the smallest share that there is.
pub(super) fn weights(split: Split, servers: &BTreeMap<Role, u32>) -> Result<BTreeMap<Role, u16>, String> {
    let shares = shares(split);
    let count = |role: Role| u64::from(servers.get(&role).copied().unwrap_or(0));
    if let Some((role, _)) = shares.iter().find(|(role, _)| count(*role) == 0) {
        return Err(format!("the split ({split}) gives weight to {}, which has no server", name(*role)));
    }
    let Some((lead, lead_share)) = lead(&shares, servers) else {
        return Err("the split gives nobody weight".to_owned());
    };
    if let Some(role) = too_small(split, servers) {
        return Err(too_fine(split, role, servers));
    }
    // The lead's weight is tried from 1 to 256, the others follow.
    let mut best: Option<(f64, BTreeMap<Role, u16>)> = None;
    for weight in 1..=MOST {
        let each = |role: Role, share: u64| {
            let exact = f64::from(weight) * (share * count(lead)) as f64 / (lead_share * count(role)) as f64;
            exact.round().max(1.0) as u16
        };
        let tried: BTreeMap<Role, u16> =
            shares.iter().map(|(role, share)| (*role, each(*role, *share))).collect();
        let error = error(&tried, split, servers);
        if best.as_ref().is_none_or(|(least, _)| error < *least) {
            best = Some((error, tried));
        }
    }
    let mut all: BTreeMap<Role, u16> = servers.keys().map(|role| (*role, 0)).collect();
    all.extend(best.map(|(_, weights)| weights).unwrap_or_default());
    Ok(all)
}

/// The split that servers with these weights make; `sums`: the weights of all servers of a role. What
/// has weight is never shown as 0%, and a canary that shares is never shown as 100%. Where nobody has
/// weight nobody gets a request, so the canary gets none.
pub(super) fn split(sums: &BTreeMap<Role, u32>) -> Split {
    let sum = |role: Role| u64::from(sums.get(&role).copied().unwrap_or(0));
    let (stable, canary, baseline) = (sum(Role::Stable), sum(Role::Canary), sum(Role::Baseline));
    let total = stable + canary + baseline;
    if total == 0 {
        return Split::STABLE;
    }
    let share = |sum: u64, most: u64| {
        if sum == 0 { 0 } else { ((sum * 10_000 + total / 2) / total).clamp(1, most) as u16 }
    };
    let reserved = |sum: u64| u64::from(sum > 0);
    let baseline = share(baseline, 10_000 - reserved(stable) - reserved(canary));
    let canary = share(canary, 10_000 - reserved(stable) - u64::from(baseline));
    Split { stable: Weight(10_000 - canary - baseline), canary: Weight(canary), baseline: Weight(baseline) }
}

/// The smallest share, in 1/10,000, that a canary of `canary` servers can have beside `stable` servers,
/// with a baseline of `baseline` servers if there is one. `None` if there is none below 100%.
pub fn smallest_canary(stable: u32, canary: u32, baseline: Option<u32>) -> Option<Weight> {
    let mut servers = BTreeMap::from([(Role::Stable, stable), (Role::Canary, canary)]);
    servers.extend(baseline.map(|count| (Role::Baseline, count)));
    if servers.values().any(|count| *count == 0) {
        return None;
    }
    let fits = |weight: &Weight| too_small(Split::canary(*weight, baseline.is_some()), &servers).is_none();
    (1..10_000).map(Weight).find(fits)
}

/// The roles that have weight, with it.
fn shares(split: Split) -> Vec<(Role, u64)> {
    let roles = [Role::Stable, Role::Canary, Role::Baseline];
    let all = roles.map(|role| (role, u64::from(split.weight(role).0)));
    all.into_iter().filter(|(_, share)| *share > 0).collect()
}

/// The role whose servers get most each, with its share.
fn lead(shares: &[(Role, u64)], servers: &BTreeMap<Role, u32>) -> Option<(Role, u64)> {
    let count = |role: Role| u64::from(servers.get(&role).copied().unwrap_or(0));
    shares.iter().copied().max_by(|(a, x), (b, y)| (x * count(*b)).cmp(&(y * count(*a))))
}

/// Canary or baseline, if it would have to be smaller than weight 1 is beside weight 256.
fn too_small(split: Split, servers: &BTreeMap<Role, u32>) -> Option<Role> {
    let shares = shares(split);
    let (lead, most) = lead(&shares, servers)?;
    let count = |role: Role| u64::from(servers.get(&role).copied().unwrap_or(0));
    let fits = |role: Role, share: u64| u64::from(MOST) * share * count(lead) >= most * count(role);
    shares.iter().find(|(role, share)| *role != Role::Stable && !fits(*role, *share)).map(|(role, _)| *role)
}

fn error(weights: &BTreeMap<Role, u16>, split: Split, servers: &BTreeMap<Role, u32>) -> f64 {
    let sum = |role: &Role, weight: &u16| f64::from(*weight) * f64::from(servers[role]);
    let total: f64 = weights.iter().map(|(role, weight)| sum(role, weight)).sum();
    let errors =
        weights.iter().map(|(role, weight)| (sum(role, weight) / total - split.weight(*role).share()).abs());
    errors.fold(0.0, f64::max)
}

fn too_fine(split: Split, role: Role, servers: &BTreeMap<Role, u32>) -> String {
    let count = |role: Role| servers.get(&role).copied();
    let smallest = smallest_canary(
        count(Role::Stable).unwrap_or(0),
        count(Role::Canary).unwrap_or(0),
        count(Role::Baseline),
    );
    let smallest = smallest.map_or("none".to_owned(), |weight| weight.to_string());
    format!(
        "HAProxy's weights cannot give {} only {}: the smallest canary with these servers is {smallest}",
        name(role),
        split.weight(role)
    )
}

fn name(role: Role) -> &'static str {
    match role {
        Role::Stable => "stable",
        Role::Canary => "the canary",
        Role::Baseline => "the baseline",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(stable: u32, canary: u32) -> BTreeMap<Role, u32> {
        BTreeMap::from([(Role::Stable, stable), (Role::Canary, canary)])
    }

    fn canary(weight: u16) -> Split {
        Split::canary(Weight(weight), false)
    }

    #[test]
    fn splits_of_the_steps() {
        // canary in 1/10,000, servers of stable and canary, weights of stable and canary
        let cases = [
            (0, 1, 1, 1, 0),
            (500, 1, 1, 19, 1),
            (2500, 1, 1, 3, 1),
            (100, 1, 1, 99, 1),
            (10_000, 1, 1, 0, 1),
            (500, 3, 1, 19, 3),
            (500, 1, 3, 57, 1),
            (5000, 4, 1, 1, 4),
            (1, 40, 1, 250, 1),
        ];
        for (weight, stable, of_canary, s, c) in cases {
            let servers = servers(stable, of_canary);
            let found = weights(canary(weight), &servers).unwrap();
            assert_eq!(found, BTreeMap::from([(Role::Stable, s), (Role::Canary, c)]), "{weight} {servers:?}");
        }
    }

    #[test]
    fn every_expressible_split_is_within_the_promised_bounds() {
        for weight in 39..=10_000u16 {
            let found = weights(canary(weight), &servers(1, 1)).unwrap();
            let sums: BTreeMap<Role, u32> = found.iter().map(|(role, w)| (*role, u32::from(*w))).collect();
            let share = f64::from(sums[&Role::Canary]) / f64::from(sums[&Role::Canary] + sums[&Role::Stable]);
            let wanted = f64::from(weight) / 10_000.0;
            if weight <= 9961 {
                assert!((share - wanted).abs() <= 0.001, "{weight}: {found:?}");
            } else {
                assert!(share <= wanted, "{weight}: {found:?}");
            }
            if weight <= 1000 {
                assert!((share / wanted - 1.0).abs() <= 0.01, "{weight}: {found:?}");
            }
        }
    }

    #[test]
    fn too_small_a_canary_is_refused_with_the_smallest() {
        let error = weights(canary(1), &servers(1, 1)).unwrap_err();
        assert!(error.contains("only 0.01%") && error.contains("is 0.39%"), "{error}");
        assert_eq!(smallest_canary(1, 1, None), Some(Weight(39)));
        assert_eq!(smallest_canary(40, 1, None), Some(Weight(1)));
        assert!(weights(canary(38), &servers(1, 1)).is_err());
        let error = weights(Split::canary(Weight(500), true), &servers(1, 1)).unwrap_err();
        assert!(error.contains("the baseline, which has no server"), "{error}");
    }

    #[test]
    fn a_baseline_gets_as_much_as_the_canary() {
        let mut servers = servers(2, 1);
        servers.insert(Role::Baseline, 1);
        let found = weights(Split::canary(Weight(500), true), &servers).unwrap();
        assert_eq!(found, BTreeMap::from([(Role::Stable, 9), (Role::Canary, 1), (Role::Baseline, 1)]));
    }

    #[test]
    fn weights_read_back() {
        let of = |stable: u32, canary: u32, baseline: u32| {
            let split = split(&BTreeMap::from([
                (Role::Stable, stable),
                (Role::Canary, canary),
                (Role::Baseline, baseline),
            ]));
            assert_eq!(split.stable.0 + split.canary.0 + split.baseline.0, 10_000);
            (split.canary.0, split.baseline.0)
        };
        assert_eq!(of(19, 1, 0), (500, 0));
        assert_eq!(of(0, 0, 0), (0, 0));
        assert_eq!(of(0, 7, 0), (10_000, 0));
        assert_eq!(of(1_000_000, 1, 1), (1, 1));
        assert_eq!(of(1, 1_000_000, 0), (9_999, 0));
        assert_eq!(of(1, 1, 1_000_000), (1, 9_998));
        assert_eq!(of(1, 1, 1), (3_333, 3_333));
    }
}
