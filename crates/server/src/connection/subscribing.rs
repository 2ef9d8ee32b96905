//! Making subscriptions, and ending them.

use std::sync::Arc;
use std::time::Instant;

use tidegate_core::outbox::Lane;
use tidegate_core::protocol::Push;
use tidegate_core::request::{
    History, HistoryRequest, Response, StreamPosition, SubscribeRequest, Subscribed,
};
use tidegate_core::router::Interest;
use tidegate_core::transport::Connection;
use tidegate_core::{
    Backpressure, Channel, Client, ClientError, ClientInfo, Disconnect, End, Filter, Publication, Refusal,
    SubscribeGrant, Subscription,
};

use super::Driver;
use super::connecting::Connecting;
use super::requests::Step;
use super::subscriptions::{Held, Known};
use crate::time::ttl;

/// A subscription that is wanted, and by whom.
pub(super) struct Wanted {
    pub(super) channel: Channel,
    pub(super) recover: Option<StreamPosition>,
    pub(super) request: Option<SubscribeRequest>,
    /// The client takes deltas.
    pub(super) delta: bool,
    /// The client's token names it.
    pub(super) by_token: bool,
    pub(super) by: By,
}

impl Wanted {
    /// Which publications the client wants; the server subscribes to all.
    fn filter(&self) -> Option<&Filter> {
        self.request.as_ref()?.filter.as_ref()
    }
}

pub(super) enum By {
    /// The client, by command.
    Client,
    /// The application, by a call.
    Call,
    /// The client's identity: it is one of several that the connect reply waits for.
    Identity(Box<Connecting>),
}

/// A subscription that stands, but is not read yet.
pub(super) struct Made {
    pub(super) channel: Channel,
    pub(super) lane: Lane,
    pub(super) subscription: Box<dyn Subscription>,
    pub(super) policy: Arc<dyn Backpressure>,
}

pub(super) const INSUFFICIENT_STATE: Disconnect = Disconnect::new(3010, "insufficient state");
/// The client's encoding has no way to say what is published.
const INAPPROPRIATE: Disconnect = Disconnect::new(3506, "inappropriate protocol");
const UNSUBSCRIBED: Disconnect = Disconnect::new(2000, "server unsubscribe");
const INSUFFICIENT: Disconnect = Disconnect::new(2500, "insufficient state");

impl<C: Connection> Driver<C> {
    pub(super) fn subscribe(&mut self, request: SubscribeRequest, client: Arc<Client>, now: Instant) {
        if self.subscriptions.get(&request.channel).is_some() {
            return self.answer(Err(ClientError::ALREADY_SUBSCRIBED.into()), now);
        }
        if self.subscriptions.len() >= self.app.settings().channel_limit {
            return self.answer(Err(ClientError::LIMIT_EXCEEDED.into()), now);
        }
        let app = self.app.clone();
        self.work = Some(Box::pin(async move {
            let grant = async {
                let grant = app.authenticator().subscribe(&client, &request).await?;
                app.hooks.subscribing(&client, &request.channel).await?;
                Ok(grant)
            };
            let grant = grant.await;
            let (channel, recover, delta) = (request.channel.clone(), request.recover.clone(), request.delta);
            let request = Some(request);
            let wanted = Wanted { channel, recover, request, delta, by_token: false, by: By::Client };
            Step::Granted(Box::new(wanted), grant)
        }));
    }

