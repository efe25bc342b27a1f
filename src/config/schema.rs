//! The JSON Schema of policies, for editors.

use serde_json::Value;

use super::templates;

/// Everything but the names of templates, which stand in their own table.
const SCHEMA: &str = include_str!("schema.json");

/// The schema (draft 2020-12). It refuses unknown fields as the reader does; what depends on several fields
/// at once, only the reader checks.
///
/// # Errors
/// Never in a program whose tests have run: the schema is part of it.
pub fn policy_schema() -> Result<Value, serde_json::Error> {
    let mut schema: Value = serde_json::from_str(SCHEMA)?;
    let names: Vec<&str> = templates::all().map(|template| template.name).collect();
    schema["$defs"]["template"]["enum"] = names.into();
    Ok(schema)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::problem::Report;
    use crate::config::yaml::{self, Kind, Node};

    fn plain(node: &Node) -> Value {
        match &node.kind {
            Kind::Null => Value::Null,
            Kind::Scalar { text, plain: false } => text.as_str().into(),
            Kind::Scalar { text, .. } => match (text.parse::<u64>(), text.parse::<f64>(), text.as_str()) {
                (Ok(number), ..) => number.into(),
                (_, Ok(number), _) => number.into(),
                (.., "true") => true.into(),
                (.., "false") => false.into(),
                (.., text) => text.into(),
            },
            Kind::List(items) => items.iter().map(plain).collect(),
            Kind::Map(entries) => {
                Value::Object(entries.iter().map(|entry| (entry.key.clone(), plain(&entry.value))).collect())
            }
        }
    }

    /// Checks the keywords that the schema uses; any other is a fault of the schema.
    fn problems(root: &Value, schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
        let schema = schema.as_object().unwrap();
        let length = value.as_array().map(|items| items.len() as u64);
        for (keyword, wanted) in schema {
            let is_wrong = match keyword.as_str() {
                "$schema" | "$defs" | "title" | "description" | "additionalProperties" => false,
                "$ref" => {
                    let target = root.pointer(wanted.as_str().unwrap().trim_start_matches('#')).unwrap();
                    problems(root, target, value, path, found);
                    false
                }
                "type" => {
                    let of = |name: &Value| match name.as_str().unwrap() {
                        "object" => value.is_object(),
                        "array" => value.is_array(),
                        "string" => value.is_string(),
                        "number" => value.is_number(),
                        "integer" => value.is_u64(),
                        "boolean" => value.is_boolean(),
                        "null" => value.is_null(),
                        other => panic!("type {other}"),
                    };
                    !wanted.as_array().map_or_else(|| of(wanted), |all| all.iter().any(of))
                }
                "enum" => !wanted.as_array().unwrap().contains(value),
                "pattern" => {
                    let pattern = regex::Regex::new(wanted.as_str().unwrap()).unwrap();
                    value.as_str().is_some_and(|text| !pattern.is_match(text))
                }
                "minimum" => value.as_f64().is_some_and(|number| number < wanted.as_f64().unwrap()),
                "minItems" => length.is_some_and(|length| length < wanted.as_u64().unwrap()),
                "maxItems" => length.is_some_and(|length| length > wanted.as_u64().unwrap()),
                "anyOf" => {
                    let fits = |schema: &Value| {
                        let mut inner = Vec::new();
                        problems(root, schema, value, path, &mut inner);
                        inner.is_empty()
                    };
                    !wanted.as_array().unwrap().iter().any(fits)
                }
                "oneOf" => {
                    let fits = |schema: &&Value| {
                        let mut inner = Vec::new();
                        problems(root, schema, value, path, &mut inner);
                        inner.is_empty()
                    };
                    wanted.as_array().unwrap().iter().filter(fits).count() != 1
                }
                "required" => value.as_object().is_some_and(|fields| {
                    wanted.as_array().unwrap().iter().any(|name| !fields.contains_key(name.as_str().unwrap()))
                }),
                "properties" => {
                    for (name, field) in value.as_object().into_iter().flatten() {
                        match wanted.get(name) {
                            Some(property) => {
                                problems(root, property, field, &format!("{path}.{name}"), found);
                            }
                            None => found.push(format!("{path}: no field `{name}`")),
                        }
                    }
                    false
                }
                "items" => {
                    for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                        problems(root, wanted, item, &format!("{path}[{i}]"), found);
                    }
                    false
                }
                other => panic!("the schema uses `{other}`, which this test does not know"),
            };
            if is_wrong {
                found.push(format!("{path}: {value} breaks {keyword} {wanted}"));
            }
        }
    }

    fn check(text: &str) -> Vec<String> {
        let report = Report::new("x.yaml");
        let node = yaml::read(text.as_bytes(), &report).unwrap();
        let schema = policy_schema().unwrap();
        let mut found = Vec::new();
        problems(&schema, &schema, &plain(&node), "policy", &mut found);
        found
    }

    #[test]
    fn every_shipped_policy_fits() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(check(&text), Vec::<String>::new(), "{}", path.display());
            seen += 1;
        }
        assert!(seen >= 5, "{seen} policies");
    }

    /// What the reader refuses for its form alone, the schema refuses too; and what it takes, it takes.
    #[test]
    fn the_schema_and_the_reader_agree() {
        let whole = "name: x\nsteps:\n  - {weight: 5%, min: 10m}\n  - {weight: 100%}\nmetrics:\n  - {name: errors, template: http_errors}\n";
        let good = [
            String::new(),
            "bake: {duration: 1h, holdback: {weight: 5%, for: 30m}, limits: [{metric: errors, above: 2%, action: alert}]}".to_owned(),
            "analysis: {traffic_share: off, history: 0s, dispersion: 2.5}".to_owned(),
            "guardrails: [{name: a, metric: errors, stat: rate, above: {ratio_to_baseline: 2}, action: hold}]".to_owned(),
            "mode: observe".to_owned(),
            "gates: [{name: a, before: start, approval: {from: [{team: x, count: 2}]}, deadline: 1h, at_deadline: go_on}]".to_owned(),
            "gates: [{name: a, before: promotion, webhook: {url: 'https://a.example/', secret: {env: A}, form: flagger}}]".to_owned(),
            "gates: [{name: a, before: during, window: {open: [{days: [mon], from: '09:00', until: '16:00'}]}}]".to_owned(),
            "gates: [{name: a, before: during, alerts: {match: {service: x}}}, {name: b, before: finish, command: {run: [/bin/true]}}]".to_owned(),
            "hooks: [{name: a, on: [succeeded], webhook: {url: 'https://a.example/', body: '{{ sentence }}'}}]".to_owned(),
            "preflight: {healthy_baseline: false}\nverify: {within: 5m}\nannounce: [1h]\nrunbook: https://a.example/".to_owned(),
        ];
        for more in good {
            let text = format!("{whole}{more}\n");
            assert!(crate::config::parse_policy("x.yaml", text.as_bytes()).is_ok(), "{more}");
            assert_eq!(check(&text), Vec::<String>::new(), "{more}");
        }
        for metric in [
            "{name: r, type: rate, selector: {events: [restarts_total], per: instance}}",
            "{name: r, selector: {events: [jobs_failed_total], per: [jobs_total]}, direction: higher_is_better}",
            "{name: m, type: mean, query: 'avg(x{$arm})', harm_floor: 3}",
            "{name: i, template: {name: istio_errors, reporter: source}}",
            "{name: s, bad_means: x, selector: {total: [{metric: a, match: {b: c}}], bad: [{metric: a, match: [{label: b, op: '=~', value: c}]}]}}",
        ] {
            let text = format!("{whole}  - {metric}\n");
            let read = crate::config::parse_policy("x.yaml", text.as_bytes());
            assert!(read.is_ok(), "{metric}: {}", read.unwrap_err());
            assert_eq!(check(&text), Vec::<String>::new(), "{metric}");
        }
        for (from, to) in [
            ("name: x\n", ""),
            ("weight: 5%", "wait: 5%"),
            ("min: 10m", "min: soon"),
            ("http_errors", "http_mistakes"),
            ("name: x\n", "name: x\ncolour: red\n"),
            ("name: x\n", "name: x\nmode: maybe\n"),
            ("name: x\n", "name: x\ngates: [{name: a, before: noon, approval: {}}]\n"),
            ("name: x\n", "name: x\ngates: [{name: a, before: start, aproval: {}}]\n"),
            ("name: x\n", "name: x\nhooks: [{name: a, on: [sometimes], command: {run: [/bin/true]}}]\n"),
            ("name: x\n", "name: x\nbake: {limits: []}\n"),
            ("name: x\n", "name: x\nanalysis: {traffic_share: {margin: 10%, action: promote}}\n"),
        ] {
            let text = whole.replacen(from, to, 1);
            assert!(crate::config::parse_policy("x.yaml", text.as_bytes()).is_err(), "{to}");
            assert!(!check(&text).is_empty(), "{to}");
        }
    }
}
