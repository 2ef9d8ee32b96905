use std::time::{Duration, Instant};

use tidegate_protocol::message::{self, ConnectRequest, ConnectResult, RefreshRequest, SubscribeRequest};
use tidegate_protocol::{Command, Disconnect, ErrorCode};

use super::calls::{What, is_temporary};
use super::{Action, Backoff, Config, Lost, Machine, own, usable};
use crate::{ClientEvent, Connected, Event, TokenError, Trouble, Why};

/// What there is of a connection.
#[derive(Debug)]
pub(super) enum Link {
    /// Nothing yet.
    New,
    /// The pause before the next attempt.
    Resting { until: Instant },
    /// A token is being fetched.
    AskingToken,
    /// A transport is being opened.
    Opening { until: Instant },
    /// The connect command was sent.
    Greeting,
    /// Connected.
    Open(Session),
    /// Disconnected for good.
    Over(Why),
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Session {
    /// When anything came last: a server that sends is alive.
    heard: Instant,
    /// How often the server pings; zero if it does not.
    ping: Duration,
    pong: bool,
    refresh: Refresh,
}

/// What is done about the end of what a token grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refresh {
    /// Nothing: it does not end, or something is under way.
    Idle,
    At(Instant),
    /// A token is being fetched for it.
    Fetching,
}

/// How long a server may make a client wait with `Retry-After`, at most. 10 minutes: longer is a mistake, or malice.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(600);

/// The pause before a token that could not be had, or was not taken, is tried again. 10 to 20 s, as in the SDKs.
pub(super) const REFRESH_RETRY: Backoff =
    Backoff { min: Duration::from_secs(10), max: Duration::from_secs(20) };

impl Link {
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// Whether commands may be sent: those behind the connect command are done after it.
    pub(super) fn takes_subscribes(&self) -> bool {
        matches!(self, Self::Open(_) | Self::Greeting)
    }

    pub(super) fn answers_pings(&self) -> bool {
        matches!(self, Self::Open(session) if session.pong)
    }

    pub(super) fn deadline(&self, config: &Config, listening: bool) -> Option<Instant> {
        match self {
            Self::Resting { until } | Self::Opening { until } => Some(*until),
            Self::Open(session) => {
                let refresh = match session.refresh {
                    Refresh::At(at) => Some(at),
                    Refresh::Idle | Refresh::Fetching => None,
                };
                let dead = session.dead_at(config).filter(|_| listening);
                refresh.into_iter().chain(dead).min()
            }
            Self::New | Self::AskingToken | Self::Greeting | Self::Over(_) => None,
        }
    }
}

impl Session {
    /// When to take the server for dead.
    fn dead_at(&self, config: &Config) -> Option<Instant> {
        (!self.ping.is_zero()).then(|| self.heard + self.ping + config.max_ping_delay)
    }
}

impl Machine {
    /// Begins to connect.
    pub(crate) fn start(&mut self, now: Instant) {
        if matches!(self.link, Link::New) {
            self.tell(ClientEvent::Connecting(Why::new(own::CALLED, "connect called")));
            self.attempt(now);
        }
    }

    /// Disconnects for good.
    pub(crate) fn disconnect(&mut self) {
        self.over(Why::new(own::CALLED, "disconnect called"));
    }

    /// Why the client is disconnected, if it is.
    pub(crate) fn is_over(&self) -> Option<&Why> {
        match &self.link {
            Link::Over(why) => Some(why),
            _ => None,
        }
    }

    /// The transport is open.
    pub(crate) fn opened(&mut self, now: Instant) {
        if !matches!(self.link, Link::Opening { .. }) {
            return;
        }
        let subs = self.server_subs.iter().filter(|(_, track)| track.is_recoverable());
        let subs = subs.map(|(channel, track)| {
            let mut request = SubscribeRequest::default();
            track.ask(&mut request);
            (channel.clone(), request)
        });
        let connect = ConnectRequest {
            token: self.token.clone(),
            data: self.config.data.clone(),
            subs: subs.collect(),
            name: self.config.name.clone(),
            version: self.config.version.clone(),
            headers: self.config.headers.clone(),
            ..Default::default()
        };
        self.link = Link::Greeting;
        self.ask(Command { connect: Some(connect.into()), ..Default::default() }, What::Connect, now);
        // In the same frame: it saves a round trip, and the server does them in order.
        self.subscribe_all(now);
    }