    /// Takes the cursor, and reads the history up to it where the channel has one.
    pub(super) fn granted(&mut self, mut wanted: Box<Wanted>, grant: SubscribeGrant, now: Instant) {
        if grant.auto_recover {
            wanted.recover.get_or_insert_default();
        }
        let filter = wanted.filter().cloned();
        if filter.is_some() && !grant.filter {
            return self.not_subscribed(*wanted, ClientError::BAD_REQUEST.into(), now);
        }
        let mut interest = Interest::channel(wanted.channel.clone());
        interest.filter = filter;
        interest.worker = self.seat.worker().number();
        let lane = loop {
            let Ok(log) = self.app.hub.open_for(&interest) else {
                return self.not_subscribed(*wanted, ClientError::UNKNOWN_CHANNEL.into(), now);
            };
            match self.outbox.reserve(&log) {
                Ok(lane) => break lane,
                // Its last subscriber has just left; there is a new one.
                Err(_) => continue,
            }
        };
        // Who does not rely on offsets is told none.
        if !grant.history.is_kept() || !(grant.positioned || grant.recoverable) {
            return self.read(*wanted, &grant, lane, History::default(), now);
        }
        let app = self.app.clone();
        let limit = app.settings().recovery_limit;
        self.work = Some(Box::pin(async move {
            let recover = wanted.recover.as_ref().filter(|_| grant.recoverable);
            let request = HistoryRequest {
                channel: wanted.channel.clone(),
                // One more than may be recovered tells whether there are too many.
                limit: Some(match recover {
                    None => 0,
                    // The newest that is wanted may not be the newest.
                    Some(_) if grant.cache && wanted.filter().is_some() => limit,
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
    pub(super) fn read(
        &mut self,
        wanted: Wanted,
        grant: &SubscribeGrant,
        lane: Lane,
        history: History,
        now: Instant,
    ) {
        let request = wanted.request.as_ref();
        let mut subscribed = Subscribed {
            ttl: ttl(grant.expire_at).filter(|_| grant.client_refresh),
            recoverable: grant.recoverable,
            positioned: grant.positioned || grant.recoverable,
            position: history.top.clone(),
            // What a patch is made against may be lost.
            delta: grant.delta && wanted.delta && !grant.datagrams,
            // Beyond the router's bound, the log brings more than is wanted.
            filter: wanted.filter().filter(|_| self.filters_itself(lane)).cloned(),
            join_leave: grant.join_leave,
            data: grant.data.clone(),
            was_recovering: wanted.recover.is_some(),
            notices: grant.notices,
            datagrams: grant.datagrams && !grant.history.is_kept(),
            ..Default::default()
        };
        let recover = wanted.recover.as_ref().filter(|_| grant.recoverable);
        let newest = if grant.cache { history.publications.first() } else { history.publications.last() };
        if let Some(newest) = newest.filter(|newest| subscribed.delta && newest.offset == history.top.offset)
            && let Some(log) = self.outbox.log(lane)
        {
            log.seed(newest);
        }
        if let Some(recover) = recover {
            let limit = self.app.settings().recovery_limit;
            recovery(&mut subscribed, recover, grant.cache, wanted.filter(), history, limit);
            let refuses =
                |request: &SubscribeRequest| request.refuse_unrecoverable && request.recover.is_some();
            // In cache mode no position is unrecoverable: whatever is the newest will do.
            if !subscribed.recovered && !grant.cache && request.is_some_and(refuses) {
                self.outbox.detach(lane);
                return self.not_subscribed(wanted, ClientError::UNRECOVERABLE_POSITION.into(), now);
            }
        }
        let Some(client) = self.client.clone() else { return };
        let track = if matches!(wanted.by, By::Client) { self.open_track(&subscribed) } else { None };
        subscribed.tracked = track.is_some();
        let subscription = self.session.subscription(&wanted.channel, &subscribed);
        let unspeakable = track
            .and_then(|(track, head)| self.lay_track(lane, track, &head, &wanted.channel, &mut subscribed));
        let known = (grant.announce || grant.presence || !grant.info.is_empty()).then(|| {
            let info = ClientInfo { channel: grant.info.clone(), ..ClientInfo::clone(&client.info) };
            let (announced, present) = (grant.announce, grant.presence);
            Box::new(Known { info: Arc::new(info), announced, present, introduced: false })
        });
        let channel = wanted.channel.clone();
        self.subscriptions.insert(Held {
            channel: channel.clone(),
            lane,
            expire_at: grant.expire_at,
            client_refresh: grant.client_refresh,
            prolonging: false,
            server_side: !matches!(wanted.by, By::Client),
            by_token: wanted.by_token,
            known,
        });
        self.app.meters.subscriptions.increment(1);
        tracing::debug!(client = %client.id, %channel, subscription = ?lane, "subscribed");
        let made = Made { channel, lane, subscription, policy: grant.policy.clone() };
        match wanted.by {
            By::Client => self.answer(Ok(Response::Subscribed(Box::new(subscribed))), now),
            By::Call => {
                if let Some(message) = self.session.push(Push::Subscribe(&made.channel, &subscribed)) {
                    self.outbox.reply(message, None);
                }
                // The push of a subscription has no room for what was recovered: it follows.
                for publication in &subscribed.publications {
                    match self.session.push(Push::Publication(&made.channel, publication)) {
                        Some(message) => self.outbox.reply(message, None),
                        None => return self.close(INAPPROPRIATE, now),
                    }
                }
            }
            By::Identity(mut connecting) => {
                connecting.connected.subs.insert(made.channel.clone(), subscribed);
                connecting.made.push(made);
                return self.connect_next(connecting, now);
            }
        }
        self.begin_reading(vec![made], now);
        if let Some(why) = unspeakable {
            self.close(why, now);
        }
    }

    /// Whether a lane's log brings all of its channel.
    fn filters_itself(&self, lane: Lane) -> bool {
        self.outbox.log(lane).is_some_and(|log| log.filter().is_none())
    }

    /// Reads subscriptions that the client has been told of.
    pub(super) fn begin_reading(&mut self, made: Vec<Made>, now: Instant) {
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

    pub(super) fn not_subscribed(&mut self, wanted: Wanted, refusal: Refusal, now: Instant) {
        match (wanted.by, refusal) {
            (By::Client | By::Identity(_), refusal) => self.answer(Err(refusal), now),
            (By::Call, Refusal::Disconnect(why)) => self.close(why, now),
            (By::Call, Refusal::Error(error)) => {
                let client = self.client.as_ref().map_or("", |client| &client.id);
                tracing::info!(client, channel = %wanted.channel, %error, "not subscribed by the API");
            }
        }
    }

    /// Ends a subscription because its log says so.
    pub(super) fn ended(&mut self, lane: Lane, end: &End, now: Instant) {
        let Some(held) = self.subscriptions.remove_lane(lane) else { return };
        self.app.meters.missed(&self.outbox.take_losses());
        let why = match end {
            End::Behind(_) | End::Discontinuous(_) if held.server_side => {
                // It has no track.
                self.forget(Some(held));
                return self.close(INSUFFICIENT_STATE, now);
            }
            End::Behind(_) | End::Discontinuous(_) => INSUFFICIENT,
            _ => UNSUBSCRIBED,
        };
        tracing::debug!(client = self.id(), channel = %held.channel, subscription = ?lane, code = why.code, "ended");
        self.close_track(lane, why.code);
        self.tell_unsubscribed(&held.channel, &why);
        self.forget(Some(held));
    }

    /// Ends a subscription because the application says so.
    pub(super) fn unsubscribe(&mut self, channel: &Channel, why: &Disconnect) {
        let Some(held) = self.subscriptions.remove(channel) else { return };
        self.outbox.cut(held.lane);
        self.close_track(held.lane, why.code);
        self.app.meters.missed(&self.outbox.take_losses());
        tracing::debug!(client = self.id(), %channel, subscription = ?held.lane, code = why.code, "unsubscribed");
        self.tell_unsubscribed(channel, why);
        self.forget(Some(held));
    }

    pub(super) fn tell_unsubscribed(&mut self, channel: &Channel, why: &Disconnect) {
        self.app.meters.unsubscribed(why);
        tracing::debug!(client = self.id(), %channel, code = why.code, "unsubscribed by the server");
        if let Some(message) = self.session.push(Push::Unsubscribe(channel, why)) {
            self.outbox.reply(message, None);
        }
    }
}

/// Fills in what recovery brought: of all that was missed, what is wanted.
fn recovery(
    subscribed: &mut Subscribed,
    from: &StreamPosition,
    cache: bool,
    filter: Option<&Filter>,
    history: History,
    limit: usize,
) {
    let History { mut publications, top } = history;
    let wanted = |one: &Publication| filter.is_none_or(|filter| filter.matches(one.tags.as_deref()));
    if cache {
        // The newest is all that counts, whatever the client had; unless it has that already. If that is no longer
        // kept, only who has it has recovered.
        let newest = publications.into_iter().find(wanted);
        subscribed.recovered = newest.is_some() || (from.offset > 0 && *from == top);
        let has = from.epoch == top.epoch && from.offset <= top.offset;
        let has = |one: &Publication| has && one.offset <= from.offset && from.offset > 0;
        subscribed.publications = newest.filter(|one| !has(one)).into_iter().collect();
        if subscribed.recovered {
            // As from any place that was recovered from; one beyond the top is of another life of the stream.
            subscribed.position.offset = from.offset.min(top.offset);
        }
        return;
    }
    let same_epoch = from.epoch.is_empty() || from.epoch == top.epoch;
    let complete = match (publications.first(), publications.last()) {
        (Some(first), Some(last)) => first.offset == from.offset + 1 && last.offset == top.offset,
        _ => from.offset == top.offset,
    };
    if same_epoch && complete && publications.len() <= limit {
        publications.retain(wanted);
        subscribed.recovered = true;
        // A client moves on by what it gets. If that is nothing, it may recover from the top next time.
        if filter.is_none() || !publications.is_empty() {
            subscribed.position.offset = from.offset;
        }
        subscribed.publications = publications;
    }
}
