use std::sync::Arc;
use std::time::Duration;

use tidegate_core::{Lag, outbox};

use crate::http::Limits;
use crate::takeover::Takeover;

/// The bounds that every connection of a server is held to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How often clients are pinged. 25 s: below the 30 s after which middle boxes forget idle connections.
    pub ping_interval: Duration,
    /// How long a client may take to answer a ping; zero: it need not answer. 8 s.
    pub pong_timeout: Duration,
    /// Subscriptions of one connection. 128.
    pub channel_limit: usize,
    /// How far behind a subscription may be, in bytes. 1 MiB.
    pub queue_max_size: usize,
    /// How far behind a subscription may be, in entries; `None` leaves it to the channel's window. Together with
    /// `queue_max_size` also how far a publisher that waits for room may leave one behind.
    pub queue_max_entries: Option<usize>,
    /// How far behind all subscriptions of a connection may be together. 16,384 entries and 4 MiB: what four
    /// windows hold, and four subscriptions may be behind.
    pub connection_behind: Lag,
    /// Bytes of replies and other control messages that wait for a client at which no more of its commands are
    /// done. 64 KiB: some 500 replies.
    pub control_queue: usize,
    /// How long a publisher may wait for room at most, whatever it asks for. 10 s: below the time-outs of HTTP
    /// clients and proxies.
    pub publish_wait_limit: Duration,
    /// How long a connection may take nothing before its subscriptions are judged at the latest. 1 s.
    pub write_timeout: Duration,
    /// How long it may take nothing before it is closed. 30 s: a phone that goes through a tunnel.
    pub stalled_close_delay: Duration,
    /// What a blocked connection has to take within `stalled_close_delay`, in bytes, unless it has caught up
    /// before. 4 KiB, 136 bytes a second: the slowest of mobile networks is ten times as fast, while a byte a
    /// second keeps nobody alive.
    pub stalled_min_bytes: usize,
    /// How long a message may take from its first byte to its last. 30 s: 64 KiB over 20 kbit/s.
    pub message_timeout: Duration,
    /// Control frames of the transport, such as WebSocket pings, that a client may send in a second; `None` is
    /// unlimited. 64: libraries send one in several seconds.
    pub control_frame_limit: Option<u32>,
    /// What is read of a client while its request is still being done, in bytes. 64 KiB, a message of the
    /// usual largest size: its pongs are seen, and so is its end.
    pub read_ahead: usize,
    /// How long a client may take to close once the server has; and how long what it asked for may still take
    /// once it has gone itself. 1 s: its place is to be free within two.
    pub close_timeout: Duration,
    /// How long brokers, and then hooks, may take for the clean-up behind a connection. 10 s: those that
    /// answer do so within this.
    pub leave_timeout: Duration,
    /// How long an expired connection may take to refresh. 25 s.
    pub expired_close_delay: Duration,
    /// How long an expired subscription may take to refresh. 25 s.
    pub expired_sub_close_delay: Duration,
    /// How often a client is listed as present again, and expired subscriptions are looked for. 27 s.
    pub presence_update_interval: Duration,
    /// Publications of one page of history. 300.
    pub history_limit: usize,
    /// Publications that one recovery may bring. 300.
    pub recovery_limit: usize,
    /// Connections of one user; `None` is unlimited.
    pub user_connection_limit: Option<usize>,
    /// What happens when a user connects again.
    pub duplicate_user: DuplicateUser,
    /// How often connections of a user may take over from each other.
    pub takeover: Takeover,
    /// How long the application is not told of a newcomer because the connection it displaces is still cleaned
    /// up behind. 5 s; then the newcomer's requests go on, out of order.
    pub takeover_timeout: Duration,
    /// Whether the connect reply tells the server's time.
    pub server_time: bool,
    /// The connections of an HTTP port that are no clients. 1024, and no bound for one network.
    pub http: Limits,
    /// Connections of a listener that are told at once that there is no room; others are closed without a
    /// word. 256: each holds a descriptor for up to a second.
    pub refusals: usize,
}

/// What happens when a user connects who is connected already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DuplicateUser {
    /// Both stay.
    #[default]
    Keep,
    /// The newcomer is refused, with code 3504.
    Refuse,
    /// The newcomer stays; the others are closed, with code 3504.
    TakeOver,
}

impl Settings {
    /// How far behind a subscription may be.
    pub(crate) fn subscription_behind(&self) -> Lag {
        let entries = self.queue_max_entries.map_or(u64::MAX, |entries| entries as u64);
        Lag { entries, bytes: self.queue_max_size as u64 }
    }

    /// What a connection's outbox is bound by.
    pub(crate) fn outbox(&self) -> Arc<outbox::Limits> {
        Arc::new(outbox::Limits {
            control: self.control_queue,
            behind: self.connection_behind,
            ..Default::default()
        })
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(8),
            channel_limit: 128,
            queue_max_size: 1 << 20,
            queue_max_entries: None,
            connection_behind: tidegate_core::outbox::Limits::default().behind,
            control_queue: tidegate_core::outbox::Limits::default().control,
            publish_wait_limit: Duration::from_secs(10),
            write_timeout: Duration::from_secs(1),
            stalled_close_delay: Duration::from_secs(30),
            stalled_min_bytes: 4096,
            message_timeout: Duration::from_secs(30),
            control_frame_limit: Some(64),
            read_ahead: 64 * 1024,
            close_timeout: Duration::from_secs(1),
            leave_timeout: Duration::from_secs(10),
            expired_close_delay: Duration::from_secs(25),
            expired_sub_close_delay: Duration::from_secs(25),
            presence_update_interval: Duration::from_secs(27),
            history_limit: 300,
            recovery_limit: 300,
            user_connection_limit: None,
            duplicate_user: DuplicateUser::Keep,
            takeover: Takeover::default(),
            takeover_timeout: Duration::from_secs(5),
            server_time: false,
            http: Limits { connections: Some(1024), ..Limits::default() },
            refusals: 256,
        }
    }
}
