//! What a seed stands for: a server's bounds, its channels, its clients and what befalls them.

use std::sync::Arc;
use std::time::Duration;

use tidegate_server::core::memory::Limits;
use tidegate_server::core::{
    Backpressure, Caps, Channel, CloseConnection, EndSubscription, HistoryBounds, Lag, SkipToLatest,
    SkipToOldest, SubscribeGrant, Window,
};
use tidegate_server::{DuplicateUser, Settings, Shutdown};

use crate::dice::Dice;

/// Seeds from here on are of subscribing with history only.
pub(crate) const SUBSCRIBING: u64 = 1 << 32;

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) limits: Limits,
    pub(crate) settings: Settings,
    pub(crate) caps: Caps,
    pub(crate) window: Window,
    pub(crate) memory_limit: usize,
    pub(crate) shutdown: Shutdown,
    pub(crate) channels: Vec<ChannelPlan>,
    pub(crate) guests: Vec<GuestPlan>,
    pub(crate) publishers: u64,
    /// How much each of them publishes at most.
    pub(crate) publications: u64,
    /// The longest pause of a client, in milliseconds.
    pub(crate) pace: u64,
    /// Clients subscribe and unsubscribe, and do little else.
    pub(crate) fickle: bool,
    /// The longest pause of a publisher, in milliseconds.
    pub(crate) pause: u64,
    /// How often the application's own calls come, in milliseconds; 0 is never.
    pub(crate) calls: u64,
    /// How often the broker and the authenticator take their time, in percent.
    pub(crate) late: u64,
    /// How long clients and publishers are busy.
    pub(crate) busy: Duration,
    /// Then everything comes to rest, and is looked at, before the server is stopped.
    pub(crate) rest: bool,
    /// When most clients vanish at once.
    pub(crate) mass_drop: Option<Duration>,
}

#[derive(Clone, Debug)]
pub(crate) struct ChannelPlan {
    pub(crate) name: Channel,
    pub(crate) history: HistoryBounds,
    pub(crate) recoverable: bool,
    pub(crate) positioned: bool,
    pub(crate) announce: bool,
    pub(crate) join_leave: bool,
    pub(crate) presence: bool,
    pub(crate) policy: Policy,
}

/// What happens to who is too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    SkipToOldest,
    SkipToLatest(u64),
    End(u64),
    Close(u64),
}

#[derive(Clone, Debug)]
pub(crate) struct GuestPlan {
    pub(crate) user: String,
    pub(crate) protobuf: bool,
    /// It asks to be told of gaps.
    pub(crate) notices: bool,
    pub(crate) temper: Temper,
    /// Channels that the server subscribes it to.
    pub(crate) channels: Vec<usize>,
}

/// What a client is prone to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Temper {
    /// It reads, always.
    Calm,
    /// It stops reading for a while.
    Stalling,
    /// It reads a few bytes now and then.
    Nibbling,
    /// It vanishes, and comes back.
    Dropping,
    /// It breaks every rule.
    Rude,
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        if seed < SUBSCRIBING { Self::of_everything(seed) } else { Self::of_subscribing(seed) }
    }

    /// Clients that do little but subscribe, recover and leave, to channels that are published to all the
    /// while, and a broker that is mostly late.
    fn of_subscribing(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 4);
        let mut plan = Self::of_everything(seed);
        plan.channels.truncate(2);
        for channel in &mut plan.channels {
            channel.history.size = dice.pick(&[0, 10, 1_000]);
            channel.history.ttl = Duration::from_secs(if channel.history.size > 0 { 3_600 } else { 0 });
            channel.recoverable = channel.history.is_kept() && dice.percent(80);
            channel.positioned &= channel.history.is_kept();
        }
        plan.guests.truncate(4);
        for guest in &mut plan.guests {
            guest.temper = Temper::Calm;
            guest.channels.clear();
        }
        plan.settings.user_connection_limit = None;
        plan.settings.duplicate_user = DuplicateUser::Keep;
        plan.caps = Caps::default();
        plan.mass_drop = None;
        plan.calls = 0;
        plan.late = dice.pick(&[50, 90, 100]);
        plan.publishers = 2;
        plan.publications = 60;
        plan.pause = dice.pick(&[1, 10, 30]);
        plan.pace = dice.pick(&[10, 40]);
        plan.fickle = true;
        plan.busy = dice.millis(100, 500);
        plan.rest = true;
        plan
    }

    fn of_everything(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 1);
        let d = &mut dice;
        let calm = d.percent(20);
        let crowd = d.percent(4);
        let channels: Vec<_> = (0..d.between(2, 6)).map(|i| ChannelPlan::new(i, d)).collect();
        let users = d.between(2, 8);
        let count = if crowd { d.between(70, 90) } else { d.between(2, 10) };
        let guests = (0..count).map(|_| GuestPlan::new(users, calm || crowd, channels.len(), d)).collect();
        let stalled = d.pick(&[500, 2_000, 8_000, 30_000]);
        let window_bytes = d.pick(&[4 << 10, 16 << 10, 64 << 10, 2 << 20]);
        Self {
            seed,
            limits: Limits { capacity: d.pick(&[48, 200, 1_000, 4_096, 65_536]), message: 16 << 10 },
            settings: Settings {
                ping_interval: Duration::from_millis(d.pick(&[0, 4_000, 25_000])),
                pong_timeout: Duration::from_millis(d.pick(&[0, 1_500, 3_000])),
                channel_limit: d.pick(&[3, 128, 128]),
                write_timeout: d.millis(100, 1_000),
                stalled_close_delay: Duration::from_millis(stalled),
                close_timeout: d.millis(100, 1_000),
                presence_update_interval: d.millis(1_000, 27_000),
                history_limit: d.pick(&[5, 300]),
                recovery_limit: d.pick(&[4, 30, 300]),
                user_connection_limit: d.pick(&[None, None, Some(2)]),
                duplicate_user: d.pick(&[
                    DuplicateUser::Keep,
                    DuplicateUser::Keep,
                    DuplicateUser::Refuse,
                    DuplicateUser::TakeOver,
                ]),
                ..Settings::default()
            },
            caps: Caps { total: d.percent(25).then(|| d.index(8) + 1), ..Caps::default() },
            window: Window {
                entries: d.pick(&[3, 8, 40, 4_096]),
                bytes: window_bytes,
                age: Duration::from_millis(d.pick(&[300, 5_000, 60_000])),
                ..Window::default()
            },
            memory_limit: d.pick(&[0, 8 << 10, 64 << 10, 1 << 20]),
            shutdown: Shutdown {
                timeout: d.millis(1_000, 40_000),
                spread: Duration::from_millis(d.pick(&[0, 0, 900])),
            },
            publishers: d.between(1, 3),
            publications: d.pick(&[50, 300, 1_000]),
            pace: 500,
            fickle: false,
            pause: d.pick(&[5, 50, 400]),
            calls: d.pick(&[0, 150, 800]),
            late: d.pick(&[0, 10, 50]),
            busy: if crowd { d.millis(200, 1_500) } else { d.millis(500, 8_000) },
            rest: d.percent(60),
            mass_drop: d.percent(20).then(|| d.millis(100, 4_000)),
            channels,
            guests,
        }
    }
}

