//! `serin rollout`.

use std::io::IsTerminal;

use serde_json::json;

use super::args::{AdvanceArgs, CommandArgs, ListArgs, StartArgs};
use super::text::{clean, table, weight};
use super::{
    Client, ClientError, Exit, Global, Output, RolloutCommand, complain, print, print_json, record, render,
    watch,
};
use crate::contract::RolloutView;

pub(super) async fn run(command: RolloutCommand, global: &Global) -> Result<Exit, ClientError> {
    let client = Client::of(global)?;
    let output = global.output;
    match command {
        RolloutCommand::Start(args) => start(&client, args, output).await,
        RolloutCommand::List(args) => list(&client, &args, output).await,
        RolloutCommand::Show { id, observations: true } => observations(&client, &id).await,
        RolloutCommand::Show { id, observations: false } => show(&client, &id, output).await,
        RolloutCommand::Watch { id, wait_for } => watch::watch(&client, &id, wait_for, output).await,
        RolloutCommand::Report { id, form } => {
            print(&client.report(&id, form.word()).await?);
            Ok(Exit::Done)
        }
        RolloutCommand::Pause(args) => send(&client, "pause", args, output).await,
        RolloutCommand::Resume(args) => send(&client, "resume", args, output).await,
        RolloutCommand::Advance(args) => raise(&client, "advance", args, output).await,
        RolloutCommand::Promote(args) => raise(&client, "promote", args, output).await,
        RolloutCommand::Rollback(args) => send(&client, "rollback", args, output).await,
        RolloutCommand::Acknowledge(args) => send(&client, "acknowledge", args, output).await,
        RolloutCommand::Approve { gate, refuse, args } => {
            let command = if refuse { "refuse" } else { "approve" };
            send_with(&client, command, json!({ "gate": gate }), args, output).await
        }
        RolloutCommand::Gate { gate, force, args } => {
            let command = if force { "override_gate" } else { "retry_gate" };
            send_with(&client, command, json!({ "gate": gate }), args, output).await
        }
    }
}

/// Who asks, where it is not said: the user of this machine.
pub(super) fn who(by: Option<String>) -> String {
    by.or_else(|| std::env::var("USER").ok().filter(|user| !user.is_empty()))
        .unwrap_or_else(|| "cli".to_owned())
}

/// A key, where none is given: each run of the command is a new request.
fn key(key: Option<String>) -> String {
    key.unwrap_or_else(|| format!("cli-{}", uuid::Uuid::now_v7().simple()))
}

async fn start(client: &Client, args: StartArgs, output: Output) -> Result<Exit, ClientError> {
    let body = json!({
        "target": args.target,
        "policy": args.policy,
        "version": args.version,
        "kind": if args.revert { "revert" } else { "release" },
        "by": who(args.by),
        "supersede": args.supersede,
    });
    let mut body = body;
    if let Some(at) = &args.at {
        body["begins_at"] = json!(at);
    }
    let view = client.start(&key(args.idempotency_key), &body).await?;
    if !(args.wait || args.wait_for.is_some()) {
        match output {
            Output::Json => print_json(&view, true),
            Output::Text => print(&format!("{}\n", started(&view))),
        }
        return Ok(Exit::Done);
    }
    if output == Output::Text {
        print(&format!("{}\n", started(&view)));
    }
    watch::watch(client, &view.id, args.wait_for, output).await
}

fn started(view: &RolloutView) -> String {
    let text = match view.state.as_str() {
        "scheduled" if view.begins_at.is_some() => format!(
            "Rollout {} is scheduled: {} on {} under policy {} begins at {}.",
            view.id,
            view.version,
            view.target,
            view.policy.name,
            view.begins_at.as_deref().unwrap_or_default()
        ),
        "scheduled" => format!(
            "Rollout {} is scheduled: {} on {} under policy {}, as soon as the target is free.",
            view.id, view.version, view.target, view.policy.name
        ),
        _ => format!(
            "Rollout {} has begun: {} on {} under policy {}.",
            view.id, view.version, view.target, view.policy.name
        ),
    };
    clean(&text)
}

async fn list(client: &Client, args: &ListArgs, output: Output) -> Result<Exit, ClientError> {
    let limit = args.limit as usize;
    let mut rollouts: Vec<RolloutView> = Vec::new();
    let mut before: Option<String> = None;
    loop {
        let mut query: Vec<(&str, String)> = vec![("limit", (limit - rollouts.len()).min(200).to_string())];
        query.extend(args.target.clone().map(|target| ("target", target)));
        query.extend(args.phase.clone().map(|phase| ("phase", phase)));
        query.extend(args.active.then(|| ("active", "true".to_owned())));
        query.extend(before.take().map(|before| ("before", before)));
        let page = client.rollouts(&query).await?;
        rollouts.extend(page.items);
        before = page.next;
        if before.is_none() || rollouts.len() >= limit {
            break;
        }
    }
    match output {
        Output::Json => print_json(&rollouts, true),
        Output::Text => print(&rows(&rollouts)),
    }
    Ok(Exit::Done)
}

