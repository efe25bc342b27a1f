//! `serin token`: on the daemon's database itself, also while the daemon runs.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::text::table;
use super::{Exit, Output, TokenCommand, complain, print, print_json};
use crate::contract::access::{NewTokenView, TokenView};
use crate::core::access::{AuditRecord, Role, Scope, TokenRecord, is_token_name};
use crate::ports::{Clock, Store, StoreError};
use crate::secrets::tokens;

/// Carries out a command on the store that the configuration names. Errors go to standard error.
pub async fn token(command: TokenCommand, output: Output, store: &dyn Store, clock: &dyn Clock) -> Exit {
    let done = match command {
        TokenCommand::Create { name, role, services, expires, by, .. } => {
            create(store, clock, New { name, role: role.into(), services, expires, by: who(by) }, output)
                .await
        }
        TokenCommand::List { .. } => list(store, clock, output).await,
        TokenCommand::Revoke { name, by, .. } => revoke(store, clock, &name, who(by), output).await,
    };
    match done {
        Ok(()) => Exit::Done,
        Err((exit, why)) => {
            complain(&why);
            exit
        }
    }
}

type Done = Result<(), (Exit, String)>;

struct New {
    name: String,
    role: Role,
    services: Vec<String>,
    expires: Option<Duration>,
    by: String,
}

/// Who asks, where it is not said: the user of this machine.
fn who(by: Option<String>) -> String {
    by.or_else(|| std::env::var("USER").ok().filter(|user| !user.is_empty()))
        .unwrap_or_else(|| "cli".to_owned())
}

fn failed(error: StoreError) -> (Exit, String) {
    let exit = match error {
        StoreError::NotFound(_) | StoreError::Conflict(_) => Exit::No,
        _ => Exit::Unreachable,
    };
    (exit, error.to_string())
}

async fn create(store: &dyn Store, clock: &dyn Clock, new: New, output: Output) -> Done {
    check(&new)?;
    let now = clock.wall();
    let token = tokens::generate().map_err(|error| (Exit::Unreachable, error.to_string()))?;
    let record = TokenRecord {
        name: new.name,
        hash: tokens::hash(token.expose_secret()),
        role: new.role,
        services: new.services,
        created_at: now,
        created_by: new.by.clone(),
        expires_at: new.expires.map(|time| now.plus(time)),
        revoked_at: None,
    };
    let made = store.create_token(&record).await;
    audit(store, clock, "token.create", &record.name, new.by, made.is_ok()).await;
    made.map_err(|error| match error {
        StoreError::Conflict(_) => {
            let name = &record.name;
            (Exit::No, format!("there is a token `{name}` already; revoke it first, or take another name"))
        }
        other => failed(other),
    })?;
    let about = TokenView::new(&record, now);
    match output {
        Output::Json => print_json(&NewTokenView { token: token.expose_secret().to_owned(), about }, true),
        Output::Text => {
            let until = about.expires_at.as_deref().unwrap_or("for ever");
            complain(&format!(
                "the token `{}` ({} for {}) is good until {until}; it is shown this once:",
                about.name,
                about.role,
                about.services.join(", ")
            ));
            print(&format!("{}\n", token.expose_secret()));
        }
    }
    Ok(())
}

/// Everything that is wrong, at once.
fn check(new: &New) -> Done {
    let mut wrong = Vec::new();
    if !is_token_name(&new.name) {
        wrong.push(
            "--name must be letters, digits, `.`, `_` and `-`, with a letter or digit first, at most 63"
                .to_owned(),
        );
    }
    if let Err(error) = Scope::new(&new.services) {
        wrong.push(format!("--service: {error}"));
    }
    if new.role == Role::Admin && !new.services.iter().any(|pattern| pattern == "*") {
        wrong.push("--role admin is for every service: it could make a token for all of them".to_owned());
    }
    if wrong.is_empty() { Ok(()) } else { Err((Exit::Usage, wrong.join("; "))) }
}

async fn list(store: &dyn Store, clock: &dyn Clock, output: Output) -> Done {
    let now = clock.wall();
    let tokens: Vec<TokenView> =
        store.tokens().await.map_err(failed)?.iter().map(|token| TokenView::new(token, now)).collect();
    match output {
        Output::Json => print_json(&tokens, true),
        Output::Text => {
            let head = ["TOKEN", "ROLE", "SERVICES", "STATE", "EXPIRES", "MADE", "BY"];
            let mut rows: Vec<Vec<String>> = vec![head.iter().map(|text| (*text).to_owned()).collect()];
            rows.extend(tokens.into_iter().map(|token| {
                let expires = token.expires_at.unwrap_or_else(|| "never".to_owned());
                let services = token.services.join(" ");
                vec![
                    token.name,
                    token.role,
                    services,
                    token.state,
                    expires,
                    token.created_at,
                    token.created_by,
                ]
            }));
            print(&table(&rows));
        }
    }
    Ok(())
}

async fn revoke(store: &dyn Store, clock: &dyn Clock, name: &str, by: String, output: Output) -> Done {
    let revoked = store.revoke_token(name, clock.wall()).await;
    audit(store, clock, "token.revoke", name, by, revoked.is_ok()).await;
    let record = revoked.map_err(|error| match error {
        StoreError::NotFound(_) => {
            (Exit::No, format!("there is no token `{name}` in use; `serin token list`"))
        }
        other => failed(other),
    })?;
    match output {
        Output::Json => print_json(&TokenView::new(&record, clock.wall()), true),
        Output::Text => print(&format!("the token {} is revoked\n", record.name)),
    }
    Ok(())
}

/// What is done here stands in the daemon's audit log too.
async fn audit(store: &dyn Store, clock: &dyn Clock, action: &str, name: &str, by: String, done: bool) {
    let record = AuditRecord {
        at: clock.wall(),
        by: Some(by.chars().filter(|c| !c.is_control()).take(200).collect()),
        via: "cli".to_owned(),
        from: "local".to_owned(),
        action: action.to_owned(),
        subject: name.chars().filter(|c| !c.is_control()).take(200).collect(),
        result: if done { "done" } else { "refused" }.to_owned(),
        status: 0,
    };
    if let Err(error) = store.add_audit(&record).await {
        complain(&format!("this could not be written into the audit log: {error}"));
    }
}