    /// The transport could not be opened; the server wants us to wait for so long at least.
    pub(crate) fn refused(&mut self, what: String, pause: Option<Duration>, now: Instant) {
        if !matches!(self.link, Link::Opening { .. }) {
            return;
        }
        self.trouble(Trouble::Connect(what));
        self.rest(now);
        if let (Link::Resting { until }, Some(pause)) = (&mut self.link, pause) {
            *until = (*until).max(now + pause.min(LONGEST_RETRY_AFTER));
        }
    }

    /// The transport has ended.
    pub(crate) fn lost(&mut self, how: Lost, now: Instant) {
        match how {
            Lost::Closed(why) if is_terminal(why.code) => self.over(why),
            Lost::Closed(why) if why.code == 1009 => {
                self.over(Why::new(own::MESSAGE_SIZE_LIMIT, "message size limit"));
            }
            Lost::Closed(why) if why.code >= 3000 => self.retry(why, now),
            Lost::Closed(_) => self.retry(Why::new(own::TRANSPORT_CLOSED, "transport closed"), now),
            Lost::Failed(what) => {
                if matches!(self.link, Link::Greeting) {
                    self.trouble(Trouble::Connect(what));
                }
                self.retry(Why::new(own::TRANSPORT_CLOSED, "transport closed"), now);
            }
            Lost::Unreadable(why) => self.over(why),
        }
    }

    /// A token for the connection has come, or there is none.
    pub(crate) fn token(&mut self, token: Result<String, TokenError>, now: Instant) {
        self.fetching = false;
        let token = match usable(token) {
            Ok(token) => token,
            Err(TokenError::Unauthorized) => {
                return self.over(Why::new(own::UNAUTHORIZED, "unauthorized"));
            }
            Err(TokenError::Unavailable(what)) => {
                return match &self.link {
                    Link::AskingToken => {
                        self.trouble(Trouble::Token(what));
                        self.rest(now);
                    }
                    Link::Open(session) if session.refresh == Refresh::Fetching => {
                        self.trouble(Trouble::Token(what));
                        self.refresh_later(now);
                    }
                    _ => {}
                };
            }
        };
        self.token.clone_from(&token);
        self.token_expired = false;
        match &mut self.link {
            Link::AskingToken => self.open(now),
            Link::Open(session) if session.refresh == Refresh::Fetching => {
                session.refresh = Refresh::Idle;
                let refresh = Some(RefreshRequest { token });
                self.ask(Command { refresh, ..Default::default() }, What::Refresh, now);
            }
            _ => {}
        }
    }

    pub(super) fn link_elapsed(&mut self, now: Instant) {
        match &mut self.link {
            Link::Resting { until } if *until <= now => self.attempt(now),
            Link::Opening { until } if *until <= now => {
                self.actions.push_back(Action::Close);
                self.trouble(Trouble::Connect("no connection within the time limit".to_owned()));
                self.rest(now);
            }
            Link::Open(session) => {
                if matches!(session.refresh, Refresh::At(at) if at <= now) {
                    session.refresh = Refresh::Fetching;
                    self.fetch();
                } else if self.listening && session.dead_at(&self.config).is_some_and(|at| at <= now) {
                    self.retry(Why::new(own::NO_PING, "no ping"), now);
                }
            }
            _ => {}
        }
    }

    pub(super) fn heard(&mut self, now: Instant) {
        if let Link::Open(session) = &mut self.link {
            session.heard = now;
        }
    }

