//! What goes wrong for a time, with one target or with all of them.

use crate::world::World;

/// Something that goes wrong for a time.
#[derive(Clone, Debug)]
pub struct Fault {
    pub from: i64,
    pub until: i64,
    /// The target that it is about; all of them without.
    pub target: Option<String>,
    pub kind: FaultKind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FaultKind {
    ProviderUnreachable,
    ProviderTimeout,
    ProviderStatus,
    ProviderMalformed,
    ProviderNotFinite,
    ProviderBoundsDiffer,
    /// The source takes so long that its own deadline ends the call; what else was asked for is there.
    ProviderSlow,
    /// The source keeps no deadline, and does not answer at all.
    ProviderHangs,
    /// Nothing is scraped any more: samples grow old.
    ScrapesStop,
    CanarySilent,
    BaselineSilent,
    /// Samples become visible so many milliseconds late.
    SamplesLate(i64),
    RouterUnreachable,
    RouterRefuses,
    /// It does what it is told, and the answer does not come.
    RouterHangs,
    /// It does nothing, and no answer comes.
    RouterSilent,
    /// Splits come into force after so many looks.
    RouterDelays(u32),
    /// The first proxy cannot be reached.
    ProxyCutOff,
    StoreFails,
    /// Calls to it do not come back, and nothing is written.
    StoreHangs,
    /// What is written is written, and the calls do not come back.
    StoreSilent,
    /// Commits are carried out and the answer is lost.
    StoreLosesAnswers,
    NotifierFails,
    /// It gets the notice, and its answer does not come.
    NotifierLate,
    WorkloadNotReady,
    /// Serin's wall clock is wrong by so many milliseconds.
    WallClock(i64),
}

impl FaultKind {
    /// Whether it is about the source of the metrics.
    pub fn is_of_source(self) -> bool {
        use FaultKind::*;
        matches!(
            self,
            ProviderUnreachable
                | ProviderTimeout
                | ProviderStatus
                | ProviderMalformed
                | ProviderNotFinite
                | ProviderBoundsDiffer
                | ProviderSlow
                | ProviderHangs
                | ScrapesStop
                | CanarySilent
                | BaselineSilent
                | SamplesLate(_)
        )
    }

    /// Whether it is about the router.
    pub fn is_of_router(self) -> bool {
        use FaultKind::*;
        matches!(
            self,
            RouterUnreachable | RouterRefuses | RouterHangs | RouterSilent | RouterDelays(_) | ProxyCutOff
        )
    }

    /// Whether it is about the store.
    pub fn is_of_store(self) -> bool {
        use FaultKind::*;
        matches!(self, StoreFails | StoreHangs | StoreSilent | StoreLosesAnswers)
    }
}

impl World {
    /// True while a fault of this kind lasts that is about the target.
    pub fn has(&self, kind: FaultKind, target: &str) -> bool {
        self.lasting(target).any(|fault| fault.kind == kind)
    }

    /// The value that `find` takes out of a fault that lasts and is about the target.
    pub fn fault<T>(&self, target: &str, find: impl Fn(FaultKind) -> Option<T>) -> Option<T> {
        self.lasting(target).find_map(|fault| find(fault.kind))
    }

    /// When the last fault of a kind that is about the target has ended, or will have.
    pub fn last_fault(&self, target: &str, is_meant: impl Fn(FaultKind) -> bool) -> i64 {
        let begun = self.faults.iter().filter(|fault| fault.from <= self.now && is_meant(fault.kind));
        let about = begun.filter(|fault| fault.is_about(target));
        about.map(|fault| fault.until).max().unwrap_or(i64::MIN)
    }

    /// When a fault that lasts now will have ended.
    pub fn end_of(&self, kind: FaultKind, target: &str) -> Option<i64> {
        self.lasting(target).filter(|fault| fault.kind == kind).map(|fault| fault.until).max()
    }

    fn lasting(&self, target: &str) -> impl Iterator<Item = &Fault> {
        let lasts = |fault: &&Fault| (fault.from..fault.until).contains(&self.now);
        let faults = if self.hostile { self.faults.as_slice() } else { &[] };
        faults.iter().filter(lasts).filter(move |fault| fault.is_about(target))
    }
}

impl Fault {
    fn is_about(&self, target: &str) -> bool {
        self.target.as_ref().is_none_or(|about| about == target)
    }
}
