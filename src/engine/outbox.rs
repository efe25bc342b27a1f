//! Notices on their way to channels: at least once, in order a queue, never in front of a split. A channel
//! has the queues `CHANNEL`, `CHANNEL#digest` and `CHANNEL#quiet`, worked on by one task, and `CHANNEL#page` for
//! what is about incidents, worked on by another, first. One that hangs holds up nobody else. Hooks are queues
//! of their own, `hook/NAME`.

pub(super) mod hooks;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use tokio::task::{Id, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::telling::Telling;
use super::{Handle, Parts};
use crate::core::routing::{DIGEST, PAGE, channel_of, lane_of};
use crate::core::time::Timestamp;
use crate::ports::{
    Clock, Delivery, Died, Digest, Failpoints, Gatekeeper, Notifier, NotifyError, OutboxEntry, Store,
    StoreError,
};
use crate::telemetry;

/// Entries of a queue that are taken at once.
pub const BATCH: usize = 20;
/// Notices of a digest that are told; of the others only the number.
pub const DIGEST_NOTICES: usize = 100;
/// After so long a notice is given up.
pub const DEADLINE: Duration = Duration::from_secs(24 * 3600);
/// After so many tries too; the backoff comes to the deadline first.
const MOST_ATTEMPTS: u32 = 500;
/// Longest wait that a receiver may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// How often the outbox is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How often it is counted.
const COUNT: Duration = Duration::from_secs(2);

/// What is told, and who is told it. It stands beside the engine: it changes no target and no rollout.
pub struct Outbox {
    handle: Handle,
    gatekeeper: Arc<dyn Gatekeeper>,
    failpoints: Arc<dyn Failpoints>,
    /// For each call to a notifier that names no time of its own.
    call_deadline: Duration,
    /// Deliveries that could not be written down, by entry: they are not made again.
    unsettled: Mutex<BTreeMap<i64, Delivery>>,
    /// Hooks that have failed, and of which the target's owner could not be told.
    untold: Mutex<Vec<hooks::Untold>>,
}

impl Outbox {
    /// An outbox with these parts.
    pub fn new(parts: &Parts) -> Outbox {
        Outbox {
            handle: parts.handle.clone(),
            gatekeeper: parts.gatekeeper.clone(),
            failpoints: parts.failpoints.clone(),
            call_deadline: parts.options.call_deadline,
            unsettled: Mutex::default(),
            untold: Mutex::default(),
        }
    }

    /// Who is told what.
    pub fn telling(&self) -> Arc<Telling> {
        self.handle.connected().telling.clone()
    }

    fn notifier(&self, channel: &str) -> Option<Arc<dyn Notifier>> {
        self.handle.connected().notifiers.get(channel).cloned()
    }

    fn store(&self) -> &Arc<dyn Store> {
        self.handle.store()
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        self.handle.clock()
    }

    fn pass(&self, name: &'static str) -> Result<(), Died> {
        self.failpoints.pass(name)
    }

    /// Delivers what is due, channel by channel, and waits for all. True if something was delivered or
    /// given up. [`Outbox::run`] does the same without waiting; tests call this.
    ///
    /// # Errors
    /// [`Died`] if a failpoint says so.
    pub async fn dispatch(&self) -> Result<bool, Died> {
        let channels = self.due_by_channel(&[]).await;
        let done = join_all(channels.into_iter().map(|(_, entries)| self.dispatch_channel(entries))).await;
        let mut any = false;
        for result in done {
            any |= result?;
        }
        Ok(any)
    }

