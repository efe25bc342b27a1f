//! How policies say gates, hooks and the rest: what is read, and what is said about what is wrong.

use std::time::Duration;

use serin::config::parse_policy;
use serin::core::calendar::WeeklyWindow;
use serin::core::gate::{Before, Check, GateOutcome, HookAction, HookPoint, WebhookForm};
use serin::core::limit::{Breach, GuardrailLimit};
use serin::core::policy::Policy;
use serin::core::secret::SecretSource;
use serin::core::split::Weight;

/// The lines that are added begin in line 9.
const SMALL: &str = "\
name: small
steps:
  - {weight: 5%, min: 10m}
  - {weight: 25%, min: 10m}
  - {weight: 100%}
metrics:
  - {name: errors, template: http_errors}

";

fn read(lines: &str) -> Policy {
    parse_policy("x.yaml", format!("{SMALL}{lines}\n").as_bytes())
        .unwrap_or_else(|problems| panic!("{problems}"))
}

fn told(lines: &str) -> String {
    parse_policy("x.yaml", format!("{SMALL}{lines}\n").as_bytes()).expect_err(lines).to_string()
}

#[test]
fn every_kind_of_gate_is_read() {
    let policy = read(
        r#"gates:
  - name: lead
    before: start
    approval: {from: [{team: release-lead, count: 2}, {count: 1}], by_starter: true}
    deadline: 24h
    at_deadline: go_on
  - {name: anybody, before: promotion, approval: {}, point_of_no_return: true}
  - name: outside
    before: 25%
    webhook:
      url: https://ci.example/confirm?x=1
      form: flagger
      metadata: {cmd: "run all"}
      headers: {X-Token: {env: CI_TOKEN}}
      secret: {file: /run/secrets/ci}
      timeout: 30s
      poll: 1m
      most_faults: 3
    on_refusal: roll_back
  - name: smoke
    before: each_step
    command: {run: [/usr/local/bin/smoke, "{version}"], timeout: 5m, environment: [TOKEN], directory: /srv}
  - name: ready
    before: finish
    health: {url: "http://10.0.0.7/{version}/ready", allow_private: true, status: 204, json: {/version: "{version}"}}
  - {name: quiet, before: during, alerts: {match: {service: "{target}"}, quiet_for: 10m}}
  - {name: quieter, before: during, alerts: {match: [{label: a, op: "!=", value: b}], alertmanager: "http://am:9093"}}
  - name: hours
    before: start
    window:
      time_zone: Europe/Berlin
      open: [{days: [mon-thu, sat], from: "09:00", until: "16:00"}, {days: [fri-mon], from: "22:00", until: "24:00"}]
      closed: [{from: 2026-12-20, until: 2027-01-04T06:00, why: holidays}]
      outside: refuse
  - {name: pool, before: during, metric: {query: "max(x{$arm})", above: 80, for: 5m}}
  - {name: paid, before: start, metric: {query: "y", below: 0.95}}
  - {name: budget, before: start, slo: {bad_share: z, objective: 99.9%, budget_left: 10%}}
"#,
    );
    let gate = |name: &str| policy.gates.iter().find(|gate| gate.name == name).unwrap();
    let lead = gate("lead");
    assert_eq!((lead.deadline, lead.at_deadline), (Some(Duration::from_secs(86_400)), GateOutcome::GoOn));
    // Before the start a no means that it does not begin; later that it stays.
    assert_eq!((lead.on_refusal, gate("smoke").on_refusal), (GateOutcome::RollBack, GateOutcome::Hold));
    let Check::Approval { rules, by_starter: true } = &lead.check else { panic!() };
    assert_eq!((rules[0].team.as_deref(), rules[0].count), (Some("release-lead"), 2));
    assert_eq!((rules[1].team.as_deref(), rules[1].count), (None, 1));
    let Check::Approval { rules, by_starter: false } = &gate("anybody").check else { panic!() };
    assert_eq!((rules.len(), rules[0].count), (1, 1));
    assert!(gate("anybody").point_of_no_return && !lead.point_of_no_return);
    let outside = gate("outside");
    assert_eq!((outside.before, outside.on_refusal), (Before::Step(Weight(2500)), GateOutcome::RollBack));
    let Check::Webhook(webhook) = &outside.check else { panic!() };
    assert_eq!((webhook.form, webhook.most_faults), (WebhookForm::Flagger, 3));
    assert_eq!(webhook.headers["X-Token"], SecretSource::Env("CI_TOKEN".into()));
    assert_eq!(webhook.secret, Some(SecretSource::File("/run/secrets/ci".into())));
    assert_eq!((webhook.timeout, webhook.poll), (Duration::from_secs(30), Duration::from_secs(60)));
    let Check::Command(command) = &gate("smoke").check else { panic!() };
    assert_eq!(command.command, ["/usr/local/bin/smoke", "{version}"]);
    assert_eq!(
        (&*command.environment, command.timeout),
        (&["TOKEN".to_owned()][..], Duration::from_secs(300))
    );
    let Check::Health(health) = &gate("ready").check else { panic!() };
    assert_eq!((health.status, &*health.json["/version"]), (204, "{version}"));
    let Check::Alerts(alerts) = &gate("quiet").check else { panic!() };
    assert_eq!((alerts.matchers.len(), alerts.quiet_for), (1, Duration::from_secs(600)));
    let Check::Window { calendar, refuse: true } = &gate("hours").check else { panic!() };
    assert_eq!(calendar.open[0], WeeklyWindow { days: vec![1, 2, 3, 4, 6], from: 540, until: 960 });
    assert_eq!(calendar.open[1], WeeklyWindow { days: vec![1, 5, 6, 7], from: 1320, until: 1440 });
    let Check::Metric { limit, breach, held_for, .. } = &gate("pool").check else { panic!() };
    assert_eq!((*limit, *breach), (GuardrailLimit::Absolute(80.0), Breach::Above));
    assert_eq!(*held_for, Duration::from_secs(300));
    let Check::Slo { objective, budget_left, .. } = &gate("budget").check else { panic!() };
    assert_eq!((*objective, *budget_left), (0.999, 0.1));
}

