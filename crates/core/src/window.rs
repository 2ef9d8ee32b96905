use std::time::Duration;

/// How much of a channel is kept for subscribers that are behind.
///
/// A window only ever holds entries while somebody is behind: when every subscriber has read to the end,
/// the log is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Most entries kept. 4,096 is a minute of a busy channel.
    pub entries: usize,
    /// Most bytes kept, payloads and their overhead. 2 MiB: twice what one subscriber may lag behind by
    /// default, so that a policy judges before entries are lost.
    pub bytes: usize,
    /// How long an entry is kept at most. 60 s: a client that was away longer reconnects anyway.
    pub age: Duration,
    /// Most keys whose latest publication is kept beyond that, for [`LatestPerKey`](crate::LatestPerKey)
    /// subscriptions; 0 keeps none, and no account of keys. `age` holds for them, too.
    pub keys: usize,
    /// Most bytes of these, payloads and their overhead.
    pub key_bytes: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { entries: 4096, bytes: 2 << 20, age: Duration::from_secs(60), keys: 0, key_bytes: 0 }
    }
}

impl Window {
    /// The largest entry that fits: a quarter of the window, so that one publication cannot push out all
    /// that others are about to read.
    pub fn largest(&self) -> usize {
        self.bytes / 4
    }
}
