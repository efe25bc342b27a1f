//! What changes, as it changes: `GET /stream` (server-sent events).
//!
//! One task, the hub, turns the engine's changes into frames, once a change; every viewer has a task
//! that hands the shared frames on. A viewer who cannot keep up is cut off and comes back with
//! `Last-Event-ID`.

mod frames;
mod hub;

use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

pub(super) use hub::Hub;

use self::hub::{Message, What};
use super::Api;
use super::access::{Permission, Principal, Stay};
use super::input::{Name, Params};
use super::problem::{FieldError, Problem};
use crate::contract::RolloutView;
use crate::core::ids::RolloutId;
use crate::core::rollout::Rollout;
use crate::ports::{RolloutFilter, StoreError};

/// Frames that wait for one viewer's connection.
const WAITING: usize = 64;
/// Then the viewer has to come back, and to say who it is again.
const LONGEST: Duration = Duration::from_secs(3600);
/// Log lines that are sent again; a viewer who has missed more begins anew.
const MISSED: usize = 2000;

/// What a handler may know of the connection that it answers on.
#[derive(Clone)]
pub(super) struct Line {
    /// Becomes true when the daemon stops.
    pub ended: watch::Receiver<bool>,
    /// Closes the connection at once.
    pub cut: CancellationToken,
}

/// A viewer, on the way in.
struct Viewer {
    api: Api,
    principal: Principal,
    only: Option<Rollout>,
    last: Option<u64>,
    messages: broadcast::Receiver<std::sync::Arc<Message>>,
    out: mpsc::Sender<Bytes>,
    line: Option<Line>,
    _place: OwnedSemaphorePermit,
    _watching: Option<hub::Watching>,
}

/// Why a viewer's stream ends.
struct Over;

/// `GET /stream`: the state of every active rollout, then what changes; with `rollout` of that one alone.
#[utoipa::path(get, path = "/api/v1/stream", tag = "overview", operation_id = "stream_all",
    params(
        ("rollout" = Option<String>, Query, description = "Only of this rollout, with its whole state"),
        ("last_event_id" = Option<u64>, Query, description = "As the header"),
        ("Last-Event-ID" = Option<u64>, Header, description = "The `id` of the last event that was seen: those after it come again"),
    ),
    responses((status = 200, description = "Events: `hello`, `rollout` (the row of the overview; with `rollout` the whole rollout) and `log` (a log line with `rollout` and `target`; its `id` is for Last-Event-ID). A comment comes every 15 s.", body = String, content_type = "text/event-stream")))]
