use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_protocol::message::{
    self, FilterNode, Publication, SubRefreshRequest, SubRefreshResult, SubscribeRequest, SubscribeResult,
    UnsubscribeRequest,
};
use tidegate_protocol::{Command, Encoding, ErrorCode, delta};

use super::calls::{What, is_temporary};
use super::connecting::REFRESH_RETRY;
use super::notices;
use super::track::Track;
use super::{Action, Config, Machine, own, usable};
use crate::{Event, Position, TokenError, Trouble, Why};

/// A subscription of the program's; another one of the same channel has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SubId(pub(crate) u64);

/// What a subscription is to be.
#[derive(Debug, Clone, Default)]
pub(crate) struct SubOptions {
    pub(crate) token: String,
    pub(crate) token_source: bool,
    pub(crate) data: Bytes,
    pub(crate) since: Option<Position>,
    pub(crate) positioned: bool,
    pub(crate) recoverable: bool,
    pub(crate) join_leave: bool,
    pub(crate) delta: bool,
    pub(crate) filter: Option<FilterNode>,
}

/// A subscription, over all of its lives.
#[derive(Debug)]
pub(super) struct Sub {
    channel: String,
    options: SubOptions,
    token: String,
    pub(super) state: State,
    /// Attempts since it was live.
    attempts: u32,
    pub(super) track: Track,
    /// The id of the last subscribe command.
    command: u32,
    /// Publications may be patches, each of the payload before it.
    delta: bool,
    base: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// To be subscribed as soon as there is a connection.
    Idle,
    /// A token is being fetched.
    AskingToken,
    /// The subscribe command was sent.
    Asking,
    /// The pause before the next attempt.
    Resting(Instant),
    /// Until the program has read what it has.
    Held,
    /// Live; when to get a new token.
    Live(Option<Instant>),
    /// Live, and a token is being fetched.
    LiveFetching,
}

impl Sub {
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Resting(until) => Some(until),
            State::Live(refresh) => refresh,
            _ => None,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.state, State::Live(_) | State::LiveFetching)
    }

    fn request(&self, config: &Config) -> SubscribeRequest {
        let mut request = SubscribeRequest {
            channel: self.channel.clone(),
            token: self.token.clone(),
            data: if config.notices_by_data {
                notices::asked(&self.options.data)
            } else {
                self.options.data.clone()
            },
            positioned: self.options.positioned,
            recoverable: self.options.recoverable,
            join_leave: self.options.join_leave,
            delta: if self.options.delta { "fossil".to_owned() } else { String::new() },
            tf: self.options.filter.clone(),
            ..Default::default()
        };
        self.track.ask(&mut request);
        request
    }

    /// The payload of the next publication, whole. `None` if it is a patch of something else.
    fn whole(&mut self, publication: &Publication, config: &Config) -> Option<Bytes> {
        if !self.delta {
            return Some(publication.data.clone());
        }
        // JSON cannot carry a patch but as a string, so everything is one.
        let data = match config.encoding {
            Encoding::Json => Bytes::from(serde_json::from_slice::<String>(&publication.data).ok()?),
            Encoding::Protobuf => publication.data.clone(),
        };
        self.base = if publication.delta {
            delta::apply(&self.base, &data, config.message_size_limit).ok()?.into()
        } else {
            data
        };
        Some(self.base.clone())
    }
}

impl Machine {
    /// Begins a subscription.
    pub(crate) fn subscribe(&mut self, id: SubId, channel: String, options: SubOptions, now: Instant) {
        if let Some(why) = self.is_over().cloned() {
            return self.tell_sub(id, Event::Unsubscribed(why));
        }
        let sub = Sub {
            channel: channel.clone(),
            token: options.token.clone(),
            state: State::Idle,
            attempts: 0,
            track: Track::since(options.since.clone()),
            command: 0,
            delta: false,
            base: Bytes::new(),
            options,
        };
        self.subs.insert(id, sub);
        self.by_channel.insert(channel, id);
        self.tell_sub(id, Event::Subscribing(Why::new(own::CALLED, "subscribe called")));
        self.subscribe_one(id, now);
    }

