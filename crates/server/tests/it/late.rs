//! A broker under which what takes time can be seen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tidegate_server::core::broker::{BrokerError, Deliver, PublishOptions, Published};
use tidegate_server::core::request::{History, HistoryRequest, PresenceStats};
use tidegate_server::core::{Broker, Channel, ClientInfo, HistoryBounds, Kind, MemoryBroker, Publication};

/// A broker that thinks before and after it reads history: publications come meanwhile.
pub(crate) struct Late {
    broker: MemoryBroker,
    /// Done when it is closed.
    closing: Option<Box<dyn Fn() + Send + Sync>>,
}

impl Late {
    pub(crate) fn new(seed: u64) -> Self {
        Self { broker: MemoryBroker::new(seed), closing: None }
    }

    /// Does `closing` when it is closed.
    pub(crate) fn closing(self, closing: impl Fn() + Send + Sync + 'static) -> Self {
        Self { closing: Some(Box::new(closing)), ..self }
    }
}

#[async_trait]
impl Broker for Late {
    fn start(&self, deliver: Arc<dyn Deliver>) {
        self.broker.start(deliver);
    }

    async fn publish(
        &self,
        channel: &Channel,
        publication: Publication,
        options: &PublishOptions,
        now: Instant,
    ) -> Result<Published, BrokerError> {
        self.broker.publish(channel, publication, options, now).await
    }

    async fn announce(&self, channel: &Channel, kind: Kind, now: Instant) -> Result<(), BrokerError> {
        self.broker.announce(channel, kind, now).await
    }

    async fn history(
        &self,
        request: &HistoryRequest,
        bounds: &HistoryBounds,
        now: Instant,
    ) -> Result<History, BrokerError> {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let history = self.broker.history(request, bounds, now).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        history
    }

    async fn remove_history(&self, channel: &Channel) -> Result<(), BrokerError> {
        self.broker.remove_history(channel).await
    }

    async fn add_presence(
        &self,
        channel: &Channel,
        info: &Arc<ClientInfo>,
        ttl: Duration,
        now: Instant,
    ) -> Result<(), BrokerError> {
        self.broker.add_presence(channel, info, ttl, now).await
    }

    async fn remove_presence(&self, channel: &Channel, client: &str) -> Result<(), BrokerError> {
        self.broker.remove_presence(channel, client).await
    }

    async fn presence(
        &self,
        channel: &Channel,
        now: Instant,
    ) -> Result<BTreeMap<Arc<str>, Arc<ClientInfo>>, BrokerError> {
        self.broker.presence(channel, now).await
    }

    async fn presence_stats(&self, channel: &Channel, now: Instant) -> Result<PresenceStats, BrokerError> {
        self.broker.presence_stats(channel, now).await
    }

    async fn close(&self) {
        if let Some(closing) = &self.closing {
            closing();
        }
        self.broker.close().await;
    }
}