#[test]
fn hooks_and_the_rest_are_read() {
    let policy = read(
        r#"hooks:
  - {name: tag, on: [succeeded], command: {run: [/usr/local/bin/tag, "{version}"]}}
  - {name: ticket, on: [rolled_back, failed], webhook: {url: "https://t.example/", body: '{"t": {{ sentence | tojson }}}'}}
preflight: {healthy_baseline: false, enough_traffic: true, within: 1h}
verify: {within: 10m, hold_for: 1m, at_most_times: 2}
announce: [15m, 24h, 1h, 1h]
messages: {rolled_back: "{{ target }} is back at {{ stable_version }}"}
runbook: https://wiki.example/shop
guardrails:
  - {name: a, metric: errors, stat: rate, above: 5%, class: standard, for: 15m, action: roll_back}
  - {name: b, metric: errors, stat: rate, above: 5%, class: standard, for: 15s, action: hold}
  - {name: c, metric: errors, stat: rate, above: 5%, class: standard, for: 15m, warn_after: 0s, action: roll_back}
  - {name: d, metric: errors, stat: rate, above: 5%, class: immediate, for: 15m, action: roll_back}
"#,
    );
    assert!(matches!(policy.hooks[0].action, HookAction::Command(_)));
    assert_eq!(policy.hooks[1].on, [HookPoint::RolledBack, HookPoint::Failed]);
    assert!(!policy.preflight.healthy_baseline && policy.preflight.enough_traffic);
    assert_eq!(policy.preflight.within, Duration::from_secs(3600));
    assert_eq!(policy.verify.unwrap().at_most_times, 2.0);
    assert_eq!(policy.announce.iter().map(Duration::as_secs).collect::<Vec<_>>(), [86_400, 3600, 900]);
    assert_eq!(policy.messages["rolled_back"], "{{ target }} is back at {{ stable_version }}");
    assert_eq!(policy.runbook.as_deref(), Some("https://wiki.example/shop"));
    let warns: Vec<Option<u64>> =
        policy.guardrails.iter().map(|guardrail| guardrail.warn_after.map(|time| time.as_secs())).collect();
    // A third of the time, at least one look of 10 s.
    assert_eq!(warns, [Some(300), Some(10), Some(0), None]);
    let plain = read("");
    assert!(plain.gates.is_empty() && plain.preflight.healthy_baseline && plain.verify.is_none());
}

