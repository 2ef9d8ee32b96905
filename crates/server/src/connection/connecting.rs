//! Letting clients in, with the subscriptions that their identity brings.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tidegate_core::call::{Call, SubscribeCall};
use tidegate_core::outbox::Handle;
use tidegate_core::registry::Entered;
use tidegate_core::request::{ConnectRequest, Connected, Response, SubscribeRequest};
use tidegate_core::transport::Connection;
use tidegate_core::{Channel, Client, ClientInfo, Disconnect, Identity, SubscribeGrant};

use super::Driver;
use super::requests::Step;
use super::subscribing::{By, Made, Wanted};
use super::work::Errand;
use crate::settings::DuplicateUser;
use crate::time::{ttl, unix_millis};

/// A connect request that waits for its server-side subscriptions.
pub(super) struct Connecting {
    pub(super) connected: Connected,
    pub(super) todo: VecDeque<SubscribeCall>,
    /// Where the client would recover from, and how it would have it, by channel.
    pub(super) wishes: BTreeMap<Channel, SubscribeRequest>,
    /// What is read from when the reply is on its way.
    pub(super) made: Vec<Made>,
    /// Connections of the same user whose end the application is told of before.
    pub(super) before: Vec<Handle>,
}

pub(super) const CHANNEL_LIMIT: Disconnect = Disconnect::new(3505, "channel limit");
const CONNECTION_LIMIT: Disconnect = Disconnect::new(3504, "connection limit");
const DISPLACED: Disconnect = Disconnect::new(3504, "displaced by a newer connection of the same user");
/// Not terminal: the SDKs come back, later each time.
const TAKEOVERS: Disconnect = Disconnect::new(3013, "too many takeovers of this user");

impl<C: Connection> Driver<C> {
    /// Lets a client in that has been authenticated.
    pub(super) fn admitted(
        &mut self,
        request: ConnectRequest,
        (transport, address): (&'static str, Option<IpAddr>),
        identity: Identity,
        now: Instant,
    ) {
        let id = identity.client.unwrap_or_else(|| self.app.ids.next());
        let info = ClientInfo {
            user: identity.user.clone(),
            client: id.clone(),
            connection: identity.info.clone(),
            channel: Bytes::new(),
        };
        let client = Arc::new(Client {
            id: id.clone(),
            info: Arc::new(info),
            transport,
            address,
            meta: identity.meta,
            context: identity.context,
        });
        let app = self.app.clone();
        let settings = app.settings();
        let (policy, limit) = (settings.duplicate_user, settings.user_connection_limit);
        let mut refusal = CONNECTION_LIMIT;
        let admit = |others: usize| match policy {
            DuplicateUser::TakeOver if others == 0 => true,
            DuplicateUser::TakeOver => {
                refusal = TAKEOVERS;
                app.takeovers.allow(&settings.takeover, &identity.user, now)
            }
            DuplicateUser::Refuse => others == 0,
            DuplicateUser::Keep => limit.is_none_or(|limit| others < limit),
        };
        let entered = app.hub.registry().enter(client.clone(), self.outbox.handle(), admit);
        let Ok(Entered { registration, others, leaving }) = entered else {
            app.meters.takeover("refused");
            tracing::debug!(user = %identity.user, reason = %refusal.reason, "refused beside others");
            for other in app.hub.registry().user(&identity.user) {
                // It may be gone without a word: it is not to keep its user out for longer than it takes to see.
                let _ = other.handle.call(Call::Probe);
            }
            return self.answer(Err(refusal.into()), now);
        };
        let mut before = Vec::new();
        if policy != DuplicateUser::Keep {
            before = leaving;
        }
        if policy == DuplicateUser::TakeOver {
            for other in others {
                tracing::debug!(client = %other.client.id, by = %id, "displaced");
                app.meters.takeover("displaced");
                // Gone already: all the better.
                let _ = other.handle.close(DISPLACED);
                before.push(other.handle);
            }
        }
        self.registration = Some(registration);
        self.client = Some(client.clone());
        if identity.expire_at > 0 && !identity.client_refresh {
            self.life.get_or_insert_default().by_server = true;
        }
        self.expire_at(identity.expire_at, now);
        tracing::debug!(client = %id, user = %identity.user, transport, "connected");
        let node = self.io.session().map(|_| app.node.id.clone());
        let session = match self.io.session() {
            Some(session) => {
                app.sessions.connected(session, &id);
                session.to_owned()
            }
            // It posts nothing, but backends may name it by its session, as any client that only reads.
            None if transport == "uni_websocket" => {
                let name = app.sessions.name(app.ids.next(), id.clone());
                let session = name.id().to_owned();
                self.life.get_or_insert_default().session = Some(name);
                session
            }
            None => String::new(),
        };
        let connected = Connected {
            client: id,
            ttl: ttl(identity.expire_at).filter(|_| identity.client_refresh),
            data: identity.data,
            subs: BTreeMap::new(),
            ping: settings.ping_interval,
            pong: (!settings.pong_timeout.is_zero()).then_some(settings.pong_timeout),
            session,
            node: node.unwrap_or_default(),
            time: if settings.server_time { unix_millis() } else { 0 },
        };
        let (todo, wishes) = (identity.channels.into(), request.subs);
        self.connect_next(Box::new(Connecting { connected, todo, wishes, made: Vec::new(), before }), now);
    }

    /// Makes the next server-side subscription of a connect request, or answers it.
    pub(super) fn connect_next(&mut self, mut connecting: Box<Connecting>, now: Instant) {
        let Some(client) = self.client.clone() else { return };
        let Some(call) = connecting.todo.pop_front() else {
            self.answer(Ok(Response::Connected(Box::new(connecting.connected))), now);
            self.app.meters.connected(self.times.life(self.app.started, now));
            self.begin_reading(connecting.made, now);
            self.announced = true;
            self.coming = None;
            self.tell_health();
            let (app, before) = (self.app.clone(), connecting.before);
            self.errand = Errand::Greeting;
            self.work = Some(Box::pin(async move {
                let gone = async {
                    for other in &before {
                        other.gone().await;
                    }
                };
                let patience = app.settings().takeover_timeout;
                if tokio::time::timeout(patience, gone).await.is_err() {
                    tracing::warn!(client = %client.id, "told of before the end of those it displaces");
                }
                app.hooks.connected(&client).await;
                Step::Done
            }));
            return;
        };
        if self.subscriptions.len() >= self.app.settings().channel_limit {
            return self.close(CHANNEL_LIMIT, now);
        }
        let wish = connecting.wishes.remove(&call.channel);
        let delta = wish.as_ref().is_some_and(|wish| wish.delta);
        let wanted = Wanted {
            channel: call.channel.clone(),
            recover: wish.and_then(|wish| wish.recover),
            request: None,
            delta,
            by_token: call.by_token,
            by: By::Identity(connecting),
        };
        self.grant_server_side(wanted, client, call);
    }

    pub(super) fn grant_server_side(&mut self, wanted: Wanted, client: Arc<Client>, call: SubscribeCall) {
        let app = self.app.clone();
        self.work = Some(Box::pin(async move {
            let grant = app.authenticator().subscribe_server_side(&client, &call).await;
            let grant = grant.map(|grant| SubscribeGrant {
                info: if call.info.is_empty() { grant.info } else { call.info },
                data: if call.data.is_empty() { grant.data } else { call.data },
                expire_at: if call.expire_at > 0 { call.expire_at } else { grant.expire_at },
                ..grant
            });
            Step::Granted(Box::new(wanted), grant)
        }));
    }
}
