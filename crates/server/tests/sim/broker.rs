//! The memory broker, overheard, and sometimes late.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tidegate_server::core::broker::{BrokerError, Deliver, PublishOptions, Published};
use tidegate_server::core::request::{History, HistoryRequest, PresenceStats};
use tidegate_server::core::{
    Broker, Channel, ClientInfo, HistoryBounds, Kind, MemoryBroker, Publication, Refused,
};

use crate::dice::Dice;
use crate::truth::What;
use crate::world::World;

/// Keeps what is delivered as the truth, and takes its time before and after what it does.
pub(crate) struct Overheard {
    inner: MemoryBroker,
    world: Arc<World>,
    dice: Mutex<Dice>,
}

impl Overheard {
    pub(crate) fn new(world: Arc<World>) -> Self {
        let seed = world.plan.seed;
        Self { inner: MemoryBroker::new(seed), world, dice: Mutex::new(Dice::new(seed, 2)) }
    }

    async fn pause(&self) {
        let pause = {
            let mut dice = self.dice.lock().unwrap();
            match dice.percent(self.world.plan.late) {
                false => None,
                true if dice.percent(50) => Some(Duration::ZERO),
                true => Some(dice.millis(1, 40)),
            }
        };
        match pause {
            None => {}
            Some(Duration::ZERO) => tokio::task::yield_now().await,
            Some(pause) => tokio::time::sleep(pause).await,
        }
    }
}

#[async_trait]
impl Broker for Overheard {
    fn start(&self, deliver: Arc<dyn Deliver>) {
        self.inner.start(Arc::new(Ear { deliver, world: self.world.clone() }));
    }

    async fn publish(
        &self,
        channel: &Channel,
        publication: Publication,
        options: &PublishOptions,
        now: Instant,
    ) -> Result<Published, BrokerError> {
        self.pause().await;
        self.inner.publish(channel, publication, options, now).await
    }

    async fn announce(&self, channel: &Channel, kind: Kind, now: Instant) -> Result<(), BrokerError> {
        self.pause().await;
        self.inner.announce(channel, kind, now).await
    }

    async fn history(
        &self,
        request: &HistoryRequest,
        bounds: &HistoryBounds,
        now: Instant,
    ) -> Result<History, BrokerError> {
        self.pause().await;
        let history = self.inner.history(request, bounds, now).await;
        self.pause().await;
        history
    }

    async fn remove_history(&self, channel: &Channel) -> Result<(), BrokerError> {
        self.inner.remove_history(channel).await
    }

    async fn add_presence(
        &self,
        channel: &Channel,
        info: &Arc<ClientInfo>,
        ttl: Duration,
        now: Instant,
    ) -> Result<(), BrokerError> {
        self.pause().await;
        self.inner.add_presence(channel, info, ttl, now).await
    }

    async fn remove_presence(&self, channel: &Channel, client: &str) -> Result<(), BrokerError> {
        self.pause().await;
        self.inner.remove_presence(channel, client).await
    }

    async fn presence(
        &self,
        channel: &Channel,
        now: Instant,
    ) -> Result<BTreeMap<Arc<str>, Arc<ClientInfo>>, BrokerError> {
        self.inner.presence(channel, now).await
    }

    async fn presence_stats(&self, channel: &Channel, now: Instant) -> Result<PresenceStats, BrokerError> {
        self.inner.presence_stats(channel, now).await
    }

    async fn sweep(&self, now: Instant) {
        self.inner.sweep(now).await;
    }
}

/// Overhears what the broker delivers.
struct Ear {
    deliver: Arc<dyn Deliver>,
    world: Arc<World>,
}

impl Deliver for Ear {
    fn deliver(&self, channel: &Channel, kind: Kind, now: Instant) -> Result<(), Refused> {
        let what = match &kind {
            Kind::Publication(publication) => {
                let epoch = publication.epoch.clone().unwrap_or_default();
                What::Publication(number(&publication.data), publication.offset, epoch)
            }
            Kind::Join(info) => What::Join(info.client.clone()),
            Kind::Leave(info) => What::Leave(info.client.clone()),
            Kind::Break => What::Break,
        };
        self.deliver.deliver(channel, kind, now)?;
        self.world.overhear(channel, what);
        Ok(())
    }

    fn is_live(&self, channel: &Channel) -> bool {
        self.deliver.is_live(channel)
    }
}

/// A publication's payload: its number, and padding up to about `size` bytes.
pub(crate) fn payload(number: u64, size: usize) -> String {
    format!(r#"{{"n":{number},"p":"{}"}}"#, "x".repeat(size))
}

/// The number in a payload; 0 if there is none.
pub(crate) fn number(payload: &[u8]) -> u64 {
    let digits = payload.strip_prefix(br#"{"n":"#).unwrap_or_default();
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}
