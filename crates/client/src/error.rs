use crate::Why;

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server refused. Nothing was done.
    #[error("the server refused: {message} (error {code})")]
    Refused {
        /// The number of the error: the protocol's below 400, the application's from 400 on.
        code: u32,
        /// The text of the error.
        message: String,
        /// Whether the same may succeed later.
        temporary: bool,
    },
    /// There was no answer in time. If the call had been sent, the server may have done it.
    #[error("no answer within the time limit")]
    Timeout,
    /// The connection was lost before the answer came. The server may have done it.
    #[error("the connection was lost before the answer came")]
    ConnectionLost,
    /// The client is disconnected, and stays so.
    #[error("the client is disconnected: {0}")]
    Disconnected(Why),
    /// The encoding is JSON, and the payload is not: nothing was sent.
    #[error("expected a payload that is one JSON value, as the client speaks JSON, got something else")]
    NotJson,
}

/// Why there is no client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The URL names no server.
    #[error("URL is {url:?}: {expected}")]
    Url {
        /// The URL.
        url: String,
        /// What was expected of it.
        expected: &'static str,
    },
    /// The data for the server is not JSON, which the client speaks.
    #[error("expected connect data that is one JSON value, as the client speaks JSON, got something else")]
    NotJson,
    /// The certificates to be trusted cannot be used.
    #[error("certificates to be trusted: {0}")]
    Trust(String),
}

/// Why there is no subscription.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The client has a subscription of the channel. Drop that one first.
    #[error("there is a subscription of {0:?} already; expected one for each channel")]
    AlreadySubscribed(String),
    /// The channel is empty.
    #[error("the channel is empty; expected 1 to 255 bytes")]
    NoChannel,
    /// The client is disconnected, and stays so.
    #[error("the client is disconnected: {0}")]
    Disconnected(Why),
    /// The encoding is JSON, and the data for the server is not.
    #[error("expected subscribe data that is one JSON value, as the client speaks JSON, got something else")]
    NotJson,
}
