//! `serin config`, and what declares targets and policies at a running daemon.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::text::clean;
use super::{Client, ClientError, Exit, Global, Output, complain, print, print_json};
use crate::config::{Config, Problems};
use crate::contract::ReloadView;
use crate::contract::problem::Problem;

/// Commands on configuration files.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Validate configuration files; exit 0 if all are valid, 1 if one is not, 2 for wrong use
    Check {
        /// Configuration files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Also connect to every provider, router and channel; exit 1 if one does not answer
        #[arg(long)]
        connect: bool,
    },
    /// Make the running daemon reload its configuration file, and show what changed
    Reload,
}

/// Files with declarations.
#[derive(Clone, Debug, Args)]
pub struct ApplyArgs {
    /// A YAML or JSON file; `-` reads standard input
    #[arg(short = 'f', long = "file", required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// What is not to be declared any more.
#[derive(Clone, Debug, Args)]
pub struct DeleteArgs {
    /// Names
    #[arg(required_unless_present = "files")]
    pub names: Vec<String>,
    /// A file with the declaration, for its name
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// What connecting to something gave.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The field of the configuration.
    pub field: String,
    /// What it answers, or what is wrong and what would be right.
    pub result: Result<String, String>,
}

/// Prints what is right and wrong with a configuration file.
pub fn config_checked(path: &Path, read: &Result<Config, Problems>, checks: &[Checked], output: Output) {
    let path = path.display().to_string();
    if output == Output::Json {
        let problems = read.as_ref().err().map(|problems| &problems.0);
        let checks: Vec<_> = checks
            .iter()
            .map(|check| {
                let (ok, detail) = match &check.result {
                    Ok(detail) => (true, detail),
                    Err(detail) => (false, detail),
                };
                json!({ "field": check.field, "ok": ok, "detail": detail })
            })
            .collect();
        print_json(
            &json!({ "path": path, "valid": read.is_ok(), "problems": problems.into_iter().flatten().collect::<Vec<_>>(),
                "checks": checks }),
            false,
        );
        return;
    }
    match read {
        Ok(config) => {
            let (targets, policies) = (config.targets.len(), config.policies.len());
            let plural = |count: usize, one: &str, many: &str| {
                format!("{count} {}", if count == 1 { one } else { many })
            };
            let counts = format!(
                "{}, {}",
                plural(targets, "target", "targets"),
                plural(policies, "policy", "policies")
            );
            print(&clean(&format!("{path}: ok ({counts})")));
            print("\n");
        }
        Err(problems) => {
            for line in problems.to_string().lines() {
                print(&format!("{}\n", clean(line)));
            }
        }
    }
    for check in checks {
        let (word, detail) = match &check.result {
            Ok(detail) => ("ok", detail),
            Err(detail) => ("error", detail),
        };
        print(&format!("  {}: {word}: {}\n", clean(&check.field), clean(detail)));
    }
}

/// Makes the daemon reload its configuration.
pub(super) async fn reload(global: &Global) -> Result<Exit, ClientError> {
    let view = match Client::of(global)?.reload().await {
        Err(ClientError::Problem(problem)) if !problem.problems.is_empty() => {
            return Ok(refused(&problem, None));
        }
        other => other?,
    };
    match global.output {
        Output::Json => print_json(&view, true),
        Output::Text => print(&clean_lines(&told(&view))),
    }
    Ok(Exit::Done)
}

fn told(view: &ReloadView) -> String {
    let mut text = String::new();
    let lists = [
        ("added", &view.added),
        ("changed", &view.changed),
        ("removed", &view.removed),
        ("waiting", &view.waiting),
        ("not applied", &view.not_taken),
    ];
    for (word, names) in lists {
        for name in names {
            text.push_str(&format!("{word}: {name}\n"));
        }
    }
    for needed in &view.restart_needed {
        text.push_str(&format!("restart needed: {} ({})\n", needed.field, needed.why));
    }
    if text.is_empty() { "Reloaded; nothing changed.\n".to_owned() } else { text }
}

fn clean_lines(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", clean(line))).collect()
}

/// Declares what the files hold; `kind` is `targets` or `policies`.
pub(super) async fn apply(
    kind: &'static str,
    args: &ApplyArgs,
    global: &Global,
) -> Result<Exit, ClientError> {
    let client = Client::of(global)?;
    let mut exit = Exit::Done;
    for file in &args.files {
        let Some(body) = contents(file) else { return Ok(Exit::Usage) };
        match client.declare(kind, body).await {
            Ok((is_new, view)) if global.output == Output::Json => {
                print_json(&json!({ "created": is_new, "declared": view }), true);
            }
            Ok((is_new, view)) => {
                let name = view["name"].as_str().unwrap_or_default();
                let word = if is_new { "created" } else { "updated" };
                print(&format!("{} {word}\n", clean(name)));
            }
            Err(ClientError::Problem(problem)) if !problem.problems.is_empty() => {
                exit = refused(&problem, Some(file));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(exit)
}

/// Says everything that is wrong, each in a line; places in the body are places in the file that was sent.
fn refused(problem: &Problem, file: Option<&Path>) -> Exit {
    for wrong in &problem.problems {
        let mut line = file.map_or_else(|| wrong.file.clone(), |file| file.display().to_string());
        if let (Some(row), Some(column)) = (wrong.line, wrong.column) {
            line.push_str(&format!(":{row}:{column}"));
        }
        if let Some(field) = &wrong.field {
            line.push_str(&format!(": {field}"));
        }
        print(&format!("{}\n", clean(&format!("{line}: {}", wrong.detail))));
    }
    Exit::No
}

/// Removes declarations; `kind` is `targets` or `policies`.
pub(super) async fn delete(
    kind: &'static str,
    args: &DeleteArgs,
    global: &Global,
) -> Result<Exit, ClientError> {
    let client = Client::of(global)?;
    let mut names = args.names.clone();
    for file in &args.files {
        let Some(body) = contents(file) else { return Ok(Exit::Usage) };
        let Some(name) = crate::config::declared_name(&body) else {
            complain(&format!("{}: the field `name` is missing", file.display()));
            return Ok(Exit::Usage);
        };
        names.push(name);
    }
    for name in names {
        client.delete_declared(kind, &name).await?;
        match global.output {
            Output::Json => print_json(&json!({ "deleted": name }), false),
            Output::Text => print(&format!("{} deleted\n", clean(&name))),
        }
    }
    Ok(Exit::Done)
}

fn contents(file: &Path) -> Option<Vec<u8>> {
    let read = match file.to_str() {
        Some("-") => std::io::read_to_string(std::io::stdin()).map(String::into_bytes),
        _ => std::fs::read(file),
    };
    match read {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            complain(&format!("{} cannot be read: {}", file.display(), error.kind()));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::RestartView;

    #[test]
    fn a_reload_says_what_changed_and_what_needs_a_restart() {
        let view = ReloadView {
            added: vec!["target cart".into()],
            changed: vec!["policy standard".into()],
            restart_needed: vec![RestartView { field: "listen".into(), why: "it is bound".into() }],
            ..ReloadView::default()
        };
        assert_eq!(
            told(&view),
            "added: target cart\nchanged: policy standard\nrestart needed: listen (it is bound)\n"
        );
        assert_eq!(told(&ReloadView::default()), "Reloaded; nothing changed.\n");
    }
}
