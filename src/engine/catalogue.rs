//! What there is to steer and by which policies, whoever has declared it: one immutable value.
//!
//! Sources declare levels, not edges: the same declaration twice changes nothing, and [`Declared::Whole`] says all
//! that a source has. A name belongs to the first source in the order of [`Source`]: what the configuration file
//! declares cannot be declared through the API. What another source declares under a name that is taken is kept
//! aside and shown as a conflict. A wrong declaration leaves what was there before and is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::core::policy::Policy;
use crate::core::problem::Problem;
use crate::core::spec::TargetSpec;

/// Who declares targets and policies; an earlier one goes before a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The configuration file, and the policies that it names.
    File,
    /// The API; what it has declared is stored.
    Api,
}

/// The name of something that can be declared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// A target.
    Target(String),
    /// A policy.
    Policy(String),
}

impl Name {
    /// The name itself.
    pub fn name(&self) -> &str {
        match self {
            Name::Target(name) | Name::Policy(name) => name,
        }
    }

    /// `target` or `policy`.
    pub fn kind(&self) -> &'static str {
        match self {
            Name::Target(_) => "target",
            Name::Policy(_) => "policy",
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.name())
    }
}

/// What can be declared.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A target.
    Target(Arc<TargetSpec>),
    /// A policy.
    Policy(Arc<Policy>),
}

impl Item {
    /// Its name.
    pub fn name(&self) -> Name {
        match self {
            Item::Target(spec) => Name::Target(spec.name.clone()),
            Item::Policy(policy) => Name::Policy(policy.name.clone()),
        }
    }
}

/// One declaration of a source.
#[derive(Clone, Debug, PartialEq)]
pub enum Declaration {
    /// This is how it shall be.
    Good {
        /// What.
        item: Item,
        /// Where it is declared, for people: a file, or who called the API.
        origin: String,
    },
    /// It is declared, and wrong: what the source had declared under this name before stays.
    Wrong {
        /// Which one.
        name: Name,
        /// All that is wrong; not empty.
        problems: Vec<Problem>,
    },
}

impl Declaration {
    fn name(&self) -> Name {
        match self {
            Declaration::Good { item, .. } => item.name(),
            Declaration::Wrong { name, .. } => name.clone(),
        }
    }
}

/// What a source says.
#[derive(Clone, Debug, PartialEq)]
pub enum Declared {
    /// Everything that it declares: what is not there is gone.
    Whole(Vec<Declaration>),
    /// One more, or one that has changed.
    Changed(Declaration),
    /// One less.
    Gone(Name),
    /// It cannot be read: all that it has declared before stays.
    Wrong(Vec<Problem>),
}

/// Who has a name, and where it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The source.
    pub source: Source,
    /// A file, or who called the API.
    pub origin: String,
}

/// What there is; never changed, only replaced.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalogue {
    version: u64,
    targets: Arc<BTreeMap<String, Arc<TargetSpec>>>,
    policies: Arc<BTreeMap<String, Arc<Policy>>>,
    /// All that is declared, of every source.
    claims: BTreeMap<Name, BTreeMap<Source, Claim>>,
    wrong: BTreeMap<(Name, Source), Vec<Problem>>,
    kept: BTreeMap<String, Kept>,
    unreadable: BTreeMap<Source, Vec<Problem>>,
}

/// What a rollout keeps of its target until it has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// What is in force until then.
    pub spec: Arc<TargetSpec>,
    /// The fields of the declaration that wait, or `removal`.
    pub waiting: Vec<String>,
    /// The rollout that they wait for.
    pub rollout: String,
}

#[derive(Clone, Debug, PartialEq)]
struct Claim {
    item: Item,
    origin: String,
}

impl Catalogue {
    /// Rises with every change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The targets by name.
    pub fn targets(&self) -> &Arc<BTreeMap<String, Arc<TargetSpec>>> {
        &self.targets
    }

    /// The policies by name.
    pub fn policies(&self) -> &Arc<BTreeMap<String, Arc<Policy>>> {
        &self.policies
    }

    /// How a target is declared, whatever a rollout keeps.
    pub fn wanted(&self, target: &str) -> Option<&Arc<TargetSpec>> {
        match &self.claims.get(&Name::Target(target.to_owned()))?.first_key_value()?.1.item {
            Item::Target(spec) => Some(spec),
            Item::Policy(_) => None,
        }
    }

    /// Whether a declaration of that name is wrong.
    pub fn is_wrong(&self, name: &Name) -> bool {
        self.wrong.keys().any(|(wrong, _)| wrong == name)
    }

    /// What rollouts keep of their targets, by target.
    pub fn kept(&self) -> &BTreeMap<String, Kept> {
        &self.kept
    }

    /// The same declarations, of which rollouts keep these.
    #[must_use]
    pub fn keep(&self, kept: BTreeMap<String, Kept>) -> Catalogue {
        Catalogue { kept, ..self.clone() }.settle(self)
    }

    /// Who has a name.
    pub fn owner(&self, name: &Name) -> Option<Owner> {
        let (source, claim) = self.claims.get(name)?.first_key_value()?;
        Some(Owner { source: *source, origin: claim.origin.clone() })
    }

    /// What a source has declared, whether or not the names are its own.
    pub fn declared_by(&self, source: Source) -> Vec<&Item> {
        self.claims.values().filter_map(|claims| Some(&claims.get(&source)?.item)).collect()
    }

