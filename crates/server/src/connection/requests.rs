use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_core::broker::BrokerError;
use tidegate_core::call::{Call, RefreshCall, SubscribeCall};
use tidegate_core::outbox::Lane;
use tidegate_core::protocol::Push;
use tidegate_core::request::{
    ConnectRequest, Connected, History, HistoryRequest, Request, Response, StreamPosition, SubscribeRequest,
    Subscribed,
};
use tidegate_core::transport::{Connection, Peer};
use tidegate_core::{
    Backpressure, Behind, Channel, Client, ClientError, ClientInfo, Disconnect, End, Health, Identity, Kind,
    Publication, Refreshed, Refusal, SubscribeGrant, Subscription,
};

use super::subscriptions::{Held, Known};
use super::{Driver, EXPIRED, now, until};
use crate::app::App;
use crate::settings::DuplicateUser;

/// What a piece of work came to, for the connection to go on with.
pub(super) enum Step {
    /// The request is done.
    Answer(Result<Response, Refusal>),
    /// The client may connect, as this.
    Admitted(Box<ConnectRequest>, &'static str, Result<Identity, Refusal>),
    /// The client may subscribe, or not.
    Granted(Box<Wanted>, Result<SubscribeGrant, Refusal>),
    /// The channel's history was read.
    Read(Box<Wanted>, Box<SubscribeGrant>, Lane, Result<History, BrokerError>),
    /// The client was made known to others in a channel.
    Done,
    /// The connection's life was changed, or not.
    Refreshed(Result<Refreshed, Refusal>),
    /// A subscription's life was changed, or not.
    SubRefreshed(Channel, Result<Refreshed, Refusal>),
}

/// A subscription that is wanted, and by whom.
pub(super) struct Wanted {
    channel: Channel,
    recover: Option<StreamPosition>,
    request: Option<SubscribeRequest>,
    by: By,
}

enum By {
    /// The client, by command.
    Client,
    /// The application, by a call.
    Call,
    /// The client's identity: it is one of several that the connect reply waits for.
    Identity(Box<Connecting>),
}

/// A connect request that waits for its server-side subscriptions.
struct Connecting {
    connected: Connected,
    todo: VecDeque<SubscribeCall>,
    positions: BTreeMap<Channel, StreamPosition>,
    /// What is read from when the reply is on its way.
    made: Vec<Made>,
}

/// A subscription that stands, but is not read yet.
struct Made {
    channel: Channel,
    lane: Lane,
    subscription: Box<dyn Subscription>,
    policy: Arc<dyn Backpressure>,
}

/// How long the clean-up behind a connection may take: brokers and hooks that answer do so within this.
const LEAVE: Duration = Duration::from_secs(10);
const CHANNEL_LIMIT: Disconnect = Disconnect::new(3505, "channel limit");
const CONNECTION_LIMIT: Disconnect = Disconnect::new(3504, "connection limit");
const DISPLACED: Disconnect = Disconnect::new(3504, "displaced by a newer connection of the same user");
const INSUFFICIENT_STATE: Disconnect = Disconnect::new(3010, "insufficient state");
const UNSUBSCRIBED: Disconnect = Disconnect::new(2000, "server unsubscribe");
const INSUFFICIENT: Disconnect = Disconnect::new(2500, "insufficient state");
const SUBSCRIPTION_EXPIRED: Disconnect = Disconnect::new(2501, "subscription expired");

impl<C: Connection> Driver<C> {
    /// Begins to do what the client asks for.
    pub(super) fn request(&mut self, request: Request, now: Instant) {
        let app = self.app.clone();
        match (request, self.client.clone()) {
            (Request::Connect(request), _) => {
                let Some(peer) = self.peer.take() else {
                    return self.answer(Err(ClientError::BAD_REQUEST.into()), now);
                };
                if app.is_draining() {
                    return self.close(Disconnect::new(super::SHUTDOWN, "shutdown"), now);
                }
                self.work = Some(Box::pin(async move {
                    let Peer { transport, .. } = *peer;
                    let identity = app.authenticator.connect(&request, &peer).await;
                    Step::Admitted(request, transport, identity)
                }));
            }
            (_, None) => self.answer(Err(ClientError::UNAUTHORIZED.into()), now),
            (Request::Subscribe(request), Some(client)) => self.subscribe(*request, client, now),
            (Request::Unsubscribe(channel), Some(_)) => {
                let held = self.subscriptions.remove(&channel);
                if let Some(held) = &held {
                    self.detach(held.lane);
                }
                self.answer(Ok(Response::Unsubscribed), now);
                self.forget(held);
            }
            (Request::Publish { channel, data }, Some(client)) => {
                let subscribed = self.subscriptions.get(&channel).is_some();
                self.work = Some(Box::pin(async move {
                    Step::Answer(publish(&app, &client, channel, data, subscribed).await)
                }));
            }
            (Request::Presence(channel), Some(client)) => {
                let subscribed = self.subscriptions.get(&channel).is_some();
                self.work = Some(Box::pin(async move {
                    Step::Answer(presence(&app, &client, &channel, subscribed, false, now).await)
                }));
            }
            (Request::PresenceStats(channel), Some(client)) => {
                let subscribed = self.subscriptions.get(&channel).is_some();
                self.work = Some(Box::pin(async move {
                    Step::Answer(presence(&app, &client, &channel, subscribed, true, now).await)
                }));
            }
            (Request::History(request), Some(client)) => {
                let subscribed = self.subscriptions.get(&request.channel).is_some();
                self.work = Some(Box::pin(async move {
                    Step::Answer(history(&app, &client, request, subscribed, now).await)
                }));
            }
            (Request::Rpc { method, data }, Some(client)) => {
                self.work = Some(Box::pin(async move {
                    Step::Answer(app.hooks.rpc(&client, &method, data).await.map(Response::Rpc))
                }));
            }
            (Request::Send(data), Some(client)) => {
                self.work = Some(Box::pin(async move {
                    let sent = app.hooks.message(&client, data).await;
                    Step::Answer(sent.map(|()| Response::Sent).map_err(Refusal::Disconnect))
                }));
            }
            (Request::Refresh { token }, Some(client)) => {
                self.work = Some(Box::pin(async move {
                    Step::Refreshed(app.authenticator.refresh(&client, &token).await)
                }));
            }
            (Request::SubRefresh { channel, token }, Some(client)) => {
                let Some(held) = self.subscriptions.get(&channel) else {
                    return self.answer(Err(ClientError::PERMISSION_DENIED.into()), now);
                };
                if held.client_refresh && token.is_empty() {
                    return self.answer(Err(ClientError::BAD_REQUEST.into()), now);
                }
                self.work = Some(Box::pin(async move {
                    let refreshed = app.authenticator.sub_refresh(&client, &channel, &token).await;
                    Step::SubRefreshed(channel, refreshed)
                }));
            }
            _ => self.answer(Err(ClientError::METHOD_NOT_FOUND.into()), now),
        }
    }

