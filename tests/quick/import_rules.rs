//! Who may import whom. Reads the sources, so that the table in ARCHITECTURE.md stays true.

mod paths;
mod tokens;

use std::fs;
use std::path::{Path, PathBuf};

use self::paths::{paths, resolve};
use self::tokens::{tokens, without_tests};

/// What each room may name besides itself.
const TABLE: &[(&str, &[&str])] = &[
    ("stats", &[]),
    ("core", &["stats"]),
    ("montecarlo", &["core", "stats"]),
    ("ports", &["core"]),
    ("secrets", &["core"]),
    ("contract", &["core", "ports"]),
    ("outbound", &["secrets", "telemetry"]),
    ("messages", &["core"]),
    ("gates", &["core", "ports", "outbound", "secrets", "messages", "telemetry"]),
    ("telemetry", &[]),
    ("providers", &["core", "ports", "outbound", "secrets", "telemetry"]),
    ("routers", &["core", "ports", "secrets", "telemetry"]),
    ("notifiers", &["core", "ports", "outbound", "secrets", "messages", "telemetry"]),
    ("store", &["core", "ports", "telemetry"]),
    (
        "config",
        &[
            "core",
            "ports",
            "outbound",
            "secrets",
            "telemetry",
            "providers",
            "routers",
            "notifiers",
            "messages",
            "gates",
            "store",
        ],
    ),
    ("engine", &["core", "ports", "messages", "telemetry"]),
    (
        "api",
        &[
            "contract",
            "core",
            "stats",
            "ports",
            "outbound",
            "secrets",
            "config",
            "engine",
            "telemetry",
            "montecarlo",
        ],
    ),
    // The client reads what the API writes: the contract is the shape of both.
    ("cli", &["contract", "core", "ports", "outbound", "secrets", "config", "telemetry", "montecarlo"]),
    ("clock", &["core", "ports"]),
    (
        "demo",
        &[
            "core",
            "ports",
            "config",
            "engine",
            "messages",
            "telemetry",
            "providers",
            "routers",
            "notifiers",
            "store",
        ],
    ),
];

/// The program's own modules: they wire everything, and belong to no room.
const PROGRAM: &[&str] = &["main", "lib", "program"];

/// Of the ports, the configuration sees plain values, and nothing that acts.
const PLAIN_PORTS: &[&str] = &["Retention"];

/// Of the engine, these rooms see the handle only.
const HANDLE_ONLY: &[&str] = &["api"];
const HANDLE: &[&str] = &[
    "handle",
    "Answer",
    "Handle",
    "StartError",
    "StartRequest",
    "Catalogue",
    "Changes",
    "Declaration",
    "Declared",
    "Fault",
    "Item",
    "Kept",
    "Name",
    "Owner",
    "Source",
    "LastReload",
    "ReloadError",
    "Reloaded",
    "RestartNeeded",
];

/// What the pure rooms may not name, however it is reached.
const PURE: &[&str] = &["core", "stats"];
const IMPURE: &[&str] = &[
    "std::time::Instant",
    "std::time::SystemTime",
    "std::fs",
    "std::net",
    "std::env",
    "std::io",
    "std::process",
    "std::thread",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::atomic",
    "std::sync::mpsc",
    "tokio",
    "futures",
    "async_trait",
    "rand",
    "reqwest",
    "sqlx",
    "hyper",
    "axum",
    "tonic",
    "uuid",
    "tracing",
    "metrics",
    "jiff::Timestamp::now",
    "jiff::Zoned::now",
];

#[test]
fn every_import_is_in_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = rust_files(&root);
    assert!(files.len() > 20, "the sources were not found in {}", root.display());
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("readable source");
        let inside = file.strip_prefix(&root).expect("inside src");
        found.extend(violations(inside, &text));
    }
    assert!(found.is_empty(), "imports against the table:\n{}", found.join("\n"));
}

#[test]
fn every_room_stands_in_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in rust_files(&root) {
        let inside = file.strip_prefix(&root).expect("inside src");
        let room = room(inside);
        // The program's own files: parse, wire, run.
        let known = PROGRAM.contains(&room.as_str()) || TABLE.iter().any(|(name, _)| *name == room);
        assert!(known, "the room `{room}` has no row in the table of tests/quick/import_rules.rs");
    }
}

