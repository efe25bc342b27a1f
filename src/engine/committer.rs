//! Stores the commits of many targets together. Whoever comes while a transaction is under way waits for its end,
//! and then all who wait are in the next one: they wait for the disk once. Without others a commit waits for nobody.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::ports::{Commit, Store, StoreError};

/// Commits in one transaction: the disk is slow, but a transaction keeps readers' snapshots and other writers waiting.
const MOST: usize = 64;

/// Stores commits.
pub(super) struct Committer {
    store: Arc<dyn Store>,
    waiting: Mutex<Vec<Waiting>>,
    /// Held by the one whose transaction is under way.
    turn: tokio::sync::Mutex<()>,
}

struct Waiting {
    commit: Commit,
    answer: oneshot::Sender<Result<(), StoreError>>,
}

impl Committer {
    pub fn new(store: Arc<dyn Store>) -> Committer {
        Committer { store, waiting: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Stores a commit. Each is all or nothing by itself. One whose caller has gone before its transaction began is
    /// not stored; the answer of one whose transaction was cut off is lost, as after a broken connection.
    ///
    /// # Errors
    /// [`StoreError`], as of [`Commits::commit_all`](crate::ports::Commits::commit_all).
    pub async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        let (answer, mut answered) = oneshot::channel();
        self.waiting().push(Waiting { commit, answer });
        loop {
            let _turn = self.turn.lock().await;
            match answered.try_recv() {
                Ok(result) => return result,
                Err(oneshot::error::TryRecvError::Closed) => return Err(lost()),
                Err(oneshot::error::TryRecvError::Empty) => self.store_batch().await,
            }
        }
    }

    /// One transaction with those who have waited longest.
    async fn store_batch(&self) {
        let batch: Vec<Waiting> = {
            let mut waiting = self.waiting();
            waiting.retain(|waiting| !waiting.answer.is_closed());
            let count = waiting.len().min(MOST);
            waiting.drain(..count).collect()
        };
        let (commits, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|waiting| (waiting.commit, waiting.answer)).unzip();
        let results = self.store.commit_all(&commits).await;
        for (answer, result) in answers.into_iter().zip(results) {
            // Who has gone does not hear of it.
            let _ = answer.send(result);
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lost() -> StoreError {
    StoreError::Unavailable("the answer of the store was lost".to_owned())
}