    /// Goes on with what a piece of work came to.
    pub(super) fn step(&mut self, step: Step, now: Instant) {
        match step {
            Step::Done => {}
            Step::Answer(outcome) => self.answer(outcome, now),
            Step::Admitted(_, _, Err(refusal)) => self.answer(Err(refusal), now),
            Step::Admitted(request, transport, Ok(identity)) => {
                self.admitted(*request, transport, identity, now);
            }
            Step::Granted(wanted, Err(refusal)) => self.not_subscribed(*wanted, refusal, now),
            Step::Granted(wanted, Ok(grant)) => self.granted(wanted, grant, now),
            Step::Read(wanted, grant, lane, history) => match history {
                Ok(history) => self.read(*wanted, &grant, lane, history, now),
                Err(error) => {
                    self.outbox.detach(lane);
                    self.not_subscribed(*wanted, refusal(&error), now);
                }
            },
            Step::Refreshed(Err(refusal)) => self.answer(Err(refusal), now),
            Step::Refreshed(Ok(refreshed)) => {
                if refreshed.expired {
                    return self.close(EXPIRED, now);
                }
                self.expire_at(refreshed.expire_at, true, now);
                let client = self.client.as_ref().map(|client| client.id.clone()).unwrap_or_default();
                self.answer(Ok(Response::Refreshed { client, ttl: ttl(refreshed.expire_at) }), now);
            }
            Step::SubRefreshed(_, Err(refusal)) => self.answer(Err(refusal), now),
            Step::SubRefreshed(channel, Ok(refreshed)) => {
                let life = if refreshed.expired {
                    // The new token was late: nothing is prolonged, and upkeep ends the subscription.
                    None
                } else {
                    if let Some(held) = self.subscriptions.get_mut(&channel) {
                        held.expire_at = refreshed.expire_at;
                    }
                    ttl(refreshed.expire_at)
                };
                self.plan_upkeep(now);
                self.answer(Ok(Response::SubRefreshed { ttl: life }), now);
            }
        }
    }

