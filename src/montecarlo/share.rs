//! The rollout's watch over the canary's share of the requests, as it is in earnest: over a trailing time,
//! with the weight written once more before anything follows.

use std::collections::VecDeque;
use std::time::Duration;

use crate::core::metric::{Counts, Reading, TickObservation, Usage};
use crate::core::policy::Policy;
use crate::stats::share::ShareTest;
use crate::stats::special::ln;

/// As the rollout has it.
const TRAILING: Duration = Duration::from_secs(600);
const ALPHA: f64 = 0.000_1;

/// The requests of both arms over the trailing time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ShareTrail {
    windows: VecDeque<(Duration, [u64; 2])>,
    written_again: bool,
}

impl ShareTrail {
    /// Takes in a tick. Whether the share is beyond the margin though the weight was written once more.
    pub fn is_beyond(&mut self, policy: &Policy, tick: &TickObservation) -> bool {
        let Some(share) = policy.analysis.traffic_share else { return false };
        let expected = tick.weight.share();
        let requests = |reading: &Reading<Counts>| reading.as_ref().ok().and_then(Counts::requests);
        let window = tick.metrics.iter().find_map(|metric| {
            let used = matches!(metric.usage, Usage::Used | Usage::Carried | Usage::WarmUp);
            let length = metric.window.filter(|_| used)?.length();
            Some((length, [requests(&metric.canary)?, requests(&metric.baseline)?]))
        });
        let Some(window) = window.filter(|_| expected > 0.0 && expected < 1.0) else { return false };
        self.windows.push_back(window);
        let mut covered: Duration = self.windows.iter().map(|(length, _)| *length).sum();
        while let Some((first, _)) = self.windows.front()
            && self.windows.len() > 1
            && covered.saturating_sub(*first) >= TRAILING
        {
            covered -= *first;
            self.windows.pop_front();
        }
        let [canary, baseline] =
            self.windows.iter().fold([0, 0], |sum, (_, arms)| [sum[0] + arms[0], sum[1] + arms[1]]);
        let longest = self.windows.iter().map(|(length, _)| *length).max().unwrap_or_default();
        let skew = longest.as_secs_f64() / covered.as_secs_f64().max(f64::MIN_POSITIVE);
        let mut test = ShareTest::new(1.0);
        test.take(canary, baseline);
        if canary + baseline == 0 || test.ln_e(expected, share.margin + skew) < -ln(ALPHA) {
            return false;
        }
        if self.written_again {
            return true;
        }
        *self = ShareTrail { windows: VecDeque::new(), written_again: true };
        false
    }
}
