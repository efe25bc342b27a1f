//! What is on its way: while receivers are down, while one hangs, and commands that were begun.

mod channels;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serin::clock::SystemClock;
use serin::core::gate::{CommandCheck, GateAnswer, Hook, HookAction, HookPoint};
use serin::core::notice::{Notice, NoticeKind};
use serin::core::rollout::{CommandKind, Rollout};
use serin::core::routing::Routing;
use serin::core::time::Timestamp;
use serin::engine::{BATCH, DEADLINE, DIGEST_NOTICES, Engine, Handle, Options, Parts};
use serin::messages::Words;
use serin::ports::{
    Clock, Commit, Commits, Digest, GateRequest, Gatekeeper, NoFailpoints, NoGatekeeper, Notifier,
    NotifyError, Outbox, OutboxFilter, OutboxRecord, OutboxState, Outgoing,
};
use serin::routers::StaticPools;
use tokio_util::sync::CancellationToken;

use crate::testkit::builders::{created, notice, policy, rollout};
use crate::testkit::fakes::MemoryStore;
use crate::testkit::wait;

const DAY: i64 = 86_400_000;

/// Time that moves by hand.
#[derive(Default)]
struct Hands(AtomicI64);

#[async_trait]
impl Clock for Hands {
    fn wall(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.wall().0.unsigned_abs())
    }

    async fn sleep_until(&self, _until: Duration) {
        std::future::pending::<()>().await;
    }
}

/// A receiver that is down until a time, or hangs.
#[derive(Default)]
struct Receiver {
    clock: Arc<Hands>,
    down_until: AtomicI64,
    after: Option<Duration>,
    hangs: bool,
    /// So long its answer takes.
    slow: Duration,
    /// So long it may take, by its own deadline.
    longest: Duration,
    tried: AtomicUsize,
    got: Mutex<Vec<Notice>>,
    digests: Mutex<Vec<Digest>>,
}

impl Receiver {
    fn answer(&self) -> Result<(), NotifyError> {
        self.tried.fetch_add(1, Ordering::SeqCst);
        if self.clock.wall().0 < self.down_until.load(Ordering::SeqCst) {
            return Err(NotifyError { after: self.after, ..NotifyError::again("status 503") });
        }
        Ok(())
    }

    fn keys(&self) -> Vec<String> {
        self.got.lock().unwrap().iter().map(|notice| notice.key.clone()).collect()
    }
}

#[async_trait]
impl Notifier for Receiver {
    async fn deliver(&self, notice: &Notice) -> Result<(), NotifyError> {
        if self.hangs {
            std::future::pending::<()>().await;
        }
        if !self.slow.is_zero() {
            tokio::time::sleep(self.slow).await;
        }
        self.answer()?;
        self.got.lock().unwrap().push(notice.clone());
        Ok(())
    }

    async fn deliver_digest(&self, digest: &Digest) -> Result<(), NotifyError> {
        self.answer()?;
        self.digests.lock().unwrap().push(digest.clone());
        Ok(())
    }

    fn longest(&self) -> Duration {
        self.longest
    }
}

/// Counts what it runs, and says how it ended.
#[derive(Default)]
struct Runner {
    ran: Mutex<Vec<(String, String)>>,
    answers: Mutex<Vec<NotifyError>>,
}

#[async_trait]
impl Gatekeeper for Runner {
    async fn ask(&self, _request: &GateRequest) -> GateAnswer {
        GateAnswer::Fault("not asked here".into())
    }

    async fn run(&self, hook: &Hook, notice: &Notice) -> Result<(), NotifyError> {
        self.ran.lock().unwrap().push((hook.name.clone(), notice.key.clone()));
        self.answers.lock().unwrap().pop().map_or(Ok(()), Err)
    }
}

async fn engine(
    store: &MemoryStore,
    clock: Arc<dyn Clock>,
    channels: &[(&str, Arc<Receiver>)],
    gatekeeper: Arc<dyn Gatekeeper>,
) -> Engine {
    engine_with(store, clock, channels, gatekeeper, Options::default()).await
}