    /// Delivers until `shutdown`; what is on its way then is finished.
    ///
    /// # Errors
    /// [`Died`] if a failpoint says so.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) -> Result<(), Died> {
        let mut tasks: JoinSet<Result<bool, Died>> = JoinSet::new();
        let mut busy: Vec<(Id, String)> = Vec::new();
        let mut next_count = self.clock().monotonic();
        self.tell_lost().await;
        loop {
            let next = self.clock().monotonic() + LOOK;
            let mut ended = None;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(done) = tasks.join_next_with_id(), if !tasks.is_empty() => ended = Some(done),
                () = self.clock().sleep_until(next) => {}
            }
            let (id, result) = match ended {
                Some(Ok((id, result))) => (Some(id), result?),
                Some(Err(error)) => {
                    tracing::error!(%error, "a channel's task has ended unexpectedly");
                    (Some(error.id()), false)
                }
                None => (None, true),
            };
            busy.retain(|(known, _)| Some(*known) != id);
            // Whoever has delivered something may have more; the others wait for the next look.
            if !result {
                continue;
            }
            let names: Vec<String> = busy.iter().map(|(_, channel)| channel.clone()).collect();
            for (channel, entries) in self.due_by_channel(&names).await {
                let outbox = self.clone();
                let task = tasks.spawn(async move { outbox.dispatch_channel(entries).await });
                busy.push((task.id(), channel));
            }
            if self.clock().monotonic() >= next_count {
                next_count = self.clock().monotonic() + COUNT;
                self.count().await;
            }
        }
        while let Some(done) = tasks.join_next().await {
            if let Ok(result) = done {
                result?;
            }
        }
        Ok(())
    }

    async fn count(&self) {
        if let Ok(counts) = self.store().outbox_counts(self.clock().wall()).await {
            let age = counts.oldest.map_or(Duration::ZERO, |oldest| self.clock().wall().since(oldest));
            telemetry::outbox(counts.pending, counts.dead, age.as_secs_f64());
        }
    }

    /// What is due, by lane, of the lanes that nobody works on; what pages comes first.
    async fn due_by_channel(&self, busy: &[String]) -> Vec<(String, Vec<OutboxEntry>)> {
        let mut lanes: BTreeMap<String, Vec<OutboxEntry>> = BTreeMap::new();
        if !self.settle_left_over().await {
            return Vec::new();
        }
        match self.store().outbox_due(self.clock().wall(), BATCH, busy).await {
            Ok(due) => {
                for entry in due {
                    lanes.entry(lane_of(&entry.channel).to_owned()).or_default().push(entry);
                }
            }
            Err(error) => tracing::warn!(%error, "the outbox cannot be read"),
        }
        let mut lanes: Vec<_> = lanes.into_iter().collect();
        lanes.sort_by_key(|(lane, _)| !lane.ends_with(PAGE));
        lanes
    }

    /// Queue by queue, in order: the first one that is not delivered stops its queue.
    async fn dispatch_channel(&self, entries: Vec<OutboxEntry>) -> Result<bool, Died> {
        let mut any = false;
        let mut stopped: Option<String> = None;
        for entry in entries {
            if stopped.as_ref() == Some(&entry.channel) {
                continue;
            }
            let is_digest = entry.channel.ends_with(DIGEST);
            let done = match is_digest {
                true => self.dispatch_digest(&entry).await?,
                false => self.dispatch_one(&entry).await?,
            };
            any |= done;
            // A digest's delivery has all that were due with it, but for what came meanwhile.
            if !done || is_digest {
                stopped = Some(entry.channel);
            }
        }
        Ok(any)
    }

    async fn dispatch_one(&self, entry: &OutboxEntry) -> Result<bool, Died> {
        let Some(delivery) = self.deliver(entry).await? else { return Ok(false) };
        measure(&entry.channel, &delivery);
        self.pass("delivered")?;
        if let Err(error) = self.store().outbox_settle(entry.id, &delivery).await {
            tracing::warn!(%error, "a delivery could not be written down");
            self.unsettled().insert(entry.id, delivery);
            return Ok(false);
        }
        Ok(!matches!(delivery, Delivery::Retry { .. }))
    }

    /// Writes down what could not be written down. False if it still cannot.
    async fn settle_left_over(&self) -> bool {
        if !self.tell_untold().await {
            return false;
        }
        let left: Vec<(i64, Delivery)> =
            self.unsettled().iter().map(|(id, delivery)| (*id, delivery.clone())).collect();
        for (id, delivery) in left {
            match self.store().outbox_settle(id, &delivery).await {
                Ok(()) | Err(StoreError::NotFound(_)) => self.unsettled().remove(&id),
                Err(_) => return false,
            };
        }
        true
    }

    fn unsettled(&self) -> std::sync::MutexGuard<'_, BTreeMap<i64, Delivery>> {
        self.unsettled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if the digest that the entry is in was delivered or given up.
    async fn dispatch_digest(&self, entry: &OutboxEntry) -> Result<bool, Died> {
        let group = match self.store().outbox_group(&entry.channel, entry.due, DIGEST_NOTICES).await {
            Ok(group) if !group.newest.is_empty() => group,
            Ok(_) => return Ok(false),
            Err(error) => {
                tracing::warn!(%error, "the outbox cannot be read");
                return Ok(false);
            }
        };
        let channel = channel_of(&entry.channel);
        let last = group.newest.last().map_or(group.first, |entry| entry.id);
        let more = group.count.saturating_sub(group.newest.len() as u64);
        let digest = Digest {
            key: format!("digest/{channel}/{}", group.first),
            at: entry.since,
            notices: group.newest.into_iter().map(|entry| entry.notice).collect(),
            more,
        };
        let delivery = match self.notifier(channel) {
            None => gone(channel, &digest.key),
            Some(notifier) => {
                self.pass("before_deliver")?;
                let result =
                    timeout(self.patience(notifier.as_ref()), notifier.deliver_digest(&digest)).await;
                self.judge(entry, &digest.key, result.unwrap_or_else(|_| Err(late())))
            }
        };
        measure(&entry.channel, &delivery);
        self.pass("delivered")?;
        let settled = self.store().outbox_settle_group(&entry.channel, entry.due, last, &delivery).await;
        if let Err(error) = settled {
            tracing::warn!(%error, "a digest could not be written down; it comes again");
            return Ok(false);
        }
        Ok(!matches!(delivery, Delivery::Retry { .. }))
    }

    /// What became of a delivery; `None` if it could not be begun now.
    async fn deliver(&self, entry: &OutboxEntry) -> Result<Option<Delivery>, Died> {
        if let Some(name) = entry.channel.strip_prefix(hooks::PREFIX) {
            return self.deliver_hook(entry, name).await;
        }
        let channel = channel_of(&entry.channel);
        let Some(notifier) = self.notifier(channel) else {
            return Ok(Some(gone(channel, &entry.notice.key)));
        };
        self.pass("before_deliver")?;
        let result = timeout(self.patience(notifier.as_ref()), notifier.deliver(&entry.notice))
            .await
            .unwrap_or_else(|_| Err(late()));
        Ok(Some(self.judge(entry, &entry.notice.key, result)))
    }

    /// How long a delivery may take. The channel's own deadline comes first, for it says more.
    fn patience(&self, notifier: &dyn Notifier) -> Duration {
        let usual = self.call_deadline;
        let longest = notifier.longest();
        if longest.is_zero() { usual } else { usual.max(longest + Duration::from_secs(1)) }
    }

    /// What follows from an answer.
    fn judge(&self, entry: &OutboxEntry, key: &str, result: Result<(), NotifyError>) -> Delivery {
        let Err(error) = result else { return Delivery::Done };
        let now = self.clock().wall();
        let wait = backoff(entry.attempts, entry.id).max(error.after.unwrap_or_default().min(LONGEST_WAIT));
        if error.retry && entry.attempts + 1 < MOST_ATTEMPTS && is_in_time(entry.since, now) {
            tracing::info!(channel = %entry.channel, key, detail = %error.detail,
                again_in_seconds = wait.as_secs_f64(), "a notice was not delivered");
            return Delivery::Retry { due: now.plus(wait), detail: error.detail };
        }
        tracing::error!(channel = %entry.channel, key, detail = %error.detail, "a notice was given up");
        Delivery::Dead { detail: error.detail }
    }
}