    /// Does what the application asks for.
    pub(super) fn call(&mut self, call: Call, now: Instant) {
        let Some(client) = self.client.clone() else { return };
        match call {
            Call::Subscribe(call) => {
                if self.subscriptions.get(&call.channel).is_some() {
                    return;
                }
                if self.subscriptions.len() >= self.app.settings.channel_limit {
                    return self.close(CHANNEL_LIMIT, now);
                }
                let recover = call.recover_since.clone();
                let recover = recover.map(|(offset, epoch)| StreamPosition { offset, epoch });
                let wanted = Wanted { channel: call.channel.clone(), recover, request: None, by: By::Call };
                self.grant_server_side(wanted, client, SubscribeCall::clone(&call));
            }
            Call::Unsubscribe { channel, why } => self.unsubscribe(&channel, &why),
            Call::Refresh(call) => self.refresh(&call, now),
            Call::Message(data) => {
                if let Some(message) = self.session.push(Push::Message(&data)) {
                    self.outbox.reply(message, None);
                }
            }
            _ => {}
        }
    }

    /// Ends a subscription because its log says so.
    pub(super) fn ended(&mut self, lane: Lane, end: &End, now: Instant) {
        let Some(held) = self.subscriptions.remove_lane(lane) else { return };
        if let End::Behind(Behind { missed, .. }) = end {
            self.app.meters.missed_end.increment(*missed);
        }
        let why = match end {
            End::Behind(_) | End::Discontinuous if held.server_side => {
                return self.close(INSUFFICIENT_STATE, now);
            }
            End::Behind(_) | End::Discontinuous => INSUFFICIENT,
            _ => UNSUBSCRIBED,
        };
        self.tell_unsubscribed(&held.channel, &why);
        self.forget(Some(held));
    }

    /// Ends a subscription because the application says so.
    fn unsubscribe(&mut self, channel: &Channel, why: &Disconnect) {
        let Some(held) = self.subscriptions.remove(channel) else { return };
        self.detach(held.lane);
        self.tell_unsubscribed(channel, why);
        self.forget(Some(held));
    }

    fn tell_unsubscribed(&mut self, channel: &Channel, why: &Disconnect) {
        self.app.meters.unsubscribed(why);
        if let Some(message) = self.session.push(Push::Unsubscribe(channel, why)) {
            self.outbox.reply(message, None);
        }
    }

    fn answer(&mut self, outcome: Result<Response, Refusal>, now: Instant) {
        self.session.answer(outcome, now);
    }

    fn detach(&mut self, lane: Lane) {
        self.outbox.detach(lane);
    }

    /// Lets a client in that has been authenticated.
    fn admitted(
        &mut self,
        request: ConnectRequest,
        transport: &'static str,
        identity: Identity,
        now: Instant,
    ) {
        let id: Arc<str> = uuid::Uuid::new_v4().to_string().into();
        let info = ClientInfo {
            user: identity.user.clone(),
            client: id.clone(),
            connection: identity.info.clone(),
            channel: Bytes::new(),
        };
        let client =
            Arc::new(Client { id: id.clone(), info: Arc::new(info), transport, meta: identity.meta.clone() });
        let app = self.app.clone();
        let settings = &app.settings;
        let (policy, limit) = (settings.duplicate_user, settings.user_connection_limit);
        let admit = |others: usize| match policy {
            DuplicateUser::TakeOver => true,
            DuplicateUser::Refuse => others == 0,
            DuplicateUser::Keep => limit.is_none_or(|limit| others < limit),
        };
        let entered = self.app.hub.registry().enter(client.clone(), self.outbox.handle(), admit);
        let Ok((registration, others)) = entered else {
            return self.answer(Err(CONNECTION_LIMIT.into()), now);
        };
        if policy == DuplicateUser::TakeOver {
            for other in others {
                // Gone already: all the better.
                let _ = other.handle.close(DISPLACED);
            }
        }
        self.registration = Some(registration);
        self.client = Some(client.clone());
        self.expire_at(identity.expire_at, identity.client_refresh, now);
        tracing::debug!(client = %id, user = %identity.user, transport, "connected");
        let connected = Connected {
            client: id,
            ttl: ttl(identity.expire_at),
            data: identity.data,
            subs: BTreeMap::new(),
            ping: settings.ping_interval,
            pong: (!settings.pong_timeout.is_zero()).then_some(settings.pong_timeout),
            session: String::new(),
            node: String::new(),
            time: if settings.server_time { unix_millis() } else { 0 },
        };
        let positions = request.subs.into_iter().filter_map(|(c, s)| Some((c, s.recover?))).collect();
        let todo = identity.channels.into();
        self.connect_next(Box::new(Connecting { connected, todo, positions, made: Vec::new() }), now);
    }

