//! What moves of a rollout, in two rows: what changes with every look in a few bytes, and the rest, which
//! changes with the phase, as JSON. What the last look was judged as is not stored while it can be judged
//! again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::wire::{Malformed, Reader, Writer};
use crate::core::gate::Gates;
use crate::core::judge::Assessment;
use crate::core::rollout::{
    Alerts, Compared, DataState, Held, Hold, Phase, Plan, Rollout, StablePool, Timers, Verification,
};
use crate::core::time::Timestamp;

const VERSION: u8 = 1;

/// What changes seldom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::store) struct Rest {
    phase: Phase,
    holds: BTreeSet<Hold>,
    /// Those that are not in the other row; new ones too, before they have a place there.
    timers: Timers,
    phase_since: Timestamp,
    baseline_was_healthy: BTreeMap<String, bool>,
    first_ends: BTreeMap<String, Timestamp>,
    /// The look that `last_compared` is of: it changes with it.
    compared: Option<u64>,
    ended_at: Option<Timestamp>,
    announced: Vec<Duration>,
    gates: Gates,
    verification: Verification,
    #[serde(default)]
    alerts: Alerts,
    #[serde(default)]
    data: DataState,
    #[serde(default)]
    held: Vec<Held>,
    #[serde(default)]
    stable: StablePool,
    #[serde(default)]
    share_explained: Option<String>,
}

/// What changes with every look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::store) struct Pace {
    tick_seq: u64,
    event_seq: u64,
    timers: Timers,
}

impl Rest {
    pub(in crate::store) fn of(rollout: &Rollout) -> Rest {
        // Without `..`: a new field must find its place here.
        let Rollout {
            plan: _,
            revision: _,
            phase,
            holds,
            timers,
            tick_seq: _,
            event_seq: _,
            phase_since,
            baseline_was_healthy,
            first_ends,
            last: _,
            last_compared,
            ended_at,
            announced,
            gates,
            verification,
            alerts,
            data,
            held,
            stable,
            share_explained,
        } = rollout;
        Rest {
            phase: phase.clone(),
            holds: holds.clone(),
            timers: paced(Timers::default(), *timers),
            phase_since: *phase_since,
            baseline_was_healthy: baseline_was_healthy.clone(),
            first_ends: first_ends.clone(),
            compared: last_compared.as_ref().map(|compared| compared.assessment.seq),
            ended_at: *ended_at,
            announced: announced.clone(),
            gates: gates.clone(),
            verification: verification.clone(),
            alerts: alerts.clone(),
            data: data.clone(),
            held: held.clone(),
            stable: stable.clone(),
            share_explained: share_explained.clone(),
        }
    }

    /// The whole of both rows.
    pub(in crate::store) fn with(
        self,
        plan: Arc<Plan>,
        revision: u64,
        pace: Pace,
        last: Option<Assessment>,
        last_compared: Option<Compared>,
    ) -> Rollout {
        let Pace { tick_seq, event_seq, timers } = pace;
        Rollout {
            plan,
            revision,
            phase: self.phase,
            holds: self.holds,
            timers: paced(timers, self.timers),
            tick_seq,
            event_seq,
            phase_since: self.phase_since,
            baseline_was_healthy: self.baseline_was_healthy,
            first_ends: self.first_ends,
            last,
            last_compared,
            ended_at: self.ended_at,
            announced: self.announced,
            gates: self.gates,
            verification: self.verification,
            alerts: self.alerts,
            data: self.data,
            held: self.held,
            stable: self.stable,
            share_explained: self.share_explained,
        }
    }
}

/// The timers that change with every look from the one, the others from the other.
fn paced(pace: Timers, mut timers: Timers) -> Timers {
    timers.analysed = pace.analysed;
    timers.blind = pace.blind;
    timers.silent = pace.silent;
    timers.missing_requests = pace.missing_requests;
    timers.in_phase = pace.in_phase;
    timers.unseen = pace.unseen;
    timers.quiet = pace.quiet;
    timers.unready = pace.unready;
    timers.is_busy = pace.is_busy;
    timers.uncredited = pace.uncredited;
    timers.credited = pace.credited;
    timers.idle = pace.idle;
    timers.unrequested = pace.unrequested;
    timers
}

impl Pace {
    pub(in crate::store) fn of(rollout: &Rollout) -> Pace {
        Pace { tick_seq: rollout.tick_seq, event_seq: rollout.event_seq, timers: rollout.timers }
    }

    pub(in crate::store) fn encode(&self) -> Vec<u8> {
        let mut row = Writer::new(VERSION);
        row.unsigned(self.tick_seq);
        row.unsigned(self.event_seq);
        let timers = &self.timers;
        row.byte(timers.is_busy.into());
        row.number(timers.missing_requests);
        for timer in [
            timers.analysed,
            timers.in_phase,
            timers.blind,
            timers.silent,
            timers.unseen,
            timers.quiet,
            timers.unready,
            timers.uncredited,
            timers.credited,
            timers.idle,
            timers.unrequested,
        ] {
            row.duration(timer);
        }
        row.done()
    }

    pub(in crate::store) fn decode(bytes: &[u8]) -> Result<Pace, Malformed> {
        let mut row = Reader::new(bytes, VERSION)?;
        let (tick_seq, event_seq) = (row.unsigned()?, row.unsigned()?);
        // Timers that are not here stand in the other row.
        #[allow(clippy::needless_update)]
        let timers = Timers {
            is_busy: row.byte()? != 0,
            missing_requests: row.number()?,
            analysed: row.duration()?,
            in_phase: row.duration()?,
            blind: row.duration()?,
            silent: row.duration()?,
            unseen: row.duration()?,
            quiet: row.duration()?,
            unready: row.duration()?,
            uncredited: row.duration()?,
            credited: row.duration()?,
            idle: row.duration()?,
            unrequested: row.duration()?,
            ..Timers::default()
        };
        row.end()?;
        Ok(Pace { tick_seq, event_seq, timers })
    }
}
