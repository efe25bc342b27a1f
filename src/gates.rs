//! What gates ask, and what hooks do: one file a check. Every call ends within its own time, what comes back
//! is bounded, and a fault is an answer.

mod alerts;
mod call;
mod command;
mod health;
mod hook;
mod metric;
mod output;
mod slo;
mod template;
mod text;
mod values;
mod webhook;
mod window;

use std::sync::Arc;

use async_trait::async_trait;

use crate::core::gate::{Check, GateAnswer, Hook};
use crate::core::notice::Notice;
use crate::outbound::guard::Guarded;
use crate::ports::{GateRequest, Gatekeeper, NotifyError, Sources};

pub use template::check_template;

/// Asks gates' checks and runs hooks.
pub struct Gates {
    providers: Arc<dyn Sources>,
    guarded: Guarded,
}

impl Gates {
    /// `providers` by their configured names: those that measure the targets.
    pub fn new(providers: impl Sources + 'static) -> Gates {
        Gates { providers: Arc::new(providers), guarded: Guarded::default() }
    }
}

#[async_trait]
impl Gatekeeper for Gates {
    async fn ask(&self, request: &GateRequest) -> GateAnswer {
        let provider = self.providers.source(&request.provider);
        let provider = provider.as_deref();
        let answer = match &request.gate.check {
            // Persons come to Serin; Serin asks nobody.
            Check::Approval { .. } => GateAnswer::NotYet("persons have not approved".to_owned()),
            Check::Webhook(check) => webhook::ask(&self.guarded, check, request).await,
            Check::Command(check) => command::ask(check, request).await,
            Check::Health(check) => health::ask(&self.guarded, check, request).await,
            Check::Alerts(check) => alerts::ask(&self.guarded, check, request, provider).await,
            Check::Window { calendar, refuse } => window::ask(calendar, *refuse, request.now),
            Check::Metric { query, limit, breach, held_for } => {
                metric::ask(query, (*limit, *breach), *held_for, request, provider).await
            }
            Check::Slo { bad_share, objective, budget_left } => {
                slo::ask(bad_share, *objective, *budget_left, request, provider).await
            }
        };
        tracing::debug!(key = %request.key, kind = request.gate.check.kind(), ?answer, "a gate was asked");
        answer
    }

    async fn run(&self, hook: &Hook, notice: &Notice) -> Result<(), NotifyError> {
        hook::run(&self.guarded, hook, notice).await
    }
}
