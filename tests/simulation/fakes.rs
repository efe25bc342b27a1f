//! The other ports over the true world: a channel to people, and the workload.

use async_trait::async_trait;
use serin::core::notice::Notice;
use serin::core::split::Split;
use serin::ports::{Notifier, NotifyError, Workload};

use crate::faults::FaultKind;
use crate::invariants;
use crate::life::Life;
use crate::world::Shared;

pub struct FakeNotifier {
    pub world: Shared,
    pub life: Life,
    pub channel: String,
}

#[async_trait]
impl Notifier for FakeNotifier {
    async fn deliver(&self, notice: &Notice) -> Result<(), NotifyError> {
        self.life.step("notifier.deliver before").await;
        let result = {
            let mut world = self.world.lock();
            let error = |detail: &str| Err(NotifyError::again(detail));
            if world.has(FaultKind::NotifierFails, "") {
                error("the receiver answered with status 503")
            } else {
                invariants::delivered(&mut world, &self.channel, notice);
                if world.has(FaultKind::NotifierLate, "") { error("no answer in time") } else { Ok(()) }
            }
        };
        self.life.step("notifier.deliver after").await;
        result
    }
}

pub struct FakeWorkload {
    pub world: Shared,
    pub life: Life,
}

#[async_trait]
impl Workload for FakeWorkload {
    async fn prepare(&self, target: &str, _split: Split) -> Result<bool, String> {
        self.life.step("workload.prepare").await;
        Ok(!self.world.lock().has(FaultKind::WorkloadNotReady, target))
    }

    async fn finalize(&self, target: &str) -> Result<bool, String> {
        self.life.step("workload.finalize").await;
        Ok(!self.world.lock().has(FaultKind::WorkloadNotReady, target))
    }
}