    /// Declarations that are wrong or in conflict, with the reasons. What is in force under these names is what was
    /// there before, or what the owner has declared.
    pub fn wrong(&self) -> Vec<(Name, Source, Vec<Problem>)> {
        let told =
            self.wrong.iter().map(|((name, source), problems)| (name.clone(), *source, problems.clone()));
        let conflicts = self.claims.iter().flat_map(|(name, claims)| {
            let owner = claims.first_key_value();
            claims.iter().skip(1).filter_map(move |(source, claim)| {
                let (_, first) = owner?;
                let detail = format!("{name} is declared in {}, which has precedence", first.origin);
                let problem = Problem::of(claim.origin.clone(), "", detail);
                Some((name.clone(), *source, vec![problem]))
            })
        });
        told.chain(conflicts).collect()
    }

    /// Why a source could not be read; empty where it could.
    pub fn unreadable(&self, source: Source) -> &[Problem] {
        self.unreadable.get(&source).map(Vec::as_slice).unwrap_or_default()
    }

    /// What there is after a source has declared something. The same declaration again gives an equal catalogue
    /// with the same version.
    #[must_use]
    pub fn apply(&self, source: Source, declared: Declared) -> Catalogue {
        let mut next = self.clone();
        match declared {
            Declared::Wrong(problems) => {
                next.unreadable.insert(source, problems);
            }
            Declared::Changed(declaration) => next.take(source, declaration),
            Declared::Gone(name) => next.drop(source, &name),
            Declared::Whole(declarations) => {
                next.unreadable.remove(&source);
                let there: BTreeSet<Name> = declarations.iter().map(Declaration::name).collect();
                let known: BTreeSet<Name> = next.claims.keys().cloned().collect();
                let known = known.into_iter().chain(next.wrong.keys().map(|(name, _)| name.clone()));
                for name in known.collect::<BTreeSet<Name>>().difference(&there) {
                    next.drop(source, name);
                }
                declarations.into_iter().for_each(|declaration| next.take(source, declaration));
            }
        }
        next.settle(self)
    }

    fn take(&mut self, source: Source, declaration: Declaration) {
        let name = declaration.name();
        match declaration {
            Declaration::Good { item, origin } => {
                self.wrong.remove(&(name.clone(), source));
                self.claims.entry(name).or_default().insert(source, Claim { item, origin });
            }
            Declaration::Wrong { problems, .. } => {
                self.wrong.insert((name, source), problems);
            }
        }
    }

    fn drop(&mut self, source: Source, name: &Name) {
        self.wrong.remove(&(name.clone(), source));
        if let Some(claims) = self.claims.get_mut(name) {
            claims.remove(&source);
            if claims.is_empty() {
                self.claims.remove(name);
            }
        }
    }

    /// Makes the maps of what is in force. Values that are equal to those before are shared with them.
    fn settle(mut self, before: &Catalogue) -> Catalogue {
        let (mut targets, mut policies) = (BTreeMap::new(), BTreeMap::new());
        for claim in self.claims.values().filter_map(|claims| claims.first_key_value()) {
            match &claim.1.item {
                Item::Target(spec) => {
                    targets.insert(spec.name.clone(), same(before.targets.get(&spec.name), spec));
                }
                Item::Policy(policy) => {
                    policies.insert(policy.name.clone(), same(before.policies.get(&policy.name), policy));
                }
            }
        }
        for (name, kept) in &self.kept {
            targets.insert(name.clone(), same(before.targets.get(name), &kept.spec));
        }
        self.targets = if targets == *before.targets { before.targets.clone() } else { Arc::new(targets) };
        self.policies =
            if policies == *before.policies { before.policies.clone() } else { Arc::new(policies) };
        if self != *before {
            self.version = before.version + 1;
        }
        self
    }
}

/// The value that was there before, where it is equal.
fn same<T: PartialEq>(before: Option<&Arc<T>>, now: &Arc<T>) -> Arc<T> {
    match before {
        Some(before) if before == now => Arc::clone(before),
        _ => Arc::clone(now),
    }
}

/// What differs between two catalogues, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Not there before.
    pub added: Vec<Name>,
    /// There before, and different.
    pub changed: Vec<Name>,
    /// Not there any more.
    pub removed: Vec<Name>,
}

impl Changes {
    /// From one catalogue to the next.
    pub fn between(before: &Catalogue, after: &Catalogue) -> Changes {
        let mut changes = Changes::default();
        changes.note(before.targets(), after.targets(), Name::Target);
        changes.note(before.policies(), after.policies(), Name::Policy);
        changes
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }

    fn note<T: PartialEq>(
        &mut self,
        before: &BTreeMap<String, Arc<T>>,
        after: &BTreeMap<String, Arc<T>>,
        name: impl Fn(String) -> Name,
    ) {
        for (key, value) in after {
            match before.get(key) {
                None => self.added.push(name(key.clone())),
                Some(old) if old != value => self.changed.push(name(key.clone())),
                Some(_) => {}
            }
        }
        let gone = before.keys().filter(|key| !after.contains_key(*key));
        self.removed.extend(gone.map(|key| name(key.clone())));
    }
}

#[cfg(test)]
mod tests;