#[test]
fn files_are_short_and_modules_have_one_style() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["src", "tests"].iter().flat_map(|folder| rust_files(&root.join(folder))) {
        let name = file.strip_prefix(root).expect("inside the repository").display().to_string();
        let lines = fs::read_to_string(&file).expect("readable source").lines().count();
        assert!(lines <= 500, "{name} has {lines} lines, and 500 are the most");
        let is_old = name.starts_with("src/") && name.ends_with("/mod.rs");
        assert!(!is_old, "{name}: a module is `foo.rs` beside `foo/`");
    }
}

#[test]
fn violations_are_found() {
    let cases: &[(&str, &str, &str)] = &[
        ("core/judge/mod.rs", "use crate::engine::Handle;", "engine"),
        ("core/judge/mod.rs", "use super::super::ports::Clock;", "ports"),
        ("core/policy.rs", "use super::super::store;", "store"),
        ("core/policy.rs", "use crate::{core::target, telemetry};", "telemetry"),
        ("core/policy.rs", "fn f() { crate::secrets::read() }", "secrets"),
        ("core/policy.rs", "mod inner { use super::super::super::api::Routes; }", "api"),
        ("stats/proportion.rs", "use crate::core::metric::Counts;", "core"),
        ("stats/proportion.rs", "use std::{fmt, time::{Duration, Instant}};", "std::time::Instant"),
        ("core/time.rs", "fn f() { let _ = std::time::SystemTime::now(); }", "std::time::SystemTime"),
        ("core/time.rs", "use std::time; fn f() { time::Instant::now(); }", "std::time::Instant"),
        ("core/time.rs", "use std::time as t; fn f() { t::Instant::now(); }", "std::time::Instant"),
        ("core/time.rs", "use std::time::*;", "std::time::*"),
        ("core/time.rs", "use tokio::sync::Mutex;", "tokio"),
        ("core/time.rs", "fn f() { rand::random::<u64>(); }", "rand"),
        ("core/time.rs", "async fn f() {}", "async"),
        ("core/time.rs", "fn f() { let _ = jiff::Timestamp::now(); }", "jiff::Timestamp::now"),
        ("providers/scrape.rs", "use crate::routers::envoy;", "routers"),
        ("store/sqlite.rs", "use crate::config::Config;", "config"),
        ("engine/mod.rs", "use crate::providers::ProviderConfig;", "providers"),
        ("api/mod.rs", "use crate::engine::{Engine, Handle};", "engine::Engine"),
        ("cli/mod.rs", "use crate::store::sqlite::SqliteStore;", "store"),
        ("ports.rs", "use super::engine::Handle;", "engine"),
        ("config/daemon.rs", "use crate::ports::{Retention, Store};", "ports::Store"),
        ("stats/ratio.rs", "use std::sync::{OnceLock, Mutex};", "std::sync::Mutex"),
        ("engine/run.rs", "use crate::core::rollout::{Rollout, transition};", "core::rollout::transition"),
        (
            "api/judge.rs",
            "fn f() { crate::core::rollout::transition(s, e, n); }",
            "core::rollout::transition",
        ),
        ("montecarlo/run.rs", "use crate::core::rollout::*;", "core::rollout::*"),
    ];
    for (file, text, names) in cases {
        let found = violations(Path::new(file), text);
        assert_eq!(found.len(), 1, "{file}: {text}: {found:?}");
        assert!(found[0].contains(&format!("`{names}`")), "{file}: {text}: {found:?}");
        assert!(found[0].contains(&format!("src/{file}:1")), "{found:?}");
    }
}