async fn engine_with(
    store: &MemoryStore,
    clock: Arc<dyn Clock>,
    channels: &[(&str, Arc<Receiver>)],
    gatekeeper: Arc<dyn Gatekeeper>,
    options: Options,
) -> Engine {
    let notifiers: BTreeMap<String, Arc<dyn Notifier>> =
        channels.iter().map(|(name, channel)| ((*name).to_owned(), channel.clone() as _)).collect();
    let parts = Parts {
        handle: Handle::new(Arc::new(store.clone()), clock, BTreeMap::new(), BTreeMap::new()),
        providers: BTreeMap::new(),
        routers: BTreeMap::new(),
        workload: Arc::new(StaticPools),
        routing: Routing::everything(notifiers.keys().cloned()),
        notifiers,
        words: Words::default(),
        gatekeeper,
        failpoints: Arc::new(NoFailpoints),
        options,
    };
    Engine::load(parts).await.unwrap()
}

fn of(rollout: &str, seq: usize) -> Notice {
    let mut about = crate::testkit::builders::rollout(rollout, "shop", policy().build());
    about.plan_mut().created_at = Timestamp(0);
    notice(&about, seq as u64, NoticeKind::Step)
}

async fn put(store: &MemoryStore, queue: &str, notices: impl IntoIterator<Item = Notice>, due: Option<i64>) {
    let outbox = notices
        .into_iter()
        .map(|notice| Outgoing { queue: queue.into(), notice, due: due.map(Timestamp) })
        .collect();
    store.commit(&Commit { outbox, ..Commit::default() }).await.unwrap();
}

async fn in_state(store: &MemoryStore, state: OutboxState) -> Vec<OutboxRecord> {
    store.outbox_list(OutboxFilter { state, after: None, limit: 99_999 }).await.unwrap()
}