    /// Ends a subscription. Nothing more comes of it.
    pub(crate) fn unsubscribe(&mut self, id: SubId, now: Instant) {
        let Some(sub) = self.subs.get(&id) else { return };
        let channel = sub.channel.clone();
        self.leave(id, now);
        self.subs.remove(&id);
        // A later subscription of the channel stays.
        if self.by_channel.get(&channel) == Some(&id) {
            self.by_channel.remove(&channel);
        }
    }

    /// The program does not read a subscription, and wants it left until it has. False if it cannot be taken up
    /// again without loss, and goes on.
    pub(crate) fn hold(&mut self, id: SubId, now: Instant) -> bool {
        match self.subs.get(&id) {
            Some(sub) if !sub.track.is_recoverable() => false,
            Some(sub) if sub.state == State::Held => true,
            Some(sub) if sub.is_live() => {
                self.leave(id, now);
                self.set(id, State::Held);
                let why = Why::new(own::READER_BEHIND, "what came before has to be read first");
                self.tell_sub(id, Event::Subscribing(why));
                true
            }
            // Not live: there is nothing that goes on.
            Some(_) | None => true,
        }
    }

    /// The program has read what it had.
    pub(crate) fn resume(&mut self, id: SubId, now: Instant) {
        if self.subs.get(&id).is_some_and(|sub| sub.state == State::Held) {
            self.set(id, State::Idle);
            self.subscribe_one(id, now);
        }
    }

    /// A token for a subscription has come, or there is none.
    pub(crate) fn sub_token(&mut self, id: SubId, token: Result<String, TokenError>, now: Instant) {
        let Some(sub) = self.subs.get_mut(&id) else { return };
        let live = match sub.state {
            State::AskingToken => false,
            State::LiveFetching => true,
            _ => return,
        };
        match usable(token) {
            Ok(token) if live => {
                sub.token.clone_from(&token);
                sub.state = State::Live(None);
                let sub_refresh = Some(SubRefreshRequest { channel: sub.channel.clone(), token });
                self.ask(Command { sub_refresh, ..Default::default() }, What::SubRefresh(id), now);
            }
            Ok(token) => {
                sub.token = token;
                sub.state = State::Idle;
                self.subscribe_one(id, now);
            }
            Err(TokenError::Unauthorized) => {
                self.leave(id, now);
                self.end(id, Why::new(own::UNAUTHORIZED, "unauthorized"));
            }
            Err(TokenError::Unavailable(what)) if live => self.sub_refresh_failed(id, what, now),
            Err(TokenError::Unavailable(what)) => {
                self.sub_trouble(id, what);
                self.pause(id, now);
            }
        }
    }

    pub(super) fn subscribe_all(&mut self, now: Instant) {
        let idle: Vec<_> =
            self.subs.iter().filter(|(_, sub)| sub.state == State::Idle).map(|(id, _)| *id).collect();
        for id in idle {
            self.subscribe_one(id, now);
        }
    }

    pub(super) fn subs_elapsed(&mut self, now: Instant) {
        let is_due = |sub: &Sub| sub.deadline().is_some_and(|at| at <= now);
        let due: Vec<_> = self.subs.iter().filter(|(_, sub)| is_due(sub)).map(|(id, _)| *id).collect();
        for id in due {
            if self.subs[&id].is_live() {
                self.set(id, State::LiveFetching);
                self.actions.push_back(Action::SubToken(id));
            } else {
                self.set(id, State::Idle);
                self.subscribe_one(id, now);
            }
        }
    }

