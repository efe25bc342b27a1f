//! A provider that can be replaced while it is in use.

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;

use crate::core::judge::Recorded;
use crate::core::metric::{Reading, ValueObservation};
use crate::ports::{CountsAnswer, CountsRequest, HistoryRequest, MetricsProvider, ValueRequest};

/// Stands for a provider under its name. What is under way when it is replaced ends with the one before.
pub struct SwapProvider {
    current: RwLock<Arc<dyn MetricsProvider>>,
}

impl SwapProvider {
    /// Stands for `provider` until it is replaced.
    pub fn new(provider: Arc<dyn MetricsProvider>) -> Arc<SwapProvider> {
        Arc::new(SwapProvider { current: RwLock::new(provider) })
    }

    /// Everything that is asked from now on goes to `provider`.
    pub fn replace(&self, provider: Arc<dyn MetricsProvider>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = provider;
    }

    fn current(&self) -> Arc<dyn MetricsProvider> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl MetricsProvider for SwapProvider {
    async fn counts(&self, requests: &[CountsRequest]) -> Vec<CountsAnswer> {
        self.current().counts(requests).await
    }

    async fn values(&self, requests: &[ValueRequest]) -> Vec<ValueObservation> {
        self.current().values(requests).await
    }

    async fn history(&self, requests: &[HistoryRequest]) -> Vec<Reading<Recorded>> {
        self.current().history(requests).await
    }
}
