use std::time::Duration;

/// Bounds and times of a client. Each has a default.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// How long opening a connection, and each answer of the server, may take. 5 s, as in the SDKs.
    pub(crate) timeout: Duration,
    /// How much later than announced the server's ping may come before the connection is given up. 10 s, as in the
    /// SDKs.
    pub(crate) max_ping_delay: Duration,
    /// The pauses before connecting again. 0.5 to 20 s, as in the SDKs.
    pub(crate) reconnect: (Duration, Duration),
    /// The pauses before subscribing again. 0.5 to 20 s, as in the SDKs.
    pub(crate) resubscribe: (Duration, Duration),
    /// The largest frame that is taken, in bytes. 16 MiB: a subscribe reply brings up to 300 publications at once.
    pub(crate) message_size_limit: usize,
    /// Events of the client that wait to be read. 1,024.
    pub(crate) event_buffer: usize,
}

/// Calls that wait for the client's task. 256: a task that takes none is behind with writing, and the callers wait.
pub(crate) const REQUESTS: usize = 256;

/// Commands are joined in a frame up to this size, in bytes. 16 KiB: servers take 64 KiB by default.
pub(crate) const FRAME: usize = 16 << 10;

/// Bytes of commands that wait to be written; beyond that no calls are taken. 256 KiB.
pub(crate) const OUTGOING: usize = 256 << 10;

/// How long a goodbye may take. 1 s: the server learns of a closed connection anyway.
pub(crate) const GOODBYE: Duration = Duration::from_secs(1);

/// Bytes of a client's events that wait to be read. 4 MiB.
pub(crate) const EVENT_BYTES: usize = 4 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            max_ping_delay: Duration::from_secs(10),
            reconnect: (Duration::from_millis(500), Duration::from_secs(20)),
            resubscribe: (Duration::from_millis(500), Duration::from_secs(20)),
            message_size_limit: 16 << 20,
            event_buffer: 1024,
        }
    }
}
