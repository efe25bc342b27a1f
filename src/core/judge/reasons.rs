//! Why the figures ask for what they ask for: one sentence each, the weightiest first.

use std::time::Duration;

use super::assessment::{Advice, GuardrailAssessment, GuardrailStatus, MetricAssessment, Verdict};
use super::combined::{Harm, Judged};
use super::comparison::{Comparison, Tally};
use super::evidence::Demand;
use super::explain;
use super::watch::SHARE;
use crate::core::policy::{GuardrailAction, Metric};
use crate::core::reason::{Reason, ReasonCode};

/// A metric at a tick, with all that is told of it.
pub(super) struct Told<'a> {
    pub judged: Judged<'a>,
    pub assessed: MetricAssessment,
    pub remaining: Option<Duration>,
}

/// All reasons.
pub(super) fn reasons(
    advice: Advice,
    harm: &Harm,
    told: &[Told<'_>],
    guardrails: &[GuardrailAssessment],
    demand: Demand,
) -> Vec<Reason> {
    let mut reasons = harm_reasons(harm, told);
    let with = |status: GuardrailStatus| guardrails.iter().filter(move |g| g.status == status);
    let rolls_back = |g: &&GuardrailAssessment| g.action == GuardrailAction::RollBack && g.name != SHARE;
    let because_of = |code: ReasonCode| move |g: &GuardrailAssessment| Reason::new(code, g.sentence.clone());
    let fired = ReasonCode::Guardrail;
    reasons.extend(with(GuardrailStatus::Fired).filter(rolls_back).map(because_of(fired)));
    reasons.extend(with(GuardrailStatus::BothBreach).map(because_of(ReasonCode::BothBad)));
    reasons.extend(with(GuardrailStatus::Fired).filter(|g| !rolls_back(g)).map(because_of(fired)));
    if advice != Advice::RollBack {
        let mut about: Vec<Reason> = told.iter().map(|one| metric_reason(one, demand)).collect();
        // What is waited for comes before what is done.
        about.sort_by_key(|reason| reason.code == ReasonCode::NotWorse);
        reasons.extend(about);
    }
    reasons
}

fn harm_reasons(harm: &Harm, told: &[Told<'_>]) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if let Some(one) = harm.leading.filter(|_| harm.found).map(|i| &told[i]) {
        let sentence =
            explain::harm(one.metric(), &one.assessed, one.shown(), one.worst(), harm.ln_e, harm.ln_bound);
        reasons.push(Reason::new(ReasonCode::Harm, sentence));
    }
    if let Some(one) = harm.catastrophe.map(|i| &told[i])
        && let Some(lane) = &one.judged.evidence.lane
    {
        let (ln_e, ln_bound) = (harm.ln_e_catastrophe, harm.ln_bound);
        let sentence = explain::catastrophe(&one.metric().name, lane.canary, lane.baseline, ln_e, ln_bound);
        reasons.push(Reason::new(ReasonCode::Catastrophe, sentence));
    }
    for one in harm.named.iter().map(|i| &told[*i]) {
        let ln_e = one.judged.weighed.ln_e_harm;
        let sentence =
            explain::harm(one.metric(), &one.assessed, one.shown(), one.worst(), ln_e, harm.ln_bound);
        reasons.push(Reason::new(ReasonCode::Harm, sentence));
    }
    reasons
}

fn metric_reason(one: &Told<'_>, demand: Demand) -> Reason {
    let Judged { metric, evidence, seen, weighed } = &one.judged;
    let awaited = weighed.leads.awaited(&evidence.comparisons);
    // A proportion shows what is counted; a latency the bound that matters here, whose interval is at
    // hand only if it is also the one with the most evidence of harm.
    let (lead, ratio) = match awaited.filter(|awaited| awaited.bound.is_some()) {
        Some(awaited) => {
            let same = weighed.leads.no_harm == weighed.leads.harm;
            (Some(awaited), one.assessed.ratio.filter(|_| same))
        }
        None => (one.shown(), one.assessed.ratio),
    };
    let about = explain::About {
        metric,
        assessed: &one.assessed,
        evidence,
        lead,
        shown: ratio,
        seen: *seen,
        allowed: demand.allowed_ratio,
        ln_bound: demand.ln_bound_no_harm,
        remaining: one.remaining,
    };
    match weighed.verdict {
        Verdict::NotWorse => Reason::new(ReasonCode::NotWorse, explain::not_worse(&about)),
        Verdict::NoData => {
            let silent = seen.is_some_and(|seen| seen.canary.is_err() && seen.baseline.is_ok());
            let code = if silent { ReasonCode::Silent } else { ReasonCode::Blind };
            Reason::new(code, explain::no_data(metric, *seen))
        }
        Verdict::Worse | Verdict::Undecided => Reason::new(ReasonCode::Undecided, explain::waiting(&about)),
    }
}

impl Told<'_> {
    fn metric(&self) -> &Metric {
        self.judged.metric
    }

    /// The worst route, where several are compared.
    fn worst(&self) -> Option<(&str, [Tally; 2])> {
        self.judged.evidence.harm.as_ref()?.shown()?.worst()
    }

    fn shown(&self) -> Option<&Comparison> {
        self.judged.weighed.leads.shown(&self.judged.evidence.comparisons)
    }
}
