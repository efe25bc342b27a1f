//! A channel has queues of its own, and can be removed while something waits for it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serin::core::ids::RolloutId;
use serin::core::incident::{Incident, IncidentCause, IncidentChange, IncidentStep};
use serin::core::notice::Notice;
use serin::core::routing::Routing;
use serin::core::time::Timestamp;
use serin::engine::{Adapters, Handle, Options, Parts};
use serin::messages::Words;
use serin::ports::{
    Clock, Commit, Commits, NoFailpoints, NoGatekeeper, Notifier, NotifyError, Outbox, OutboxState,
};
use serin::routers::StaticPools;

use super::{Hands, in_state, of, put};
use crate::testkit::builders::target;
use crate::testkit::fakes::MemoryStore;

/// An outbox without an engine.
struct Post {
    store: MemoryStore,
    clock: Arc<Hands>,
    handle: Handle,
    outbox: serin::engine::Outbox,
}

impl Post {
    fn new() -> Post {
        let (store, clock) = (MemoryStore::new(), Arc::new(Hands::default()));
        let handle = Handle::new(Arc::new(store.clone()), clock.clone(), BTreeMap::new(), BTreeMap::new());
        let outbox = serin::engine::Outbox::new(&Parts {
            handle: handle.clone(),
            providers: BTreeMap::new(),
            routers: BTreeMap::new(),
            workload: Arc::new(StaticPools),
            routing: Routing::default(),
            notifiers: BTreeMap::new(),
            words: Words::default(),
            gatekeeper: Arc::new(NoGatekeeper),
            failpoints: Arc::new(NoFailpoints),
            options: Options::default(),
        });
        Post { store, clock, handle, outbox }
    }

    /// These channels, and no others, are told everything from now on.
    fn connect(&self, channels: &[(&str, &Arc<Picky>)]) {
        let channel = |(name, channel): &(&str, &Arc<Picky>)| {
            ((*name).to_owned(), Arc::clone(channel) as Arc<dyn Notifier>)
        };
        let notifiers: BTreeMap<_, _> = channels.iter().map(channel).collect();
        let routing = Routing::everything(notifiers.keys().cloned());
        self.handle.connect(Adapters { notifiers, routing, ..Adapters::default() });
    }

    fn queues(&self, notice: &Notice) -> Vec<String> {
        let told = self.outbox.telling().of_target(None, &mut target("shop"), notice, Timestamp(0));
        told.into_iter().map(|out| out.queue).collect()
    }
}

/// Takes what is about incidents alone.
#[derive(Default)]
struct Picky {
    delivered: Mutex<Vec<String>>,
}

#[async_trait]
impl Notifier for Picky {
    async fn deliver(&self, notice: &Notice) -> Result<(), NotifyError> {
        if notice.incident.is_none() {
            return Err(NotifyError::again("the receiver answered with status 503"));
        }
        self.delivered.lock().unwrap().push(notice.key.clone());
        Ok(())
    }
}

#[tokio::test]
async fn a_page_waits_behind_nothing_else_of_its_channel() {
    let (post, pager) = (Post::new(), Arc::new(Picky::default()));
    post.connect(&[("pager", &pager)]);
    put(&post.store, "pager", [of("r1", 1)], None).await;
    let change = IncidentChange {
        key: "shop/r1/2".into(),
        step: IncidentStep::Trigger,
        opened_at: Timestamp(0),
        told: Vec::new(),
    };
    let page = Notice { incident: Some(change), ..of("r1", 2) };
    let mut shop = target("shop");
    shop.incident = Some(Incident {
        key: "shop/r1/2".into(),
        opened_at: Timestamp(0),
        rollout: RolloutId("r1".into()),
        causes: [IncidentCause::Found].into(),
        acknowledged_by: None,
        told: [].into(),
    });
    let outgoing = post.outbox.telling().of_target(None, &mut shop, &page, Timestamp(0));
    let told = shop.incident.expect("an incident").told;
    assert_eq!(told.into_iter().collect::<Vec<_>>(), ["pager"], "its end goes where it was told");
    assert_eq!(outgoing.iter().map(|out| out.queue.as_str()).collect::<Vec<_>>(), ["pager#page"]);
    post.store.commit(&Commit { outbox: outgoing, ..Commit::default() }).await.unwrap();
    post.outbox.dispatch().await.unwrap();
    assert_eq!(*pager.delivered.lock().unwrap(), ["r1/2"], "the change event is refused again and again");
    let waiting = in_state(&post.store, OutboxState::Pending).await;
    assert_eq!(waiting.len(), 1);
    assert!(waiting[0].entry.due > Timestamp(0), "it says when it is tried next");
}

#[tokio::test]
async fn a_channel_that_is_removed_gives_up_what_waits_and_takes_it_when_it_is_back() {
    let (post, chat, pager) = (Post::new(), Arc::new(Picky::default()), Arc::new(Picky::default()));
    post.connect(&[("chat", &chat), ("pager", &pager)]);
    assert_eq!(post.queues(&of("r1", 1)), ["chat", "pager"]);
    put(&post.store, "pager", [of("r1", 1)], None).await;
    post.outbox.dispatch().await.unwrap();
    assert_eq!(in_state(&post.store, OutboxState::Pending).await.len(), 1, "it is refused and waits");

    post.connect(&[("chat", &chat)]);
    assert_eq!(post.queues(&of("r1", 2)), ["chat"]);
    post.clock.0.store(3_600_000, Ordering::SeqCst);
    post.outbox.dispatch().await.unwrap();
    let dead = in_state(&post.store, OutboxState::Dead).await;
    assert_eq!(dead.len(), 1, "it is there to be seen");
    let why = dead[0].detail.as_deref();
    assert_eq!(why, Some("the channel is not in the configuration any more"));

    post.connect(&[("pager", &pager)]);
    post.store.outbox_requeue(dead[0].entry.id, post.clock.wall()).await.unwrap();
    post.outbox.dispatch().await.unwrap();
    let waiting = in_state(&post.store, OutboxState::Pending).await;
    assert_eq!(waiting[0].detail.as_deref(), Some("the receiver answered with status 503"));
}
