//! Bytes and pieces of YAML in any order: read, or refused with a reason, and never a panic.

use proptest::prelude::*;
use serin::config::parse_policy;

use super::SMALL;

/// Pieces of which policies are made, and some of which YAML is.
fn piece() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "name",
        "steps",
        "weight",
        "min",
        "metrics",
        "template",
        "http_errors",
        "selector",
        "total",
        "bad",
        "guardrails",
        "above",
        "analysis",
        ": ",
        ":\n  ",
        "\n",
        "\n- ",
        "\n  - ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "5%",
        "0.05",
        "5",
        "-5m",
        "1h30m",
        "99999999999999999999d",
        "\"",
        "'",
        "|",
        ">",
        "|\n  x\n",
        "? ",
        "!!a ",
        "&a ",
        "*a",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "#",
        "\t",
        "\r\n",
        "\u{feff}",
        "\u{0}",
        "é",
        "~",
        "null",
        "<<",
    ];
    prop_oneof![8 => proptest::sample::select(PIECES).prop_map(str::to_owned), 1 => "\\PC{0,4}"]
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse_policy("x.yaml", &bytes);
    }

    #[test]
    fn arbitrary_yaml_is_read_or_refused_with_a_reason(
        pieces in proptest::collection::vec(piece(), 0..60),
        at in 0usize..200,
        inside in any::<bool>(),
    ) {
        let soup = pieces.concat();
        let text = if inside {
            // A wound in a policy that is well otherwise.
            let at = at.min(SMALL.len());
            format!("{}{soup}{}", &SMALL[..at], &SMALL[at..])
        } else {
            soup
        };
        if let Err(problems) = parse_policy("x.yaml", text.as_bytes()) {
            prop_assert!(!problems.0.is_empty());
            for problem in &problems.0 {
                prop_assert!(!problem.message.is_empty());
                prop_assert_eq!(problem.to_string().lines().count(), 1, "{:?}", problem);
            }
        }
    }
}
