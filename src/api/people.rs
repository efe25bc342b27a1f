//! What the API knows of people beyond their roles: teams, and the secret of approval links.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use secrecy::SecretString;

use crate::config::Incoming;

/// Teams, approval links and incoming hooks. Cheap to clone.
#[derive(Clone, Default)]
pub struct People {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    teams: BTreeMap<String, BTreeSet<String>>,
    link_secret: Option<SecretString>,
    public_url: Option<String>,
    incoming: Incoming,
}

impl People {
    /// Teams by name with their members; the secret that links are signed with; where people reach the
    /// daemon, without a slash at the end; what incoming alerts do.
    pub fn new(
        teams: BTreeMap<String, BTreeSet<String>>,
        link_secret: Option<SecretString>,
        public_url: Option<String>,
        incoming: Incoming,
    ) -> People {
        People { inner: Arc::new(Inner { teams, link_secret, public_url, incoming }) }
    }

    /// The teams that somebody is in.
    pub(super) fn teams(&self, name: &str) -> Vec<String> {
        let member = |(team, names): (&String, &BTreeSet<String>)| names.contains(name).then(|| team.clone());
        self.inner.teams.iter().filter_map(member).collect()
    }

    pub(super) fn link_secret(&self) -> Option<&SecretString> {
        self.inner.link_secret.as_ref()
    }

    pub(super) fn public_url(&self) -> Option<&str> {
        self.inner.public_url.as_deref()
    }

    pub(super) fn incoming(&self) -> &Incoming {
        &self.inner.incoming
    }
}
