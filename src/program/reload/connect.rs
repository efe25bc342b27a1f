//! Builds what a configuration names and replaces it while it runs: everything is built before anything is taken, so
//! that one fault keeps all as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use secrecy::ExposeSecret;
use serin::api::People;
use serin::config::Config;
use serin::core::spec::TargetSpec;
use serin::engine::Adapters;
use serin::messages::Words;
use serin::notifiers::{NotifierBuildError, NotifierConfig, Surroundings};
use serin::ports::{ChannelMemory, Clock, MetricsProvider, Notifier};
use serin::routers::{BuiltRouter, Renewal, RouterConfig};

/// What is wrong with a part of the configuration, by its field.
pub type Wrong = Vec<(String, String)>;

/// What runs of a configuration.
pub struct Connected {
    memory: Arc<dyn ChannelMemory>,
    clock: Arc<dyn Clock>,
    providers: BTreeMap<String, Arc<dyn MetricsProvider>>,
    routers: BTreeMap<String, (RouterConfig, BuiltRouter)>,
    notifiers: BTreeMap<String, Arc<dyn Notifier>>,
}

/// What is built and does not run yet.
pub struct Built {
    providers: BTreeMap<String, Arc<dyn MetricsProvider>>,
    /// Those that are new.
    routers: BTreeMap<String, (RouterConfig, BuiltRouter)>,
    /// Those that run, with what changes.
    renewals: BTreeMap<String, (RouterConfig, Renewal)>,
    notifiers: BTreeMap<String, Arc<dyn Notifier>>,
    /// What the API knows of people.
    pub people: People,
}

impl Connected {
    /// Nothing runs yet.
    pub fn nothing(memory: Arc<dyn ChannelMemory>, clock: Arc<dyn Clock>) -> Connected {
        Connected {
            memory,
            clock,
            providers: BTreeMap::new(),
            routers: BTreeMap::new(),
            notifiers: BTreeMap::new(),
        }
    }

    /// Builds everything that a configuration names: what is new, and what runs and is set up anew with its secrets
    /// and certificates. Nothing of it is in force.
    ///
    /// # Errors
    /// All that is wrong.
    pub async fn build(&self, config: &Config) -> Result<Built, Wrong> {
        let mut wrong = Wrong::new();
        let mut tell = |field: String, what: String| wrong.push((field, what));
        let mut built = Built {
            providers: BTreeMap::new(),
            routers: BTreeMap::new(),
            renewals: BTreeMap::new(),
            notifiers: BTreeMap::new(),
            people: People::default(),
        };
        for (name, provider) in &config.providers {
            match provider.build() {
                Ok(provider) => drop(built.providers.insert(name.clone(), provider)),
                Err(error) => tell(format!("providers.{name}"), error.to_string()),
            }
        }
        for (name, notifier) in &config.notifiers {
            match self.channel(config, name, notifier) {
                Ok(notifier) => drop(built.notifiers.insert(name.clone(), notifier)),
                Err(error) => tell(format!("notifiers.{name}"), error.to_string()),
            }
        }
        for (name, router) in &config.routers {
            let result = match self.routers.get(name) {
                Some((known, _)) if known == router => continue,
                Some((_, running)) => running
                    .renew(router)
                    .map(|renewal| drop(built.renewals.insert(name.clone(), (router.clone(), renewal)))),
                None => router
                    .build(self.clock.clone())
                    .await
                    .map(|new| drop(built.routers.insert(name.clone(), (router.clone(), new)))),
            };
            if let Err(error) = result {
                tell(format!("routers.{name}"), error.to_string());
            }
        }
        match people(config) {
            Ok(people) => built.people = people,
            Err(what) => tell("approval_links.secret".to_owned(), what),
        }
        if wrong.is_empty() { Ok(built) } else { Err(wrong) }
    }

