use super::*;

fn words() -> Words {
    Words { public_url: Some("https://serin.example.com".into()), templates: BTreeMap::new() }
}

#[test]
fn every_kind_has_a_text_with_version_reason_figures_and_link() {
    for kind in NoticeKind::ALL.iter().copied() {
        let notice = sample(kind);
        for built_in in [builtin::text(kind), builtin::title(kind)] {
            check(kind.name(), built_in).unwrap_or_else(|problem| panic!("{}: {problem}", kind.name()));
        }
        let message = words().message(&notice);
        assert!(message.title.starts_with("checkout 1.4.0"), "{}", message.title);
        let wanted = [
            notice.sentence.as_str(),
            "harm",
            "canary 2.7%, baseline 0.4%; 6.60 times (5.10 to 8.40)",
            "https://serin.example.com/rollouts/01890a5d",
            "Runbook: https://runbooks.example.com/checkout",
        ];
        for part in wanted {
            assert!(message.text.contains(part), "{}: {part}: {}", kind.name(), message.text);
        }
        assert!(message.html.contains("<a href=\"https://serin.example.com/rollouts/01890a5d"));
    }
    let titles: std::collections::BTreeSet<_> =
        NoticeKind::ALL.iter().map(|k| words().message(&sample(*k)).title).collect();
    assert_eq!(titles.len(), NoticeKind::ALL.len(), "each kind says something else");
}

#[test]
fn announcements_say_how_long_before() {
    for (seconds, title) in [
        (86_400, "checkout 1.4.0 begins in 24 h"),
        (3_599, "checkout 1.4.0 begins in 1 h"),
        (900, "checkout 1.4.0 begins in 15 min"),
        (5_400, "checkout 1.4.0 begins in 1 h 30 min"),
        (0, "checkout 1.4.0 begins in 0 s"),
    ] {
        let mut notice = sample(NoticeKind::Announced);
        notice.begins_at = Some(notice.at.plus(std::time::Duration::from_secs(seconds)));
        assert_eq!(words().message(&notice).title, title);
    }
}

#[test]
fn a_notice_with_nothing_has_a_text_too() {
    for kind in NoticeKind::ALL.iter().copied() {
        let full = sample(kind);
        let bare = Notice {
            rollout: "r1".into(),
            target: "checkout".into(),
            version: "2".into(),
            ..Notice::new("r1/1".into(), kind, full.severity, full.at, "it is so".into())
        };
        let message = Words::default().message(&bare);
        assert!(message.text.contains("it is so") && !message.text.contains("none"), "{message:?}");
        assert!(!message.title.contains("none"), "{message:?}");
    }
}

#[test]
fn own_words_come_first_and_a_template_that_fails_is_no_loss() {
    let mut words = words();
    words.templates.insert(NoticeKind::Step, "now {{ weight }}".into());
    words.templates.insert(NoticeKind::Held, "{{ figures[0].metric }} is late".into());
    assert_eq!(words.message(&sample(NoticeKind::Step)).text, "now 25%");
    let policys = Notice { message: Some("from the policy".into()), ..sample(NoticeKind::Step) };
    assert_eq!(words.message(&policys).text, "from the policy");
    let bare = Notice { figures: Vec::new(), ..sample(NoticeKind::Held) };
    assert!(words.message(&bare).text.starts_with(&bare.sentence), "the built-in text");
    let own = BTreeMap::from([("step".to_owned(), "{{ version }}!".to_owned())]);
    assert_eq!(words.own(&own, &sample(NoticeKind::Step)).as_deref(), Some("1.4.0!"));
    assert_eq!(words.own(&own, &sample(NoticeKind::Held)), None);
}

