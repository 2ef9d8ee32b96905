use std::fmt;

use bytes::Bytes;

use crate::{ClientInfo, Position, Publication};

/// Why a state changed, in numbers and in words.
///
/// Codes below 100 are the client's own, others the server's: 100 to 1999 errors, 2000 to 2999 ends of
/// subscriptions, from 3000 on ends of connections.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Why {
    /// The number.
    pub code: u32,
    /// The words.
    pub reason: String,
}

impl Why {
    pub(crate) fn new(code: u32, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.reason, self.code)
    }
}

/// What happens in a channel, to its subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The subscription is not live: it is begun, or the connection was lost, or the server wants it anew. The
    /// client subscribes again by itself.
    Subscribing(Why),
    /// The subscription is live.
    Subscribed(Subscribed),
    /// Something was published.
    Publication(Publication),
    /// Somebody subscribed. For subscriptions that asked for [`join_leave`](crate::Subscribe::join_leave).
    Join(ClientInfo),
    /// Somebody left.
    Leave(ClientInfo),
    /// Something was missed here.
    Gap(Gap),
    /// The subscription has ended. Nothing comes after this.
    Unsubscribed(Why),
}

/// How a subscription became live.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Subscribed {
    /// Whether what is missed while the connection is away will be recovered, if history reaches back.
    pub recoverable: bool,
    /// Whether the server watches that no publication is missed.
    pub positioned: bool,
    /// Whether recovery was tried.
    pub was_recovering: bool,
    /// Whether all that was missed comes next.
    pub recovered: bool,
    /// Where the subscription starts, in a channel with history.
    pub position: Option<Position>,
    /// What the application tells the subscriber.
    pub data: Bytes,
}

/// Publications that a subscriber did not get, in the place where they are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// How many; `None` if nobody knows, and it may be none. With a [filter](crate::Subscribe::filter) at most
    /// so many.
    pub missed: Option<u64>,
    /// Joins and leaves that were given up with them, by [`Overflow::DropOldest`](crate::Overflow::DropOldest).
    pub joins_and_leaves: u64,
    /// Why.
    pub cause: GapCause,
}

/// Why publications are missing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GapCause {
    /// The connection was away, and the subscription is not recoverable.
    Away,
    /// The connection was away for longer than the channel's history reaches, or the stream began anew.
    Unrecoverable,
    /// The program read too slowly, and the subscription's queue was full.
    SlowReader,
    /// The server gave them up, as its policy for slow subscribers says; in its word: `trimmed`, `skipped`,
    /// `superseded`, …
    Server(String),
    /// Several of these, one after the other.
    Several,
}

impl Gap {
    /// Joins a later gap to this one, with nothing between them.
    pub(crate) fn absorb(&mut self, later: &Self) {
        self.missed = self.missed.zip(later.missed).map(|(here, there)| here.saturating_add(there));
        self.joins_and_leaves += later.joins_and_leaves;
        if self.cause != later.cause {
            self.cause = GapCause::Several;
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.missed {
            Some(missed) => write!(f, "{missed} publications missed: {}", self.cause),
            None => write!(f, "an unknown number of publications missed: {}", self.cause),
        }
    }
}

impl fmt::Display for GapCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Away => "the connection was away",
            Self::Unrecoverable => "history does not reach back to where the subscriber was",
            Self::SlowReader => "they were not read in time",
            Self::Server(cause) => return write!(f, "the server gave them up ({cause})"),
            Self::Several => "several causes",
        })
    }
}

/// What happens to the client as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// The client connects: for the first time, or because the connection was lost.
    Connecting(Why),
    /// The client is connected.
    Connected(Connected),
    /// The client is disconnected, and stays so. Nothing comes after this.
    Disconnected(Why),
    /// Something failed that is tried again: connecting, subscribing, or getting a token.
    Trouble(Trouble),
    /// The server sent something to this connection alone.
    Message(Bytes),
    /// Messages that were given up, as nobody read the events in time.
    MessagesLost(u64),
    /// What happens in a channel to which the server subscribed the client.
    Channel {
        /// The channel.
        channel: String,
        /// What happens in it.
        event: Event,
    },
    /// How the server is. Tidegate tells clients that ask for [notices](crate::Builder::notices).
    Health(Health),
}

/// How the connection is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Connected {
    /// The id of the connection.
    pub client: String,
    /// The version of the server, if it says so.
    pub version: String,
    /// What the application tells the client.
    pub data: Bytes,
}

/// Something that failed and is tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// No connection was made.
    #[error("connecting failed: {0}")]
    Connect(String),
    /// There is no token for the connection.
    #[error("getting a token failed: {0}")]
    Token(String),
    /// The server did not take a new token for the connection.
    #[error("refreshing the token failed: {0}")]
    Refresh(String),
    /// Something of a subscription: there is no token, or the server did not take it, or refused to subscribe
    /// for now.
    #[error("subscribing to {channel:?} failed: {what}")]
    Subscription {
        /// The channel.
        channel: String,
        /// What failed.
        what: String,
    },
}

/// How a server is, as it says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Health {
    /// All is well.
    Serving,
    /// It works, but not as it should.
    Degraded,
    /// It is about to stop.
    Draining,
    /// Something else, in its word.
    Other(String),
}

impl Health {
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "serving" => Self::Serving,
            "degraded" => Self::Degraded,
            "draining" => Self::Draining,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serving => "serving",
            Self::Degraded => "degraded",
            Self::Draining => "draining",
            Self::Other(name) => name,
        })
    }
}
