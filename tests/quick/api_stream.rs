//! The event stream: order, resuming, viewers that are slow, many, or looking at one rollout.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{Request, header};
use futures::StreamExt;
use serde_json::Value;
use serin::api::Limits;
use serin::core::ids::RolloutId;
use serin::core::rollout::{EventKind, EventRecord};
use serin::ports::{Commit, Commits, Queries};

use super::example::{NOW, rollout_of};
use super::{Answer, World, world, world_with};

/// An event as it came.
#[derive(Clone, Debug)]
struct Sent {
    event: String,
    id: Option<String>,
    data: Value,
}

/// A viewer's end of the stream.
struct Viewer {
    body: BodyDataStream,
    text: String,
}

const PATH: &str = "/api/v1/stream";

impl Viewer {
    async fn open(world: &World, query: &str, last: Option<&str>) -> Viewer {
        let mut request = Request::get(format!("{PATH}{query}")).header(header::ACCEPT_ENCODING, "gzip");
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = world.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        assert!(!response.headers().contains_key(header::CONTENT_ENCODING), "a compressor holds events back");
        Viewer { body: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next event; `None` at the end. Comments are passed over.
    async fn next(&mut self) -> Option<Sent> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                let field = |name: &str| {
                    block.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned))
                };
                if let Some(event) = field("event") {
                    let data = serde_json::from_str(&field("data").unwrap()).unwrap();
                    return Some(Sent { event, id: field("id"), data });
                }
            }
            let chunk = tokio::time::timeout(Duration::from_secs(60), self.body.next()).await;
            match chunk.expect("something within a minute") {
                Some(chunk) => self.text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap()),
                None => return None,
            }
        }
    }

    async fn expect(&mut self, event: &str) -> Sent {
        let sent = self.next().await.expect("the stream goes on");
        assert_eq!(sent.event, event, "{sent:?}");
        sent
    }

    /// The next log line's sentence and id, past any states.
    async fn line(&mut self) -> (String, String) {
        loop {
            let sent = self.next().await.expect("the stream goes on");
            if sent.event == "log" {
                return (sent.data["sentence"].as_str().unwrap().to_owned(), sent.id.unwrap());
            }
        }
    }
}

/// Commits log lines as the engine does.
async fn commit(world: &World, id: &str, sentences: &[String]) {
    let mut made = world.store.rollout(&RolloutId(id.to_owned())).await.unwrap();
    let mut events = Vec::new();
    for sentence in sentences {
        made.event_seq += 1;
        let seq = made.event_seq;
        let sentence = sentence.clone();
        events.push(EventRecord { seq, at: NOW, kind: EventKind::Alert, by: None, sentence });
    }
    let rollout = made.id.clone();
    world.store.commit(&Commit { rollout: Some(made), events, ..Commit::default() }).await.unwrap();
    world.handle.changed(&rollout);
}

fn lines(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|index| format!("line {index}")).collect()
}

#[tokio::test]
async fn a_viewer_gets_how_things_stand_and_then_what_changes() {
    let world = world().with_rollout();
    commit(&world, "0195c1a8", &lines(0..1)).await;
    let mut viewer = Viewer::open(&world, "", None).await;
    let hello = viewer.expect("hello").await;
    assert_eq!(hello.data["version"], env!("CARGO_PKG_VERSION"));
    let state = viewer.expect("rollout").await;
    assert_eq!((&state.data["id"], &state.data["revision"]), (&"0195c1a8".into(), &7.into()));
    assert!(state.id.is_none());
    commit(&world, "0195c1a8", &lines(1..3)).await;
    let first = viewer.expect("log").await;
    assert_eq!(
        (first.data["sentence"].as_str(), first.data["target"].as_str()),
        (Some("line 1"), Some("checkout"))
    );
    assert_eq!(
        (first.data["rollout"].as_str(), first.data["kind"].as_str()),
        (Some("0195c1a8"), Some("alert"))
    );
    let second = viewer.expect("log").await;
    assert!(first.id.unwrap().parse::<u64>().unwrap() < second.id.unwrap().parse::<u64>().unwrap());
    assert_eq!(viewer.expect("rollout").await.data["revision"], 9);
}

#[tokio::test]
async fn a_viewer_who_comes_back_gets_what_it_has_missed_once() {
    let world = world().with_rollout();
    let mut viewer = Viewer::open(&world, "", None).await;
    viewer.expect("hello").await;
    commit(&world, "0195c1a8", &lines(0..2)).await;
    assert_eq!(viewer.line().await.0, "line 0");
    let (sentence, last) = viewer.line().await;
    assert_eq!(sentence, "line 1");
    drop(viewer);
    commit(&world, "0195c1a8", &lines(2..4)).await;
    for (query, header) in [(String::new(), Some(last.as_str())), (format!("?last_event_id={last}"), None)] {
        let mut viewer = Viewer::open(&world, &query, header).await;
        viewer.expect("hello").await;
        assert_eq!(viewer.expect("log").await.data["sentence"], "line 2");
        assert_eq!(viewer.expect("log").await.data["sentence"], "line 3");
        assert_eq!(viewer.expect("rollout").await.data["id"], "0195c1a8");
    }
    let mut viewer = Viewer::open(&world, "", Some(&last)).await;
    assert_eq!(viewer.line().await.0, "line 2");
    assert_eq!(viewer.line().await.0, "line 3");
    commit(&world, "0195c1a8", &lines(4..5)).await;
    assert_eq!(viewer.line().await.0, "line 4", "and nothing twice");
    // Who has missed too much, or brings an id of another store, begins anew.
    commit(&world, "0195c1a8", &lines(5..3000)).await;
    for last in ["1", "999999"] {
        let mut viewer = Viewer::open(&world, "", Some(last)).await;
        viewer.expect("hello").await;
        viewer.expect("rollout").await;
    }
}