fn rows(rollouts: &[RolloutView]) -> String {
    let head = ["ROLLOUT", "TARGET", "VERSION", "STATE", "STEP", "CANARY", "SINCE", "WAITING FOR"];
    let mut rows: Vec<Vec<String>> = vec![head.iter().map(|text| (*text).to_owned()).collect()];
    rows.extend(rollouts.iter().map(|view| {
        let waiting = view.waiting_for.as_ref().and_then(|waiting| {
            let word = serde_json::to_value(waiting.on).ok()?;
            word.as_str().map(str::to_owned)
        });
        vec![
            view.id.clone(),
            view.target.clone(),
            view.version.clone(),
            render::state_words(&view.state),
            view.step.map_or_else(|| "-".to_owned(), |step| format!("{} of {}", step.index, step.of)),
            match (&view.wanted, &view.seen) {
                (Some(wanted), Some(seen)) => format!(
                    "{} wanted, {} seen",
                    weight(wanted.canary_percent),
                    weight(seen.split.canary_percent)
                ),
                (Some(wanted), None) => format!("{} wanted", weight(wanted.canary_percent)),
                (None, _) => "-".to_owned(),
            },
            view.phase_since.get(..19).unwrap_or(&view.phase_since).replace('T', " "),
            waiting.unwrap_or_else(|| "-".to_owned()),
        ]
    }));
    table(&rows)
}

async fn show(client: &Client, id: &str, output: Output) -> Result<Exit, ClientError> {
    let view = client.rollout(id).await?;
    if output == Output::Json {
        print_json(&view, true);
        return Ok(Exit::Done);
    }
    let mut text = render::render(&view, watch::terminal_width(), watch::colour());
    let events = watch::events_after(client, id, 0).await?;
    if !events.is_empty() {
        text.push_str("\nWhat happened\n");
        for event in &events {
            text.push_str(&watch::event_line(event));
            text.push('\n');
        }
    }
    print(&text);
    Ok(Exit::Done)
}

/// Every stored tick as a line, page by page.
async fn observations(client: &Client, id: &str) -> Result<Exit, ClientError> {
    let mut after = 0;
    // What was known before the first tick belongs to the first line: judged again, all is the same.
    let view = client.rollout(id).await?;
    let (mut method, mut history) = (Some(view.method), view.history);
    loop {
        let page = client.observations(id, after).await?;
        for tick in &page.items {
            let (method, history) = (method.take(), history.take());
            print_json(&record::Line { method, history, ..record::Line::new(id, tick) }, false);
        }
        match (page.next, page.items.last()) {
            (Some(_), Some(last)) if last.seq > after => after = last.seq,
            _ => return Ok(Exit::Done),
        }
    }
}

async fn send(
    client: &Client,
    command: &'static str,
    args: CommandArgs,
    output: Output,
) -> Result<Exit, ClientError> {
    send_with(client, command, json!({}), args, output).await
}

/// A command that raises the canary's exposure, with what it overrides.
async fn raise(
    client: &Client,
    command: &'static str,
    args: AdvanceArgs,
    output: Output,
) -> Result<Exit, ClientError> {
    let mut fields = json!({});
    for (name, is_set) in [("override", args.overrides), ("even_if_worse", args.even_if_worse)] {
        if is_set {
            fields[name] = json!(true);
        }
    }
    send_with(client, command, fields, args.args, output).await
}

/// Sends a command whose body has these fields too.
async fn send_with(
    client: &Client,
    command: &'static str,
    fields: serde_json::Value,
    args: CommandArgs,
    output: Output,
) -> Result<Exit, ClientError> {
    let mut body = fields;
    body["command"] = json!(command);
    body["by"] = json!(who(args.by));
    if let Some(reason) = args.reason {
        body["reason"] = json!(reason);
    }
    if let Some(revision) = args.expected_revision {
        body["expected_revision"] = json!(revision);
    }
    let key = key(args.idempotency_key);
    let answer = client.command(&args.id, &key, &body).await?;
    if output == Output::Json {
        print_json(&answer, true);
    }
    if answer.result == "pending" {
        complain(&format!(
            "the engine has not taken the command yet; it stands in the inbox. Ask again with \
             --idempotency-key {key}"
        ));
        return Ok(Exit::Undecided);
    }
    if let Some(note) = &answer.note {
        complain(note);
    }
    if output == Output::Text {
        let done = match command {
            "pause" => "is paused. It is still monitored and can still roll back",
            "resume" => "goes on",
            "advance" => "goes to the next step",
            "promote" => "goes to 100%",
            "approve" => "has your yes",
            "refuse" => "has your no",
            "override_gate" => "has the gate open",
            "retry_gate" => "asks the gate anew",
            "acknowledge" => "is yours: its incident is taken over",
            _ => "is rolled back: the canary's weight is set to 0",
        };
        print(&format!("Rollout {} {done}.\n", clean(&answer.rollout)));
        if command == "rollback" && std::io::stdout().is_terminal() {
            print(&format!("`serin rollout watch {}` shows when that is seen.\n", clean(&answer.rollout)));
        }
    }
    Ok(Exit::Done)
}
