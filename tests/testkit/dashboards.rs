//! The dashboards and alert rules as they stand in the repository, taken apart.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;
use saphyr_parser::{Event, Parser};
use serde_json::{Map, Value, json};

/// The folder of the dashboards.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards")
}

/// One dashboard.
pub struct Dashboard {
    pub file: String,
    pub json: Value,
}

/// One query of a dashboard.
#[derive(Clone, Debug)]
pub struct Query {
    /// Dashboard, panel or annotation, and the query's letter.
    pub place: String,
    pub panel: String,
    pub expr: String,
}

/// All dashboards, by the names of their files.
pub fn all() -> Vec<Dashboard> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder().join("grafana"))
        .expect("the folder of dashboards")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    let read = |path: PathBuf| Dashboard {
        file: path.file_name().expect("a name").to_string_lossy().into_owned(),
        json: serde_json::from_str(&fs::read_to_string(&path).expect("a dashboard"))
            .unwrap_or_else(|e| panic!("{}: {e}", path.display())),
    };
    files.into_iter().map(read).collect()
}

impl Dashboard {
    /// Its panels, rows and those within rows too.
    pub fn panels(&self) -> Vec<&Value> {
        let within = |panel: &'_ Value| panel["panels"].as_array().map(|inner| inner.len()).unwrap_or(0);
        let mut panels = Vec::new();
        for panel in items(&self.json["panels"]) {
            panels.push(panel);
            if within(panel) > 0 {
                panels.extend(items(&panel["panels"]));
            }
        }
        panels
    }

    /// The queries of its panels.
    pub fn queries(&self) -> Vec<Query> {
        let mut queries = Vec::new();
        for panel in self.panels() {
            let title = panel["title"].as_str().unwrap_or("");
            for target in items(&panel["targets"]) {
                queries.push(Query {
                    place: format!("{}: {title}: {}", self.file, target["refId"].as_str().unwrap_or("?")),
                    panel: title.to_owned(),
                    expr: target["expr"].as_str().unwrap_or("").to_owned(),
                });
            }
        }
        queries
    }

    /// Its own annotations; not the one that Grafana has built in.
    pub fn annotations(&self) -> Vec<&Value> {
        items(&self.json["annotations"]["list"]).filter(|one| one["builtIn"] != json!(1)).collect()
    }

    /// The queries of its annotations.
    pub fn annotation_queries(&self) -> Vec<Query> {
        let query = |annotation: &Value| {
            let name = annotation["name"].as_str().unwrap_or("");
            let expr = annotation["expr"].as_str().unwrap_or("").to_owned();
            Query { place: format!("{}: annotation {name}", self.file), panel: name.to_owned(), expr }
        };
        self.annotations().into_iter().map(query).collect()
    }

    /// Its variables.
    pub fn variables(&self) -> Vec<&Value> {
        items(&self.json["templating"]["list"]).collect()
    }

    /// The queries of its variables, by their names.
    pub fn variable_queries(&self) -> Vec<(String, String)> {
        let of = |variable: &&Value| variable["type"] == json!("query");
        let query = |v: &Value| (text(&v["name"]), text(&v["query"]["query"]));
        self.variables().into_iter().filter(of).map(query).collect()
    }
}

/// The items of an array; none, if it is none.
pub fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

/// The text of a string; empty, if it is none.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The names of the variables in a text, as `$name` or `${name}`.
pub fn variables_in(text: &str) -> Vec<String> {
    let pattern = Regex::new(r"\$(?:\{(\w+)\}|(\w+))").expect("a pattern");
    let name = |found: regex::Captures<'_>| {
        found.get(1).or(found.get(2)).map(|name| name.as_str().to_owned()).unwrap_or_default()
    };
    pattern.captures_iter(text).map(name).collect()
}

/// The text with its variables filled in; panics on those that have no value.
pub fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let pattern = Regex::new(r"\$(?:\{(\w+)\}|(\w+))").expect("a pattern");
    let value = |found: &regex::Captures<'_>| {
        let name = found.get(1).or(found.get(2)).map_or("", |name| name.as_str());
        let value = values.iter().find(|(known, _)| *known == name);
        value.unwrap_or_else(|| panic!("no value of ${name} for {text}")).1.to_owned()
    };
    pattern.replace_all(text, value).into_owned()
}

/// The alert rules.
pub fn alerts() -> Vec<Value> {
    let rules = yaml(&fs::read_to_string(folder().join("alerts.yaml")).expect("the alerts"));
    items(&rules["groups"]).flat_map(|group| items(&group["rules"]).cloned().collect::<Vec<_>>()).collect()
}

/// YAML as JSON; all scalars are texts.
pub fn yaml(text: &str) -> Value {
    enum Open {
        List(Vec<Value>),
        Map(Map<String, Value>, Option<String>),
    }
    let mut open: Vec<Open> = Vec::new();
    let mut root = Value::Null;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.expect("YAML");
        let node = match event {
            Event::Scalar(text, ..) => Value::String(text.into_owned()),
            Event::SequenceStart(..) => {
                open.push(Open::List(Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::Map(Map::new(), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop().expect("an open node") {
                Open::List(items) => Value::Array(items),
                Open::Map(map, _) => Value::Object(map),
            },
            Event::Alias(_) => panic!("an alias in line {}", span.start.line()),
            _ => continue,
        };
        match open.last_mut() {
            None => root = node,
            Some(Open::List(items)) => items.push(node),
            Some(Open::Map(map, key)) => match key.take() {
                None => *key = Some(node.as_str().expect("a key").to_owned()),
                Some(key) => {
                    let line = span.start.line();
                    assert!(map.insert(key.clone(), node).is_none(), "{key} is there twice, line {line}");
                }
            },
        }
    }
    root
}