impl ChannelPlan {
    fn new(number: u64, d: &mut Dice) -> Self {
        let kept = d.percent(60);
        let size = if kept { d.pick(&[2, 10, 60]) } else { 0 };
        // Streams that are forgotten after a moment begin other lives under their subscribers.
        let meta = if d.percent(15) { 700 } else { 3_600_000 };
        let history = HistoryBounds {
            size,
            ttl: Duration::from_secs(if kept { 3_600 } else { 0 }),
            meta_ttl: Duration::from_millis(meta),
        };
        let recoverable = kept && d.percent(70);
        // Two entries at least: one alone must not be too much for whoever is about to read it.
        let bytes = d.pick(&[1_500, 4_000, 1 << 20]);
        Self {
            name: format!("{}{number}", if kept { "kept" } else { "plain" }).as_str().into(),
            history,
            recoverable,
            positioned: kept && d.percent(50),
            announce: d.percent(30),
            join_leave: d.percent(30),
            presence: d.percent(30),
            policy: match d.index(5) {
                0 | 1 => Policy::SkipToOldest,
                2 => Policy::SkipToLatest(bytes),
                3 => Policy::End(bytes),
                _ => Policy::Close(bytes),
            },
        }
    }

    pub(crate) fn grant(&self) -> SubscribeGrant {
        SubscribeGrant {
            positioned: self.positioned,
            recoverable: self.recoverable,
            announce: self.announce,
            join_leave: self.join_leave,
            presence: self.presence,
            history: self.history,
            policy: self.policy.policy(),
            ..SubscribeGrant::default()
        }
    }

    /// Its stream is never forgotten while a simulation lasts.
    pub(crate) fn is_lasting(&self) -> bool {
        self.history.meta_ttl > Duration::from_secs(60)
    }
}

impl Policy {
    fn policy(self) -> Arc<dyn Backpressure> {
        match self {
            Self::SkipToOldest => Arc::new(SkipToOldest),
            Self::SkipToLatest(bytes) => Arc::new(SkipToLatest { beyond: Lag::bytes(bytes) }),
            Self::End(bytes) => Arc::new(EndSubscription { beyond: Lag::bytes(bytes) }),
            Self::Close(bytes) => Arc::new(CloseConnection::slow(Lag::bytes(bytes))),
        }
    }

    pub(crate) fn skips(self) -> bool {
        matches!(self, Self::SkipToOldest | Self::SkipToLatest(_))
    }
}

impl GuestPlan {
    fn new(users: u64, calm: bool, channels: usize, d: &mut Dice) -> Self {
        let temper = match d.index(8) {
            _ if calm => Temper::Calm,
            0..=2 => Temper::Calm,
            3 => Temper::Stalling,
            4 => Temper::Nibbling,
            5 | 6 => Temper::Dropping,
            _ => Temper::Rude,
        };
        let user = d.between(0, users);
        Self {
            // The first is anonymous.
            user: if user == 0 { String::new() } else { format!("user{user}") },
            protobuf: d.percent(40),
            notices: d.percent(70),
            temper,
            channels: (0..channels).filter(|_| d.percent(12)).collect(),
        }
    }
}
