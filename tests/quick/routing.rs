//! Who is told what, and when: from the configuration's text to routes.

use std::path::Path;
use std::time::Duration;

use serin::config::{Config, Problems, parse_config};
use serin::core::incident::{IncidentChange, IncidentStep};
use serin::core::limit::Severity;
use serin::core::notice::{Notice, NoticeKind};
use serin::core::time::Timestamp;
use serin::messages::sample;

const BASE: &str = r#"
store: {path: serin.db}
policies: [policies/standard.yaml]
providers: {pages: {type: scrape}}
routers: {lb: {type: haproxy, socket: /run/haproxy.sock}}
targets:
  shop:
    router: lb
    provider: pages
    route: shop
    stable: {backend: a, endpoints: ["http://127.0.0.1:1/metrics"]}
    canary: {backend: b, endpoints: ["http://127.0.0.1:2/metrics"]}
notifiers: {pager: {type: log}, releases: {type: log}, mail: {type: log}}
"#;

fn read(more: &str) -> Result<Config, Problems> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    parse_config(&root.join("x.yaml"), format!("{BASE}{more}").as_bytes())
}

fn config(more: &str) -> Config {
    read(more).unwrap_or_else(|problems| panic!("{more}\n{problems}"))
}

fn moment(text: &str) -> Timestamp {
    Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

fn notice(severity: Severity, target: &str, kind: NoticeKind, environment: Option<&str>) -> Notice {
    let (target, environment) = (target.to_owned(), environment.map(str::to_owned));
    Notice { severity, target, environment, incident: None, ..sample(kind) }
}

/// `pager, mail#digest@2026-01-02T08:00:00Z`.
fn routes(config: &Config, notice: &Notice, now: &str) -> String {
    let show = |route: serin::core::routing::Route| match route.due {
        Some(due) => format!("{}@{}", route.queue, due.to_string().replace(".000", "")),
        None => route.queue,
    };
    config.routing.routes(notice, moment(now)).into_iter().map(show).collect::<Vec<_>>().join(", ")
}

const NOON: &str = "2026-01-01T11:00:00Z";

#[test]
fn rules_are_taken_in_order() {
    let everything = config("");
    let low = notice(Severity::Low, "shop", NoticeKind::Step, None);
    assert_eq!(routes(&everything, &low, NOON), "mail, pager, releases", "without rules");
    let table = config(
        "routing:\n\
         - {severity: [p0], environments: [production], to: [pager], continue: true}\n\
         - {kinds: [rolled_back, failed], to: [releases]}\n\
         - {services: ['pay*'], severity: high, to: [pager, mail]}\n\
         - {severity: [low], to: []}\n\
         - {severity: [medium, high], to: mail}\n",
    );
    let production = Some("production");
    for (severity, target, kind, environment, expected) in [
        (Severity::Critical, "shop", NoticeKind::RolledBack, production, "pager, releases"),
        (Severity::Critical, "shop", NoticeKind::RolledBack, Some("staging"), "releases"),
        (Severity::Critical, "shop", NoticeKind::RolledBack, None, "releases"),
        (Severity::Critical, "shop", NoticeKind::Alert, production, "pager"),
        (Severity::Critical, "shop", NoticeKind::Alert, None, "mail, pager, releases"),
        (Severity::High, "payments", NoticeKind::Held, production, "pager, mail"),
        (Severity::High, "shop", NoticeKind::Held, production, "mail"),
        (Severity::Medium, "payments", NoticeKind::Held, None, "mail"),
        (Severity::Low, "shop", NoticeKind::Step, None, ""),
    ] {
        let found = routes(&table, &notice(severity, target, kind, environment), NOON);
        assert_eq!(found, expected, "{severity:?} {target} {kind:?} {environment:?}");
    }
}

const SHORT: &str = "routing:\n  by_severity:\n    critical: [pager, releases]\n    P1: [releases]\n    \
                     medium: mail\n    low: {digest: mail, at: \"09:00\", time_zone: Europe/Berlin}\n  \
                     quiet_hours: {channels: [mail, releases, pager], from: \"22:00\", until: \"07:00\", \
                     days: [mon, tue, wed, thu, fri, sat, sun], time_zone: Europe/Berlin}\n";

#[test]
fn severities_quiet_hours_and_digests_follow_the_clock_of_their_zone() {
    let config = config(SHORT);
    for (severity, now, expected) in [
        (Severity::Critical, "2026-01-01T23:00:00Z", "pager, releases"),
        (Severity::High, "2026-01-01T12:00:00Z", "releases"),
        // Over midnight, before and after it, and at both ends.
        (Severity::High, "2026-01-01T20:59:59.999Z", "releases"),
        (Severity::High, "2026-01-01T21:00:00Z", "releases#quiet@2026-01-02T06:00:00Z"),
        (Severity::Medium, "2026-01-02T01:00:00Z", "mail#quiet@2026-01-02T06:00:00Z"),
        (Severity::Medium, "2026-01-02T06:00:00Z", "mail"),
        // To summer time at 2026-03-29T01:00Z, and back at 2026-10-25T01:00Z.
        (Severity::High, "2026-03-28T23:00:00Z", "releases#quiet@2026-03-29T05:00:00Z"),
        (Severity::High, "2026-03-29T04:59:59Z", "releases#quiet@2026-03-29T05:00:00Z"),
        (Severity::High, "2026-10-24T23:00:00Z", "releases#quiet@2026-10-25T06:00:00Z"),
        (Severity::High, "2026-10-25T05:30:00Z", "releases#quiet@2026-10-25T06:00:00Z"),
        // Digests, never at the very moment.
        (Severity::Low, "2026-01-01T07:59:59Z", "mail#digest@2026-01-01T08:00:00Z"),
        (Severity::Low, "2026-01-01T08:00:00Z", "mail#digest@2026-01-02T08:00:00Z"),
        (Severity::Low, "2026-03-28T12:00:00Z", "mail#digest@2026-03-29T07:00:00Z"),
        (Severity::Low, "2026-10-24T12:00:00Z", "mail#digest@2026-10-25T08:00:00Z"),
    ] {
        let found = routes(&config, &notice(severity, "shop", NoticeKind::Held, None), now);
        assert_eq!(found, expected, "{severity:?} at {now}");
    }
}

#[test]
fn times_that_a_change_of_the_clocks_leaves_out_or_repeats() {
    let config = config("routing: [{to: [{digest: mail, at: \"02:30\", time_zone: Europe/Berlin}]}]\n");
    let low = notice(Severity::Low, "shop", NoticeKind::Step, None);
    for (now, expected) in [
        ("2026-03-28T12:00:00Z", "2026-03-29T01:30:00Z"),
        ("2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"),
        ("2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"),
        ("2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
    ] {
        assert_eq!(routes(&config, &low, now), format!("mail#digest@{expected}"), "{now}");
    }
}

#[test]
fn quiet_hours_of_some_days_and_those_that_touch() {
    let config = config(
        "routing:\n  quiet_hours:\n  - {channels: [mail], from: \"18:00\", until: \"24:00\", days: [fri]}\n  \
         - {channels: [mail], from: \"00:00\", until: \"24:00\", days: [sat, sun]}\n",
    );
    let low = notice(Severity::Low, "shop", NoticeKind::Step, None);
    for (now, mail) in [
        ("2026-01-02T17:59:00Z", "mail"),
        ("2026-01-02T18:00:00Z", "mail#quiet@2026-01-05T00:00:00Z"),
        ("2026-01-04T23:59:59Z", "mail#quiet@2026-01-05T00:00:00Z"),
        ("2026-01-05T00:00:00Z", "mail"),
        ("2026-01-05T19:00:00Z", "mail"),
    ] {
        assert_eq!(routes(&config, &low, now), format!("{mail}, pager, releases"), "{now}");
    }
}

#[test]
fn who_was_woken_up_hears_that_it_is_over() {
    let config = config(SHORT);
    let night = "2026-01-01T23:00:00Z";
    for (step, expected) in [
        (IncidentStep::Trigger, "mail#page"),
        (IncidentStep::Acknowledge, "mail#page, pager#page, releases#page"),
        (IncidentStep::Resolve, "mail#page, pager#page, releases#page"),
    ] {
        let told = about_incident(notice(Severity::Low, "shop", NoticeKind::Resolved, None), step);
        assert_eq!(routes(&config, &told, night), expected, "{step:?}: never later");
    }
    let told = about_incident(notice(Severity::High, "shop", NoticeKind::Gate, None), IncidentStep::Trigger);
    assert_eq!(routes(&config, &told, night), "releases#page", "in quiet hours");
}

fn about_incident(notice: Notice, step: IncidentStep) -> Notice {
    let incident = Some(IncidentChange { key: "k".into(), step, opened_at: Timestamp(0), told: Vec::new() });
    Notice { incident, ..notice }
}

#[test]
fn an_incident_ends_wherever_it_may_have_begun() {
    let config = config(
        "routing:\n\
         - {severity: high, kinds: [gate, alert], services: [shop], to: [pager]}\n\
         - {severity: high, kinds: [promoted], to: [releases]}\n\
         - {severity: [low, medium, high, critical], to: []}\n",
    );
    let told = |kind, target, step| about_incident(notice(Severity::Low, target, kind, None), step);
    for (kind, target, step, expected) in [
        (NoticeKind::Resolved, "shop", IncidentStep::Resolve, "pager#page"),
        (NoticeKind::Acknowledged, "shop", IncidentStep::Acknowledge, "pager#page"),
        (NoticeKind::Resolved, "payments", IncidentStep::Resolve, ""),
        (NoticeKind::Alert, "shop", IncidentStep::Trigger, ""),
    ] {
        assert_eq!(routes(&config, &told(kind, target, step), NOON), expected, "{kind:?} of {target}");
    }
}

#[test]
fn an_incident_ends_where_it_was_opened() {
    let mut config = config(
        "routing:\n\
         - {severity: critical, to: [pager]}\n\
         - {kinds: [gate, rolled_back, resolved], to: [releases]}\n",
    );
    let told = |kind, step| {
        let notice = about_incident(notice(Severity::Low, "shop", kind, None), step);
        let incident =
            notice.incident.clone().map(|change| IncidentChange { told: vec!["pager".into()], ..change });
        Notice { incident, ..notice }
    };
    let resolve = |kind| told(kind, IncidentStep::Resolve);
    assert_eq!(
        routes(&config, &resolve(NoticeKind::Resolved), NOON),
        "pager#page",
        "the chat never heard of it"
    );
    let rolled_back = resolve(NoticeKind::RolledBack);
    assert_eq!(routes(&config, &rolled_back, NOON), "pager#page, releases", "as an ordinary message");
    let about: Vec<bool> =
        config.routing.routes(&rolled_back, moment(NOON)).iter().map(|route| route.about_incident).collect();
    assert_eq!(about, [true, false]);
    let again = told(NoticeKind::Gate, IncidentStep::Trigger);
    assert_eq!(routes(&config, &again, NOON), "releases#page, pager#page", "what is added goes there too");
    // PagerDuty takes the change as an event of its own, which holds up no page.
    config.routing.rules = None;
    config.routing.channels = vec!["pager".to_owned()];
    config.routing.changes = vec!["pager".to_owned()];
    assert_eq!(routes(&config, &rolled_back, NOON), "pager#page, pager");
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_what_would_be_right() {
    let line = BASE.lines().count() + 1;
    for (more, says) in [
        (
            "routing: [{to: [pagr]}]",
            "routing[0].to[0]: there is no channel `pagr` under `notifiers`; expected `pager`, perhaps",
        ),
        (
            "routing: [{severity: [urgent], to: [mail]}]",
            "`urgent` is not a severity; expected one of critical",
        ),
        (
            "routing: [{kinds: [rolledback], to: [mail]}]",
            "routing[0].kinds[0]: `rolledback` is not known here; expected `rolled_back`, perhaps",
        ),
        ("routing: [{severity: [], to: [mail]}]", "the list is empty"),
        ("routing: [{services: ['[a'], to: [mail]}]", "is not a pattern of targets"),
        ("routing: [{severity: [low]}]", "the field `to` is missing"),
        ("routing: [{too: [mail], to: [mail]}]", "there is no field `too` here"),
        ("routing: {by_severity: {p0: mail, critical: mail}}", "says twice where a severity goes"),
        ("routing: {by_severity: {p9: mail}}", "`p9` is not a severity; expected `p0`, perhaps"),
        (
            "routing: [{to: [{digest: mail, at: \"9:00\"}]}]",
            "`9:00` is not a time of the day; expected a time of the day such as \"09:00\"",
        ),
        ("routing: [{to: [{digest: mail, at: \"24:00\"}]}]", "`24:00` is not a time of the day"),
        ("routing: [{to: [{digest: mail, time_zone: Europe/Berlln}]}]", "`Europe/Berlln` is not a time zone"),
        ("routing: {quiet_hours: {channels: [fax], from: \"01:00\", until: \"02:00\"}}", "no channel `fax`"),
        (
            "routing: {quiet_hours: {channels: [mail], from: \"01:00\", until: \"01:00\"}}",
            "they begin when they end",
        ),
        (
            "routing: {quiet_hours: {channels: [mail], from: \"01:00\", until: \"02:00\", days: [mom]}}",
            "`mom` is not known here; expected `mon`, perhaps",
        ),
        (
            "templates: {rolled_bak: x}",
            "there is no kind of message `rolled_bak`; expected `rolled_back`, perhaps",
        ),
        ("templates: {rolled_back: \"{{ verison }}\"}", "templates.rolled_back: there is no field `verison`"),
        ("templates: {step: {fax: x}}", "templates.step.fax: there is no channel `fax`"),
        (
            "templates: {step: {all: \"{{ version ~ 1 }}\", mail: \"{% if %}\"}}",
            "templates.step.all: `~` builds",
        ),
        ("public_url: serin.example.com", "public_url: this is not"),
        ("public_url: https://user:secret@serin.example.com", "the URL holds a user or password"),
    ] {
        let problems = read(more).expect_err(more).to_string();
        assert!(problems.contains(says), "{more}\n{problems}");
        assert!(problems.contains(&format!("x.yaml:{line}:")), "{more}\n{problems}");
        assert!(!problems.contains("secret@"), "{problems}");
    }
}

#[test]
fn templates_and_links_reach_the_channels() {
    let config = config(
        "public_url: https://serin.example.com/\n\
         templates:\n  step: \"now {{ weight }}\"\n  held: {mail: \"{{ version }} waits\"}\n",
    );
    let text = |channel: &str, kind| config.words(channel).message(&sample(kind)).text;
    assert_eq!(text("mail", NoticeKind::Step), "now 25%");
    assert_eq!(text("pager", NoticeKind::Step), "now 25%");
    assert_eq!(text("mail", NoticeKind::Held), "1.4.0 waits");
    let built_in = text("pager", NoticeKind::Held);
    assert!(built_in.contains("https://serin.example.com/rollouts/01890a5d"), "{built_in}");
    let begins = Notice {
        begins_at: Some(sample(NoticeKind::Announced).at.plus(Duration::from_secs(86_400))),
        ..sample(NoticeKind::Announced)
    };
    assert_eq!(config.words("mail").message(&begins).title, "checkout 1.4.0 begins in 24 h");
}
