//! The documents say what is there: their commands run, their files exist, their links lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The documents whose commands are checked.
const DOCUMENTS: &[&str] = &["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"];

#[test]
fn the_documents_say_what_is_there() {
    let repository = Repository::open(root());
    let mut found = Vec::new();
    for name in DOCUMENTS {
        match fs::read_to_string(root().join(name)) {
            Ok(text) => found.extend(check(&repository, name, &text)),
            Err(e) => found.push(format!("{name}: cannot be read: {e}")),
        }
    }
    assert!(found.is_empty(), "the documents are wrong:\n{}", found.join("\n"));
}

#[test]
fn no_file_speaks_of_places_outside_the_repository() {
    let mut found = Vec::new();
    let files = all_files(&root());
    assert!(files.iter().any(|file| file.ends_with("Cargo.toml")), "the repository was not found");
    for file in files {
        let Ok(text) = fs::read_to_string(root().join(&file)) else { continue };
        found.extend(outside(&file, &text));
    }
    assert!(found.is_empty(), "places outside the repository:\n{}", found.join("\n"));
}

#[test]
fn wrong_documents_are_found() {
    let repository = Repository {
        root: root(),
        make_targets: BTreeSet::from(["test".to_owned(), "demo".to_owned()]),
        serin: clap::Command::new("serin").subcommand(
            clap::Command::new("serve").arg(clap::Arg::new("config").long("config").required(true)),
        ),
    };
    let text = "# Title\n\n## A part\n[a](Cargo.toml) [b](#a-part) [c](src/nothing.rs) [d](#no-part)\n\
                Look into `src/lib.rs`, `src/core/` and `src/gone.rs`.\n\
                ```sh\nmake test demo\nmake gone SEEDS=3\nserin serve --config FILE\n$ serin serve --wrong\n\
                cargo test # and\nserin \\\n  gone\n./no/such.sh\n```\n\
                ```text\nmake whatever\n```\n";
    let found = check(&repository, "X.md", text).join("\n");
    let expected =
        ["src/nothing.rs", "#no-part", "src/gone.rs", "make gone", "--wrong", "serin gone", "no/such.sh"];
    for what in expected {
        assert!(found.contains(what), "{what} was not found in:\n{found}");
    }
    assert_eq!(found.lines().count(), expected.len(), "too much was found:\n{found}");
}

#[test]
fn places_outside_are_found() {
    let up = "..";
    let home = format!("/{}/somebody/x", "home");
    let bad = [
        ("README.md", format!("see `{up}/shared/x.md`")),
        ("src/core/time.rs", format!("// {up}/{up}/{up}/x")),
        ("docs/a.md", format!("[a]({up}/{up}/b.md)")),
        ("README.md", home),
    ];
    for (file, text) in bad {
        assert_eq!(outside(Path::new(file), &text).len(), 1, "{file}: {text}");
    }
    let good = [
        ("tests/quick/main.rs", format!("#[path = \"{up}/testkit/mod.rs\"]")),
        ("README.md", "5 .. 25 and a../b and /etc/ssl and `/metrics`, `...`".to_owned()),
    ];
    for (file, text) in good {
        assert!(outside(Path::new(file), &text).is_empty(), "{file}: {text}");
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What documents may speak of.
struct Repository {
    root: PathBuf,
    make_targets: BTreeSet<String>,
    serin: clap::Command,
}

impl Repository {
    fn open(root: PathBuf) -> Repository {
        let makefile = fs::read_to_string(root.join("Makefile")).expect("a Makefile");
        let make_targets = makefile
            .lines()
            .filter(|line| !line.starts_with(['\t', '#', ' ', '.']) && !line.contains(":="))
            .filter_map(|line| line.split_once(':'))
            .flat_map(|(names, _)| names.split_whitespace().map(str::to_owned))
            .collect();
        Repository { root, make_targets, serin: command_line() }
    }
}

/// The program's own definition of its command line.
fn command_line() -> clap::Command {
    <serin::cli::Cli as clap::CommandFactory>::command()
}

/// What is wrong in a document, a line each.
fn check(repository: &Repository, name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let headings = headings(text);
    for (number, line) in prose(text) {
        let mut say = |what: String| found.push(format!("{name}:{number}: {what}"));
        for link in links(line) {
            if let Err(why) = check_link(repository, &headings, link) {
                say(why);
            }
        }
        for code in line.split('`').skip(1).step_by(2) {
            if is_file_name(code) && !repository.root.join(code).exists() {
                say(format!("`{code}` does not exist"));
            }
        }
    }
    for (number, command) in shell_commands(text) {
        if let Err(why) = check_command(repository, &command) {
            found.push(format!("{name}:{number}: {why}"));
        }
    }
    found
}

/// The lines outside fenced blocks, with their numbers.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut inside = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if !inside {
            lines.push((index + 1, line));
        }
    }
    lines
}

