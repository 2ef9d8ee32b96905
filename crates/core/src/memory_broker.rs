//! The broker of a node that stands alone: streams, presence and keys in its own memory.
//!
//! Nothing here waits: a call's future is ready when it is first polled; but for a journal, where there is one.
//! Lock order: a key's cell, then a stream, then whatever [`Deliver`] takes (the log) and whatever
//! [`Journal::submit`] does. The locks of the maps are never held while another is waited for, and never while
//! something is delivered; only the sweep takes others under that of a map of streams.

mod journaled;
mod keys;
mod ledger;
mod presence;
mod stream;
mod streams;
#[cfg(all(test, not(loom)))]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::broker::{BrokerError, Deliver, PublishOptions, Published};
use crate::journal::{Journal, Ledger, Restored, RestoredKey};
use crate::request::{History, HistoryRequest, PresenceStats};
use crate::seeded::Seeded;
use crate::{Broker, Channel, ClientInfo, HistoryBounds, Kind, Publication};

use keys::{First, Keys};
use ledger::Commits;
use presence::Presence;
use streams::Streams;

/// The embedded broker: one node, its history and presence in memory, gone when it stops, unless a [`Journal`]
/// keeps its streams.
///
/// Where a channel keeps history, choosing the offset, keeping the publication and delivering it are one
/// step under the stream's own lock, so that history and logs agree about the order. [`Deliver::deliver`]
/// runs under that lock and must not call the broker.
///
/// A stream's offset and epoch are kept for [`HistoryBounds::meta_ttl`] (zero: 30 days) after it was last
/// published to or read. When the channel is used again after that, another epoch begins, and a
/// [`Kind::Break`] is delivered before anything of it: for that, streams of channels that
/// [`Broker::subscribe`] announced are remembered until [`Broker::unsubscribe`].
///
/// With a journal ([`MemoryBroker::journaled`]) a publication to a channel that keeps history is answered, kept and
/// delivered when it has been written. Everything else goes on beside it: a join may be told before a publication
/// that was begun earlier. What reading has prolonged a stream's life by is not written.
///
/// Memory: about 200 bytes and the name for a stream without publications; 130 bytes beside the payload for
/// each one kept; 60 bytes and the name for a subscribed channel that keeps no history; 200 bytes and the key
/// for an idempotency key, which is bounded by its time alone.
pub struct MemoryBroker {
    deliver: Arc<OnceLock<Arc<dyn Deliver>>>,
    streams: Arc<Streams>,
    keys: Keys,
    presence: Presence,
    journal: Option<Journaled>,
}

/// A journal, and what it calls back.
struct Journaled {
    journal: Arc<dyn Journal>,
    _ledger: Arc<Commits>,
}

/// What a [`MemoryBroker`] holds at about one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Streams, those without publications included.
    pub streams: usize,
    /// Publications kept, expired ones included that were not swept yet.
    pub publications: usize,
    /// What these take, in bytes: payloads and what is kept beside them.
    pub bytes: usize,
}

impl MemoryBroker {
    /// A broker that holds nothing yet.
    ///
    /// Epochs, and the order within hash maps, come from `seed`. Two runs must not share one, or a client
    /// may take the second's streams for the first's; and clients must not know it.
    pub fn new(seed: u64) -> Self {
        let seeded = Seeded::new(seed);
        Self {
            deliver: Arc::new(OnceLock::new()),
            streams: Arc::new(Streams::new(seeded)),
            keys: Keys::new(seeded),
            presence: Presence::new(seeded),
            journal: None,
        }
    }

    /// A broker whose streams outlive it: it begins with what `journal` has kept of an earlier run.
    pub fn journaled(
        seed: u64,
        journal: Arc<dyn Journal>,
        streams: impl IntoIterator<Item = Restored>,
        keys: impl IntoIterator<Item = RestoredKey>,
        now: Instant,
    ) -> Self {
        let mut broker = Self::new(seed);
        streams.into_iter().for_each(|stream| broker.streams.restore(stream));
        keys.into_iter().for_each(|key| broker.keys.restore(key, now));
        let ledger = Arc::new(Commits { deliver: broker.deliver.clone(), streams: broker.streams.clone() });
        let way_back: Arc<dyn Ledger> = ledger.clone();
        journal.start(Arc::downgrade(&way_back));
        broker.journal = Some(Journaled { journal, _ledger: ledger });
        broker
    }

    /// What it holds. Costs the same however much that is.
    pub fn figures(&self) -> Figures {
        self.streams.figures()
    }

    fn deliver(&self) -> Result<&dyn Deliver, BrokerError> {
        let deliver = self.deliver.get().map(Arc::as_ref);
        deliver.ok_or_else(|| BrokerError::Unavailable("expected a start before the first call".into()))
    }

    fn publish_now(
        &self,
        channel: &Channel,
        mut publication: Publication,
        options: &PublishOptions,
        now: Instant,
    ) -> Result<Published, BrokerError> {
        let deliver = self.deliver()?;
        let mut deliver = |kind| deliver.deliver(channel, kind, now);
        if !options.history.is_kept() {
            publication.offset = 0;
            publication.epoch = None;
            deliver(Kind::Publication(publication))?;
            return Ok(Published::default());
        }
        self.streams.open(channel, &options.history, now, |stream| {
            stream.tell_break(&mut deliver)?;
            Ok(stream.publish(publication, options, now, &mut deliver)?)
        })
    }
}