    /// Makes the next server-side subscription of a connect request, or answers it.
    fn connect_next(&mut self, mut connecting: Box<Connecting>, now: Instant) {
        let Some(client) = self.client.clone() else { return };
        let Some(call) = connecting.todo.pop_front() else {
            self.answer(Ok(Response::Connected(Box::new(connecting.connected))), now);
            self.begin_reading(connecting.made, now);
            let health = self.app.hub.health();
            if health != Health::Serving {
                self.health(health);
            }
            self.announced = true;
            let app = self.app.clone();
            self.work = Some(Box::pin(async move {
                app.hooks.connected(&client).await;
                Step::Done
            }));
            return;
        };
        if self.subscriptions.len() >= self.app.settings.channel_limit {
            return self.close(CHANNEL_LIMIT, now);
        }
        let recover = connecting.positions.remove(&call.channel);
        let wanted =
            Wanted { channel: call.channel.clone(), recover, request: None, by: By::Identity(connecting) };
        self.grant_server_side(wanted, client, call);
    }

    fn grant_server_side(&mut self, wanted: Wanted, client: Arc<Client>, call: SubscribeCall) {
        let app = self.app.clone();
        self.work = Some(Box::pin(async move {
            let grant = app.authenticator.subscribe_server_side(&client, &call).await;
            let grant = grant.map(|grant| SubscribeGrant {
                info: if call.info.is_empty() { grant.info } else { call.info },
                data: if call.data.is_empty() { grant.data } else { call.data },
                expire_at: if call.expire_at > 0 { call.expire_at } else { grant.expire_at },
                ..grant
            });
            Step::Granted(Box::new(wanted), grant)
        }));
    }

    fn subscribe(&mut self, request: SubscribeRequest, client: Arc<Client>, now: Instant) {
        if self.subscriptions.get(&request.channel).is_some() {
            return self.answer(Err(ClientError::ALREADY_SUBSCRIBED.into()), now);
        }
        if self.subscriptions.len() >= self.app.settings.channel_limit {
            return self.answer(Err(ClientError::LIMIT_EXCEEDED.into()), now);
        }
        if request.filter.is_some() {
            // Refused rather than ignored: nothing filters yet.
            return self.answer(Err(ClientError::BAD_REQUEST.into()), now);
        }
        let app = self.app.clone();
        self.work = Some(Box::pin(async move {
            let grant = async {
                let grant = app.authenticator.subscribe(&client, &request).await?;
                app.hooks.subscribing(&client, &request.channel).await?;
                Ok(grant)
            };
            let grant = grant.await;
            let channel = request.channel.clone();
            let recover = request.recover.clone();
            Step::Granted(
                Box::new(Wanted { channel, recover, request: Some(request), by: By::Client }),
                grant,
            )
        }));
    }

    /// Takes the cursor, and reads the history up to it where the channel has one.
    fn granted(&mut self, wanted: Box<Wanted>, grant: SubscribeGrant, now: Instant) {
        let lane = loop {
            let Ok(log) = self.app.hub.open(&wanted.channel) else {
                return self.not_subscribed(*wanted, ClientError::UNKNOWN_CHANNEL.into(), now);
            };
            match self.outbox.reserve(&log) {
                Ok(lane) => break lane,
                // Its last subscriber has just left; there is a new one.
                Err(_) => continue,
            }
        };
        if !grant.history.is_kept() {
            return self.read(*wanted, &grant, lane, History::default(), now);
        }
        let app = self.app.clone();
        let limit = app.settings.recovery_limit;
        self.work = Some(Box::pin(async move {
            let recover = wanted.recover.as_ref().filter(|_| grant.recoverable);
            let request = HistoryRequest {
                channel: wanted.channel.clone(),
                // One more than may be recovered tells whether there are too many.
                limit: Some(match recover {
                    None => 0,
                    Some(_) if grant.cache => 1,
                    Some(_) => limit.saturating_add(1),
                }),
                // The epoch is judged by what is found: another one is not an error here.
                since: recover
                    .filter(|_| !grant.cache)
                    .map(|at| StreamPosition { offset: at.offset, epoch: "".into() }),
                reverse: grant.cache,
            };
            let history = app.hub.broker().history(&request, &grant.history, now).await;
            Step::Read(wanted, Box::new(grant), lane, history)
        }));
    }

