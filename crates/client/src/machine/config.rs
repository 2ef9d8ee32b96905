use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tidegate_protocol::Encoding;

use super::Backoff;

/// What a client does by, for all of its life.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) encoding: Encoding,
    /// The first token of the connection; empty for none.
    pub(crate) token: String,
    /// There is a source of tokens.
    pub(crate) token_source: bool,
    pub(crate) data: Bytes,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) headers: BTreeMap<String, String>,
    /// How long opening, and an answer, may take.
    pub(crate) timeout: Duration,
    /// How much later than announced a ping may come.
    pub(crate) max_ping_delay: Duration,
    pub(crate) reconnect: Backoff,
    pub(crate) resubscribe: Backoff,
    /// The longest payload that a patch may make, in bytes.
    pub(crate) message_size_limit: usize,
    /// `message` pushes that Tidegate makes are told as what they are.
    pub(crate) notices: bool,
    /// There is no URL to ask for them in, so each subscription does.
    pub(crate) notices_by_data: bool,
}
