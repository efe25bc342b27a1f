//! Policies that extend others: their files are read one after the other and laid over each other, before
//! anything is read out of them.
//!
//! A mapping is laid over a mapping field by field, where `~` takes a field away. Lists are replaced, but
//! metrics, guardrails, gates and hooks are merged by their `name`, where `remove: true` takes one away.

use std::path::{Component, Path, PathBuf};

use super::decode::{shorten, suggest};
use super::problem::{Mark, Report};
use super::reading::read_file;
use super::yaml::{self, Entry, Kind, Node};

/// So many policies may extend each other.
const MAX_DEPTH: usize = 8;
/// Lists of the policy that are merged by name.
const BY_NAME: [&str; 4] = ["metrics", "guardrails", "gates", "hooks"];
/// What a policy does not take over from the one that it extends.
const OWN: [&str; 3] = ["extends", "abstract", "name"];

/// The tree of a policy with all that it extends, and the bytes of all files.
pub(super) struct Whole {
    pub(super) node: Node,
    pub(super) files: Vec<Vec<u8>>,
}

/// Reads a file and those that it extends. `None` if there is no tree; the report says why.
pub(super) fn read(path: &Path, report: &Report) -> Option<Whole> {
    read_chain(path, report, &mut vec![path.to_owned()])
}

/// The file and those that it extends, as far as they can be followed.
pub(super) fn files_of(path: &Path) -> Vec<PathBuf> {
    let mut chain = vec![path.to_owned()];
    read_chain(path, &Report::new(path.display().to_string()), &mut chain);
    chain
}

fn read_chain(path: &Path, report: &Report, chain: &mut Vec<PathBuf>) -> Option<Whole> {
    let bytes = told(read_file(path), report)?;
    let node = yaml::read(&bytes, report)?;
    let mut whole = Whole { node, files: vec![bytes] };
    let mut layers = Vec::new();
    loop {
        let top = layers.last().unwrap_or(&whole.node);
        let Some(entry) = entry(top, "extends") else { break };
        let path = next(chain, entry, report)?;
        let number = report.also(path.display().to_string());
        chain.push(path.clone());
        let bytes = told(read_file(&path), report)?;
        let node = yaml::read_as(&bytes, report, number)?;
        whole.files.push(bytes);
        layers.push(node);
    }
    for layer in (0..layers.len()).rev() {
        // From the farthest one to the nearest one, each over what came before.
        let over = if layer == 0 { whole.node.clone() } else { layers[layer - 1].clone() };
        let merged = lay(layers[layer].clone(), over, report);
        if layer == 0 { whole.node = merged } else { layers[layer - 1] = merged }
    }
    report.is_clean().then_some(whole)
}

fn told<T>(result: Result<T, super::problem::Problems>, report: &Report) -> Option<T> {
    result.map_err(|problems| report.extend(problems)).ok()
}

fn entry<'n>(node: &'n Node, key: &str) -> Option<&'n Entry> {
    match &node.kind {
        Kind::Map(entries) => entries.iter().find(|entry| entry.key == key),
        _ => None,
    }
}

/// The file that is extended: below the folder of the one that names it.
fn next(chain: &[PathBuf], entry: &Entry, report: &Report) -> Option<PathBuf> {
    const EXPECTED: &str = "a file beside this one or below it, such as base.yaml";
    let tell = |message: String, expected: &str| {
        let mark = if entry.value.kind == Kind::Null { entry.mark } else { entry.value.mark };
        report.add(mark, "extends", message, expected);
        None
    };
    let Kind::Scalar { text, .. } = &entry.value.kind else {
        return tell("this is not the name of a file".to_owned(), EXPECTED);
    };
    let relative = Path::new(text);
    let is_below = relative.components().all(|part| matches!(part, Component::Normal(_)));
    if !is_below || text.is_empty() || text.len() > 500 {
        return tell(format!("`{}` does not lie below this file's folder", shorten(text)), EXPECTED);
    }
    let here = chain.last()?;
    let path = here.parent().unwrap_or(Path::new("")).join(relative);
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    // A link must not lead out of the folder either.
    let folder = here.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.exists() && !real(&path).starts_with(real(folder)) {
        return tell(format!("`{}` leads out of this file's folder", shorten(text)), EXPECTED);
    }
    let words = || {
        let names = chain.iter().chain([&path]).map(|path| {
            path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
        });
        names.collect::<Vec<_>>().join(" → ")
    };
    if chain.iter().any(|known| real(known) == real(&path)) {
        return tell(format!("the policies extend each other in a circle: {}", words()), "one that ends");
    }
    if chain.len() > MAX_DEPTH {
        return tell(format!("more than {MAX_DEPTH} policies extend each other: {}", words()), "fewer");
    }
    Some(path)
}