    /// Makes the subscription stand.
    fn read(&mut self, wanted: Wanted, grant: &SubscribeGrant, lane: Lane, history: History, now: Instant) {
        let request = wanted.request.as_ref();
        let mut subscribed = Subscribed {
            ttl: ttl(grant.expire_at),
            recoverable: grant.recoverable,
            positioned: grant.positioned || grant.recoverable,
            position: history.top.clone(),
            // Not before deltas are made.
            delta: false,
            join_leave: grant.join_leave,
            data: grant.data.clone(),
            ..Default::default()
        };
        let recover = wanted.recover.as_ref().filter(|_| grant.recoverable);
        if let Some(recover) = recover {
            recovery(&mut subscribed, recover, grant, history, self.app.settings.recovery_limit);
            if !subscribed.recovered && request.is_some_and(|request| request.refuse_unrecoverable) {
                self.outbox.detach(lane);
                return self.not_subscribed(wanted, ClientError::UNRECOVERABLE_POSITION.into(), now);
            }
        }
        let subscription = self.session.subscription(&wanted.channel, &subscribed);
        let Some(client) = self.client.clone() else { return };
        let known = (grant.announce || grant.presence).then(|| {
            let info = ClientInfo { channel: grant.info.clone(), ..ClientInfo::clone(&client.info) };
            Box::new(Known { info: Arc::new(info), announced: grant.announce, present: grant.presence })
        });
        let channel = wanted.channel.clone();
        self.subscriptions.insert(Held {
            channel: channel.clone(),
            lane,
            expire_at: grant.expire_at,
            client_refresh: grant.client_refresh,
            server_side: !matches!(wanted.by, By::Client),
            known,
        });
        self.app.meters.subscriptions.increment(1);
        tracing::debug!(client = %client.id, %channel, "subscribed");
        let made = Made { channel, lane, subscription, policy: grant.policy.clone() };
        match wanted.by {
            By::Client => self.answer(Ok(Response::Subscribed(Box::new(subscribed))), now),
            By::Call => {
                if let Some(message) = self.session.push(Push::Subscribe(&made.channel, &subscribed)) {
                    self.outbox.reply(message, None);
                }
            }
            By::Identity(mut connecting) => {
                connecting.connected.subs.insert(made.channel.clone(), subscribed);
                connecting.made.push(made);
                return self.connect_next(connecting, now);
            }
        }
        self.begin_reading(vec![made], now);
    }

    /// Reads subscriptions that the client has been told of.
    fn begin_reading(&mut self, made: Vec<Made>, now: Instant) {
        // What the session says to it goes into the control lane before anything of these lanes.
        while let Some(action) = self.session.follow_up() {
            self.act(action, now);
        }
        for Made { channel, lane, subscription, policy } in made {
            self.outbox.attach(lane, subscription, policy);
            self.introduce(&channel, now);
        }
        self.plan_upkeep(now);
    }

    fn not_subscribed(&mut self, wanted: Wanted, refusal: Refusal, now: Instant) {
        match (wanted.by, refusal) {
            (By::Client | By::Identity(_), refusal) => self.answer(Err(refusal), now),
            (By::Call, Refusal::Disconnect(why)) => self.close(why, now),
            (By::Call, Refusal::Error(error)) => {
                let client = self.client.as_ref().map_or("", |client| &client.id);
                tracing::info!(client, channel = %wanted.channel, %error, "not subscribed by the API");
            }
        }
    }

