//! What clients and the application ask for, a step at a time.

use std::net::IpAddr;
use std::time::Instant;

use tidegate_core::broker::BrokerError;
use tidegate_core::call::{Call, SubscribeCall};
use tidegate_core::outbox::Lane;
use tidegate_core::protocol::Push;
use tidegate_core::request::{ConnectRequest, History, Request, Response, StreamPosition};
use tidegate_core::transport::Connection;
use tidegate_core::{Channel, ClientError, Disconnect, Identity, Refreshed, Refusal, SubscribeGrant};

use super::connecting::CHANNEL_LIMIT;
use super::ending::LAST_READ;
use super::questions::{history, presence, publish, refusal};
use super::subscribing::{By, INSUFFICIENT_STATE, Wanted};
use super::work::{Errand, Waiting};
use super::{Driver, EXPIRED, Phase};
use crate::time::ttl;

/// What a piece of work came to, for the connection to go on with.
pub(super) enum Step {
    /// The request is done.
    Answer(Result<Response, Refusal>),
    /// The client, which came this way, may connect, as this.
    Admitted(Box<ConnectRequest>, (&'static str, Option<IpAddr>), Result<Identity, Refusal>),
    /// The client may subscribe, or not.
    Granted(Box<Wanted>, Result<SubscribeGrant, Refusal>),
    /// The channel's history was read.
    Read(Box<Wanted>, Box<SubscribeGrant>, Lane, Result<History, BrokerError>),
    /// The application was told that the client has connected.
    Done,
    /// The connection's life was changed, or not.
    Refreshed(Result<Refreshed, Refusal>),
    /// A subscription's life was changed, or not.
    SubRefreshed(Channel, Result<Refreshed, Refusal>),
    /// The connection's life was changed, or not, without the client's asking.
    Prolonged(Result<Refreshed, Refusal>),
    /// A subscription's life was changed, or not, without the client's asking.
    SubProlonged(Channel, Result<Refreshed, Refusal>),
}

impl<C: Connection> Driver<C> {
    /// Begins to do what the client asks for.
    pub(super) fn request(&mut self, request: Request, now: Instant) {
        let app = self.app.clone();
        if matches!(self.phase, Phase::Draining(_))
            && !matches!(request, Request::Connect(_) | Request::Unsubscribe(_))
        {
            // Nothing new is begun, and nothing is lost in silence.
            return self.answer(Err(ClientError::STOPPING.into()), now);
        }
        match (request, self.client.clone()) {
            (Request::Connect(request), _) => {
                let Some(peer) = self.coming.as_mut().and_then(|coming| coming.peer.take()) else {
                    return self.answer(Err(ClientError::BAD_REQUEST.into()), now);
                };
                if app.is_draining() || matches!(self.phase, Phase::Draining(_)) {
                    return self.close(Disconnect::new(super::SHUTDOWN, "shutdown"), now);
                }
                self.work = Some(Box::pin(async move {
                    let way = (peer.transport, peer.address.map(|address| address.ip()));
                    let identity = app.authenticator().connect(&request, &peer).await;
                    Step::Admitted(request, way, identity)
                }));
            }
            (_, None) => self.answer(Err(ClientError::UNAUTHORIZED.into()), now),
            (Request::Subscribe(request), Some(client)) => self.subscribe(*request, client, now),
            (Request::Unsubscribe(channel), Some(_)) => {
                let held = self.subscriptions.remove(&channel);
                if let Some(held) = &held {
                    // What it had not read it does not want: that is no loss.
                    self.outbox.detach(held.lane);
                    self.drop_track(held.lane);
                    tracing::debug!(client = self.id(), %channel, subscription = ?held.lane, "unsubscribed by the client");
                }
                self.answer(Ok(Response::Unsubscribed), now);
                self.forget(held);
            }
            (Request::Publish { channel, data, key }, Some(client)) => {
                let held = self.subscriptions.get(&channel);
                let subscribed = held.is_some();
                // Whoever is subscribed publishes as it is known there.
                let known = held.and_then(|held| held.known.as_deref()).map(|known| known.info.clone());
                let info = known.unwrap_or_else(|| client.info.clone());
                self.errand = Errand::Aside;
                self.work = Some(Box::pin(async move {
                    Step::Answer(publish(&app, &client, channel, data, key, info, subscribed).await)
                }));
            }
            (Request::Presence(channel), Some(client)) => {
                let subscribed = self.subscriptions.get(&channel).is_some();
                self.errand = Errand::Aside;
                self.work = Some(Box::pin(async move {
                    Step::Answer(presence(&app, &client, &channel, subscribed, false, now).await)
                }));
            }
            (Request::PresenceStats(channel), Some(client)) => {
                let subscribed = self.subscriptions.get(&channel).is_some();
                self.errand = Errand::Aside;
                self.work = Some(Box::pin(async move {
                    Step::Answer(presence(&app, &client, &channel, subscribed, true, now).await)
                }));
            }
            (Request::History(request), Some(client)) => {
                let subscribed = self.subscriptions.get(&request.channel).is_some();
                self.errand = Errand::Aside;
                self.work = Some(Box::pin(async move {
                    Step::Answer(history(&app, &client, request, subscribed, now).await)
                }));
            }
            (Request::Rpc { method, data }, Some(client)) => {
                self.errand = Errand::Aside;
                self.work = Some(Box::pin(async move {
                    Step::Answer(app.hooks.rpc(&client, &method, data).await.map(Response::Rpc))
                }));
            }
            (Request::Send(data), Some(client)) => {
                self.errand = Errand::Aside;
                self.work = Some(Box::pin(async move {
                    let sent = app.hooks.message(&client, data).await;
                    Step::Answer(sent.map(|()| Response::Sent).map_err(Refusal::Disconnect))
                }));
            }
            (Request::Refresh { token }, Some(client)) => {
                self.work = Some(Box::pin(async move {
                    Step::Refreshed(app.authenticator().refresh(&client, &token).await)
                }));
            }
            (Request::SubRefresh { channel, token }, Some(client)) => {
                let Some(held) = self.subscriptions.get(&channel) else {
                    return self.answer(Err(ClientError::PERMISSION_DENIED.into()), now);
                };
                if held.server_side {
                    return self.close(Disconnect::new(3501, "bad request"), now);
                }
                if held.client_refresh && token.is_empty() {
                    return self.answer(Err(ClientError::BAD_REQUEST.into()), now);
                }
                self.work = Some(Box::pin(async move {
                    let refreshed = app.authenticator().sub_refresh(&client, &channel, &token).await;
                    Step::SubRefreshed(channel, refreshed)
                }));
            }
            (Request::Refused(error), Some(_)) => self.answer(Err(error.into()), now),
            _ => self.answer(Err(ClientError::METHOD_NOT_FOUND.into()), now),
        }
    }

    /// Goes on with what a piece of work came to.
    pub(super) fn step(&mut self, step: Step, now: Instant) {
        match step {
            Step::Done => {}
            Step::Answer(outcome) => self.answer(outcome, now),
            Step::Admitted(_, _, Err(refusal)) => self.answer(Err(refusal), now),
            Step::Admitted(request, way, Ok(identity)) => {
                self.admitted(*request, way, identity, now);
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
                if refreshed.channels.is_some_and(|channels| self.subscriptions.differ_from(&channels)) {
                    // The client connects again, with the new token.
                    return self.close(INSUFFICIENT_STATE, now);
                }
                self.expire_at(refreshed.expire_at, now);
                self.renew(refreshed.info.as_ref(), refreshed.meta.as_ref(), now);
                self.answer(Ok(Response::Refreshed { ttl: ttl(refreshed.expire_at) }), now);
            }
            Step::Prolonged(outcome) => self.prolonged(outcome, now),
            Step::SubProlonged(channel, outcome) => self.subscription_prolonged(&channel, outcome, now),
            Step::SubRefreshed(_, Err(refusal)) => self.answer(Err(refusal), now),
            Step::SubRefreshed(channel, Ok(refreshed)) => {
                let life = if refreshed.expired {
                    // The new token was late: nothing is prolonged, and upkeep ends the subscription.
                    None
                } else {
                    self.prolong_subscription(&channel, &refreshed, now);
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
                if self.subscriptions.len() >= self.app.settings().channel_limit {
                    return self.close(CHANNEL_LIMIT, now);
                }
                let recover = call.recover_since.clone();
                let recover = recover.map(|(offset, epoch)| StreamPosition { offset, epoch });
                let channel = call.channel.clone();
                let wanted =
                    Wanted { channel, recover, request: None, delta: false, by_token: false, by: By::Call };
                // What is being done beside it goes on after it.
                let aside = self.work.take();
                self.errand = Errand::Request;
                self.grant_server_side(wanted, client, SubscribeCall::clone(&call));
                self.held = aside.map(Waiting::Work).map(Box::new).or(self.held.take());
            }
            Call::Unsubscribe { channel, why } => self.unsubscribe(&channel, &why),
            Call::Refresh(call) => self.refresh(&call, now),
            Call::Probe => self.session.probe(now),
            Call::Message(data) => {
                if let Some(message) = self.session.push(Push::Message(&data)) {
                    self.outbox.reply(message, None);
                }
            }
            // After what is to be told to others of what was asked for before.
            Call::Receipt(receipt) => self.chores.push_back(Box::pin(async move { drop(receipt) })),
            _ => {}
        }
    }

    /// Whether what the application asks for next may be done: what was published before a subscription is ended goes
    /// before that, unless its client takes it too slowly.
    pub(super) fn call_is_due(&mut self, now: Instant) -> bool {
        let Some(asked) = &mut self.call else { return false };
        let Call::Unsubscribe { channel, .. } = &asked.call else { return true };
        let Some(lane) = self.subscriptions.lane(channel) else { return true };
        // While the socket takes nothing, they wait together.
        let since = self.stalled.as_ref().map_or(now, |stall| stall.since());
        let head = || self.outbox.log(lane).map(|log| log.head()).unwrap_or_default();
        let (until, to) = *asked.until.get_or_insert_with(|| (since + LAST_READ, head()));
        self.outbox.has_read(lane, &to) || until <= now
    }

    /// Begins what waits, or goes on with it, if it has to wait no longer.
    pub(super) fn begin_waiting(&mut self, now: Instant) -> bool {
        let due = |waiting: &mut Box<Waiting>| match **waiting {
            Waiting::Request(_) => !self.outbox.holds_replies(),
            Waiting::Work(_) | Waiting::Step(_) => true,
        };
        match self.held.take_if(due).map(|waiting| *waiting) {
            Some(Waiting::Request(request)) => self.request(request, now),
            Some(Waiting::Work(work)) => (self.work, self.errand) = (Some(work), Errand::Aside),
            Some(Waiting::Step(step)) => self.step(step, now),
            None => return false,
        }
        true
    }

    pub(super) fn answer(&mut self, outcome: Result<Response, Refusal>, now: Instant) {
        if let Err(refusal) = &outcome {
            self.app.meters.refusal(refusal);
        }
        self.session.answer(outcome, now);
    }
}
