//! Checks of JSON against what a service takes: which fields, of which types and lengths.

use serde_json::Value;

/// What a field may be.
pub enum Rule {
    /// Text of at most so many characters, not empty.
    Text(usize),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A point in time in RFC 3339.
    Time,
    /// An `http` or `https` URL.
    Url,
    /// A list of at most so many texts of at most so many characters.
    Texts(usize, usize),
    /// A list of objects.
    List(usize, &'static [Entry]),
    /// An object with these fields.
    Object(&'static [Entry]),
    /// An object with any fields, all of them texts if so.
    Free { texts: bool },
    /// True or false.
    Flag,
    /// Nothing.
    Null,
    /// Checked elsewhere.
    Any,
}

/// A field: its name, whether it must be there, what it may be.
pub type Entry = (&'static str, bool, Rule);

/// Everything that is wrong with an object; unknown fields are.
pub fn check(value: &Value, at: &str, entries: &[Entry]) -> Vec<String> {
    let Some(object) = value.as_object() else { return vec![format!("{at} is no object")] };
    let mut wrong = Vec::new();
    for name in object.keys().filter(|name| !entries.iter().any(|(known, _, _)| known == name)) {
        wrong.push(format!("{at}.{name} is not known"));
    }
    for (name, needed, rule) in entries {
        match object.get(*name) {
            None if *needed => wrong.push(format!("{at}.{name} is missing")),
            None => {}
            Some(value) => wrong.extend(check_rule(value, &format!("{at}.{name}"), rule)),
        }
    }
    wrong
}

fn check_rule(value: &Value, at: &str, rule: &Rule) -> Vec<String> {
    let good = match rule {
        Rule::Text(most) => text(value, *most),
        Rule::OneOf(known) => value.as_str().is_some_and(|text| known.contains(&text)),
        Rule::Time => value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
        Rule::Url => value.as_str().is_some_and(is_url),
        Rule::Texts(most, length) => value
            .as_array()
            .is_some_and(|items| items.len() <= *most && items.iter().all(|i| text(i, *length))),
        Rule::List(most, entries) => match value.as_array() {
            Some(items) if items.len() <= *most => {
                let each = items.iter().enumerate();
                return each.flat_map(|(n, item)| check(item, &format!("{at}[{n}]"), entries)).collect();
            }
            _ => false,
        },
        Rule::Object(entries) => return check(value, at, entries),
        Rule::Free { texts } => {
            value.as_object().is_some_and(|object| !texts || object.values().all(Value::is_string))
        }
        Rule::Flag => value.is_boolean(),
        Rule::Null => value.is_null(),
        Rule::Any => true,
    };
    if good { Vec::new() } else { vec![format!("{at} is not as it should be: {value}")] }
}

fn text(value: &Value, most: usize) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty() && text.chars().count() <= most)
}

/// True for `http` and `https` URLs.
pub fn is_url(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}
