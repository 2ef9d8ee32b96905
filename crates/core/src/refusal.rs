use std::borrow::Cow;
use std::fmt;

use crate::Disconnect;

/// A request that was understood and not done, as the client is told. The connection goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientError {
    /// The error code: 100–399 are the Centrifuge protocol's, 400–1999 the application's.
    pub code: u32,
    /// A short text.
    pub message: Cow<'static, str>,
    /// Whether the same request may succeed later.
    pub temporary: bool,
}

impl ClientError {
    /// 100: something went wrong that is not the client's fault.
    pub const INTERNAL: Self = Self::temporary(100, "internal server error");
    /// 101: who are you?
    pub const UNAUTHORIZED: Self = Self::new(101, "unauthorized");
    /// 102: there is no such channel, or no such namespace.
    pub const UNKNOWN_CHANNEL: Self = Self::new(102, "unknown channel");
    /// 103: not for you.
    pub const PERMISSION_DENIED: Self = Self::new(103, "permission denied");
    /// 104: no such method.
    pub const METHOD_NOT_FOUND: Self = Self::new(104, "method not found");
    /// 105: the client has that subscription.
    pub const ALREADY_SUBSCRIBED: Self = Self::new(105, "already subscribed");
    /// 106: too many of something.
    pub const LIMIT_EXCEEDED: Self = Self::new(106, "limit exceeded");
    /// 107: the request makes no sense.
    pub const BAD_REQUEST: Self = Self::new(107, "bad request");
    /// 108: switched off.
    pub const NOT_AVAILABLE: Self = Self::new(108, "not available");
    /// 108 of a node that stops. Temporary, because the next node takes it: told that it stays, SDKs give a
    /// subscription up for good.
    pub const STOPPING: Self = Self::temporary(108, "not available");
    /// 109: the token was good once.
    pub const TOKEN_EXPIRED: Self = Self::new(109, "token expired");
    /// 110: what the token grants was good once.
    pub const EXPIRED: Self = Self::new(110, "expired");
    /// 111: slow down.
    pub const TOO_MANY_REQUESTS: Self = Self::temporary(111, "too many requests");
    /// 112: the stream no longer holds what the client has missed.
    pub const UNRECOVERABLE_POSITION: Self = Self::new(112, "unrecoverable position");

    /// An error that stays.
    pub const fn new(code: u32, message: &'static str) -> Self {
        Self { code, message: Cow::Borrowed(message), temporary: false }
    }

    /// An error that may pass.
    pub const fn temporary(code: u32, message: &'static str) -> Self {
        Self { code, message: Cow::Borrowed(message), temporary: true }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.message)
    }
}

impl std::error::Error for ClientError {}

/// Why a request was not done, by what the connection does next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It answers with an error and goes on.
    #[error("{0}")]
    Error(ClientError),
    /// It closes.
    #[error("{0}")]
    Disconnect(Disconnect),
}

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Self {
        Self::Error(error)
    }
}

impl From<Disconnect> for Refusal {
    fn from(why: Disconnect) -> Self {
        Self::Disconnect(why)
    }
}