#[tokio::test]
async fn one_rollout_is_sent_whole_and_others_are_not() {
    let world = world().with_rollout();
    world.store.change(|data| {
        data.put(rollout_of("other", "search"));
    });
    let mut viewer = Viewer::open(&world, "?rollout=0195c1a8", None).await;
    viewer.expect("hello").await;
    let whole = viewer.expect("rollout").await.data;
    assert_eq!(whole, world.get("/api/v1/rollouts/0195c1a8").await.json());
    commit(&world, "other", &lines(0..1)).await;
    commit(&world, "0195c1a8", &lines(1..2)).await;
    assert_eq!(viewer.expect("log").await.data["sentence"], "line 1");
    assert!(viewer.expect("rollout").await.data["assessment"].is_object());
}

#[tokio::test]
async fn wrong_ids_are_refused() {
    let world = world().with_rollout();
    world.get(&format!("{PATH}?rollout=nothing")).await.problem(404, "not_found");
    world.get(&format!("{PATH}?last_event_id=x")).await.problem(400, "invalid_parameter");
    world.get(&format!("{PATH}?more=1")).await.problem(400, "invalid_parameter");
}

#[tokio::test]
async fn many_viewers_get_the_same_and_one_too_many_is_told_when_to_come() {
    let world = world_with(Limits { viewers: 200, ..Limits::default() }).with_rollout();
    let mut viewers = Vec::new();
    for _ in 0..200 {
        viewers.push(Viewer::open(&world, "", None).await);
    }
    let request = Request::get(PATH).body(Body::empty()).unwrap();
    let refused = Answer::of(world.send(request).await).await;
    refused.problem(503, "busy");
    assert_eq!(refused.retry_after.as_deref(), Some("10"));
    for viewer in &mut viewers {
        viewer.expect("hello").await;
        viewer.expect("rollout").await;
    }
    commit(&world, "0195c1a8", &lines(0..3)).await;
    for viewer in &mut viewers {
        for index in 0..3 {
            assert_eq!(viewer.line().await.0, format!("line {index}"));
        }
    }
    // Requests of other kinds have places of their own.
    assert_eq!(world.get("/api/v1/rollouts").await.status, 200);
    drop(viewers);
    let free = || async {
        let request = Request::get(PATH).body(Body::empty()).unwrap();
        (world.send(request).await.status() == 200).then_some(())
    };
    crate::testkit::wait::until("a place is free again", Duration::from_secs(60), free).await;
}

#[tokio::test]
async fn a_slow_viewer_is_dropped_and_others_are_not_held_up() {
    let world =
        world_with(Limits { slow_viewer: Duration::from_millis(50), ..Limits::default() }).with_rollout();
    let mut slow = Viewer::open(&world, "", None).await;
    slow.expect("hello").await;
    let mut quick = Viewer::open(&world, "", None).await;
    quick.expect("hello").await;
    for index in 0..200 {
        commit(&world, "0195c1a8", &lines(index * 10..index * 10 + 10)).await;
        for line in 0..10 {
            assert_eq!(quick.line().await.0, format!("line {}", index * 10 + line));
        }
    }
    let mut got = 0;
    while slow.next().await.is_some() {
        got += 1;
    }
    assert!(got < 2000, "the stream of a viewer that does not read has an end, after {got} events");
}

#[tokio::test]
async fn a_quiet_stream_has_a_heartbeat_and_outlives_the_time_of_a_request() {
    let (heartbeat, request) = (Duration::from_millis(20), Duration::from_millis(50));
    let world = world_with(Limits { heartbeat, request, concurrent: 1, ..Limits::default() }).with_rollout();
    let mut viewer = Viewer::open(&world, "", None).await;
    viewer.expect("hello").await;
    viewer.expect("rollout").await;
    for _ in 0..10 {
        let comment = viewer.body.next().await.unwrap().unwrap();
        assert!(comment.starts_with(b":") && comment.ends_with(b"\n\n"), "{comment:?}");
    }
    // It holds no place of a request either.
    assert_eq!(world.get("/api/v1/rollouts").await.status, 200);
    commit(&world, "0195c1a8", &lines(0..1)).await;
    assert_eq!(viewer.line().await.0, "line 0");
}
