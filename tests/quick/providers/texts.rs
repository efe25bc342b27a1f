//! PromQL text, and the text of metrics pages.

use proptest::prelude::*;
use serin::core::source::{MatchOp, Matcher, Selector};
use serin::providers::prometheus::query;
use serin::providers::scrape::page::{PageSample, parse};

use super::{NoData, labels, selector};

const SECOND: std::time::Duration = std::time::Duration::from_secs(1);

fn of_value(value: &str) -> String {
    query::raw_samples(&selector("m"), &labels(&[("a", value)]), &labels(&[]), SECOND).unwrap()
}

#[test]
fn label_values_are_escaped_and_never_run() {
    let cases = [
        ("v1", r#"{__name__="m",a="v1"}[1000ms]"#),
        (r#"x"} or vector(1) or m{a=""#, r#"{__name__="m",a="x\"} or vector(1) or m{a=\""}[1000ms]"#),
        (r"back\slash\", r#"{__name__="m",a="back\\slash\\"}[1000ms]"#),
        ("two\nlines", r#"{__name__="m",a="two\nlines"}[1000ms]"#),
        ("ünïcode ☃ 'q' `b`", r#"{__name__="m",a="ünïcode ☃ 'q' `b`"}[1000ms]"#),
        ("nul\0tab\t", r#"{__name__="m",a="nul\u0000tab\u0009"}[1000ms]"#),
        ("$arm [5m] # comment", r#"{__name__="m",a="$arm [5m] # comment"}[1000ms]"#),
        ("", r#"{__name__="m",a=""}[1000ms]"#),
    ];
    for (value, expected) in cases {
        assert_eq!(of_value(value), expected);
    }
}

#[test]
fn metric_names_are_escaped_and_label_names_are_checked() {
    let empty = labels(&[]);
    let odd = query::raw_samples(&selector("m[1h]} or x{"), &empty, &empty, SECOND).unwrap();
    assert_eq!(odd, r#"{__name__="m[1h]} or x{"}[1000ms]"#);
    for name in ["", "1a", "a-b", "a=\"\"} or b{c", "ä"] {
        let refused = query::raw_samples(&selector("m"), &labels(&[(name, "v")]), &empty, SECOND);
        assert!(matches!(refused, Err(NoData::Refused(_))), "{name:?}: {refused:?}");
    }
}

#[test]
fn matchers_arm_and_pinned_labels_are_all_there() {
    let matcher = |label: &str, op, value: &str| Matcher { label: label.into(), op, value: value.into() };
    let selector = Selector {
        metric: "http_requests_total".into(),
        matchers: vec![
            matcher("code", MatchOp::Matches, "5..|\"x\\d\""),
            matcher("path", MatchOp::NotEqual, "/health"),
            matcher("zone", MatchOp::NotMatches, "test.*"),
        ],
    };
    let text = query::raw_samples(
        &selector,
        &labels(&[("version", "v2")]),
        &labels(&[("replica", "a")]),
        SECOND * 90,
    );
    assert_eq!(
        text.unwrap(),
        r#"{__name__="http_requests_total",code=~"5..|\"x\\d\"",path!="/health",zone!~"test.*",version="v2",replica="a"}[90000ms]"#
    );
}

#[test]
fn instances_are_found_by_escaped_expressions() {
    let set = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    let wanted = [("instance".to_owned(), set(&["10.0.0.1:80", "b|c"])), ("job".to_owned(), set(&["j"]))];
    let text = query::gauge_where("start", &wanted.into(), &labels(&[]), SECOND);
    assert_eq!(text.unwrap(), r#"{__name__="start",instance=~"10\\.0\\.0\\.1:80|b\\|c",job="j"}[1000ms]"#);
}

#[test]
fn the_arm_is_put_into_a_query_wherever_it_stands() {
    let of = |text| query::of_arm(text, &labels(&[("v", "a\"b")]), &labels(&[])).unwrap();
    assert_eq!(of("sum(x{$arm}) / sum(y{z=\"1\",$arm})"), r#"sum(x{v="a\"b"}) / sum(y{z="1",v="a\"b"})"#);
    assert_eq!(of("x{$army=\"1\"} $arm"), r#"x{$army="1"} v="a\"b""#);
    assert_eq!(of("vector(1)"), "vector(1)");
    // What is put in is not looked at again.
    assert_eq!(query::of_arm("$arm", &labels(&[("v", "$arm")]), &labels(&[])).unwrap(), r#"v="$arm""#);
}

proptest! {
    /// Reading the literal back, as the PromQL lexer does, gives the value: nothing of it is outside of
    /// the quotes.
    #[test]
    fn a_quoted_value_reads_back_as_itself(value in any::<String>()) {
        let text = query::quote(&value);
        let mut chars = text.chars();
        prop_assert_eq!(chars.next(), Some('"'));
        let mut read = String::new();
        loop {
            match chars.next().unwrap() {
                '"' => break,
                '\n' => prop_assert!(false, "a raw line end"),
                '\\' => match chars.next().unwrap() {
                    'n' => read.push('\n'),
                    'u' => {
                        let code: String = chars.by_ref().take(4).collect();
                        read.push(char::from_u32(u32::from_str_radix(&code, 16).unwrap()).unwrap());
                    }
                    c => read.push(c),
                },
                c => read.push(c),
            }
        }
        prop_assert_eq!(chars.next(), None);
        prop_assert_eq!(read, value);
    }

    /// No text makes the parser panic.
    #[test]
    fn any_text_is_read_or_refused(text in "[a-z{}=\",\\\\ #0-9.+\n\t]{0,60}") {
        let _ = parse(&text, |_| true);
    }
}

fn sample(name: &str, pairs: &[(&str, &str)], value: f64) -> PageSample {
    PageSample { name: name.to_owned(), labels: labels(pairs), value }
}

#[test]
fn pages_are_read_as_the_format_says() {
    let page = concat!(
        "# HELP http_requests_total All \\ of them.\n",
        "# TYPE http_requests_total counter\n",
        "http_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000\n",
        "http_requests_total{ method = \"get\" , path=\"C:\\\\DIR\\n\\\"x\\\" {}=,#\", } 1.5e3\n",
        "\n",
        "plain 12.47\r\n",
        "  namespace:recorded:rate5m   +Inf  \n",
        "spaced {a=\"b\"} -Inf -3982045\n",
        "not_a_number NaN\n",
        "empty{} 0x\n",
        "# a comment\n",
        "bucket{le=\"0.1\"} 8 # {trace=\"abc\"} 0.06 1.5e9\n",
        "created_created 1.7e9\n",
        "# EOF\n"
    );
    let error = parse(page, |_| true).unwrap_err();
    assert_eq!(error, "line 10: \"0x\" is not a number");
    let read = parse(&page.replace("0x", "0"), |name| name != "created_created").unwrap();
    let expected = [
        sample("http_requests_total", &[("method", "post"), ("code", "200")], 1027.0),
        sample("http_requests_total", &[("method", "get"), ("path", "C:\\DIR\n\"x\" {}=,#")], 1500.0),
        sample("plain", &[], 12.47),
        sample("namespace:recorded:rate5m", &[], f64::INFINITY),
        sample("spaced", &[("a", "b")], f64::NEG_INFINITY),
    ];
    assert_eq!(read[..5], expected);
    assert!(read[5].value.is_nan());
    assert_eq!(read[6..], [sample("empty", &[], 0.0), sample("bucket", &[("le", "0.1")], 8.0)]);
}

#[test]
fn lines_that_are_none_are_refused_with_their_number() {
    let cases = [
        ("requests_total 5", "the last line is not complete"),
        ("a 1\nrequests_total{\n", "line 2: it ends where a label's name was expected"),
        ("a{b=\"c} 1\n", "line 1: the value of b has no end"),
        ("a{b=c} 1\n", "line 1: the value of b does not begin with a quote"),
        ("a{b} 1\n", "line 1: the label b has no `=`"),
        ("a{b=\"1\",b=\"2\"} 1\n", "line 1: the label b is there twice"),
        ("a{b=\"1\"c=\"2\"} 1\n", "line 1: after the label b there is neither `,` nor `}`"),
        ("a{b=\"\\q\"} 1\n", "line 1: the value of b has an unknown escape"),
        ("a{1=\"c\"} 1\n", "line 1: '1' is not the beginning of a label's name"),
        ("<html>\n", "line 1: '<' is not the beginning of a metric's name"),
        ("a\n", "line 1: a has no value"),
        ("a one\n", "line 1: \"one\" is not a number"),
        ("a 1 soon\n", "line 1: \"soon\" is not a timestamp"),
        ("a 1 2 3\n", "line 1: \"3\" is more than a sample has"),
    ];
    for (page, expected) in cases {
        assert_eq!(parse(page, |_| true).unwrap_err(), expected, "{page:?}");
    }
    assert_eq!(parse("", |_| true), Ok(vec![]));
}
