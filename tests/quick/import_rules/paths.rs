//! The paths that a source names, made absolute.

use super::tokens::Token;

/// A path as it is written, how many inline modules are around it, and the name it gets in a `use`.
pub(super) struct Written {
    pub(super) line: usize,
    pub(super) inside: Vec<String>,
    pub(super) path: Vec<String>,
    pub(super) name: Option<String>,
}

/// Every path with at least one `::`, with the groups of `use` spread out.
pub(super) fn paths(tokens: &[Token]) -> Vec<Written> {
    let mut found = Vec::new();
    let mut inside: Vec<(String, usize)> = Vec::new();
    let (mut depth, mut i) = (0, 0);
    let text = |i: usize| tokens.get(i).map_or("", |token| token.text.as_str());
    while i < tokens.len() {
        let modules = || inside.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        match text(i) {
            "mod" if text(i + 2) == "{" => {
                depth += 1;
                inside.push((text(i + 1).to_owned(), depth));
                i += 3;
            }
            "{" => (depth, i) = (depth + 1, i + 1),
            "}" => {
                if inside.last().is_some_and(|(_, level)| *level == depth) {
                    inside.pop();
                }
                depth = usize::saturating_sub(depth, 1);
                i += 1;
            }
            "use" => {
                let line = tokens[i].line;
                let mut trees = Vec::new();
                i = use_tree(tokens, i + 1, &[], &mut trees);
                found.extend(trees.into_iter().map(|(path, name)| Written {
                    line,
                    inside: modules(),
                    path,
                    name: Some(name),
                }));
            }
            _ if tokens[i].is_word() && text(i + 1) == "::" => {
                let line = tokens[i].line;
                let mut path = vec![text(i).to_owned()];
                while text(i + 1) == "::" && tokens.get(i + 2).is_some_and(Token::is_word) {
                    path.push(text(i + 2).to_owned());
                    i += 2;
                }
                found.push(Written { line, inside: modules(), path, name: None });
                i += 1;
            }
            _ => i += 1,
        }
    }
    found
}

/// Reads one tree of a `use` from `i`; gives where it ends.
pub(super) fn use_tree(
    tokens: &[Token],
    mut i: usize,
    prefix: &[String],
    out: &mut Vec<(Vec<String>, String)>,
) -> usize {
    let text = |i: usize| tokens.get(i).map_or(";", |token| token.text.as_str());
    let mut path = prefix.to_vec();
    loop {
        match text(i) {
            "::" => i += 1,
            "{" => {
                i += 1;
                while text(i) != "}" && text(i) != ";" {
                    i = use_tree(tokens, i, &path, out);
                    if text(i) == "," {
                        i += 1;
                    }
                }
                return i + 1;
            }
            "as" => {
                out.push((path, text(i + 1).to_owned()));
                return i + 2;
            }
            "," | "}" | ";" => {
                if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
                    path.pop();
                }
                let name = path.last().cloned().unwrap_or_default();
                out.push((path, name));
                return i;
            }
            word => {
                path.push(word.to_owned());
                i += 1;
            }
        }
    }
}

/// Makes paths absolute: `self`, `super`, and names that a `use` of the same file has brought in.
pub(super) fn resolve(module: &[String], written: &[Written]) -> Vec<(usize, Vec<String>)> {
    let absolute = |item: &Written| -> Vec<String> {
        let mut base: Vec<String> = module.iter().chain(&item.inside).cloned().collect();
        let mut rest = item.path.as_slice();
        match rest.first().map(String::as_str) {
            Some("self") => rest = &rest[1..],
            Some("super") => {}
            _ => return item.path.clone(),
        }
        while rest.first().is_some_and(|segment| segment == "super") {
            base.pop();
            rest = &rest[1..];
        }
        base.extend(rest.iter().cloned());
        base
    };
    let brought: Vec<(String, Vec<String>)> =
        written.iter().filter_map(|item| item.name.clone().map(|name| (name, absolute(item)))).collect();
    let via_use = |path: Vec<String>| match brought.iter().find(|(name, _)| path.first() == Some(name)) {
        Some((_, full)) => full.iter().chain(&path[1..]).cloned().collect(),
        None => path,
    };
    written
        .iter()
        .map(|item| {
            let path = absolute(item);
            (item.line, if item.name.is_none() { via_use(path) } else { path })
        })
        .collect()
}