    /// The connection is gone.
    pub(super) fn subs_down(&mut self, why: &Why) {
        let mut told = Vec::new();
        for (id, sub) in &mut self.subs {
            if sub.is_live() {
                told.push(*id);
            }
            if !matches!(sub.state, State::AskingToken | State::Held) {
                sub.state = State::Idle;
            }
            sub.track.live = false;
        }
        for id in told {
            self.tell_sub(id, Event::Subscribing(why.clone()));
        }
        self.server_subs_down(why);
    }

    pub(super) fn invalidate_all(&mut self) {
        for sub in self.subs.values_mut() {
            sub.track.invalidate();
            if sub.options.token_source {
                sub.token.clear();
            }
        }
        self.server_subs.values_mut().for_each(Track::invalidate);
    }

    pub(super) fn subscribed(&mut self, id: SubId, result: SubscribeResult, now: Instant) {
        // Left before the answer came.
        let Some(sub) = self.subs.get_mut(&id).filter(|sub| sub.state == State::Asking) else { return };
        sub.attempts = 0;
        sub.delta = result.delta;
        sub.base = Bytes::new();
        let refresh = (result.expires && sub.options.token_source).then(|| now + seconds(result.ttl));
        sub.state = State::Live(refresh);
        let command = sub.command;
        let (subscribed, gap) = sub.track.resume(&result);
        self.tell_sub(id, Event::Subscribed(subscribed));
        if let Some(gap) = gap {
            self.tell_sub(id, Event::Gap(gap));
        }
        for publication in result.publications {
            self.published(id, publication, now);
        }
        self.actions.push_back(Action::Live(id, command));
    }

    pub(super) fn subscribe_failed(&mut self, id: SubId, error: message::Error, now: Instant) {
        let Some(sub) = self.subs.get_mut(&id).filter(|sub| sub.state == State::Asking) else { return };
        let expired = error.code == ErrorCode::TokenExpired.code();
        if expired && sub.options.token_source {
            sub.token.clear();
        } else if !is_temporary(&error) {
            return self.end(id, Why::new(error.code, error.message));
        }
        self.sub_trouble(id, format!("{} (error {})", error.message, error.code));
        self.pause(id, now);
    }

    /// The server has ended a subscription.
    pub(super) fn unsubscribed(&mut self, id: SubId, why: Why, now: Instant) {
        let Some(sub) = self.subs.get_mut(&id) else { return };
        if !sub.is_live() {
            // It ends one before this one.
            return;
        }
        self.actions.push_back(Action::Dead(sub.command));
        if why.code < 2500 {
            return self.end(id, why);
        }
        let sub = self.subs.get_mut(&id).expect("it was there");
        if why.code == tidegate_protocol::Unsubscribe::STATE_INVALIDATED.code() {
            sub.track.invalidate();
            if sub.options.token_source {
                sub.token.clear();
            }
        }
        sub.track.live = false;
        sub.state = State::Idle;
        self.tell_sub(id, Event::Subscribing(why));
        self.subscribe_one(id, now);
    }

    /// A publication has come for a live subscription.
    pub(super) fn published(&mut self, id: SubId, publication: Publication, now: Instant) {
        let Some(sub) = self.subs.get_mut(&id).filter(|sub| sub.is_live()) else { return };
        let Some(data) = sub.whole(&publication, &self.config) else {
            // From where we are, in whole publications.
            self.leave(id, now);
            self.tell_sub(id, Event::Subscribing(Why::new(own::BAD_PATCH, "a patch could not be applied")));
            return self.pause(id, now);
        };
        sub.track.advance(&publication);
        self.tell_sub(id, Event::Publication(Publication { data, ..publication }.into()));
    }