    /// Makes the client known in a channel, where it is to be.
    fn introduce(&mut self, channel: &Channel, now: Instant) {
        let Some(known) = self.subscriptions.get(channel).and_then(|held| held.known.as_deref()) else {
            return;
        };
        let (info, announced, present) = (known.info.clone(), known.announced, known.present);
        let (app, channel) = (self.app.clone(), channel.clone());
        self.chores.push_back(Box::pin(async move {
            let broker = app.hub.broker();
            let ttl = app.settings.presence_update_interval * 3;
            if present && let Err(error) = broker.add_presence(&channel, &info, ttl, now).await {
                tracing::warn!(%channel, %error, "presence not added");
            }
            if announced && let Err(error) = broker.announce(&channel, Kind::Join(info), now).await {
                tracing::warn!(%channel, %error, "join not announced");
            }
        }));
    }

    /// Makes the client unknown in a channel that it has left.
    fn forget(&mut self, held: Option<Held>) {
        let Some(Held { channel, known: Some(known), .. }) = held else { return };
        let app = self.app.clone();
        self.chores.push_back(Box::pin(async move { forget(&app, &channel, *known).await }));
    }

    /// Tells presence again, and ends subscriptions that have expired.
    pub(super) fn upkeep(&mut self, now: Instant) {
        self.upkeep = None;
        let grace = self.app.settings.expired_sub_close_delay;
        let unix = unix_millis() / 1000;
        let mut expired = Vec::new();
        let mut present = Vec::new();
        for held in self.subscriptions.iter() {
            let grace = if held.client_refresh { grace.as_secs() as i64 } else { 0 };
            if held.expire_at > 0 && held.expire_at + grace <= unix {
                expired.push((held.channel.clone(), held.server_side));
            } else if let Some(known) = held.known.as_deref().filter(|known| known.present) {
                present.push((held.channel.clone(), known.info.clone()));
            }
        }
        for (channel, server_side) in expired {
            if server_side {
                return self.close(Disconnect::new(3006, "subscription expired"), now);
            }
            self.unsubscribe(&channel, &SUBSCRIPTION_EXPIRED);
        }
        if !present.is_empty() {
            let app = self.app.clone();
            self.chores.push_back(Box::pin(async move {
                let ttl = app.settings.presence_update_interval * 3;
                for (channel, info) in present {
                    if let Err(error) = app.hub.broker().add_presence(&channel, &info, ttl, now).await {
                        tracing::warn!(%channel, %error, "presence not renewed");
                    }
                }
            }));
        }
        self.plan_upkeep(now);
    }

    /// Sees that upkeep comes, if there is anything to keep up.
    fn plan_upkeep(&mut self, now: Instant) {
        let needed =
            |held: &Held| held.expire_at > 0 || held.known.as_deref().is_some_and(|known| known.present);
        if self.upkeep.is_none() && self.subscriptions.iter().any(needed) {
            self.upkeep = Some(now + self.app.settings.presence_update_interval);
        }
    }

    /// Lets the connection live until a moment in seconds since 1970, or for ever.
    fn expire_at(&mut self, expire_at: i64, client_refresh: bool, now: Instant) {
        let grace = if client_refresh { self.app.settings.expired_close_delay } else { Duration::ZERO };
        self.expires = (expire_at > 0).then(|| now + until(expire_at) + grace);
    }

    fn refresh(&mut self, call: &RefreshCall, now: Instant) {
        if call.expired {
            return self.close(EXPIRED, now);
        }
        self.expire_at(call.expire_at, true, now);
        if let Some(message) = self.session.push(Push::Refresh(ttl(call.expire_at))) {
            self.outbox.reply(message, None);
        }
    }