/// The anchors of a document's headings, as Markdown viewers make them.
fn headings(text: &str) -> BTreeSet<String> {
    prose(text)
        .into_iter()
        .filter(|(_, line)| line.starts_with('#'))
        .map(|(_, line)| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

/// The targets of `[text](target)` in a line.
fn links(line: &str) -> Vec<&str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

fn check_link(repository: &Repository, headings: &BTreeSet<String>, link: &str) -> Result<(), String> {
    let link = link.split_whitespace().next().unwrap_or("");
    if link.starts_with("https://") || link.starts_with("http://") {
        return match url::Url::parse(link) {
            Ok(_) => Ok(()),
            Err(e) => Err(format!("the link {link} is no URL: {e}")),
        };
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let known;
    let headings = if path.is_empty() {
        headings
    } else {
        let file = repository.root.join(path);
        if !file.exists() {
            return Err(format!("the link {link} leads nowhere: {path} does not exist"));
        }
        known = self::headings(&fs::read_to_string(&file).unwrap_or_default());
        &known
    };
    if anchor.is_empty() || headings.contains(anchor) {
        Ok(())
    } else {
        Err(format!("the link {link} leads nowhere: there is no heading #{anchor}"))
    }
}

/// True for what is written like a file or folder of the repository: with a slash, and an extension or a
/// slash at its end.
fn is_file_name(code: &str) -> bool {
    let plain = code.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
    let last = code.rsplit('/').next().unwrap_or("");
    let extension = last.rsplit_once('.').map_or("", |(_, extension)| extension);
    let is_file = ["rs", "md", "toml", "yaml", "yml", "sh", "sql", "json", "cfg"].contains(&extension);
    plain && code.contains('/') && !code.starts_with('/') && (is_file || last.is_empty())
}

/// The commands of ```sh blocks: prompts and comments dropped, continued lines joined.
fn shell_commands(text: &str) -> Vec<(usize, String)> {
    let mut commands = Vec::new();
    let mut inside: Option<bool> = None;
    let mut open: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(language) = line.strip_prefix("```") {
            inside = match inside {
                None => Some(["sh", "bash", "console"].contains(&language.trim())),
                Some(_) => None,
            };
            continue;
        }
        if inside != Some(true) {
            continue;
        }
        let line = line.strip_prefix("$ ").unwrap_or(line);
        let line = line.split(" #").next().unwrap_or("").trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (number, before) = open.take().unwrap_or((index + 1, String::new()));
        let joined = format!("{before} {}", line.trim_end_matches('\\').trim());
        if line.ends_with('\\') {
            open = Some((number, joined));
        } else {
            commands.push((number, joined.trim().to_owned()));
        }
    }
    commands
}

/// Checks every part of a line that is joined by `&&`, `||`, `;`, `|` or `&`.
fn check_command(repository: &Repository, line: &str) -> Result<(), String> {
    let words = words(line);
    for part in words.split(|word| ["&&", "||", ";", "|", "&"].contains(&word.as_str())) {
        let part: Vec<&str> = part.iter().map(String::as_str).collect();
        let is_setting = |word: &&str| word.split_once('=').is_some_and(|(name, _)| is_name(name));
        let part: Vec<&str> = part.into_iter().skip_while(is_setting).collect();
        let Some((program, arguments)) = part.split_first() else { continue };
        match *program {
            "make" => check_make(repository, arguments)?,
            "serin" | "target/release/serin" | "./target/release/serin" => {
                check_serin(repository, arguments)?;
            }
            "cargo" if arguments.first() == Some(&"run") => {
                let own = arguments.iter().skip_while(|word| **word != "--").skip(1).copied();
                check_serin(repository, &own.collect::<Vec<_>>())?;
            }
            _ => {}
        }
        for word in part.iter().filter(|word| is_file_name(word) && !word.contains("target/")) {
            if !repository.root.join(word).exists() {
                return Err(format!("`{line}`: {word} does not exist"));
            }
        }
    }
    Ok(())
}

fn is_name(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn check_make(repository: &Repository, arguments: &[&str]) -> Result<(), String> {
    for target in arguments.iter().filter(|word| !word.contains('=') && !word.starts_with('-')) {
        if !repository.make_targets.contains(*target) {
            return Err(format!("`make {target}`: the Makefile has no such target"));
        }
    }
    Ok(())
}

fn check_serin(repository: &Repository, arguments: &[&str]) -> Result<(), String> {
    let words = std::iter::once("serin").chain(arguments.iter().copied());
    match repository.serin.clone().try_get_matches_from(words) {
        Ok(_) => Ok(()),
        Err(e)
            if [clap::error::ErrorKind::DisplayHelp, clap::error::ErrorKind::DisplayVersion]
                .contains(&e.kind()) =>
        {
            Ok(())
        }
        Err(e) => {
            let why = e.to_string();
            Err(format!("`serin {}`: {}", arguments.join(" "), why.lines().next().unwrap_or("")))
        }
    }
}

/// Splits a line into words as a shell does, as far as documents need it: quotes, and the operators
/// that join commands.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote: Option<char> = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), _) if c == q => quote = None,
            (Some(_), _) => word.push(c),
            (None, '\'' | '"') => quote = Some(c),
            (None, '&' | '|' | ';') => {
                words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
                let double = c != ';' && chars.next_if_eq(&c).is_some();
                words.push(if double { format!("{c}{c}") } else { c.to_string() });
            }
            (None, _) if c.is_whitespace() => {
                words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
            }
            (None, _) => word.push(c),
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}

/// Every file of the repository that is not built or fetched, by its path inside.
fn all_files(root: &Path) -> Vec<PathBuf> {
    let ignored = fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
    let mut skip: BTreeSet<&str> = ignored.lines().map(|line| line.trim().trim_matches('/')).collect();
    skip.extend([".git", "target"]);
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).expect("readable folder") {
            let entry = entry.expect("readable entry");
            let path = folder.join(entry.file_name());
            if skip.contains(path.to_string_lossy().as_ref()) {
                continue;
            }
            if entry.file_type().expect("a type").is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// What in a file's text leads outside of the repository.
fn outside(file: &Path, text: &str) -> Vec<String> {
    // Written in two pieces, so that this file does not find itself.
    let places = [["/ho", "me/"], ["/ro", "ot/"], ["/wo", "rk/"], ["/Use", "rs/"]].map(|p| p.concat());
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut say = |what: &str| found.push(format!("{}:{}: {what}", file.display(), index + 1));
        let begins_path = |at: usize| {
            line[..at].chars().next_back().is_none_or(|c| !(c.is_alphanumeric() || "._-/}$".contains(c)))
        };
        for place in &places {
            if line.match_indices(place.as_str()).any(|(at, _)| begins_path(at)) {
                say(place);
            }
        }
        for (at, _) in line.match_indices("../").filter(|(at, _)| begins_path(*at)) {
            let path: &str =
                line[at..].split(|c: char| !(c.is_alphanumeric() || "._-/".contains(c))).next().unwrap_or("");
            if leaves(file, path) {
                say(path);
            }
        }
    }
    found
}

/// True if `path`, seen from the folder of `file`, leads above the repository.
fn leaves(file: &Path, path: &str) -> bool {
    let mut depth = file.components().count() as i64 - 1;
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            _ => {}
        }
        if depth < 0 {
            return true;
        }
    }
    false
}
