//! What lets a [`MemoryBroker`](crate::MemoryBroker)'s streams outlive it.
//!
//! A broker with a [`Journal`] publishes in two steps. Under the stream's lock a publication gets its offset and
//! is handed to the journal, in the order of offsets. When the journal has written it, it says so to the
//! [`Ledger`], which keeps and delivers it, and then the publisher is answered. So nobody ever sees an offset
//! that a crash takes back, and a publisher that gives up waiting changes nothing.

use std::any::Any;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Instant;

use async_trait::async_trait;

use crate::broker::BrokerError;
use crate::request::StreamPosition;
use crate::{Channel, Publication};

/// Where a broker writes what is to outlive it.
///
/// # Contract
/// Records are written in the order of [`Journal::submit`]. For each one either [`Ledger::commit`] or
/// [`Ledger::abort`] is called, in that order, too, on a thread that holds none of the broker's locks; then its
/// [`Written`] is ready. When a record is aborted, so is every other that was submitted and is not committed, and
/// from before the first of these calls until after the last one `submit` fails: a stream never goes on behind a
/// hole.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Gives it the way back. Called once, before all else.
    fn start(&self, ledger: Weak<dyn Ledger>);

    /// Waits until `bytes` more may wait to be written.
    ///
    /// Cancel safe: who gives up gets no room.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`] while nothing can be written.
    async fn room(&self, bytes: usize) -> Result<Room, BrokerError>;

    /// Takes a record to be written. Called under the stream's lock: it does not wait. `room` is given back when
    /// the record is written.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`] while nothing can be written; it does not have the record then.
    fn submit(&self, record: Record, room: Option<Room>) -> Result<Written, BrokerError>;

    /// Whether it can write.
    ///
    /// # Errors
    /// [`BrokerError::Unavailable`], for people.
    fn ready(&self) -> Result<(), BrokerError>;

    /// Writes what was submitted, and ends.
    async fn close(&self);
}

/// Room for a record that waits to be written; dropping it gives it back.
pub type Room = Box<dyn Any + Send>;

/// Ready when a record has been committed or aborted.
pub type Written = Pin<Box<dyn Future<Output = Result<(), BrokerError>> + Send>>;

/// A change of one channel's stream.
#[derive(Clone, Debug)]
pub struct Record {
    /// The channel.
    pub channel: Channel,
    /// What changes.
    pub change: Change,
}

/// What changes.
#[derive(Clone, Debug)]
pub enum Change {
    /// A publication is kept.
    Publish(Box<Stored>),
    /// All publications up to `offset` are removed.
    Clear {
        /// The stream's epoch.
        epoch: Arc<str>,
        /// The last of them.
        offset: u64,
    },
    /// The stream has begun, or stands like this.
    State(State),
    /// Nothing: whoever submits it wants to know when what came before is done. Not written.
    Nothing,
}

/// A publication as it is stored: [`Publication::offset`] and [`Publication::epoch`] are set.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The publication.
    pub publication: Publication,
    /// When it and all before it expire, unless there is another one by then.
    pub until: Instant,
    /// How many publications its channel keeps with it, itself included.
    pub size: usize,
    /// Until when the stream's offset and epoch are kept.
    pub forget_at: Instant,
    /// The life that [`Publication::version`] counts in.
    pub version_epoch: Option<Arc<str>>,
    /// The idempotency key that it was published with, and until when that is remembered.
    pub key: Option<(Arc<str>, Instant)>,
}

/// A stream but for its publications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Its epoch.
    pub epoch: Arc<str>,
    /// The offset of the newest publication, kept or not.
    pub top: u64,
    /// Publications up to this offset are not kept any more.
    pub base: u64,
    /// The newest version of the document that the channel carries, and the life it counts in; 0 for none.
    pub version: (u64, Option<Arc<str>>),
    /// Until when offset and epoch are kept.
    pub forget_at: Instant,
}

/// A stream that a journal has kept: its publications reach up to its top without a hole.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The channel.
    pub channel: Channel,
    /// The stream.
    pub state: State,
    /// The publications, in order, and when each expires.
    pub publications: Vec<(Publication, Instant)>,
}

/// An idempotency key that a journal has kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredKey {
    /// The channel that it was published to.
    pub channel: Channel,
    /// The key.
    pub key: Arc<str>,
    /// Until when it is remembered.
    pub until: Instant,
    /// What was published with it.
    pub position: StreamPosition,
}

/// The way from a journal back into its broker.
pub trait Ledger: Send + Sync + 'static {
    /// The record is written: what it changes is seen from now on.
    fn commit(&self, record: &Record);

    /// The record will not be written: it is as if nobody had asked.
    fn abort(&self, record: &Record);

    /// The stream as what was committed made it; `None` if there is none.
    fn state(&self, channel: &Channel) -> Option<State>;

    /// Whether a publication is kept.
    fn is_kept(&self, channel: &Channel, position: &StreamPosition) -> bool;

    /// Removes the publications up to `position`: there is no room for them. Returns how many there were.
    fn give_up(&self, channel: &Channel, position: &StreamPosition) -> usize;

    /// Bytes of all publications kept, by weight.
    fn bytes(&self) -> usize;
}