#[test]
fn what_is_allowed_is_left_alone() {
    let cases: &[(&str, &str)] = &[
        ("core/judge/mod.rs", "use crate::stats::proportion; use super::metric::Counts;"),
        ("core/judge/mod.rs", "use std::time::Duration; // never std::time::Instant"),
        ("core/policy.rs", "/* crate::engine */ const A: &str = \"crate::engine \\\" tokio::x\";"),
        ("core/policy.rs", "const A: &str = r#\"crate::engine \" rand::x\"#; const C: char = '\"';"),
        ("core/policy.rs", "fn f<'a>(x: &'a str) -> &'a str { x } pub(crate) struct S;"),
        ("core/policy.rs", "#[cfg(test)] mod tests { use crate::engine::Handle; fn f() { rand::x(); } }"),
        ("core/policy.rs", "mod inner { use super::super::metric::Counts; use super::Policy; }"),
        ("core/rollout/state.rs", "use super::super::metric; struct S { metrics: u8, rand: u8 }"),
        ("api/mod.rs", "use crate::engine::{Handle, StartError}; use crate::ports::Store;"),
        ("demo/mod.rs", "use crate::engine::Engine; use crate::providers::scrape::ScrapeConfig;"),
        ("main.rs", "use serin::api; use serin::stats;"),
        ("engine/target/store.rs", "use crate::core::rollout::{Rollout, transition};"),
        ("stats/ratio.rs", "use std::sync::OnceLock;"),
        ("config/daemon.rs", "use crate::ports::Retention;"),
        ("lib.rs", "pub mod api; pub use crate::core::policy::Policy;"),
    ];
    for (file, text) in cases {
        let found = violations(Path::new(file), text);
        assert!(found.is_empty(), "{file}: {text}: {found:?}");
    }
}

/// What a file of `src` names against the table, a line each.
fn violations(file: &Path, text: &str) -> Vec<String> {
    let room = room(file);
    let Some((_, allowed)) = TABLE.iter().find(|(name, _)| *name == room) else { return Vec::new() };
    let mut found = Vec::new();
    let mut say = |line: usize, what: &str, rule: String| {
        found.push(format!("src/{}:{line}: `{what}`: {rule}", file.display()));
    };
    let tokens = without_tests(&tokens(text));
    let paths = resolve(&module(file), &paths(&tokens));
    for (line, path) in &paths {
        let segment = |n: usize| path.get(n).map_or("", String::as_str);
        if segment(0) == "crate" {
            let other = segment(1);
            let is_room = TABLE.iter().any(|(name, _)| *name == other);
            if is_room && other != room && !allowed.contains(&other) {
                say(*line, other, format!("`{room}` may import only itself and {allowed:?}"));
            } else if other == "engine"
                && HANDLE_ONLY.contains(&room.as_str())
                && !HANDLE.contains(&segment(2))
            {
                say(*line, &format!("engine::{}", segment(2)), format!("`{room}` sees the handle only"));
            } else if other == "core" && room != "core" && decides(path) && !file.starts_with("engine/target")
            {
                let rule = "only a target's actor decides: what it decides is what is stored and simulated";
                say(*line, &path[1..].join("::"), rule.to_owned());
            } else if other == "ports" && room == "config" && !PLAIN_PORTS.contains(&segment(2)) {
                let rule = format!("`config` sees only {PLAIN_PORTS:?} of the ports");
                say(*line, &format!("ports::{}", segment(2)), rule);
            }
        } else if PURE.contains(&room.as_str()) {
            let text = path.join("::");
            let banned = |ban: &&&str| text == **ban || text.starts_with(&format!("{ban}::"));
            if let Some(ban) = IMPURE.iter().find(banned) {
                say(*line, ban, format!("`{room}` is pure"));
            } else if text == "std::time::*" || text == "std::*" {
                say(*line, &text, format!("`{room}` is pure, so that it names what it takes from std"));
            }
        }
    }
    if PURE.contains(&room.as_str()) {
        for token in tokens.iter().filter(|token| ["async", "await"].contains(&token.text.as_str())) {
            say(token.line, &token.text, format!("`{room}` is pure"));
        }
    }
    found
}

/// Whether a path brings the transition along.
fn decides(path: &[String]) -> bool {
    let rest: Vec<&str> = path.iter().skip(2).map(String::as_str).collect();
    matches!(rest[..], ["rollout", "transition" | "*", ..])
}

/// The first segment of a file's path in `src`, without `.rs`.
fn room(file: &Path) -> String {
    let first = file.components().next().expect("not empty").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The module path that a file defines.
fn module(file: &Path) -> Vec<String> {
    let mut path = vec!["crate".to_owned()];
    path.extend(file.with_extension("").components().map(|c| c.as_os_str().to_string_lossy().into_owned()));
    if matches!(path.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        path.pop();
    }
    path
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("readable folder") {
        let path = entry.expect("readable entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
