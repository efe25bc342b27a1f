//! The version of a layer, which a proxy repeats when it opens a new stream: it says what the proxy has, also to a
//! process whose store knows nothing of it.
//!
//! `<sum>-<hash>/1/<targets>/<check>`. The sum of the generations, which never falls while the targets stay the
//! same, is for people; the hash tells contents apart. Of each target there is its generation, and for each runtime
//! key with weight a number made from the key, and the weight: `2a.1k9x0q3z7c.1xc.5rq08w2hmf.5sg`. Numbers are in
//! base 36. Where that would be longer than [`LONGEST`] there is only the first part.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::core::pools::Unstored;
use crate::core::split::{Role, Split, Weight};
use crate::ports::Route;

/// No version is longer, in bytes; enough for some 3,500 targets.
const LONGEST: usize = 64 << 10;
/// Of the part for people, as it is kept.
const LONGEST_NAME: usize = 64;

/// What a proxy has, by the version that it repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Nothing: it has just been started.
    Nothing,
    /// The weights of these keys.
    Weights(Arc<Weights>),
    /// Something: the version is of an older Serin, too long, or no version of Serin's. Its first part.
    Unknown(String),
}

/// Generation and weight of each runtime key that has weight, by the key's number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Weights(BTreeMap<u64, (u64, u16)>);

/// A target as its version says it: the generation, and the keys with their weights.
pub(super) type Entry = (u64, Vec<(String, u16)>);

/// The version of a layer with these targets; `name` is its first part.
pub(super) fn write(name: &str, targets: &[Entry]) -> String {
    let mut text = String::new();
    for (generation, keys) in targets {
        if !text.is_empty() {
            text.push(',');
        }
        text += &base36(*generation);
        for (key, weight) in keys.iter().filter(|(_, weight)| *weight > 0) {
            text += &format!(".{}.{}", base36(number(key)), base36(u64::from(*weight)));
        }
        if text.len() > LONGEST {
            break;
        }
    }
    let version = format!("{name}/1/{text}/{}", check(&text));
    if version.len() > LONGEST { name.to_owned() } else { version }
}

impl Held {
    /// Reads what a proxy repeats.
    pub(super) fn read(version: &str) -> Held {
        if version.is_empty() {
            return Held::Nothing;
        }
        match Weights::read(version) {
            Some(weights) => Held::Weights(Arc::new(weights)),
            None => Held::Unknown(name_of(version).to_owned()),
        }
    }
}

/// The first part of a version.
pub(super) fn name_of(version: &str) -> &str {
    let name = version.split('/').next().unwrap_or_default();
    let end = name.char_indices().map(|(at, _)| at).nth(LONGEST_NAME).unwrap_or(name.len());
    &name[..end]
}

impl Weights {
    /// `None` if it is not as [`write()`] writes it.
    fn read(version: &str) -> Option<Weights> {
        if version.len() > LONGEST {
            return None;
        }
        let mut parts = version.split('/').skip(1);
        let (form, text, sum) = (parts.next()?, parts.next()?, parts.next()?);
        if form != "1" || parts.next().is_some() || check(text) != sum {
            return None;
        }
        let mut weights = BTreeMap::new();
        for target in text.split(',').filter(|target| !target.is_empty()) {
            let mut numbers = target.split('.').map(|number| u64::from_str_radix(number, 36).ok());
            let generation = numbers.next()??;
            while let Some(key) = numbers.next() {
                let weight = u16::try_from(numbers.next()??).ok().filter(|weight| *weight <= 10_000)?;
                if weights.insert(key?, (generation, weight)).is_some() {
                    return None;
                }
            }
        }
        Some(Weights(weights))
    }

    /// What it says of a target, in the roles that its pools play now; `None` if it does not say all of it.
    pub(super) fn of(&self, route: &Route) -> Option<Unstored> {
        let mut split = Split { stable: Weight::ZERO, canary: Weight::ZERO, baseline: Weight::ZERO };
        let (mut sum, mut generations) = (0u32, Vec::new());
        for (role, pool) in &route.pools {
            let Some((generation, weight)) = self.0.get(&number(&key(route, &pool.backend))) else {
                continue;
            };
            generations.push(*generation);
            sum += u32::from(*weight);
            match role {
                Role::Stable => split.stable = Weight(*weight),
                Role::Canary => split.canary = Weight(*weight),
                Role::Baseline => split.baseline = Weight(*weight),
            }
        }
        let generation = *generations.first()?;
        let is_whole = sum == 10_000 && generations.iter().all(|other| *other == generation);
        is_whole.then_some(Unstored { split, generation })
    }
}

/// The runtime key of a target's pool.
pub(super) fn key(route: &Route, backend: &str) -> String {
    format!("{}.{backend}", route.route)
}

