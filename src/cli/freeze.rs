//! `serin freeze`.

use serde_json::json;

use super::args::FreezeCommand;
use super::text::{clean, table};
use super::{Client, ClientError, Exit, Global, Output, print, print_json, rollout};
use crate::contract::gates::FreezeView;

pub(super) async fn run(command: FreezeCommand, global: &Global) -> Result<Exit, ClientError> {
    let client = Client::of(global)?;
    match command {
        FreezeCommand::Start { targets, why, from, until, by } => {
            let mut body = json!({ "why": why, "by": rollout::who(by) });
            if !targets.is_empty() {
                body["targets"] = json!(targets);
            }
            for (name, time) in [("from", from), ("until", until)] {
                if let Some(time) = time {
                    body[name] = json!(time);
                }
            }
            let view = client.start_freeze(&body).await?;
            tell(&view, global.output, "holds");
        }
        FreezeCommand::List => {
            let freezes = client.freezes().await?.items;
            match global.output {
                Output::Json => print_json(&freezes, true),
                Output::Text => print(&rows(&freezes)),
            }
        }
        FreezeCommand::End { id } => tell(&client.end_freeze(&id).await?, global.output, "is over"),
    }
    Ok(Exit::Done)
}

fn tell(view: &FreezeView, output: Output, what: &str) {
    match output {
        Output::Json => print_json(view, true),
        Output::Text => {
            print(&clean(&format!("Freeze {} of {} {what}.", view.id, view.targets.join(", "))));
            print("\n");
        }
    }
}

fn rows(freezes: &[FreezeView]) -> String {
    let head = ["FREEZE", "TARGETS", "FROM", "UNTIL", "HOLDS", "BY", "WHY"];
    let mut rows: Vec<Vec<String>> = vec![head.iter().map(|text| (*text).to_owned()).collect()];
    rows.extend(freezes.iter().map(|freeze| {
        let until = freeze.ended_at.as_ref().or(freeze.until.as_ref());
        vec![
            freeze.id.clone(),
            freeze.targets.join(", "),
            freeze.from.clone(),
            until.cloned().unwrap_or_else(|| "it is ended".to_owned()),
            if freeze.active { "yes" } else { "no" }.to_owned(),
            freeze.by.clone(),
            freeze.why.clone(),
        ]
    }));
    table(&rows)
}