    /// Cleans up behind a connection that has gone.
    pub(super) async fn leave(mut self, why: &Disconnect) {
        self.app.meters.closed(why);
        if !matches!(self.phase, super::Phase::Closing(..) | super::Phase::Waiting(..)) {
            self.app.meters.missed_end.increment(self.outbox.unread_publications());
        }
        self.subscriptions.detach(&mut self.outbox);
        let held = self.subscriptions.take();
        let Driver { app, client, chores, registration, announced, .. } = self;
        let Some(client) = client else { return };
        drop(registration);
        let farewell = async {
            for chore in chores {
                chore.await;
            }
            tracing::debug!(client = %client.id, code = why.code, reason = %why.reason, "disconnected");
            for Held { channel, known, .. } in held {
                if let Some(known) = known {
                    forget(&app, &channel, *known).await;
                }
            }
            if announced {
                app.hooks.disconnected(&client, why).await;
            }
        };
        // A hook that hangs must not keep the server from stopping.
        if tokio::time::timeout(LEAVE, farewell).await.is_err() {
            tracing::warn!(client = %client.id, "clean-up took too long; given up");
        }
    }
}

async fn forget(app: &App, channel: &Channel, known: Known) {
    let broker = app.hub.broker();
    if known.present
        && let Err(error) = broker.remove_presence(channel, &known.info.client).await
    {
        tracing::warn!(%channel, %error, "presence not removed");
    }
    if known.announced
        && let Err(error) = broker.announce(channel, Kind::Leave(known.info), now()).await
    {
        tracing::warn!(%channel, %error, "leave not announced");
    }
}

async fn publish(
    app: &App,
    client: &Client,
    channel: Channel,
    data: Bytes,
    subscribed: bool,
) -> Result<Response, Refusal> {
    let grant = app.authenticator.publish(client, &channel, &data, subscribed).await?;
    if app.is_draining() {
        return Err(ClientError::NOT_AVAILABLE.into());
    }
    let publication = Publication {
        data: grant.data.unwrap_or(data),
        info: Some(client.info.clone()),
        time: unix_millis(),
        delta: grant.options.delta,
        tags: grant.options.tags.clone(),
        ..Default::default()
    };
    let publication = app.hooks.publishing(client, &channel, publication).await?;
    app.hub.publish(&channel, publication, &grant.options, now()).await.map_err(|e| refusal(&e))?;
    app.meters.published.increment(1);
    Ok(Response::Published)
}

async fn presence(
    app: &App,
    client: &Client,
    channel: &Channel,
    subscribed: bool,
    stats: bool,
    now: Instant,
) -> Result<Response, Refusal> {
    app.authenticator.presence(client, channel, subscribed).await?;
    let broker = app.hub.broker();
    if stats {
        let stats = broker.presence_stats(channel, now).await;
        return stats.map(Response::PresenceStats).map_err(|e| refusal(&e));
    }
    broker.presence(channel, now).await.map(Response::Presence).map_err(|e| refusal(&e))
}

async fn history(
    app: &App,
    client: &Client,
    mut request: HistoryRequest,
    subscribed: bool,
    now: Instant,
) -> Result<Response, Refusal> {
    let bounds = app.authenticator.history(client, &request.channel, subscribed).await?;
    let most = app.settings.history_limit;
    request.limit = Some(request.limit.map_or(most, |limit| limit.min(most)));
    app.hub.broker().history(&request, &bounds, now).await.map(Response::History).map_err(|e| refusal(&e))
}

/// Fills in what recovery brought.
fn recovery(
    subscribed: &mut Subscribed,
    from: &StreamPosition,
    grant: &SubscribeGrant,
    history: History,
    limit: usize,
) {
    subscribed.was_recovering = true;
    let top = &history.top;
    if grant.cache {
        // The newest is all that counts, whatever the client had; unless it has that already.
        subscribed.recovered = !history.publications.is_empty();
        let has_it = from.offset == top.offset && from.epoch == top.epoch && from.offset > 0;
        subscribed.publications = if has_it { Vec::new() } else { history.publications };
        return;
    }
    let same_epoch = from.epoch.is_empty() || from.epoch == top.epoch;
    let first = history.publications.first().map(|publication| publication.offset);
    let last = history.publications.last().map(|publication| publication.offset);
    let complete = match (first, last) {
        (Some(first), Some(last)) => first == from.offset + 1 && last == top.offset,
        _ => from.offset == top.offset,
    };
    if same_epoch && complete && history.publications.len() <= limit {
        subscribed.recovered = true;
        subscribed.position.offset = from.offset;
        subscribed.publications = history.publications;
    }
}

/// What a client is told of a broker's trouble.
fn refusal(error: &BrokerError) -> Refusal {
    match error {
        BrokerError::Unsupported => ClientError::NOT_AVAILABLE.into(),
        BrokerError::Refused(_) => ClientError::LIMIT_EXCEEDED.into(),
        BrokerError::WrongEpoch => ClientError::UNRECOVERABLE_POSITION.into(),
        error => {
            tracing::error!(%error, "broker");
            ClientError::INTERNAL.into()
        }
    }
}

/// How long until a moment in seconds since 1970; `None` for the moment 0, which never comes.
fn ttl(expire_at: i64) -> Option<Duration> {
    (expire_at > 0).then(|| until(expire_at))
}

fn unix_millis() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