/// One policy laid over the one that it extends.
fn lay(base: Node, over: Node, report: &Report) -> Node {
    let Node { mark, kind: Kind::Map(over) } = over else { return over };
    let Kind::Map(mut base) = base.kind else {
        report.add(base.mark, "", "this is not a mapping", "a policy: a mapping of fields");
        return Node { mark, kind: Kind::Map(over) };
    };
    base.retain(|entry| !OWN.contains(&&*entry.key));
    let mut entries = base;
    for mut entry in over {
        if entry.key == "extends" {
            continue;
        }
        let known = entries.iter().position(|known| known.key == entry.key);
        let Some(at) = known else {
            if BY_NAME.contains(&&*entry.key) {
                entry.value = by_name(
                    Node { mark: entry.mark, kind: Kind::List(Vec::new()) },
                    entry.value,
                    &entry.key,
                    report,
                );
            }
            entries.push(entry);
            continue;
        };
        if entry.value.kind == Kind::Null {
            entries.remove(at);
        } else if BY_NAME.contains(&&*entry.key) {
            let before = std::mem::replace(&mut entries[at].value, Node { mark, kind: Kind::Null });
            entries[at] = Entry { value: by_name(before, entry.value, &entry.key, report), ..entry };
        } else {
            let before = std::mem::replace(&mut entries[at].value, Node { mark, kind: Kind::Null });
            entries[at] = Entry { value: deep(before, entry.value), ..entry };
        }
    }
    Node { mark, kind: Kind::Map(entries) }
}

/// A mapping over a mapping field by field; anything else is replaced.
fn deep(base: Node, over: Node) -> Node {
    let (mut entries, mark, over) = match (base.kind, over) {
        (Kind::Map(entries), Node { mark, kind: Kind::Map(over) }) => (entries, mark, over),
        (_, over) => return over,
    };
    for entry in over {
        match entries.iter().position(|known| known.key == entry.key) {
            None => entries.push(entry),
            Some(at) if entry.value.kind == Kind::Null => drop(entries.remove(at)),
            Some(at) => {
                let before = std::mem::replace(&mut entries[at].value, Node { mark, kind: Kind::Null });
                entries[at] = Entry { value: deep(before, entry.value), ..entry };
            }
        }
    }
    Node { mark, kind: Kind::Map(entries) }
}

fn name_of(node: &Node) -> Option<&str> {
    match &entry(node, "name")?.value.kind {
        Kind::Scalar { text, .. } => Some(text),
        _ => None,
    }
}

/// Items of the same name are laid over each other; others are added at the end.
fn by_name(base: Node, over: Node, key: &str, report: &Report) -> Node {
    let (Kind::List(mut items), Kind::List(more)) = (base.kind, over.kind.clone()) else { return over };
    for item in more {
        let at = name_of(&item).and_then(|name| items.iter().position(|known| name_of(known) == Some(name)));
        let removes = entry(&item, "remove").filter(|entry| is_true(&entry.value));
        match (at, removes) {
            (Some(at), Some(_)) => drop(items.remove(at)),
            (None, Some(entry)) => {
                let names: Vec<&str> = items.iter().filter_map(name_of).collect();
                let name = name_of(&item).unwrap_or_default();
                let message = format!("there is no `{}` that could be removed", shorten(name));
                report.add(entry.mark, key, message, suggest(name, &names));
            }
            (Some(at), None) => {
                let before =
                    std::mem::replace(&mut items[at], Node { mark: Mark::default(), kind: Kind::Null });
                items[at] = deep(before, item);
            }
            (None, None) => items.push(item),
        }
    }
    Node { mark: over.mark, kind: Kind::List(items) }
}

fn is_true(node: &Node) -> bool {
    matches!(&node.kind, Kind::Scalar { text, plain: true } if text == "true")
}
