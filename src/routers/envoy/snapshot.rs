//! What the proxies are told: one runtime layer with the weights of all targets.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use envoy_types::pb::envoy::service::runtime::v3::Runtime;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Any, Struct, Value};
use prost::{Message, Name};
use sha2::{Digest, Sha256};

use super::version::{self, Entry};
use crate::core::pools::Unstored;
use crate::core::split::{Role, Split};
use crate::ports::{Route, RouterError};

/// The type of the only resource that is served.
pub(super) fn type_url() -> String {
    Runtime::type_url()
}

/// One state of the layer. All keys travel together, so that the weights of a route change at once.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// Names the content: the same routes at the same generations have the same version in every
    /// process, and other content has another. It says the weights, too (see [`version`]).
    pub(super) version: String,
    /// The packed `Runtime` message.
    pub(super) resource: Any,
    routes: BTreeMap<String, (u64, Split)>,
}

impl Snapshot {
    /// The layer `name` over these routes.
    ///
    /// # Errors
    /// [`RouterError::Refused`] if two of them would set the same key, or a role has weight and no pool.
    #[cfg(test)]
    pub(super) fn new<'a>(
        name: &str,
        routes: impl IntoIterator<Item = &'a Route>,
    ) -> Result<Snapshot, RouterError> {
        Snapshot::keeping(name, routes.into_iter().map(|route| (route, None)))
    }

    /// The layer `name` over these routes, each with what is kept in force instead of its split: that has the
    /// generation 0, as this process has not decided it.
    ///
    /// # Errors
    /// [`RouterError::Refused`] if two of them would set the same key, or a role has weight and no pool.
    pub(super) fn keeping<'a>(
        name: &str,
        routes: impl IntoIterator<Item = (&'a Route, Option<Unstored>)>,
    ) -> Result<Snapshot, RouterError> {
        let mut held = BTreeMap::new();
        let mut keys: BTreeMap<String, (&str, u16)> = BTreeMap::new();
        let (mut entries, mut contents): (Vec<Entry>, BTreeMap<&str, u64>) = Default::default();
        for (route, kept) in routes {
            let split = kept.map_or(route.split, |kept| kept.split);
            let generation = kept.map_or(route.generation, |kept| kept.generation);
            held.insert(route.target.clone(), (if kept.is_some() { 0 } else { generation }, split));
            let weights = weights(route, split)?;
            for (key, weight) in &weights {
                if let Some((other, _)) = keys.insert(key.clone(), (&route.target, *weight)) {
                    return Err(RouterError::Refused(twice(key, other, &route.target)));
                }
            }
            contents.insert(&route.target, generation);
            entries.push((generation, weights));
        }
        // The same content has the same version, in whatever order it came.
        entries.sort_unstable();
        let version = version::write(&title(&contents, &keys), &entries);
        let fields: HashMap<String, Value> =
            keys.into_iter().map(|(key, (_, weight))| (key, number(weight))).collect();
        let runtime = Runtime { name: name.to_owned(), layer: Some(Struct { fields }) };
        let resource = Any { type_url: type_url(), value: runtime.encode_to_vec() };
        Ok(Snapshot { version, resource, routes: held })
    }

    /// The generation of a target; 0 if it is not in the layer.
    pub(super) fn generation(&self, target: &str) -> u64 {
        self.routes.get(target).map_or(0, |(generation, _)| *generation)
    }

    /// The split of a target.
    pub(super) fn split(&self, target: &str) -> Option<Split> {
        self.routes.get(target).map(|(_, split)| *split)
    }
}

/// The keys of a route. Envoy takes a cluster's share by the sum of what it finds, and all keys of a
/// route are always set, so the weights are the split's own: they sum to 10,000.
fn weights(route: &Route, split: Split) -> Result<Vec<(String, u16)>, RouterError> {
    for role in [Role::Stable, Role::Canary, Role::Baseline] {
        if split.weight(role).0 > 0 && !route.pools.contains_key(&role) {
            return Err(RouterError::Refused(format!(
                "target {}: the split ({split}) gives weight to a role that has no pool",
                route.target
            )));
        }
    }
    Ok(route
        .pools
        .iter()
        .map(|(role, pool)| (version::key(route, &pool.backend), split.weight(*role).0))
        .collect())
}

