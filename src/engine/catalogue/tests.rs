//! What sources may declare, and what comes of it.

use std::sync::Arc;

use super::*;
use crate::core::spec::Pool;

fn spec(name: &str, route: &str) -> Arc<TargetSpec> {
    Arc::new(TargetSpec {
        name: name.to_owned(),
        router: "edge".to_owned(),
        provider: "prom".to_owned(),
        route: route.to_owned(),
        labels: BTreeMap::new(),
        stable: Pool::default(),
        canary: Pool::default(),
        baseline: None,
        stable_version: None,
        environment: None,
        split_by: Default::default(),
    })
}

fn target(name: &str, route: &str, origin: &str) -> Declaration {
    Declaration::Good { item: Item::Target(spec(name, route)), origin: origin.to_owned() }
}

fn named(name: &str) -> Name {
    Name::Target(name.to_owned())
}

fn wrong(name: &str, detail: &str) -> Declaration {
    let problem = Problem { line: 3, ..Problem::of("serin.yaml", "", detail) };
    Declaration::Wrong { name: named(name), problems: vec![problem] }
}

fn file(declarations: Vec<Declaration>) -> Catalogue {
    Catalogue::default().apply(Source::File, Declared::Whole(declarations))
}

fn route<'c>(catalogue: &'c Catalogue, name: &str) -> Option<&'c str> {
    catalogue.targets().get(name).map(|spec| spec.route.as_str())
}

#[test]
fn a_whole_declaration_is_all_that_a_source_has() {
    let first = file(vec![target("a", "/a", "serin.yaml"), target("b", "/b", "serin.yaml")]);
    let whole = Declared::Whole(vec![target("b", "/b2", "serin.yaml"), target("c", "/c", "serin.yaml")]);
    let next = first.apply(Source::File, whole);
    assert_eq!(next.targets().keys().collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(route(&next, "b"), Some("/b2"));
    let changes = Changes::between(&first, &next);
    assert_eq!(
        changes,
        Changes { added: vec![named("c")], changed: vec![named("b")], removed: vec![named("a")] }
    );
    assert!(next.version() > first.version());
}

#[test]
fn the_same_again_changes_nothing() {
    let first = file(vec![target("a", "/a", "serin.yaml")]);
    let again = first.apply(Source::File, Declared::Whole(vec![target("a", "/a", "serin.yaml")]));
    assert_eq!(again.version(), first.version());
    assert!(Arc::ptr_eq(&again.targets()["a"], &first.targets()["a"]), "an equal value is shared");
    assert!(Changes::between(&first, &again).is_empty());
    let gone = first.apply(Source::Api, Declared::Gone(named("nobody")));
    assert_eq!(gone.version(), first.version());
}

#[test]
fn the_file_has_precedence_over_the_api() {
    let first = file(vec![target("a", "/file", "serin.yaml")]);
    let both = first.apply(Source::Api, Declared::Changed(target("a", "/api", "ana")));
    assert_eq!(route(&both, "a"), Some("/file"));
    let owner = both.owner(&named("a")).expect("an owner");
    assert_eq!((owner.source, owner.origin.as_str()), (Source::File, "serin.yaml"));
    let [(name, source, problems)] = &both.wrong()[..] else { panic!("{:?}", both.wrong()) };
    assert_eq!((name, *source), (&named("a"), Source::Api));
    assert_eq!(problems[0].to_string(), "ana: target a is declared in serin.yaml, which has precedence");
    // The API's is there as soon as the file's is gone.
    let freed = both.apply(Source::File, Declared::Whole(Vec::new()));
    assert_eq!(route(&freed, "a"), Some("/api"));
    assert!(freed.wrong().is_empty());
    assert_eq!(Changes::between(&both, &freed).changed, [named("a")]);
}

#[test]
fn what_the_file_takes_over_from_the_api_is_the_same_target() {
    let api = Catalogue::default().apply(Source::Api, Declared::Changed(target("a", "/a", "ana")));
    let both = api.apply(Source::File, Declared::Whole(vec![target("a", "/a", "serin.yaml")]));
    assert_eq!(both.owner(&named("a")).map(|owner| owner.source), Some(Source::File));
    assert!(Changes::between(&api, &both).is_empty(), "no actor hears of it");
    assert!(both.version() > api.version(), "the owner has changed");
}

#[test]
fn a_wrong_declaration_keeps_what_was_there_and_is_shown() {
    let first = file(vec![target("a", "/a", "serin.yaml")]);
    let next =
        first.apply(Source::File, Declared::Whole(vec![wrong("a", "no route"), wrong("b", "no pool")]));
    assert_eq!(route(&next, "a"), Some("/a"));
    assert_eq!(route(&next, "b"), None);
    let names: Vec<String> = next.wrong().iter().map(|(name, ..)| name.to_string()).collect();
    assert_eq!(names, ["target a", "target b"]);
    // Put right, or taken away, it is not wrong any more.
    let whole = Declared::Whole(vec![target("a", "/a2", "serin.yaml")]);
    let right = next.apply(Source::File, whole);
    assert!(right.wrong().is_empty(), "{:?}", right.wrong());
    assert_eq!(route(&right, "a"), Some("/a2"));
}

#[test]
fn a_source_that_cannot_be_read_keeps_all_that_it_had() {
    let first = file(vec![target("a", "/a", "serin.yaml")]);
    let problem = Problem::of("serin.yaml", "", "not YAML");
    let unreadable = first.apply(Source::File, Declared::Wrong(vec![problem.clone()]));
    assert_eq!(route(&unreadable, "a"), Some("/a"));
    assert_eq!(unreadable.unreadable(Source::File), [problem]);
    assert!(unreadable.version() > first.version(), "it is shown");
    let readable = unreadable.apply(Source::File, Declared::Whole(vec![target("a", "/a", "serin.yaml")]));
    assert!(readable.unreadable(Source::File).is_empty());
}

#[test]
fn one_source_does_not_touch_what_another_has() {
    let first = file(vec![target("a", "/a", "serin.yaml")]);
    let both = first.apply(Source::Api, Declared::Changed(target("b", "/b", "ana")));
    let whole = Declared::Whole(vec![target("c", "/c", "serin.yaml")]);
    let next = both.apply(Source::File, whole);
    assert_eq!(next.targets().keys().collect::<Vec<_>>(), ["b", "c"]);
    let gone = next.apply(Source::Api, Declared::Gone(named("c")));
    assert_eq!(gone.targets().keys().collect::<Vec<_>>(), ["b", "c"], "c is the file's");
    let gone = gone.apply(Source::Api, Declared::Gone(named("b")));
    assert_eq!(gone.targets().keys().collect::<Vec<_>>(), ["c"]);
    assert_eq!(gone.declared_by(Source::File).len(), 1);
}
