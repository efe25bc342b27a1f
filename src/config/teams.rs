//! Teams, approval links and what incoming alerts do.

use std::collections::{BTreeMap, BTreeSet};

use super::decode::{Field, all};
use crate::core::alert::AlertWish;

/// What incoming alerts do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The label whose value is the target's name.
    pub target_label: String,
    /// The first rule whose labels all match says what is done; no rule: nothing.
    pub rules: Vec<(BTreeMap<String, String>, AlertWish)>,
}

impl Default for Incoming {
    /// Critical alerts roll back, those that page pause, all others are told.
    fn default() -> Incoming {
        let severity = |value: &str| [("severity".to_owned(), value.to_owned())].into();
        Incoming {
            target_label: "service".to_owned(),
            rules: vec![(severity("critical"), AlertWish::Rollback), (severity("page"), AlertWish::Pause)],
        }
    }
}

impl Incoming {
    /// What alerts with these labels ask for.
    pub fn wish(&self, labels: &BTreeMap<String, String>) -> AlertWish {
        let matches = |wanted: &BTreeMap<String, String>| {
            wanted.iter().all(|(label, value)| labels.get(label) == Some(value))
        };
        let rule = self.rules.iter().find(|(wanted, _)| matches(wanted));
        rule.map_or(AlertWish::Tell, |(_, wish)| *wish)
    }
}

/// `{release-lead: [alice, bob]}`.
pub(super) fn teams(field: &Field<'_>) -> Option<BTreeMap<String, BTreeSet<String>>> {
    let entries = field.entries("a mapping of teams to lists of names")?;
    let read = entries.into_iter().map(|(team, field)| {
        let good = field.check_name(team);
        let names = field.list(500, "a list of names, as they stand in tokens or in the issuer's claim")?;
        if names.is_empty() {
            field.problem("nobody is in the team, so nobody could say yes for it", "at least one name");
            return None;
        }
        let names: BTreeSet<String> = all(names.iter().map(|name| name.line(200)))?.into_iter().collect();
        good.then(|| (team.to_owned(), names))
    });
    all(read).map(|teams| teams.into_iter().collect())
}

/// `{alertmanager: {target_label: service, rules: [{match: {severity: critical}, do: rollback}]}}`.
pub(super) fn incoming(field: &Field<'_>) -> Option<Incoming> {
    let fields = field.fields("a mapping with `alertmanager`")?;
    let incoming = fields.or("alertmanager", Incoming::default(), |f| alertmanager(&f));
    fields.close();
    incoming
}

fn alertmanager(field: &Field<'_>) -> Option<Incoming> {
    let usual = Incoming::default();
    let fields = field.fields("a mapping with `target_label` and `rules`")?;
    let target_label = fields.or("target_label", usual.target_label, |f| f.line(200));
    let rules = fields.or("rules", usual.rules, |f| {
        let items = f.list(100, "a list of rules such as `- {match: {severity: critical}, do: rollback}`")?;
        all(items.iter().map(|item| {
            let fields = item.fields("a rule such as `{match: {severity: critical}, do: rollback}`")?;
            let wanted = fields.or("match", BTreeMap::new(), |f| super::readers::labels(&f));
            let actions =
                [("tell", AlertWish::Tell), ("pause", AlertWish::Pause), ("rollback", AlertWish::Rollback)];
            let action = fields.need("do", "tell, pause or rollback").and_then(|f| f.one_of(&actions));
            fields.close();
            Some((wanted?, action?))
        }))
    });
    fields.close();
    Some(Incoming { target_label: target_label?, rules: rules? })
}