#[test]
fn what_is_wrong_with_a_gate_is_told_with_its_place() {
    let mut wrong = Vec::new();
    for (gate, says) in [
        ("{before: start, approval: {}}", "9:9: gates[0]: the field `name` is missing"),
        (
            "{name: a, approval: {}}",
            "gates[0]: the field `before` is missing; expected start, a step such as 25%",
        ),
        (
            "{name: a, before: start}",
            "gates[0]: the gate does not say what it asks; expected exactly one of approval",
        ),
        (
            "{name: a, before: start, approval: {}, slo: {bad_share: x, objective: 99%}}",
            "there is `approval` and `slo`",
        ),
        (
            "{name: a, before: noon, approval: {}}",
            "gates[0].before: `noon` is not known here; expected one of start",
        ),
        (
            "{name: a, before: 10%, approval: {}}",
            "the policy has no step of 10%; expected one of 25%, or start",
        ),
        (
            "{name: a, before: 5%, approval: {}}",
            "5% is the first step, which is the start; expected `before: start`",
        ),
        ("{name: a, before: 100%, approval: {}}", "100% has a name of its own; expected `before: promotion`"),
        ("{name: a, before: 0%, approval: {}}", "`0%` is not the weight of a step"),
        (
            "{name: a, before: during, command: {run: [/bin/true]}}",
            "a gate of the kind command cannot be asked again and again; expected `during` only with health",
        ),
        ("{name: a, before: during, approval: {}}", "a gate of the kind approval cannot be asked"),
        (
            "{name: a, before: start, approval: {}, at_deadline: hold}",
            "`at_deadline` has no effect without `deadline`",
        ),
        ("{name: a, before: start, approval: {}, deadline: 1s}", "gates[0].deadline: 1s is too little"),
        (
            "{name: a, before: start, approval: {}, on_refusal: shrug}",
            "`shrug` is not known here; expected one of hold, roll_back, go_on",
        ),
        (
            "{name: a, before: during, slo: {bad_share: x, objective: 99%}, point_of_no_return: true}",
            "is no point",
        ),
        (
            "{name: a, before: 25%, approval: {}, point_of_no_return: true, on_refusal: go_on}",
            "would pass a point of no return without a yes",
        ),
        (
            "{name: a, before: start, approval: {}, deadlin: 1h}",
            "there is no field `deadlin` here; expected `deadline`, perhaps",
        ),
        ("{name: a, before: start, approval: {from: []}}", "gates[0].approval.from: nobody is asked"),
        ("{name: a, before: start, approval: {from: [{count: 0}]}}", "0 is out of range"),
        ("{name: a, before: start, webhook: {}}", "gates[0].webhook: the field `url` is missing"),
        ("{name: a, before: start, webhook: {url: 'ftp://x/'}}", "this is not an http or https URL"),
        (
            "{name: a, before: start, webhook: {url: 'http://u:hunter2@x/'}}",
            "the URL holds a user or password",
        ),
        (
            "{name: a, before: start, webhook: {url: 'http://169.254.169.254/', allow_private: true}}",
            "it is never called",
        ),
        (
            "{name: a, before: start, webhook: {url: 'http://10.0.0.1/'}}",
            "10.0.0.1 is a private address; `allow_private: true` allows it",
        ),
        (
            "{name: a, before: start, webhook: {url: 'https://x/', secret: hunter2}}",
            "a secret must not stand in the policy itself; expected `{env: NAME}`",
        ),
        (
            "{name: a, before: start, webhook: {url: 'https://x/', secret: {file: key}}}",
            "`key` does not begin with /",
        ),
        (
            "{name: a, before: start, webhook: {url: 'https://x/', headers: {'a b': {env: A}}}}",
            "`a b` is not the name of a header",
        ),
        (
            "{name: a, before: start, webhook: {url: 'https://x/', timeout: 1h}}",
            "gates[0].webhook.timeout: 1h is too much",
        ),
        ("{name: a, before: start, command: {run: []}}", "there is no program"),
        (
            "{name: a, before: start, command: {run: /bin/true}}",
            "a single value stands here; expected a list: the program",
        ),
        (
            "{name: a, before: start, command: {run: [/bin/x, '{verson}']}}",
            "gates[0].command.run[1]: `{verson}` is not known here; expected `version`, perhaps",
        ),
        (
            "{name: a, before: start, command: {run: [/bin/x], environment: ['A=b']}}",
            "this is not the name of an environment variable",
        ),
        ("{name: a, before: start, command: {run: [/bin/x], directory: srv}}", "`srv` does not begin with /"),
        (
            "{name: a, before: start, health: {url: 'https://x/', json: {a.b: c}}}",
            "`a.b` is not a JSON pointer; expected `/a/b`",
        ),
        ("{name: a, before: start, alerts: {}}", "gates[0].alerts: the field `match` is missing"),
        ("{name: a, before: start, alerts: {match: {a-b: c}}}", "`a-b` is not a label's name"),
        (
            "{name: a, before: start, alerts: {match: {a: b}, alertmanager: 'http://am/', quiet_for: 5m}}",
            "an Alertmanager keeps no past",
        ),
        (
            "{name: a, before: start, alerts: {match: {a: b}, alertmanager: 'http://am/api/v2'}}",
            "ends in /api/v2",
        ),
        ("{name: a, before: start, window: {}}", "the window is always open"),
        (
            "{name: a, before: start, window: {time_zone: Europe/Berln, open: [{from: '09:00', until: '16:00'}]}}",
            "the time zone `Europe/Berln` is not known",
        ),
        (
            "{name: a, before: start, window: {open: [{days: [monday], from: '09:00', until: '16:00'}]}}",
            "`monday` is not a day; expected one of mon, tue",
        ),
        (
            "{name: a, before: start, window: {open: [{from: '9:00', until: '16:00'}]}}",
            "`9:00` is not a time of the day; expected a time such as \"09:00\"",
        ),
        (
            "{name: a, before: start, window: {open: [{from: '24:00', until: '16:00'}]}}",
            "`24:00` is not a time",
        ),
        (
            "{name: a, before: start, window: {open: [{from: '09:61', until: '16:00'}]}}",
            "`09:61` is not a time",
        ),
        (
            "{name: a, before: start, window: {closed: [{from: 2026-12-21, until: 2026-12-20, why: x}]}}",
            "`2026-12-20` is not after `2026-12-21`",
        ),
        (
            "{name: a, before: start, window: {closed: [{from: '2026-12-20T00:00Z', until: 2026-12-21, why: x}]}}",
            "is not a local time",
        ),
        ("{name: a, before: start, metric: {query: x}}", "the gate has no limit; expected `above: 80`"),
        (
            "{name: a, before: start, metric: {query: x, above: 1, below: 2}}",
            "there is an `above` and a `below`",
        ),
        ("{name: a, before: start, metric: {query: x, above: 5%}}", "`5%` is not a number"),
        (
            "{name: a, before: start, slo: {bad_share: x, objective: 100%}}",
            "gates[0].slo.objective: 100% is too much",
        ),
        ("{name: a, before: start, slo: {bad_share: x}}", "the field `objective` is missing"),
    ] {
        let found = told(&format!("gates: [{gate}]"));
        assert!(!found.contains("hunter2"), "the secret is repeated: {found}");
        if !found.contains(says) || !found.starts_with("x.yaml:9:") || found.lines().count() != 1 {
            wrong.push(format!("{gate}: {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_wrong_with_the_rest_is_told() {
    for (line, says) in [
        (
            "gates: [{name: a, before: start, approval: {}}, {name: a, before: finish, approval: {}}]",
            "the name `a` is there twice; it was first used in line 9",
        ),
        ("hooks: [{name: a, on: [], command: {run: [/bin/x]}}]", "the hook would never be done"),
        (
            "hooks: [{name: a, on: [sometimes], command: {run: [/bin/x]}}]",
            "`sometimes` is not known here; expected one of started",
        ),
        ("hooks: [{name: a, on: [step]}]", "the hook does not say what it does"),
        (
            "hooks: [{name: a, on: [step], command: {run: [/bin/x]}, webhook: {url: 'https://x/'}}]",
            "there is `webhook` and `command`",
        ),
        (
            "hooks: [{name: a, on: [step], webhook: {url: 'https://x/', body: '{{ nothing }}'}}]",
            "hooks[0].webhook.body: the template is wrong: undefined value",
        ),
        (
            "hooks: [{name: a, on: [step], webhook: {url: 'https://x/', body: '{{ reason'}}]",
            "the template is wrong: syntax error",
        ),
        ("preflight: {within: 1s}", "preflight.within: 1s is too little"),
        ("preflight: {helthy_baseline: true}", "expected `healthy_baseline`, perhaps"),
        ("verify: {within: 1m, hold_for: 5m}", "verify.hold_for: 5m leaves no time within 1m"),
        ("verify: {at_most_times: 0.5}", "0.5 is too little"),
        ("announce: [1s]", "announce[0]: 1s is too little"),
        ("messages: {rolled_bak: x}", "there is no notice `rolled_bak`; expected `rolled_back`, perhaps"),
        ("messages: {rolled_back: '{{ taget }}'}", "messages.rolled_back: "),
        ("runbook: notes.txt", "runbook: this is not"),
        (
            "guardrails: [{name: a, metric: errors, stat: rate, above: 5%, action: roll_back, class: standard}]",
            "`for` is 0s, so there is no time between warning and acting; expected `for` longer than the interval of 10s",
        ),
        (
            "guardrails: [{name: a, metric: errors, stat: rate, above: 5%, for: 1m, action: alert, class: standard}]",
            "a guardrail that only alerts warns of nothing",
        ),
        (
            "guardrails: [{name: a, metric: errors, stat: rate, above: 5%, for: 1m, action: hold, warn_after: 30s}]",
            "`warn_after` has no effect on the class immediate",
        ),
        (
            "guardrails: [{name: a, metric: errors, stat: rate, above: 5%, for: 1m, action: hold, class: standard, warn_after: 1m}]",
            "1m is too much",
        ),
        ("extends: base.yaml", "extends: `extends` means something only in files that are read together"),
        ("abstract: true", "abstract: `abstract` means something only"),
    ] {
        let found = told(line);
        assert!(found.contains(says) && found.starts_with("x.yaml:9:"), "{line}: {found}");
        assert_eq!(found.lines().count(), 1, "{line}: {found}");
    }
}

#[test]
fn all_problems_come_at_once_and_numbers_are_bounded() {
    let found = told(
        "gates:\n  - {name: a, before: noon, approval: {}}\n  - {name: b, before: 10%, command: {run: []}}\nhooks:\n  - {name: c, on: []}",
    );
    assert_eq!(found.lines().count(), 5, "{found}");
    for (line, column) in [("10:", "before"), ("11:", "before"), ("11:", "command.run"), ("13:", "on")] {
        assert!(
            found.lines().any(|told| told.starts_with(&format!("x.yaml:{line}")) && told.contains(column)),
            "{found}"
        );
    }
    let gate = "  - {name: gNUMBER, before: start, approval: {}}\n";
    let many: String = (0..51).map(|number| gate.replace("NUMBER", &number.to_string())).collect();
    assert!(told(&format!("gates:\n{many}")).contains("there are 51 items; expected at most 50"));
    let hook = "  - {name: hNUMBER, on: [step], command: {run: [/bin/x]}}\n";
    let many: String = (0..21).map(|number| hook.replace("NUMBER", &number.to_string())).collect();
    assert!(told(&format!("hooks:\n{many}")).contains("there are 21 items; expected at most 20"));
}
