use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

/// One message to a channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Publication {
    /// The payload, as its publisher wrote it.
    pub data: Bytes,
    /// Who published it, where a client did.
    pub info: Option<Arc<ClientInfo>>,
    /// Its place in the channel's stream, from 1; 0 where the channel keeps no history.
    pub offset: u64,
    /// The life of the stream that `offset` counts in; empty where the channel keeps no history.
    pub epoch: Option<Arc<str>>,
    /// The publisher's own labels, which filters look at.
    pub tags: Option<Arc<BTreeMap<String, String>>>,
    /// What it is the newest state of, where the policy is "latest per key".
    pub key: Option<Arc<str>>,
    /// The publisher's version of the document; 0 for none.
    pub version: u64,
    /// When it was published, in milliseconds since 1970-01-01T00:00Z; 0 for unknown.
    pub time: i64,
    /// Whether subscribers that take deltas may get it as one.
    pub delta: bool,
}

impl Publication {
    /// A publication of `data` and nothing else.
    pub fn new(data: impl Into<Bytes>) -> Self {
        Self { data: data.into(), ..Self::default() }
    }

    /// What it counts for against a window, in bytes: its payload and what is kept beside it.
    pub(crate) fn weight(&self) -> usize {
        let tags = self.tags.as_ref().map_or(0, |t| t.iter().map(|(k, v)| k.len() + v.len() + 48).sum());
        let key = self.key.as_ref().map_or(0, |key| key.len() + KEY_OVERHEAD);
        self.data.len() + tags + key
    }
}

/// What a key costs beside its text: its places in a log's account of keys.
const KEY_OVERHEAD: usize = 64;

/// Who a client is, as other clients may see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientInfo {
    /// The user's id; empty for an anonymous one.
    pub user: Arc<str>,
    /// The connection's id.
    pub client: Arc<str>,
    /// What the authenticator attached to the connection.
    pub connection: Bytes,
    /// What it attached to this subscription.
    pub channel: Bytes,
}
