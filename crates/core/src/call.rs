use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::log::Behind;
use crate::{Channel, Disconnect};

/// What the application asks of a connection, through its [`Handle`](crate::outbox::Handle).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Call {
    /// Subscribe the client to a channel.
    Subscribe(Arc<SubscribeCall>),
    /// End the client's subscription of `channel`, for a code and reason of the protocol's.
    Unsubscribe {
        /// Which.
        channel: Channel,
        /// Why, as the client is told.
        why: Disconnect,
    },
    /// Change until when the connection may live.
    Refresh(Arc<RefreshCall>),
    /// Send the client a message that belongs to no channel.
    Message(Bytes),
    /// Ping the client now: it may be gone without anybody having noticed.
    Probe,
    /// Nothing: it is dropped when all that was asked for before is done, or the connection has gone.
    Receipt(Receipt),
}

/// What a connection drops when it has done what it was asked for: whoever waits for that learns of it by what it holds.
#[derive(Clone)]
pub struct Receipt(Arc<dyn Send + Sync>);

impl Receipt {
    /// A receipt that holds this until all of its clones are dropped.
    pub fn new(held: impl Send + Sync + 'static) -> Self {
        Self(Arc::new(held))
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receipt({})", Arc::strong_count(&self.0))
    }
}

/// A server-side subscription.
#[derive(Clone, Debug)]
pub struct SubscribeCall {
    /// The channel.
    pub channel: Channel,
    /// What others may know of the subscriber.
    pub info: Bytes,
    /// What the client is told with the subscription.
    pub data: Bytes,
    /// When it expires, in seconds since 1970; 0 for never.
    pub expire_at: i64,
    /// The place to recover from, as an offset and an epoch.
    pub recover_since: Option<(u64, Arc<str>)>,
    /// What of the channel's options is different for this subscription.
    pub overrides: Overrides,
    /// The client's token names it: it stands for as long as the token that the client refreshes with does.
    pub by_token: bool,
}

/// Options of a channel that are different for one subscription; `None` leaves them as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// The client is listed as present.
    pub presence: Option<bool>,
    /// Joins and leaves are announced.
    pub join_leave: Option<bool>,
    /// The client may recover.
    pub force_recovery: Option<bool>,
    /// The client hears of discontinuities.
    pub force_positioning: Option<bool>,
    /// The client hears of joins and leaves without having asked.
    pub force_push_join_leave: Option<bool>,
}

/// A change of a connection's life.
#[derive(Clone, Debug)]
pub struct RefreshCall {
    /// It has expired: close it.
    pub expired: bool,
    /// When it expires, in seconds since 1970; 0 for never.
    pub expire_at: i64,
    /// What others may know of the client from now on; `None` leaves it as it is.
    pub info: Option<Bytes>,
}

/// A question to a connection about itself. It answers when its task runs next, even if its socket takes
/// nothing; one that goes before drops the question unanswered.
pub struct Inquiry(Box<dyn FnOnce(Report) + Send>);

/// What a connection says of itself.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How long it has been open.
    pub age: Duration,
    /// Its socket takes nothing at this moment.
    pub stalled: bool,
    /// Its subscriptions, by channel, and how far each is behind.
    pub subscriptions: Vec<(Channel, Behind)>,
}

impl Inquiry {
    /// A question whose answer `answer` takes, on the connection's own task: it must not wait.
    pub fn new(answer: impl FnOnce(Report) + Send + 'static) -> Self {
        Self(Box::new(answer))
    }

    /// Answers it.
    pub fn answer(self, report: Report) {
        (self.0)(report);
    }
}

impl fmt::Debug for Inquiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inquiry")
    }
}