#[tokio::test]
async fn ten_thousand_notices_wait_while_all_channels_are_down_for_an_hour() {
    let (store, clock) = (MemoryStore::new(), Arc::new(Hands::default()));
    let hour = 3_600_000;
    let down = || Arc::new(Receiver { clock: clock.clone(), down_until: hour.into(), ..Receiver::default() });
    let (chat, mail) = (down(), down());
    let channels = [("chat", chat.clone()), ("mail", mail.clone())];
    let engine = engine(&store, clock.clone(), &channels, Arc::new(NoGatekeeper)).await;
    let notices = |count: usize| (0..count).map(|number| of(&format!("r{:02}", number % 20), number / 20));
    put(&store, "chat", notices(5_000), None).await;
    put(&store, "mail#digest", notices(4_000), Some(1_800_000)).await;
    put(&store, "mail#digest", notices(5_000).skip(4_000), Some(2 * hour)).await;
    let mut most_in_one_go = 0;
    for _ in 0..20_000 {
        let before = chat.tried.load(Ordering::SeqCst);
        engine.outbox.dispatch().await.unwrap();
        most_in_one_go = most_in_one_go.max(chat.tried.load(Ordering::SeqCst) - before);
        let now = clock.0.fetch_add(5_000, Ordering::SeqCst);
        if now < hour {
            let tried = chat.tried.load(Ordering::SeqCst);
            assert!(tried < 40, "the backoff spares the receiver: {tried} tries");
        }
        let counts = store.outbox_counts(clock.wall()).await.unwrap();
        if counts.pending + counts.waiting == 0 {
            break;
        }
    }
    assert!(most_in_one_go <= BATCH);
    assert!(store.largest_batch() <= (2 * BATCH).max(DIGEST_NOTICES) as u64, "{}", store.largest_batch());
    assert!(in_state(&store, OutboxState::Dead).await.is_empty());
    let mut next: BTreeMap<String, u64> = BTreeMap::new();
    let got = chat.got.lock().unwrap();
    assert_eq!(got.len(), 5_000);
    for notice in got.iter() {
        let seq: u64 = notice.key.rsplit_once('/').unwrap().1.parse().unwrap();
        let expected = next.entry(notice.rollout.clone()).or_default();
        assert_eq!(seq, *expected, "{}: in order, each once", notice.rollout);
        *expected += 1;
    }
    let digests = mail.digests.lock().unwrap();
    let shape: Vec<_> = digests.iter().map(|digest| (digest.notices.len(), digest.more)).collect();
    assert_eq!(shape, [(100, 3_900), (100, 900)], "two days' digests, each one message");
    assert_ne!(digests[0].key, digests[1].key);
    let told = digests[0].notice();
    assert!(told.sentence.starts_with("4000 messages of shop\n- "), "{}", told.sentence);
    assert!(told.sentence.ends_with("\nand 3900 more before these"), "{}", told.sentence);
    assert_eq!(told.sentence.lines().count(), 102);
    assert!(mail.got.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_notice_is_given_up_after_a_day_and_the_receiver_says_when_to_come_again() {
    let (store, clock) = (MemoryStore::new(), Arc::new(Hands::default()));
    let patient = Some(Duration::from_secs(1_200));
    let make = |after| {
        Arc::new(Receiver {
            clock: clock.clone(),
            down_until: (9 * DAY).into(),
            after,
            ..Receiver::default()
        })
    };
    let (chat, page) = (make(None), make(patient));
    let channels = [("chat", chat.clone()), ("page", page.clone())];
    let engine = engine(&store, clock.clone(), &channels, Arc::new(NoGatekeeper)).await;
    put(&store, "chat", [of("r1", 1)], None).await;
    put(&store, "page", [of("r1", 1)], None).await;
    put(&store, "gone", [of("r1", 1)], None).await;
    while clock.wall().0 < 2 * DAY {
        engine.outbox.dispatch().await.unwrap();
        clock.0.fetch_add(10_000, Ordering::SeqCst);
    }
    let dead = in_state(&store, OutboxState::Dead).await;
    let details: Vec<_> = dead.iter().map(|record| record.detail.as_deref().unwrap()).collect();
    assert_eq!(details, ["status 503", "status 503", "the channel is not in the configuration any more"]);
    let day = DEADLINE.as_secs() as usize;
    let tried = chat.tried.load(Ordering::SeqCst);
    assert!((day / 390..=day / 300 + 12).contains(&tried), "every five minutes and a little: {tried}");
    let tried = page.tried.load(Ordering::SeqCst);
    assert!((day / 1_220..=day / 1_200 + 1).contains(&tried), "not before it was asked to: {tried}");
}

#[tokio::test]
async fn a_channel_that_hangs_holds_up_nobody_else() {
    let store = MemoryStore::new();
    let hanging = Arc::new(Receiver { hangs: true, ..Receiver::default() });
    let good = Arc::new(Receiver::default());
    let channels = [("slack", hanging), ("log", good.clone())];
    let clock = Arc::new(SystemClock::new());
    let engine = engine(&store, clock, &channels, Arc::new(NoGatekeeper)).await;
    for queue in ["slack", "log"] {
        put(&store, queue, (1..=100).map(|seq| of("r1", seq)), None).await;
    }
    let shutdown = CancellationToken::new();
    let begun = tokio::time::Instant::now();
    let running = tokio::spawn(engine.run(shutdown.clone()));
    wait::until("the log has everything", Duration::from_secs(9), async || {
        (good.keys().len() == 100).then_some(())
    })
    .await;
    assert!(begun.elapsed() < Options::default().call_deadline, "before the other channel's first deadline");
    let order: Vec<String> = (1..=100).map(|seq| format!("r1/{seq}")).collect();
    assert_eq!(good.keys(), order);
    shutdown.cancel();
    running.abort();
}

#[tokio::test]
async fn a_channel_has_as_long_as_its_own_deadline() {
    let (store, clock) = (MemoryStore::new(), Arc::new(Hands::default()));
    let millis = Duration::from_millis;
    let slow = |longest| Arc::new(Receiver { slow: millis(300), longest, ..Receiver::default() });
    let (patient, usual) = (slow(millis(2_000)), slow(Duration::ZERO));
    let channels = [("patient", patient.clone()), ("usual", usual.clone())];
    let options = Options { call_deadline: millis(50), ..Options::default() };
    let engine = engine_with(&store, clock, &channels, Arc::new(NoGatekeeper), options).await;
    for queue in ["patient", "usual"] {
        put(&store, queue, [of("r1", 1)], None).await;
    }
    engine.outbox.dispatch().await.unwrap();
    assert_eq!((patient.keys().len(), usual.keys().len()), (1, 0));
}

fn with_hooks(id: &str) -> Rollout {
    let command = CommandCheck {
        command: vec!["tag".into()],
        directory: None,
        environment: Vec::new(),
        timeout: Duration::from_secs(5),
    };
    let webhook = HookAction::Webhook {
        url: "https://ci.example.com".into(),
        allow_private: false,
        body: None,
        headers: BTreeMap::new(),
        secret: None,
        timeout: Duration::from_secs(5),
    };
    let mut policy = policy().build();
    let on = vec![HookPoint::Succeeded];
    policy.hooks = vec![
        Hook { name: "tag".into(), on: on.clone(), action: HookAction::Command(command) },
        Hook { name: "ci".into(), on, action: webhook },
    ];
    rollout(id, "shop", policy)
}

async fn with_rollout(store: &MemoryStore) {
    let made = with_hooks("r1");
    store.own_targets(&["shop".into()]).await.unwrap();
    store.create_rollout(made.clone(), created(&made), None, false).await.unwrap();
}

#[tokio::test]
async fn a_command_runs_once_and_a_webhook_until_it_is_taken() {
    let (store, clock, runner) =
        (MemoryStore::new(), Arc::new(Hands::default()), Arc::new(Runner::default()));
    with_rollout(&store).await;
    let engine = engine(&store, clock.clone(), &[], runner.clone()).await;
    for queue in ["hook/ci", "hook/none", "hook/tag"] {
        put(&store, queue, [of("r1", 7)], None).await;
    }
    // One answer each, whichever of them comes first: both are told to come again.
    *runner.answers.lock().unwrap() =
        vec![NotifyError::again("exit code 1"), NotifyError::again("exit code 1")];
    for _ in 0..100 {
        engine.outbox.dispatch().await.unwrap();
        clock.0.fetch_add(1_000, Ordering::SeqCst);
    }
    let ran = runner.ran.lock().unwrap().clone();
    let times = |name: &str| ran.iter().filter(|(hook, key)| hook == name && key == "r1/7").count();
    assert_eq!((times("tag"), times("ci"), ran.len()), (1, 2, 3));
    let dead = in_state(&store, OutboxState::Dead).await;
    let dead: Vec<_> =
        dead.iter().map(|r| (r.entry.channel.as_str(), r.detail.as_deref().unwrap())).collect();
    assert_eq!(
        dead,
        [("hook/none", "the rollout or its hook is not there any more"), ("hook/tag", "exit code 1")]
    );
    assert_eq!(in_state(&store, OutboxState::Done).await.len(), 1);
}

#[tokio::test]
async fn a_command_of_an_earlier_process_is_not_run_again_and_told_once() {
    let store = MemoryStore::new();
    with_rollout(&store).await;
    put(&store, "hook/tag", [of("r1", 7)], None).await;
    let entry = store.outbox_due(Timestamp(0), 9, &[]).await.unwrap().remove(0);
    store.outbox_begin(entry.id).await.unwrap();
    for _ in 0..2 {
        let (pager, runner) = (Arc::new(Receiver::default()), Arc::new(Runner::default()));
        let clock = Arc::new(SystemClock::new());
        let engine = engine(&store, clock, &[("pager", pager)], runner.clone()).await;
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(engine.run(shutdown.clone()));
        wait::until("it is given up", Duration::from_secs(9), async || {
            (in_state(&store, OutboxState::Dead).await.len() == 1).then_some(())
        })
        .await;
        shutdown.cancel();
        running.await.unwrap().unwrap();
        assert!(runner.ran.lock().unwrap().is_empty());
    }
    let handed: Vec<_> = store.inspect(|data| data.inbox.values().cloned().collect());
    assert_eq!(handed.len(), 1, "it is told once");
    let CommandKind::HookFailed { hook, sentence } = &handed[0].command.kind else { panic!("{handed:?}") };
    assert_eq!((hook.as_str(), handed[0].rollout.0.as_str()), ("tag", "r1"));
    assert!(sentence.contains("began, outcome unknown; not run again"));
    let dead = in_state(&store, OutboxState::Dead).await;
    assert_eq!((dead.len(), dead[0].detail.as_deref()), (1, Some("began, outcome unknown; not run again")));
}

#[test]
fn a_digest_that_is_too_long_loses_its_oldest_lines_and_says_how_many() {
    let digest = Digest {
        key: "digest/mail/1".into(),
        at: Timestamp(0),
        notices: (1..=40).map(|number| of("r1", number)).collect(),
        more: 60,
    };
    assert!(digest.notice().sentence.ends_with("and 60 more before these"));
    let short = digest.notice_within(|text| text.chars().count() <= 1500).sentence;
    assert!(short.chars().count() <= 1500, "{}", short.len());
    let kept = short.lines().filter(|line| line.starts_with("- ")).count();
    assert!(kept > 5, "{short}");
    assert!(short.ends_with(&format!("and {} more before these", 100 - kept)), "{short}");
    let newest = digest.notices.last().unwrap().sentence.clone();
    assert!(short.contains(&newest), "the newest is there");
}
