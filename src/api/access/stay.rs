//! Those who stay: who opened a stream is asked again and again who they are, from the same credential.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use tokio::sync::broadcast;
use tokio::time::{Instant, MissedTickBehavior};

use super::Known;
use super::identity::{Credential, credential, signed, token};
use crate::api::Api;
use crate::api::problem::Problem;
use crate::core::access::TokenHash;
use crate::secrets::tokens;

/// A credential that cannot be checked for so long ends the stream.
const DOUBT: Duration = Duration::from_secs(60);

/// Somebody who has opened a stream.
pub(in crate::api) struct Stay {
    api: Api,
    /// `None` where nobody has to say who they are.
    asked: Option<Asked>,
}

struct Asked {
    known: Arc<Known>,
    credential: Credential,
    logouts: broadcast::Receiver<TokenHash>,
}

impl Stay {
    /// As the request said who it is.
    pub(in crate::api) fn new(api: &Api, headers: &HeaderMap) -> Result<Stay, Problem> {
        let asked = match (&api.access.known, credential(headers)?) {
            (Some(known), Some(credential)) => {
                Some(Asked { known: known.clone(), credential, logouts: known.logouts.subscribe() })
            }
            (Some(_), None) => return Err(Problem::unauthenticated()),
            (None, _) => None,
        };
        Ok(Stay { api: api.clone(), asked })
    }

    /// Ends when the stream has to: the credential was revoked, has expired, or its session was left.
    pub(in crate::api) async fn over(mut self) {
        let Some(asked) = &mut self.asked else { return std::future::pending().await };
        let hash = tokens::hash(asked.credential.text());
        let mut checked = Instant::now();
        let mut again = tokio::time::interval(self.api.limits.recheck);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                left = asked.logouts.recv() => match left {
                    // Whoever else has a session by the same token comes back by it.
                    Ok(left) if asked.credential.is_cookie && left == hash => return,
                    Ok(_) => {}
                    Err(_) if asked.credential.is_cookie => return,
                    Err(_) => asked.logouts = asked.known.logouts.subscribe(),
                },
                _ = again.tick() => match asked.identity(&self.api).await {
                    Ok(()) => checked = Instant::now(),
                    Err(problem) if problem.status == 401 => return,
                    Err(_) if checked.elapsed() > DOUBT => return,
                    Err(_) => {}
                },
            }
        }
    }
}

impl Asked {
    async fn identity(&self, api: &Api) -> Result<(), Problem> {
        let text = self.credential.text();
        let identity = match text.starts_with(tokens::PREFIX) {
            true => token(api, &self.known, text, false).await,
            false => signed(api, &self.known, text, false).await,
        };
        identity.map(drop)
    }
}