    fn channel(
        &self,
        config: &Config,
        name: &str,
        notifier: &NotifierConfig,
    ) -> Result<Arc<dyn Notifier>, NotifierBuildError> {
        let words = Arc::new(config.words(name));
        notifier.build(name, &Surroundings { words, memory: self.memory.clone(), clock: self.clock.clone() })
    }

    /// Adds the routers and providers that are new, so that targets find them as soon as they are declared.
    pub fn add(&mut self, built: &mut Built) {
        self.routers.append(&mut built.routers);
        for (name, provider) in &built.providers {
            self.providers.entry(name.clone()).or_insert_with(|| provider.clone());
        }
    }

    /// Puts everything in force that was built. What is not configured any more and is in `used` still runs. Gives
    /// what was set up anew.
    pub fn take(&mut self, config: &Config, built: Built) -> Vec<String> {
        let mut replaced: Vec<String> =
            built.providers.keys().map(|name| format!("providers.{name}")).collect();
        self.providers.extend(built.providers);
        for (name, (config, renewal)) in built.renewals {
            renewal.take();
            if let Some((known, _)) = self.routers.get_mut(&name) {
                *known = config;
            }
            replaced.push(format!("routers.{name}"));
        }
        let known =
            |name: &&String| self.notifiers.contains_key(*name) && config.notifiers.contains_key(*name);
        replaced.extend(built.notifiers.keys().filter(known).map(|name| format!("notifiers.{name}")));
        self.notifiers = built.notifiers;
        replaced
    }

    /// Lets go of providers and routers that are not configured and that no target needs any more. Gives which.
    pub fn release<'t>(
        &mut self,
        config: &Config,
        targets: impl Iterator<Item = &'t TargetSpec>,
    ) -> Vec<String> {
        let (mut providers, mut routers) = (BTreeSet::new(), BTreeSet::new());
        for target in targets {
            providers.insert(&target.provider);
            routers.insert(&target.router);
        }
        let mut gone = Vec::new();
        self.providers.retain(|name, _| {
            let stays = config.providers.contains_key(name) || providers.contains(name);
            if !stays {
                gone.push(format!("provider {name}"));
            }
            stays
        });
        self.routers.retain(|name, _| {
            let stays = config.routers.contains_key(name) || routers.contains(name);
            if !stays {
                gone.push(format!("router {name}"));
            }
            stays
        });
        gone
    }

    /// Providers and routers that run and are not configured any more, such as `provider prom`, with the name.
    pub fn left_over(&self, config: &Config) -> Vec<(&'static str, String)> {
        let providers = self.providers.keys().filter(|name| !config.providers.contains_key(*name));
        let routers = self.routers.keys().filter(|name| !config.routers.contains_key(*name));
        let providers = providers.map(|name| ("provider", name.clone()));
        providers.chain(routers.map(|name| ("router", name.clone()))).collect()
    }

    /// The configuration of every router that runs.
    pub fn routers(&self) -> BTreeMap<String, RouterConfig> {
        self.routers.iter().map(|(name, (config, _))| (name.clone(), config.clone())).collect()
    }

    /// For the engine.
    pub fn adapters(&self, config: &Config) -> Adapters {
        Adapters {
            providers: self.providers.clone(),
            routers: self.routers.iter().map(|(name, (_, router))| (name.clone(), router.router())).collect(),
            notifiers: self.notifiers.clone(),
            routing: config.routing.clone(),
            words: Words { public_url: config.public_url.clone(), ..Words::default() },
        }
    }
}

/// What the API knows of people, with the secret of approval links.
fn people(config: &Config) -> Result<People, String> {
    let secret = config.approval_links.as_ref().map(|source| source.read()).transpose();
    let secret = secret.map_err(|error| error.to_string())?;
    if secret.as_ref().is_some_and(|secret| secret.expose_secret().len() < 32) {
        return Err("the secret has fewer than 32 characters, so that it could be guessed".to_owned());
    }
    Ok(People::new(config.teams.clone(), secret, config.public_url.clone(), config.incoming.clone()))
}
