//! The client as a state machine: what it does about what it is asked, what comes and what time it is.
//!
//! Does no I/O and reads no clock. Its user gives it everything that happens, each with the time, then takes the
//! [`Action`]s that follow, and comes back at the [deadline](Machine::deadline) at the latest. The states are those
//! of the Centrifuge client SDKs; that a disconnected client stays so is our own.

mod backoff;
mod calls;
mod config;
mod connecting;
mod notices;
mod pushes;
mod subs;
mod track;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

use tidegate_protocol::{Command, Push, Reply};

pub(crate) use self::backoff::Backoff;
pub(crate) use self::calls::Answer;
use self::calls::{Calls, What};
pub(crate) use self::config::Config;
use self::connecting::Link;
use self::subs::Sub;
pub(crate) use self::subs::{SubId, SubOptions};
use self::track::Track;
use crate::{ClientEvent, Event, TokenError, Trouble, Why};

/// What is to be done next, in order.
#[derive(Debug)]
pub(crate) enum Action {
    /// Open a transport, then say [`opened`](Machine::opened) or [`refused`](Machine::refused).
    Open,
    /// Close the transport, or stop opening it. What it brings from now on is not to be told.
    Close,
    /// Send a command.
    Send(Box<Command>),
    /// Answer a ping.
    Pong,
    /// Get a token for the connection, then say [`token`](Machine::token).
    Token,
    /// Get a token for a subscription, then say [`sub_token`](Machine::sub_token).
    SubToken(SubId),
    /// Tell the program of the client.
    Client(ClientEvent),
    /// Tell the program of a subscription. After [`Event::Unsubscribed`] it is not known any more.
    Sub(SubId, Event),
    /// A subscription is live, by the subscribe command of this id.
    Live(SubId, u32),
    /// The subscription that this command began is live no more.
    Dead(u32),
}

/// How a transport ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The server closed it, with a code.
    Closed(Why),
    /// It failed, or ended without a word.
    Failed(String),
    /// What came follows no protocol, or is larger than is taken.
    Unreadable(Why),
}

/// The client's state, and all that follows from it. See the [module](self).
#[derive(Debug)]
pub(crate) struct Machine {
    config: Config,
    rng: fastrand::Rng,
    link: Link,
    /// Attempts to connect since the last connection.
    attempts: u32,
    /// The token of the connection; empty if there is none yet.
    token: String,
    /// The token was refused as expired.
    token_expired: bool,
    /// A token is being fetched.
    fetching: bool,
    /// Whether the transport is listened to.
    listening: bool,
    last_id: u32,
    calls: Calls,
    subs: BTreeMap<SubId, Sub>,
    by_channel: HashMap<String, SubId>,
    /// What the server subscribed us to.
    server_subs: BTreeMap<String, Track>,
    actions: VecDeque<Action>,
}

/// Codes of the client's own, as the SDKs have them.
pub(crate) mod own {
    pub(crate) const CALLED: u32 = 0;
    pub(crate) const TRANSPORT_CLOSED: u32 = 1;
    pub(crate) const NO_PING: u32 = 2;
    pub(crate) const SUBSCRIBE_TIMEOUT: u32 = 3;
    pub(crate) const UNSUBSCRIBE_ERROR: u32 = 4;
    pub(crate) const UNAUTHORIZED: u32 = 1;
    pub(crate) const BAD_PROTOCOL: u32 = 2;
    pub(crate) const MESSAGE_SIZE_LIMIT: u32 = 3;
    /// Not of the SDKs: the subscription's reader is behind ([`Overflow::Recover`](crate::Overflow::Recover)).
    pub(crate) const READER_BEHIND: u32 = 50;
    /// Not of the SDKs: a patch fits nothing we have.
    pub(crate) const BAD_PATCH: u32 = 51;
    /// Not of the SDKs: the client's task has ended by itself.
    pub(crate) const GONE: u32 = 52;
}