#[test]
fn templates_that_are_wrong_are_refused_with_what_would_be_right() {
    let long = "x".repeat(9_000);
    let literal = format!("{{% for i in figures %}}{}{{% endfor %}}", "y".repeat(8_000));
    let nested = "{% for a in sentence|list %}".to_owned();
    for (template, says, expected) in [
        ("{{ verison }}", "no field `verison`", "version"),
        ("{{ links.page }}", "`links` has no field `page`", "runbook"),
        ("{{ version.major }}", "`version` has no field `major`", "alone"),
        ("{% for f in figures %}{{ f.colour }}{% endfor %}", "is not there", "docs/messages.md"),
        ("{{ figures[7].metric }}", "is not there", "docs/messages.md"),
        ("{{ version", "syntax error", "docs/messages.md"),
        ("{% if version %}", "syntax error", "docs/messages.md"),
        ("{{ version | shout }}", "unknown filter", "docs/messages.md"),
        ("{% include 'etc/passwd' %}", "`{% include %}` cannot", "if, elif"),
        ("{% macro m() %}{% endmacro %}", "`{% macro %}` cannot", "if, elif"),
        ("{% set a %}{{ version }}{% endset %}", "without `=`", "if, elif"),
        ("{% raw %}{{ version ~ version }}{% endraw %}", "cannot be used", "if, elif"),
        ("{{ version ~ version }}", "`~` builds a value", "one after the other"),
        ("{{ version * 1000000000 }}", "`*` builds a value", "one after the other"),
        ("{% for a in [version, version] %}{% endfor %}", "`[` builds", "one after the other"),
        ("{{ {'a': 1} }}", "`{` builds", "one after the other"),
        ("{# nothing #}", "gives no text", "a text"),
        (&long, "9000 bytes", "at most 8192"),
        (&nested, "syntax error", "docs/messages.md"),
    ] {
        let problem = check("step", template).unwrap_err();
        assert!(problem.message.contains(says), "{template}: {problem}");
        assert!(problem.expected.contains(expected), "{template}: {problem}");
    }
    assert!(check("step", &literal).is_ok(), "8 kB are fine");
    let problem = check("stpe", "x").unwrap_err();
    assert!(problem.message.contains("`stpe`") && problem.expected.contains("rolled_back"), "{problem}");
    let quoted = "{{ '~*[{' }}{{ version[0] }}{% if step == 2 %}+ ~ *{% endif %}";
    assert_eq!(words().render(quoted, &sample(NoticeKind::Step)).unwrap(), "~*[{1+ ~ *");
}

#[test]
fn loops_end_and_outputs_are_bounded() {
    let mut notice = sample(NoticeKind::Step);
    notice.figures = vec![notice.figures[0].clone(); 100];
    let nested = |depth: usize, inside: &str| {
        let open: String = (0..depth).map(|_| "{% for f in figures %}").collect();
        format!("{open}{inside}{}", "{% endfor %}".repeat(depth))
    };
    let problem = words().render(&nested(6, "{% if f %}{% endif %}"), &notice).unwrap_err();
    assert!(problem.message.contains("too long"), "{problem}");
    let problem = words().render(&nested(2, "{{ f.metric }}"), &notice).unwrap_err();
    assert!(problem.message.contains("too much text"), "{problem}");
    let recursive = "{% for f in figures recursive %}{{ loop(figures) }}{% endfor %}";
    assert!(words().render(recursive, &notice).is_err());
}

#[test]
fn what_comes_from_outside_is_no_markup() {
    let mut notice = sample(NoticeKind::Held);
    notice.sentence = "<script>alert(1)</script> & \"more\"\nhttps://x.example/\"onclick=\"y".into();
    notice.version = "1\r\nBcc: all@example.com".into();
    let message = words().message(&notice);
    assert!(!message.html.contains("<script") && message.html.contains("&lt;script&gt;"), "{}", message.html);
    assert!(!message.html.contains("\"onclick"), "{}", message.html);
    assert!(!message.title.contains(['\r', '\n']), "{:?}", message.title);
    assert_eq!(markdown("[a](b) *c* <d>"), "\\[a\\](b) \\*c\\* &lt;d&gt;");
    notice.version = "v".repeat(1_000);
    assert_eq!(words().message(&notice).title.chars().count(), MOST_TITLE + 1);
}