    pub(super) fn connected(&mut self, result: ConnectResult, now: Instant) {
        self.attempts = 0;
        let ping = Duration::from_secs(result.ping.into());
        self.link = Link::Open(Session { heard: now, ping, pong: result.pong, refresh: Refresh::Idle });
        self.expires(result.expires, result.ttl, now);
        self.tell(ClientEvent::Connected(Connected {
            client: result.client,
            version: result.version,
            data: result.data,
        }));
        self.server_subscribed(result.subs);
        self.subscribe_all(now);
        for (command, answer) in self.calls.ready() {
            self.send_call(command, answer, now);
        }
    }

    pub(super) fn connect_failed(&mut self, error: message::Error, now: Instant) {
        let expired = error.code == ErrorCode::TokenExpired.code();
        if expired && self.config.token_source {
            self.token_expired = true;
        } else if !is_temporary(&error) {
            return self.over(Why::new(error.code, error.message));
        }
        self.trouble(Trouble::Connect(format!("{} (error {})", error.message, error.code)));
        self.retry(Why::new(error.code, error.message), now);
    }

    /// What the connection's token grants ends in so many seconds, or does not end.
    pub(super) fn expires(&mut self, expires: bool, ttl: u32, now: Instant) {
        if let Link::Open(session) = &mut self.link {
            let at = Refresh::At(now + Duration::from_secs(ttl.into()));
            session.refresh = if expires && self.config.token_source { at } else { Refresh::Idle };
        }
    }

    pub(super) fn refresh_failed(&mut self, what: String, now: Instant) {
        self.trouble(Trouble::Refresh(what));
        self.refresh_later(now);
    }

    fn refresh_later(&mut self, now: Instant) {
        let at = now + REFRESH_RETRY.pause(0, &mut self.rng);
        if let Link::Open(session) = &mut self.link {
            session.refresh = Refresh::At(at);
        }
    }

    /// Ends the connection and begins another after a pause.
    pub(super) fn retry(&mut self, why: Why, now: Instant) {
        match self.link {
            Link::Over(_) | Link::New | Link::Resting { .. } => return,
            Link::Open(_) => self.tell(ClientEvent::Connecting(why.clone())),
            _ => {}
        }
        if why.code == Disconnect::STATE_INVALIDATED.code() {
            self.token_expired |= self.config.token_source;
            self.invalidate_all();
        }
        self.actions.push_back(Action::Close);
        self.calls.lose();
        self.subs_down(&why);
        self.rest(now);
    }

    /// Ends everything.
    pub(super) fn over(&mut self, why: Why) {
        if matches!(self.link, Link::Over(_)) {
            return;
        }
        self.actions.push_back(Action::Close);
        self.calls.lose();
        self.link = Link::Over(why.clone());
        self.calls.refuse(&why);
        self.by_channel.clear();
        for id in std::mem::take(&mut self.subs).into_keys() {
            self.tell_sub(id, Event::Unsubscribed(why.clone()));
        }
        for channel in std::mem::take(&mut self.server_subs).into_keys() {
            self.tell(ClientEvent::Channel { channel, event: Event::Unsubscribed(why.clone()) });
        }
        self.tell(ClientEvent::Disconnected(why));
    }

    /// The pause before the next attempt.
    fn rest(&mut self, now: Instant) {
        let pause = self.config.reconnect.pause(self.attempts, &mut self.rng);
        self.attempts = self.attempts.saturating_add(1);
        self.link = Link::Resting { until: now + pause };
    }

    fn attempt(&mut self, now: Instant) {
        if self.config.token_source && (self.token.is_empty() || self.token_expired) {
            self.link = Link::AskingToken;
            self.fetch();
        } else {
            self.open(now);
        }
    }

    fn open(&mut self, now: Instant) {
        self.link = Link::Opening { until: now + self.config.timeout };
        self.actions.push_back(Action::Open);
    }

    fn fetch(&mut self) {
        if !std::mem::replace(&mut self.fetching, true) {
            self.actions.push_back(Action::Token);
        }
    }
}

/// Whether a disconnect code says that it is of no use to come back.
fn is_terminal(code: u32) -> bool {
    matches!(code, 3500..=3999 | 4500..=4999)
}