    pub(super) fn sub_refreshed(
        &mut self,
        id: SubId,
        error: Option<message::Error>,
        result: Option<SubRefreshResult>,
        now: Instant,
    ) {
        let Some(sub) = self.subs.get_mut(&id).filter(|sub| sub.is_live()) else { return };
        match error {
            None => {
                let result = result.unwrap_or_default();
                sub.state = State::Live(result.expires.then(|| now + seconds(result.ttl)));
            }
            Some(error) if is_temporary(&error) => self.sub_refresh_failed(id, error.message, now),
            Some(error) => {
                self.leave(id, now);
                self.end(id, Why::new(error.code, error.message));
            }
        }
    }

    pub(super) fn sub_refresh_failed(&mut self, id: SubId, what: String, now: Instant) {
        let at = now + REFRESH_RETRY.pause(0, &mut self.rng);
        if self.subs.get(&id).is_some_and(Sub::is_live) {
            self.sub_trouble(id, what);
            self.set(id, State::Live(Some(at)));
        }
    }

    /// The subscription that has a channel's pushes, if it is live.
    pub(super) fn live_in(&self, channel: &str) -> Option<SubId> {
        let id = *self.by_channel.get(channel)?;
        self.subs.get(&id).filter(|sub| sub.is_live()).map(|_| id)
    }

    /// The subscription that a channel's unsubscribe push concerns.
    pub(super) fn known_in(&self, channel: &str) -> Option<SubId> {
        self.by_channel.get(channel).copied()
    }

    /// The channel of the live subscription that this subscribe command began.
    pub(super) fn channel_of(&self, command: u32) -> Option<&str> {
        let sub = self.subs.values().find(|sub| sub.command == command && sub.is_live())?;
        Some(&sub.channel)
    }

    /// Subscribes, or gets the token for it, if there is a connection.
    fn subscribe_one(&mut self, id: SubId, now: Instant) {
        if !self.link.takes_subscribes() {
            return;
        }
        let Some(sub) = self.subs.get_mut(&id).filter(|sub| sub.state == State::Idle) else { return };
        if sub.options.token_source && sub.token.is_empty() {
            sub.state = State::AskingToken;
            return self.actions.push_back(Action::SubToken(id));
        }
        sub.state = State::Asking;
        let subscribe = Some(sub.request(&self.config).into());
        let command = self.ask(Command { subscribe, ..Default::default() }, What::Subscribe(id), now);
        self.subs.get_mut(&id).expect("it was there").command = command;
    }

    /// Tells the server, if it may have the subscription.
    fn leave(&mut self, id: SubId, now: Instant) {
        let Some(sub) = self.subs.get_mut(&id) else { return };
        sub.track.live = false;
        if sub.is_live() {
            self.actions.push_back(Action::Dead(sub.command));
        }
        // While it is asked for, the server may have it.
        if (sub.is_live() || sub.state == State::Asking) && self.link.takes_subscribes() {
            let channel = sub.channel.clone();
            let unsubscribe = Some(UnsubscribeRequest { channel });
            self.ask(Command { unsubscribe, ..Default::default() }, What::Unsubscribe, now);
        }
    }

    fn end(&mut self, id: SubId, why: Why) {
        if let Some(sub) = self.subs.remove(&id) {
            self.by_channel.remove(&sub.channel);
            self.tell_sub(id, Event::Unsubscribed(why));
        }
    }

    /// Tries again after a pause.
    fn pause(&mut self, id: SubId, now: Instant) {
        let Some(sub) = self.subs.get_mut(&id) else { return };
        let pause = self.config.resubscribe.pause(sub.attempts, &mut self.rng);
        sub.attempts = sub.attempts.saturating_add(1);
        sub.state = State::Resting(now + pause);
    }

    fn set(&mut self, id: SubId, state: State) {
        if let Some(sub) = self.subs.get_mut(&id) {
            sub.state = state;
        }
    }

    fn sub_trouble(&mut self, id: SubId, what: String) {
        if let Some(sub) = self.subs.get(&id) {
            let channel = sub.channel.clone();
            self.trouble(Trouble::Subscription { channel, what });
        }
    }
}

fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(ttl.into())
}
