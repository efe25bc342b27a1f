//! Which providers and routers targets may name.

use std::collections::BTreeMap;

use crate::providers::ProviderConfig;
use crate::routers::RouterConfig;

use super::readers::Named;

/// What kind of provider there is under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderKind {
    /// It is asked by labels.
    Prometheus,
    /// It reads metrics pages.
    Scrape,
}

/// What kind of router there is under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouterKind {
    /// Pools are clusters.
    Envoy,
    /// Pools are servers of a backend.
    Haproxy,
}

impl ProviderKind {
    const ALL: [ProviderKind; 2] = [ProviderKind::Prometheus, ProviderKind::Scrape];

    /// As the field `type` has it.
    pub fn name(self) -> &'static str {
        match self {
            ProviderKind::Prometheus => "prometheus",
            ProviderKind::Scrape => "scrape",
        }
    }

    /// Of a configured provider.
    pub fn of(config: &ProviderConfig) -> ProviderKind {
        match config {
            ProviderConfig::Prometheus(_) => ProviderKind::Prometheus,
            ProviderConfig::Scrape(_) => ProviderKind::Scrape,
        }
    }
}

impl RouterKind {
    const ALL: [RouterKind; 2] = [RouterKind::Envoy, RouterKind::Haproxy];

    /// As the field `type` has it.
    pub fn name(self) -> &'static str {
        match self {
            RouterKind::Envoy => "envoy",
            RouterKind::Haproxy => "haproxy",
        }
    }

    /// Of a configured router.
    pub fn of(config: &RouterConfig) -> RouterKind {
        match config {
            RouterConfig::Envoy(_) => RouterKind::Envoy,
            RouterConfig::Haproxy(_) => RouterKind::Haproxy,
        }
    }
}

/// The providers and routers that targets may name. A kind is missing where the entry itself is wrong, the whole
/// where it cannot be read: then nothing is said about targets that name them.
#[derive(Clone, Debug, Default)]
pub struct References {
    pub(super) providers: Option<Named<ProviderKind>>,
    pub(super) routers: Option<Named<RouterKind>>,
}

impl References {
    pub(super) fn reading(
        providers: Option<&Named<ProviderConfig>>,
        routers: Option<&Named<RouterConfig>>,
    ) -> References {
        References {
            providers: providers.map(|all| kinds(all, ProviderKind::of)),
            routers: routers.map(|all| kinds(all, RouterKind::of)),
        }
    }

    /// From the words of the field `type`, by name; one that is not known here leaves out the checks of its kind.
    pub fn from_words(
        providers: &BTreeMap<String, &'static str>,
        routers: &BTreeMap<String, &'static str>,
    ) -> References {
        let provider = |word: &str| ProviderKind::ALL.into_iter().find(|kind| kind.name() == word);
        let router = |word: &str| RouterKind::ALL.into_iter().find(|kind| kind.name() == word);
        References {
            providers: Some(providers.iter().map(|(name, word)| (name.clone(), provider(word))).collect()),
            routers: Some(routers.iter().map(|(name, word)| (name.clone(), router(word))).collect()),
        }
    }
}

fn kinds<T, K>(named: &Named<T>, kind: impl Fn(&T) -> K) -> Named<K> {
    named.iter().map(|(name, value)| (name.clone(), value.as_ref().map(&kind))).collect()
}