impl Machine {
    pub(crate) fn new(config: Config, seed: u64) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
            link: Link::New,
            attempts: 0,
            token: config.token.clone(),
            token_expired: false,
            fetching: false,
            listening: true,
            last_id: 0,
            calls: Calls::new(config.timeout),
            subs: BTreeMap::new(),
            by_channel: HashMap::new(),
            server_subs: BTreeMap::new(),
            actions: VecDeque::new(),
            config,
        }
    }

    /// What is to be done next.
    pub(crate) fn action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to come back, if nothing happens before.
    pub(crate) fn deadline(&mut self) -> Option<Instant> {
        let subs = self.subs.values().filter_map(Sub::deadline).min();
        let link = self.link.deadline(&self.config, self.listening);
        [subs, link, self.calls.deadline()].into_iter().flatten().min()
    }

    /// It is `now`: does what is due.
    pub(crate) fn elapsed(&mut self, now: Instant) {
        while let Some(what) = self.calls.expired(now) {
            match what {
                What::Connect => {
                    self.trouble(Trouble::Connect("no connect reply within the time limit".to_owned()));
                    self.retry(Why::new(own::TRANSPORT_CLOSED, "no connect reply"), now);
                }
                What::Subscribe(_) => self.retry(Why::new(own::SUBSCRIBE_TIMEOUT, "subscribe timeout"), now),
                What::Unsubscribe => self.retry(Why::new(own::UNSUBSCRIBE_ERROR, "unsubscribe error"), now),
                What::Call(answer) => answer.give(Err(crate::CallError::Timeout)),
                What::Refresh => self.refresh_failed("no answer within the time limit".to_owned(), now),
                What::SubRefresh(id) => {
                    self.sub_refresh_failed(id, "no answer within the time limit".to_owned(), now);
                }
            }
        }
        self.link_elapsed(now);
        self.subs_elapsed(now);
    }

    /// Something came.
    pub(crate) fn received(&mut self, reply: Reply, now: Instant) {
        if !self.link.takes_subscribes() {
            // Behind what ended the connection.
            return;
        }
        self.heard(now);
        if reply.id > 0 {
            self.replied(reply, now);
        } else if let Some(push) = reply.push {
            self.pushed(*push, now);
        } else if self.link.answers_pings() {
            self.actions.push_back(Action::Pong);
        }
    }

    /// Something came on the own stream of the subscription that this subscribe command began.
    pub(crate) fn received_in(&mut self, command: u32, push: Push, now: Instant) {
        if let Some(channel) = self.channel_of(command) {
            let channel = channel.to_owned();
            self.heard(now);
            self.pushed(Push { channel, ..push }, now);
        }
    }

    /// Whether the transport is listened to. While it is not, the server is not taken for dead.
    pub(crate) fn listen(&mut self, listening: bool, now: Instant) {
        if listening && !self.listening {
            self.heard(now);
        }
        self.listening = listening;
    }

    fn replied(&mut self, mut reply: Reply, now: Instant) {
        let Some(what) = self.calls.answered(reply.id) else { return };
        let error = reply.error.take();
        match what {
            What::Connect => match (error, reply.connect) {
                (None, Some(result)) => self.connected(*result, now),
                (error, _) => self.connect_failed(error.unwrap_or_default(), now),
            },
            What::Subscribe(id) => match (error, reply.subscribe) {
                (None, Some(result)) => self.subscribed(id, *result, now),
                (error, _) => self.subscribe_failed(id, error.unwrap_or_default(), now),
            },
            What::Unsubscribe if error.is_some() => {
                self.retry(Why::new(own::UNSUBSCRIBE_ERROR, "unsubscribe error"), now);
            }
            What::Unsubscribe => {}
            What::Refresh => match (error, reply.refresh) {
                (None, Some(result)) => self.expires(result.expires, result.ttl, now),
                (None, None) => self.expires(false, 0, now),
                (Some(error), _) if calls::is_temporary(&error) => self.refresh_failed(error.message, now),
                (Some(error), _) => self.over(Why::new(error.code, error.message)),
            },
            What::SubRefresh(id) => self.sub_refreshed(id, error, reply.sub_refresh, now),
            What::Call(answer) => answer.give(match error {
                None => Ok(reply),
                Some(error) => Err(calls::refused(error)),
            }),
        }
    }

    /// A call of the program's: a command whose id is still to be given.
    pub(crate) fn call(&mut self, command: Box<Command>, answer: Answer, now: Instant) {
        if let Link::Over(why) = &self.link {
            answer.give(Err(crate::CallError::Disconnected(why.clone())));
        } else if self.link.is_open() {
            self.send_call(command, answer, now);
        } else {
            self.calls.wait(command, answer, now);
        }
    }

    fn send_call(&mut self, command: Box<Command>, answer: Answer, now: Instant) {
        if answer.is_given_up() {
            return;
        }
        if command.send.is_some() {
            // Nobody answers these.
            self.actions.push_back(Action::Send(command));
            answer.give(Ok(Reply::default()));
        } else {
            self.ask(command, What::Call(answer), now);
        }
    }

    /// Sends a command and remembers what its answer is for. Returns its id.
    fn ask(&mut self, command: impl Into<Box<Command>>, what: What, now: Instant) -> u32 {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        let mut command = command.into();
        command.id = self.last_id;
        self.calls.sent(self.last_id, what, now);
        self.actions.push_back(Action::Send(command));
        self.last_id
    }

    fn tell(&mut self, event: ClientEvent) {
        self.actions.push_back(Action::Client(event));
    }

    fn tell_sub(&mut self, id: SubId, event: Event) {
        self.actions.push_back(Action::Sub(id, event));
    }

    fn trouble(&mut self, trouble: Trouble) {
        self.tell(ClientEvent::Trouble(trouble));
    }
}

/// The token that came, if it is one. An empty one says that there is none to be had, as in the SDKs.
fn usable(token: Result<String, TokenError>) -> Result<String, TokenError> {
    token.and_then(|token| if token.is_empty() { Err(TokenError::Unauthorized) } else { Ok(token) })
}