fn twice(key: &str, one: &str, other: &str) -> String {
    if one == other {
        format!("target {one}: two of its pools have the runtime key {key}; give each pool its own cluster")
    } else {
        format!(
            "the targets {one} and {other} both set the runtime key {key}; give each target its own `route`"
        )
    }
}

fn number(weight: u16) -> Value {
    Value { kind: Some(Kind::NumberValue(f64::from(weight))) }
}

/// `<sum of the generations>-<hash>`: the sum, which never falls while the targets stay the same, is for
/// people; the hash tells contents apart.
fn title(routes: &BTreeMap<&str, u64>, keys: &BTreeMap<String, (&str, u16)>) -> String {
    let mut hash = Sha256::new();
    let mut sum = 0u64;
    for (target, generation) in routes {
        sum = sum.saturating_add(*generation);
        hash.update(format!("{target}\0{generation}\0"));
    }
    for (key, (_, weight)) in keys {
        hash.update(format!("{key}\0{weight}\0"));
    }
    let mut title = format!("{sum}-");
    for byte in &hash.finalize()[..4] {
        let _ = write!(title, "{byte:02x}");
    }
    title
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::spec::Pool;
    use crate::core::split::Weight;

    fn route(target: &str, prefix: &str, canary: u16, generation: u64) -> Route {
        let pool = |name: &str| Pool { backend: name.to_owned(), ..Pool::default() };
        Route {
            target: target.to_owned(),
            route: prefix.to_owned(),
            pools: BTreeMap::from([(Role::Stable, pool("blue")), (Role::Canary, pool("green"))]),
            split: Split::canary(Weight(canary), false),
            generation,
            nodes: BTreeMap::new(),
        }
    }

    fn layer(snapshot: &Snapshot) -> BTreeMap<String, f64> {
        let runtime = Runtime::decode(snapshot.resource.value.as_slice()).unwrap();
        let number = |value: Value| match value.kind {
            Some(Kind::NumberValue(number)) => number,
            other => panic!("{other:?}"),
        };
        runtime.layer.unwrap().fields.into_iter().map(|(key, value)| (key, number(value))).collect()
    }

    #[test]
    fn all_targets_are_in_one_layer_with_weights_that_sum_to_10_000() {
        let snapshot =
            Snapshot::new("serin", &[route("a", "shop", 500, 3), route("b", "cart", 1, 4)]).unwrap();
        let wanted =
            [("cart.blue", 9999.0), ("cart.green", 1.0), ("shop.blue", 9500.0), ("shop.green", 500.0)];
        assert_eq!(layer(&snapshot), wanted.map(|(key, weight)| (key.to_owned(), weight)).into());
        assert_eq!((snapshot.generation("a"), snapshot.generation("b"), snapshot.generation("c")), (3, 4, 0));
        assert!(snapshot.version.starts_with("7-"), "{}", snapshot.version);
    }

    #[test]
    fn the_version_names_the_content() {
        let version = |routes: &[Route]| Snapshot::new("serin", routes).unwrap().version;
        let one = version(&[route("a", "shop", 500, 3), route("b", "cart", 0, 4)]);
        assert_eq!(one, version(&[route("b", "cart", 0, 4), route("a", "shop", 500, 3)]));
        assert_ne!(one, version(&[route("a", "shop", 500, 4), route("b", "cart", 0, 3)]));
        assert_ne!(one, version(&[route("a", "shop", 501, 3), route("b", "cart", 0, 4)]));
    }

    #[test]
    fn keys_that_collide_are_refused() {
        let error =
            Snapshot::new("serin", &[route("a", "shop", 0, 1), route("b", "shop", 0, 1)]).unwrap_err();
        assert!(error.to_string().contains("a and b both set the runtime key shop.blue"), "{error}");
        let mut same = route("a", "shop", 0, 1);
        same.pools.get_mut(&Role::Canary).unwrap().backend = "blue".into();
        let error = Snapshot::new("serin", &[same]).unwrap_err();
        assert!(error.to_string().contains("give each pool its own cluster"), "{error}");
    }

    #[test]
    fn weight_without_a_pool_is_refused() {
        let mut bare = route("a", "shop", 0, 1);
        bare.split = Split::canary(Weight(500), true);
        let error = Snapshot::new("serin", &[bare]).unwrap_err();
        assert!(error.to_string().contains("a role that has no pool"), "{error}");
    }
}
