//! The way to the targets: what is handed over in memory, and who waits for what became of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::fleet::Inbound;
use super::target::Answer;

/// What may wait to be taken; more is left to the inbox of the store.
const PLACES: usize = 4096;
/// Callers that may wait for answers.
const WAITING: usize = 1024;

/// The way to the targets.
pub(super) struct Mailbox {
    urgent: mpsc::Sender<Inbound>,
    sender: mpsc::Sender<Inbound>,
    receiver: Mutex<Option<Received>>,
    waiting: Mutex<BTreeMap<String, mpsc::UnboundedSender<Answer>>>,
}

/// The other end of the way to the targets.
pub struct Received {
    /// Comes before everything else.
    pub urgent: mpsc::Receiver<Inbound>,
    /// Everything else.
    pub other: mpsc::Receiver<Inbound>,
}

impl Mailbox {
    pub fn new() -> Mailbox {
        let (urgent, first) = mpsc::channel(PLACES);
        let (sender, other) = mpsc::channel(PLACES);
        let receiver = Mutex::new(Some(Received { urgent: first, other }));
        Mailbox { urgent, sender, receiver, waiting: Mutex::default() }
    }

    /// Hands over what is urgent: it has places of its own, and is taken before everything else.
    pub fn send_first(&self, inbound: Inbound) {
        if self.urgent.try_send(inbound).is_err() {
            tracing::warn!("the targets have no place for more commands; the store has them");
        }
    }

    /// Hands something over, and waits for a place. What comes after the end of the loop is not wanted any more.
    pub async fn put(&self, inbound: Inbound) {
        let _ = self.sender.send(inbound).await;
    }

    /// The other end, once.
    pub fn receiver(&self) -> Option<Received> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What becomes of a command, from now on: at most that it is in force, and that it is stored.
    pub fn answers(&self, key: &str) -> mpsc::UnboundedReceiver<Answer> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut waiting = self.waiting();
        waiting.retain(|_, sender| !sender.is_closed());
        if waiting.len() < WAITING {
            waiting.insert(key.to_owned(), sender);
        }
        receiver
    }

    /// Tells who waits for it what became of a command.
    pub fn answer(&self, key: &str, answer: Answer) {
        let is_last = matches!(answer, Answer::Stored(_));
        let mut waiting = self.waiting();
        if let Some(sender) = waiting.get(key) {
            let _ = sender.send(answer);
        }
        if is_last {
            waiting.remove(key);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<String, mpsc::UnboundedSender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