#[async_trait]
impl Broker for MemoryBroker {
    /// A second call changes nothing.
    fn start(&self, deliver: Arc<dyn Deliver>) {
        let _ = self.deliver.set(deliver);
    }

    /// # Errors
    /// [`BrokerError::Refused`] as [`Deliver`] said it: then nothing was kept, and the next publication gets
    /// the offset. [`BrokerError::Unavailable`] before [`Broker::start`].
    async fn publish(
        &self,
        channel: &Channel,
        publication: Publication,
        options: &PublishOptions,
        now: Instant,
    ) -> Result<Published, BrokerError> {
        if let Some(Journaled { journal, .. }) = self.journal.as_ref().filter(|_| options.history.is_kept()) {
            return self.publish_journaled(&**journal, channel, publication, options, now).await;
        }
        let Some(key) = options.idempotency_key.as_ref().filter(|key| !key.is_empty()) else {
            return self.publish_now(channel, publication, options, now);
        };
        let cell = self.keys.cell(channel, key, options.idempotent_for, now);
        // Held while publishing: whoever publishes the key at the same time gets this one's result.
        let mut first = cell.lock();
        if let First::Published(position) = &*first {
            return Ok(Published { position: position.clone(), suppressed: true });
        }
        let published = self.publish_now(channel, publication, options, now)?;
        *first = First::Published(published.position.clone());
        Ok(published)
    }

    async fn announce(&self, channel: &Channel, kind: Kind, now: Instant) -> Result<(), BrokerError> {
        Ok(self.deliver()?.deliver(channel, kind, now)?)
    }

    async fn subscribe(&self, channel: &Channel) -> Result<(), BrokerError> {
        self.streams.subscribe(channel);
        Ok(())
    }

    async fn unsubscribe(&self, channel: &Channel) -> Result<(), BrokerError> {
        self.streams.unsubscribe(channel);
        Ok(())
    }

    /// Empty, with offset 0 and no epoch, where `bounds` keep nothing.
    ///
    /// # Errors
    /// [`BrokerError::WrongEpoch`] if the position to begin at names another epoch than the stream's.
    async fn history(
        &self,
        request: &HistoryRequest,
        bounds: &HistoryBounds,
        now: Instant,
    ) -> Result<History, BrokerError> {
        if !bounds.is_kept() {
            return Ok(History::default());
        }
        if let Some(Journaled { journal, .. }) = &self.journal {
            self.tell_journal(&**journal, &request.channel, bounds, now).await;
        }
        self.streams.open(&request.channel, bounds, now, |stream| {
            if let Ok(deliver) = self.deliver() {
                // Refused: it stays due, and the next publication waits for it.
                let _ = stream.tell_break(&mut |kind| deliver.deliver(&request.channel, kind, now));
            }
            stream.page(request, bounds.size, now)
        })
    }

    async fn remove_history(&self, channel: &Channel) -> Result<(), BrokerError> {
        if let Some(Journaled { journal, .. }) = &self.journal {
            return self.clear_journaled(&**journal, channel).await;
        }
        self.streams.clear(channel);
        Ok(())
    }

    async fn add_presence(
        &self,
        channel: &Channel,
        info: &Arc<ClientInfo>,
        ttl: Duration,
        now: Instant,
    ) -> Result<(), BrokerError> {
        self.presence.add(channel, info, after(now, ttl));
        Ok(())
    }

    async fn remove_presence(&self, channel: &Channel, client: &str) -> Result<(), BrokerError> {
        self.presence.remove(channel, client);
        Ok(())
    }

    async fn presence(
        &self,
        channel: &Channel,
        now: Instant,
    ) -> Result<BTreeMap<Arc<str>, Arc<ClientInfo>>, BrokerError> {
        let present = self.presence.list(channel, now);
        Ok(present.into_iter().map(|info| (info.client.clone(), info)).collect())
    }

    async fn presence_stats(&self, channel: &Channel, now: Instant) -> Result<PresenceStats, BrokerError> {
        Ok(self.presence.stats(channel, now))
    }

    /// # Errors
    /// [`BrokerError::Unavailable`] while the journal cannot write.
    async fn ready(&self) -> Result<(), BrokerError> {
        self.journal.as_ref().map_or(Ok(()), |journaled| journaled.journal.ready())
    }

    async fn close(&self) {
        if let Some(Journaled { journal, .. }) = &self.journal {
            journal.close().await;
        }
    }

    /// Goes on where the last call stopped, and looks at about 16,384 streams, as many presence entries and
    /// 4,096 keys at most (and at the rest of the map that it was in: a 256th of the streams, a 64th of the
    /// presence). Called once a second, a million streams take a minute; what has expired is not shown
    /// meanwhile.
    async fn sweep(&self, now: Instant) {
        let deliver = self.deliver.get();
        self.streams.sweep(now, &|channel| deliver.is_some_and(|deliver| deliver.is_live(channel)));
        self.presence.sweep(now);
        self.keys.sweep(now);
    }
}

impl std::fmt::Debug for MemoryBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryBroker").field("figures", &self.figures()).finish_non_exhaustive()
    }
}

/// The moment `ttl` after `now`, or a century after it where that is too far to tell.
fn after(now: Instant, ttl: Duration) -> Instant {
    now.checked_add(ttl).unwrap_or_else(|| now + Duration::from_secs(100 * 365 * 24 * 3600))
}