pub(super) async fn stream(
    State(api): State<Api>,
    principal: Principal,
    line: Option<Extension<Line>>,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, Problem> {
    let only = params.text("rollout");
    let query = params.text("last_event_id");
    params.finish()?;
    let header = headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?").to_owned());
    let last = header.or(query).filter(|text| !text.is_empty()).map(|text| position(&text)).transpose()?;
    let only = match only {
        None => None,
        Some(id) => {
            let rollout = super::rollouts::rollout(&api, &principal, Name(id)).await?;
            principal.allow(Permission::View, &rollout.target)?;
            Some(rollout)
        }
    };
    let stay = Stay::new(&api, &headers)?;
    let Some(place) = api.hub.place() else {
        return Err(Problem::busy_viewers(api.limits.viewers));
    };
    let watching = only.as_ref().map(|rollout| api.hub.watch(&rollout.id));
    let messages = api.hub.subscribe().await?;
    let (out, frames) = mpsc::channel(WAITING);
    let line = line.map(|Extension(line)| line);
    let viewer = Viewer {
        api,
        principal,
        only,
        last,
        messages,
        out,
        line: line.clone(),
        _place: place,
        _watching: watching,
    };
    tokio::spawn(async move {
        tokio::select! {
            () = viewer.run() => {}
            () = stay.over() => {}
        }
    });
    let body = Body::from_stream(ReceiverStream::new(frames).map(Ok::<Bytes, Infallible>));
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that gather answers would hold the events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

fn position(text: &str) -> Result<u64, Problem> {
    text.parse().map_err(|_| {
        let short: String = text.chars().take(100).collect();
        let detail = format!("`last_event_id` must be an id of this stream, a whole number, not {short:?}");
        Problem::parameters(vec![FieldError { field: "last_event_id".to_owned(), detail }])
    })
}

impl Viewer {
    async fn run(mut self) {
        let deadline = Instant::now() + LONGEST;
        if let Err(Over) = self.begin().await {
            return;
        }
        let mut heartbeat = tokio::time::interval(self.api.limits.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        heartbeat.reset();
        let mut ended = self.line.as_ref().map(|line| line.ended.clone());
        loop {
            let stopped = async {
                match &mut ended {
                    Some(ended) => drop(ended.wait_for(|ended| *ended).await),
                    None => std::future::pending().await,
                }
            };
            let frame = tokio::select! {
                biased;
                () = self.out.closed() => return,
                () = stopped => return,
                () = tokio::time::sleep_until(deadline) => return,
                message = self.messages.recv() => match message {
                    Ok(message) => self.frame(&message),
                    // Too slow, or the hub is gone.
                    Err(_) => return self.cut(),
                },
                _ = heartbeat.tick() => Some(Bytes::from_static(b": still here\n\n")),
            };
            if let Some(frame) = frame
                && self.send(frame).await.is_err()
            {
                return;
            }
        }
    }

    /// Hands a frame to the connection. One that takes none for long is closed.
    async fn send(&self, frame: Bytes) -> Result<(), Over> {
        match tokio::time::timeout(self.api.limits.slow_viewer, self.out.send(frame)).await {
            Ok(sent) => sent.map_err(|_| Over),
            Err(_) => {
                self.cut();
                Err(Over)
            }
        }
    }

    fn cut(&self) {
        tracing::debug!("a viewer was too slow and is cut off");
        if let Some(line) = &self.line {
            // What lies in the buffers may never be taken, so the end of the stream is not enough. A
            // connection that is only late still gets its last frames within this time.
            let (cut, wait) = (line.cut.clone(), self.api.limits.slow_viewer);
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                cut.cancel();
            });
        }
    }

    /// What a message says to this viewer.
    fn frame(&mut self, message: &Message) -> Option<Bytes> {
        if self.only.as_ref().is_some_and(|only| only.id != message.rollout)
            || !self.principal.may(Permission::View, &message.target)
        {
            return None;
        }
        match &message.what {
            What::Log { position, .. } if self.last.is_some_and(|last| *position <= last) => None,
            What::Log { position, frame } => {
                self.last = Some(*position);
                Some(frame.clone())
            }
            What::State { row, .. } if self.only.is_none() => Some(row.clone()),
            What::State { whole, .. } => whole.clone(),
        }
    }

    /// The hello, what was missed, and how things stand.
    async fn begin(&mut self) -> Result<(), Over> {
        self.send(frames::hello()).await?;
        let store = self.api.handle.store().clone();
        let begun = async {
            let newest = store.newest_position().await?;
            // An id that is ahead comes from another store.
            let from = self.last.filter(|last| *last <= newest);
            let missed = match from {
                Some(last) => store.events_since(last, MISSED + 1).await?,
                None => Vec::new(),
            };
            Ok::<_, StoreError>((newest, missed))
        };
        let Ok((newest, missed)) = begun.await else { return Err(Over) };
        // One that has missed too much begins anew: what it shows is made of the states that follow.
        let missed = if missed.len() > MISSED { Vec::new() } else { missed };
        self.last = Some(missed.last().map_or(newest, |(position, _, _)| *position).max(newest));
        let mut ended: Vec<RolloutId> = Vec::new();
        for (position, id, event) in missed {
            if self.only.as_ref().is_some_and(|only| only.id != id) {
                continue;
            }
            let Ok(rollout) = store.rollout(&id).await else { continue };
            if !self.principal.may(Permission::View, &rollout.target) {
                continue;
            }
            self.send(frames::log(position, &rollout, &event)).await?;
            if rollout.phase.is_terminal() && !ended.contains(&id) {
                ended.push(id);
            }
        }
        self.states(ended).await
    }

    /// How the active rollouts stand, and those that have ended meanwhile.
    async fn states(&self, ended: Vec<RolloutId>) -> Result<(), Over> {
        let store = self.api.handle.store().clone();
        if let Some(only) = &self.only {
            let Ok(rollout) = store.rollout(&only.id).await else { return Err(Over) };
            let target = store.target(&rollout.target).await.ok();
            return self.send(frames::whole(&RolloutView::new(&rollout, target.as_ref()))).await;
        }
        let filter =
            RolloutFilter { active: Some(true), limit: super::overview::ROWS, ..RolloutFilter::default() };
        let Ok(mut rollouts) = store.rollouts(&filter).await else { return Err(Over) };
        for id in ended {
            rollouts.extend(store.rollout(&id).await);
        }
        let Ok(targets) = super::overview::targets(store.as_ref()).await else { return Err(Over) };
        for rollout in rollouts {
            if self.principal.may(Permission::View, &rollout.target) {
                let Ok(spark) = self.api.sparks.of(store.as_ref(), &rollout).await else { return Err(Over) };
                self.send(frames::row(&rollout, targets.get(&rollout.target), spark)).await?;
            }
        }
        Ok(())
    }
}