fn is_in_time(since: Timestamp, now: Timestamp) -> bool {
    now.since(since) < DEADLINE
}

fn late() -> NotifyError {
    NotifyError::again("no answer in time")
}

/// What waits for a channel that is gone is given up, so that somebody sees it; once the channel is back it can be
/// retried.
fn gone(channel: &str, key: &str) -> Delivery {
    let detail = "the channel is not in the configuration any more".to_owned();
    tracing::error!(channel, key, detail, "a notice was given up");
    Delivery::Dead { detail }
}

fn measure(queue: &str, delivery: &Delivery) {
    let outcome = match delivery {
        Delivery::Done => "delivered",
        Delivery::Retry { .. } => "retried",
        Delivery::Dead { .. } => "given_up",
    };
    telemetry::notice(channel_of(queue), outcome);
}

/// Doubles from half a second to five minutes, spread by up to a quarter so that many do not come at once.
pub fn backoff(attempts: u32, id: i64) -> Duration {
    let doubled = Duration::from_millis(500) * 2u32.pow(attempts.min(10));
    let base = doubled.min(Duration::from_secs(300));
    let spread = id.unsigned_abs().wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(u64::from(attempts));
    let quarter = u64::try_from(base.as_millis() / 4).unwrap_or(u64::MAX).max(1);
    base + Duration::from_millis(spread % quarter)
}