/// A key's number: 48 bits of its hash.
fn number(key: &str) -> u64 {
    Sha256::digest(key.as_bytes())[..6].iter().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// Tells what was cut off or changed on its way.
fn check(text: &str) -> String {
    base36(
        Sha256::digest(text.as_bytes())[..5].iter().fold(0, |number, byte| (number << 8) | u64::from(*byte)),
    )
}

fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from_digit((number % 36) as u32, 36).unwrap_or('0'));
        number /= 36;
        if number == 0 {
            break;
        }
    }
    digits.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::spec::Pool;

    fn route(target: &str) -> Route {
        let pool = |name: &str| Pool { backend: name.to_owned(), ..Pool::default() };
        Route {
            target: target.to_owned(),
            route: format!("routing.{target}"),
            pools: BTreeMap::from([(Role::Stable, pool("blue")), (Role::Canary, pool("green"))]),
            split: Split::STABLE,
            generation: 1,
            nodes: BTreeMap::new(),
        }
    }

    fn entry(target: &str, generation: u64, blue: u16) -> Entry {
        let key = |backend: &str| key(&route(target), backend);
        (generation, vec![(key("blue"), blue), (key("green"), 10_000 - blue)])
    }

    fn weights(version: &str) -> Weights {
        match Held::read(version) {
            Held::Weights(weights) => (*weights).clone(),
            other => panic!("{version}: {other:?}"),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let version =
            write("7-0a1b2c3d", &[entry("shop", 5, 7_500), entry("cart", 41, 0), entry("web", 1, 10_000)]);
        let read = weights(&version);
        let of = |target: &str| read.of(&route(target)).map(|told| (told.generation, told.split.canary.0));
        assert_eq!(of("shop"), Some((5, 2_500)));
        assert_eq!(of("cart"), Some((41, 10_000)));
        assert_eq!(of("web"), Some((1, 0)));
        assert_eq!(of("other"), None, "a target that it does not name");
        assert_eq!(name_of(&version), "7-0a1b2c3d");
        // What was the canary's pool is stable now.
        let mut swapped = route("cart");
        swapped.pools = [(Role::Stable, Role::Canary), (Role::Canary, Role::Stable)]
            .map(|(role, was)| (role, route("cart").pools[&was].clone()))
            .into();
        assert_eq!(read.of(&swapped).map(|told| told.split), Some(Split::STABLE));
        assert_eq!(weights(&write("0-x", &[])), Weights::default());
    }

    #[test]
    fn a_target_whose_pools_are_not_those_of_the_version_is_not_told() {
        let read = weights(&write("5-0", &[entry("shop", 5, 7_500)]));
        let mut other = route("shop");
        other.pools.get_mut(&Role::Canary).unwrap().backend = "red".into();
        assert_eq!(read.of(&other), None);
    }

    #[test]
    fn what_is_no_version_of_serins_is_unknown() {
        let good = write("5-0a1b2c3d", &[entry("shop", 5, 7_500)]);
        let cut = &good[..good.len() - 1];
        let changed = good.replacen("/1/5.", "/1/6.", 1);
        let newer = good.replacen("/1/", "/2/", 1);
        let strange = |text: &str| format!("5-0/1/{text}/{}", check(text));
        let long = "x".repeat(LONGEST + 1);
        let cases = [
            "5-0a1b2c3d".to_owned(),
            cut.to_owned(),
            changed,
            newer,
            format!("{good}/"),
            strange("5.a"),
            strange("5.a.zzzz"),
            strange("5.a.1,6.a.2"),
            strange("-5.a.1"),
            strange("5.a.ü"),
            strange("zzzzzzzzzzzzzzzzzzzz.a.1"),
            "///".to_owned(),
            "ünlesbar/1/\u{0}/".to_owned(),
            long,
        ];
        for case in cases {
            assert!(
                matches!(Held::read(&case), Held::Unknown(name) if name.len() <= 4 * LONGEST_NAME),
                "{case:.80}"
            );
        }
        assert_eq!(Held::read(""), Held::Nothing);
    }

    #[test]
    fn too_many_targets_leave_the_first_part() {
        let entries = |count: u64| {
            (0..count).map(|i| entry(&format!("target-{i}"), 1_000 + i, 7_500)).collect::<Vec<_>>()
        };
        let fits = write("9-0a1b2c3d", &entries(1_500));
        assert!(fits.len() <= LONGEST && matches!(Held::read(&fits), Held::Weights(_)), "{}", fits.len());
        let version = write("9-0a1b2c3d", &entries(20_000));
        assert_eq!(version, "9-0a1b2c3d");
        assert_eq!(Held::read(&version), Held::Unknown(version));
    }
}
