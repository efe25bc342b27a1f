//! `serin target`.

use super::args::DecideArgs;
use super::text::{clean, table, weight};
use super::{Client, ClientError, Exit, Global, Output, TargetCommand, configure, print, print_json};
use crate::contract::TargetView;

pub(super) async fn run(command: TargetCommand, global: &Global) -> Result<Exit, ClientError> {
    match &command {
        TargetCommand::Apply(args) => return configure::apply("targets", args, global).await,
        TargetCommand::Delete(args) => return configure::delete("targets", args, global).await,
        _ => {}
    }
    let client = Client::of(global)?;
    let (decided, word) = match &command {
        TargetCommand::Adopt(args) => (Some(args.clone()), "adopt"),
        TargetCommand::Zero(args) => (Some(args.clone()), "zero"),
        _ => (None, ""),
    };
    if let Some(DecideArgs { target, by }) = decided {
        let view = client.decide_target(&target, word, &super::rollout::who(by)).await?;
        match (global.output, word) {
            (Output::Json, _) => print_json(&view, true),
            (Output::Text, "adopt") => print(&clean(&format!("{target} keeps what its router has."))),
            (Output::Text, _) => print(&clean(&format!("{target} sends all traffic to stable."))),
        }
        if global.output == Output::Text {
            print("\n");
        }
        return Ok(Exit::Done);
    }
    match (command, global.output) {
        (TargetCommand::List, Output::Json) => print_json(&client.targets().await?.items, true),
        (TargetCommand::List, Output::Text) => print(&list(&client.targets().await?.items)),
        (TargetCommand::Show { target }, Output::Json) => print_json(&client.target(&target).await?, true),
        (TargetCommand::Show { target }, Output::Text) => print(&show(&client.target(&target).await?)),
        (TargetCommand::Apply(_) | TargetCommand::Delete(_), _) => {}
        (TargetCommand::Adopt(_) | TargetCommand::Zero(_), _) => {}
    }
    Ok(Exit::Done)
}

fn seen(target: &TargetView) -> String {
    match &target.seen {
        Some(seen) => weight(seen.split.canary_percent),
        None => "not yet".to_owned(),
    }
}

fn list(targets: &[TargetView]) -> String {
    let head = ["TARGET", "ROUTER", "STABLE", "CANARY WANTED", "SEEN", "PROXIES", "ROLLOUT"];
    let mut rows: Vec<Vec<String>> = vec![head.iter().map(|text| (*text).to_owned()).collect()];
    rows.extend(targets.iter().map(|target| {
        vec![
            target.name.clone(),
            target.router.clone().unwrap_or_else(|| "(not configured)".to_owned()),
            target.stable_version.clone().unwrap_or_else(|| "?".to_owned()),
            weight(target.wanted.canary_percent),
            seen(target),
            match (target.nodes.len(), target.unconfirmed_nodes.len()) {
                (0, _) => "-".to_owned(),
                (all, missing) => format!("{} of {all}", all - missing),
            },
            target.active_rollout.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    }));
    table(&rows)
}

fn show(target: &TargetView) -> String {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let row = |label: &str, text: String| vec![label.to_owned(), text];
    let mut rows = vec![
        row("Target", target.name.clone()),
        row("Router", or_dash(&target.router)),
        row("Route", or_dash(&target.route)),
        row("Provider", or_dash(&target.provider)),
        row("Stable", target.stable_version.clone().unwrap_or_else(|| "not known".to_owned())),
        row(
            "Weight",
            format!(
                "canary {} wanted, {} seen (generation {})",
                weight(target.wanted.canary_percent),
                seen(target),
                target.generation
            ),
        ),
        row("Rollout", or_dash(&target.active_rollout)),
        row("Source", or_dash(&target.declared_in)),
    ];
    if !target.waiting_for_rollout.is_empty() {
        let fields = target.waiting_for_rollout.join(", ");
        rows.push(row("Applied later", format!("{fields} (when the rollout has ended)")));
    }
    rows.extend(target.declaration_problems.iter().map(|problem| row("Not applied", problem.clone())));
    if let Some(found) = &target.found {
        let name = &target.name;
        let text = format!(
            "the router gives the canary {}, which is not in the store; decide: serin target adopt {name}, or \
             serin target zero {name}",
            weight(found.split.canary_percent)
        );
        rows.push(row("Found", text));
    }
    for node in &target.nodes {
        let state = match (&node.refused, node.confirmed, node.connected) {
            (Some(refused), ..) => format!("refused: {refused}"),
            (None, true, true) => "follows".to_owned(),
            (None, true, false) => format!("follows, cut off since {}", node.last_seen),
            (None, false, true) => format!("behind, at generation {}", node.generation),
            (None, false, false) => {
                format!("not confirmed, cut off since {}, at generation {}", node.last_seen, node.generation)
            }
        };
        rows.push(row("Proxy", format!("{}: {state}", node.id)));
    }
    table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::pools::NodeRecord;
    use crate::core::split::{Split, Weight};
    use crate::core::target::{SeenSplit, Target};
    use crate::core::time::Timestamp;

    fn target() -> TargetView {
        let mut target = Target::new("checkout");
        target.want(Split::canary(Weight(2_500), false));
        target.seen = Some(SeenSplit { split: Split::STABLE, generation: 1, at: Timestamp(0) });
        let node = |generation, connected| NodeRecord {
            generation,
            last_seen: Timestamp(0),
            connected,
            refused: None,
        };
        target.nodes.insert("edge-1".into(), node(2, true));
        target.nodes.insert("edge-2".into(), node(1, false));
        TargetView::new(&target, None)
    }

    #[test]
    fn a_list_says_wanted_and_seen() {
        assert_eq!(
            list(&[target()]),
            "TARGET    ROUTER            STABLE  CANARY WANTED  SEEN  PROXIES  ROLLOUT\n\
             checkout  (not configured)  ?       25%            0%    1 of 2   -\n"
        );
    }

    #[test]
    fn a_target_names_its_proxies() {
        let text = show(&target());
        assert!(text.contains("Weight    canary 25% wanted, 0% seen (generation 2)"), "{text}");
        assert!(text.contains("edge-1: follows\n"), "{text}");
        assert!(text.contains("edge-2: not confirmed, cut off since 1970"), "{text}");
    }
}
