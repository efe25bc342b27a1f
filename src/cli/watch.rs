//! Follows a rollout to its end: a picture that is drawn again in place on a terminal, one line a
//! change elsewhere, one JSON object a change for programs.

use std::io::IsTerminal;
use std::time::Duration;

use tokio::time::Instant;

use super::text::{clean, ratio, weight, wrap};
use super::{Client, ClientError, Exit, Output, complain, print, print_json, render};
use crate::contract::{EventView, RolloutView};

/// Time between two looks.
const EVERY: Duration = Duration::from_millis(500);
/// A daemon that cannot be reached is waited for so long.
const RECONNECT: Duration = Duration::from_secs(120);
/// The newest events under the picture.
const EVENTS: usize = 6;

/// The terminal's width; 100 where there is none.
pub(super) fn terminal_width() -> usize {
    terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0))
}

fn terminal_height() -> usize {
    terminal_size::terminal_size().map_or(24, |(_, height)| usize::from(height.0))
}

fn is_live() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether to write in colours: on a terminal, unless `NO_COLOR` is set.
pub(super) fn colour() -> bool {
    is_live() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// An event as a line: `10:18:44  Decided: …`.
pub(super) fn event_line(event: &EventView) -> String {
    let time = event.at.get(11..19).unwrap_or(&event.at);
    let by = event.by.as_ref().map(|by| format!(" (by {by})")).unwrap_or_default();
    clean(&format!("{time}  {}{by}", event.sentence))
}

/// All events after `after`, oldest first.
pub(super) async fn events_after(
    client: &Client,
    id: &str,
    mut after: u64,
) -> Result<Vec<EventView>, ClientError> {
    let mut events: Vec<EventView> = Vec::new();
    loop {
        let page = client.events(id, after).await?;
        let last = page.items.last().map(|event| event.seq);
        events.extend(page.items);
        match (page.next, last) {
            (Some(_), Some(last)) if last > after => after = last,
            _ => return Ok(events),
        }
    }
}

/// Follows the rollout `id` to its end, or for `wait_for`.
pub(super) async fn watch(
    client: &Client,
    id: &str,
    wait_for: Option<Duration>,
    output: Output,
) -> Result<Exit, ClientError> {
    let mut screen = Screen::new(output);
    let deadline = wait_for.map(|wait| Instant::now() + wait);
    let mut lost_since: Option<Instant> = None;
    let mut seen_once = false;
    let mut last: Option<RolloutView> = None;
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let mut looks = tokio::time::interval(EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let over = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let look = async {
            looks.tick().await;
            look(client, id, screen.last_event()).await
        };
        let looked = tokio::select! {
            biased;
            _ = interrupted.as_mut() => {
                complain(&format!(
                    "stopped watching; the rollout goes on. `serin rollout watch {id}` follows it again"
                ));
                return Ok(if last.as_ref().is_some_and(is_going_back) { Exit::No } else { Exit::Undecided });
            }
            () = over => return Ok(wait_is_over(id, last.as_ref())),
            looked = look => looked,
        };
        match looked {
            Ok((view, events)) => {
                (lost_since, seen_once) = (None, true);
                screen.show(&view, events);
                if view.ended {
                    return Ok(if view.state == "succeeded" { Exit::Done } else { Exit::No });
                }
                last = Some(view);
            }
            Err(error) if seen_once && error.is_passing() => {
                let since = *lost_since.get_or_insert_with(|| {
                    screen.note(&format!("{error}; trying again for {} s", RECONNECT.as_secs()));
                    Instant::now()
                });
                if since.elapsed() >= RECONNECT {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

fn is_going_back(view: &RolloutView) -> bool {
    view.state == "rolling_back"
}

fn wait_is_over(id: &str, last: Option<&RolloutView>) -> Exit {
    match last {
        // The decision has been made; only its last confirmation is still to come.
        Some(view) if is_going_back(view) => {
            complain(&format!(
                "rollout {id} is rolling back, and that was not confirmed when the wait ended"
            ));
            Exit::No
        }
        Some(view) => {
            complain(&format!(
                "rollout {id} is still {} at the end of the wait; it goes on",
                render::state_words(&view.state)
            ));
            Exit::Undecided
        }
        None => {
            complain(&format!("nothing was heard of rollout {id} before the wait ended"));
            Exit::Unreachable
        }
    }
}

async fn look(client: &Client, id: &str, after: u64) -> Result<(RolloutView, Vec<EventView>), ClientError> {
    // The view first: an end is then shown with all of its events.
    let view = client.rollout(id).await?;
    let events = events_after(client, id, after).await?;
    Ok((view, events))
}

enum How {
    /// Drawn again in place; how many lines there are to go up.
    Live { drawn: usize },
    /// One line a change.
    Plain { last: String },
    /// One JSON object a change.
    Json { last: Option<Box<RolloutView>> },
}

struct Screen {
    how: How,
    last_event: u64,
    events: Vec<String>,
}

impl Screen {
    fn new(output: Output) -> Screen {
        let how = match output {
            Output::Json => How::Json { last: None },
            Output::Text if is_live() => How::Live { drawn: 0 },
            Output::Text => How::Plain { last: String::new() },
        };
        Screen { how, last_event: 0, events: Vec::new() }
    }

    fn last_event(&self) -> u64 {
        self.last_event
    }

    fn note(&mut self, text: &str) {
        complain(text);
        if let How::Live { drawn } = &mut self.how {
            // The note stays above the next picture.
            *drawn = 0;
        }
    }

    fn show(&mut self, view: &RolloutView, events: Vec<EventView>) {
        self.last_event = events.last().map_or(self.last_event, |event| event.seq);
        let new: Vec<String> = events.iter().map(event_line).collect();
        match &mut self.how {
            How::Json { last } => {
                if last.as_deref() != Some(view) {
                    print_json(view, false);
                    *last = Some(Box::new(view.clone()));
                }
            }
            How::Plain { last } => {
                for line in &new {
                    print(&format!("{line}\n"));
                }
                let line = status_line(view);
                if *last != line.0 {
                    print(&format!("{}\n", line.1));
                    *last = line.0;
                }
            }
            How::Live { drawn } => {
                self.events.extend(new);
                let surplus = self.events.len().saturating_sub(EVENTS);
                self.events.drain(..surplus);
                let frame = frame(
                    view,
                    &self.events,
                    terminal_width(),
                    terminal_height().saturating_sub(1),
                    colour(),
                );
                let up = if *drawn > 0 { format!("\x1b[{drawn}A\r\x1b[J") } else { String::new() };
                *drawn = frame.lines().count();
                print(&format!("{up}{frame}"));
            }
        }
    }
}

/// The picture and the newest events, at most `height` lines of them.
fn frame(view: &RolloutView, events: &[String], width: usize, height: usize, colour: bool) -> String {
    let mut frame = render::render(view, width, colour);
    if !events.is_empty() {
        frame.push('\n');
        for event in events {
            let mut lines = wrap(event, width.saturating_sub(10)).into_iter();
            if let Some(first) = lines.next() {
                frame.push_str(&format!("{first}\n"));
            }
            for line in lines {
                frame.push_str(&format!("          {line}\n"));
            }
        }
    }
    let lines: Vec<&str> = frame.lines().collect();
    if lines.len() <= height {
        return frame;
    }
    let mut short = lines[..height.max(1)].join("\n");
    short.push('\n');
    short
}

/// What changes of a rollout between its events: when the first text differs, the second is worth a
/// line.
fn status_line(view: &RolloutView) -> (String, String) {
    let mut place = render::state_words(&view.state);
    if let Some(step) = view.step {
        place.push_str(&format!(", step {} of {}", step.index, step.of));
    }
    if let Some(wanted) = &view.wanted {
        let seen = view.seen.as_ref().map_or_else(
            || "not seen yet".to_owned(),
            |seen| format!("{} seen", weight(seen.split.canary_percent)),
        );
        place.push_str(&format!(", canary {} wanted, {seen}", weight(wanted.canary_percent)));
    }
    let mut key = place.clone();
    let mut line = place;
    for metric in view.assessment.iter().flat_map(|assessment| &assessment.metrics) {
        let verdict = serde_json::to_value(metric.verdict)
            .ok()
            .and_then(|value| value.as_str().map(render::state_words))
            .unwrap_or_default();
        key.push_str(&format!("; {} {verdict}", metric.name));
        line.push_str(&format!("; {} {verdict}", metric.name));
        if let Some(found) = &metric.ratio {
            line.push_str(&format!(" {}", ratio(found)));
        }
    }
    if let Some(waiting) = &view.waiting_for {
        key.push_str(&format!("; {:?}", waiting.on));
        line.push_str(&format!(". {}", waiting.sentence));
    }
    (clean(&key), format!("          {}", clean(&line)))
}
