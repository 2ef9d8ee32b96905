use std::borrow::Cow;

use crate::codec::{Malformed, NotJson, is_json};
use crate::message;

/// Why a connection ends, which also says whether the client may come back.
///
/// On a WebSocket the code is the close code and the reason the close reason; elsewhere both travel in a
/// [`message::Disconnect`] push before the close.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[error("disconnect {code}: {reason}")]
pub struct Disconnect {
    code: u32,
    reason: Cow<'static, str>,
}

/// The protocol's own, in ascending order. Up to 3499 the client connects again.
impl Disconnect {
    /// The connection was closed without a reason that concerns the client.
    pub const CONNECTION_CLOSED: Self = Self::of_protocol(3000, "connection closed");
    /// The node shuts down.
    pub const SHUTDOWN: Self = Self::of_protocol(3001, "shutdown");
    /// The server failed.
    pub const INTERNAL: Self = Self::of_protocol(3004, "internal server error");
    /// The connection was not refreshed in time.
    pub const EXPIRED: Self = Self::of_protocol(3005, "connection expired");
    /// A subscription was not refreshed in time.
    pub const SUBSCRIPTION_EXPIRED: Self = Self::of_protocol(3006, "subscription expired");
    /// The client reads more slowly than its queue allows.
    pub const SLOW: Self = Self::of_protocol(3008, "slow");
    /// The socket failed.
    pub const WRITE_ERROR: Self = Self::of_protocol(3009, "write error");
    /// A publication was missed in a server-side subscription.
    pub const INSUFFICIENT_STATE: Self = Self::of_protocol(3010, "insufficient state");
    /// An operator wants the client to connect again.
    pub const FORCE_RECONNECT: Self = Self::of_protocol(3011, "force reconnect");
    /// A ping was not answered.
    pub const NO_PONG: Self = Self::of_protocol(3012, "no pong");
    /// The client asks too often.
    pub const TOO_MANY_REQUESTS: Self = Self::of_protocol(3013, "too many requests");
    /// What the server knew of the client no longer holds.
    pub const STATE_INVALIDATED: Self = Self::of_protocol(3014, "state invalidated");
    /// The token is not valid.
    pub const INVALID_TOKEN: Self = Self::of_protocol(3500, "invalid token");
    /// The client does not follow the protocol.
    pub const BAD_REQUEST: Self = Self::of_protocol(3501, "bad request");
    /// The client did not connect in time.
    pub const STALE: Self = Self::of_protocol(3502, "stale");
    /// An operator wants the client gone.
    pub const FORCE_DISCONNECT: Self = Self::of_protocol(3503, "force disconnect");
    /// The user has too many connections.
    pub const CONNECTION_LIMIT: Self = Self::of_protocol(3504, "connection limit");
    /// The connection has too many channels.
    pub const CHANNEL_LIMIT: Self = Self::of_protocol(3505, "channel limit");
    /// A payload cannot be sent in the client's encoding.
    pub const INAPPROPRIATE_PROTOCOL: Self = Self::of_protocol(3506, "inappropriate protocol");
    /// The user is not allowed to be connected.
    pub const PERMISSION_DENIED: Self = Self::of_protocol(3507, "permission denied");
    /// The server does not offer what the client relies on.
    pub const NOT_AVAILABLE: Self = Self::of_protocol(3508, "not available");
    /// The client made too many commands fail.
    pub const TOO_MANY_ERRORS: Self = Self::of_protocol(3509, "too many errors");

    /// All of the above.
    pub const ALL: &[Self] = &[
        Self::CONNECTION_CLOSED,
        Self::SHUTDOWN,
        Self::INTERNAL,
        Self::EXPIRED,
        Self::SUBSCRIPTION_EXPIRED,
        Self::SLOW,
        Self::WRITE_ERROR,
        Self::INSUFFICIENT_STATE,
        Self::FORCE_RECONNECT,
        Self::NO_PONG,
        Self::TOO_MANY_REQUESTS,
        Self::STATE_INVALIDATED,
        Self::INVALID_TOKEN,
        Self::BAD_REQUEST,
        Self::STALE,
        Self::FORCE_DISCONNECT,
        Self::CONNECTION_LIMIT,
        Self::CHANNEL_LIMIT,
        Self::INAPPROPRIATE_PROTOCOL,
        Self::PERMISSION_DENIED,
        Self::NOT_AVAILABLE,
        Self::TOO_MANY_ERRORS,
    ];

    const fn of_protocol(code: u32, reason: &'static str) -> Self {
        Self { code, reason: Cow::Borrowed(reason) }
    }
}

impl Disconnect {
    /// The longest reason, in bytes: a WebSocket close frame has 125, two of which are the code
    /// (RFC 6455 §5.5).
    pub const MAX_REASON_LEN: usize = 123;

    /// A disconnect with a code or a reason of the application's own.
    ///
    /// # Errors
    /// [`InvalidDisconnect`] if SDKs would not understand it as it is meant.
    pub fn new(code: u32, reason: impl Into<Cow<'static, str>>) -> Result<Self, InvalidDisconnect> {
        let reason = reason.into();
        if !(3000..=4999).contains(&code) {
            return Err(InvalidDisconnect::Code(code));
        }
        if reason.is_empty() {
            return Err(InvalidDisconnect::NoReason);
        }
        if reason.len() > Self::MAX_REASON_LEN {
            return Err(InvalidDisconnect::LongReason(reason.len()));
        }
        if reason.trim_start().starts_with('{') || is_json(reason.as_bytes()) {
            return Err(InvalidDisconnect::JsonReason);
        }
        Ok(Self { code, reason })
    }

    /// The number on the wire: 3000 to 3999 the protocol's, 4000 to 4999 the application's.
    pub const fn code(&self) -> u32 {
        self.code
    }

    /// The text on the wire, 1 to [`MAX_REASON_LEN`](Self::MAX_REASON_LEN) bytes.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether SDKs connect again by themselves.
    pub const fn reconnects(&self) -> bool {
        !matches!(self.code, 3500..=3999 | 4500..=4999)
    }
}

impl From<&Disconnect> for message::Disconnect {
    fn from(disconnect: &Disconnect) -> Self {
        Self {
            code: disconnect.code,
            reason: disconnect.reason.clone().into_owned(),
            reconnect: disconnect.reconnects(),
        }
    }
}

impl From<Malformed> for Disconnect {
    fn from(_: Malformed) -> Self {
        Self::BAD_REQUEST
    }
}

impl From<NotJson> for Disconnect {
    fn from(_: NotJson) -> Self {
        Self::INAPPROPRIATE_PROTOCOL
    }
}

/// A disconnect that SDKs would not understand as it is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidDisconnect {
    /// The code means nothing to SDKs, or something else.
    #[error("disconnect code is {0}; expected 3000 to 4999")]
    Code(u32),
    /// SDKs take an empty reason for a lost connection and connect again, whatever the code.
    #[error("disconnect reason is empty; expected 1 to 123 bytes")]
    NoReason,
    /// The reason does not fit into a WebSocket close frame.
    #[error("disconnect reason has {0} bytes; expected 1 to 123")]
    LongReason(usize),
    /// SDKs read a reason that is JSON as a legacy format, which overrides the code.
    #[error("disconnect reason is JSON; expected plain text")]
    JsonReason,
}
