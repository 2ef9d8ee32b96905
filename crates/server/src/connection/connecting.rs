//! Letting clients in, with the subscriptions that their identity brings.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tidegate_core::call::SubscribeCall;
use tidegate_core::request::{ConnectRequest, Connected, Response, StreamPosition};
use tidegate_core::transport::Connection;
use tidegate_core::{Channel, Client, ClientInfo, Disconnect, Health, Identity, SubscribeGrant};

use super::Driver;
use super::requests::Step;
use super::subscribing::{By, Made, Wanted};
use crate::settings::DuplicateUser;
use crate::time::{ttl, unix_millis};

/// A connect request that waits for its server-side subscriptions.
pub(super) struct Connecting {
    pub(super) connected: Connected,
    pub(super) todo: VecDeque<SubscribeCall>,
    pub(super) positions: BTreeMap<Channel, StreamPosition>,
    /// What is read from when the reply is on its way.
    pub(super) made: Vec<Made>,
}

pub(super) const CHANNEL_LIMIT: Disconnect = Disconnect::new(3505, "channel limit");
const CONNECTION_LIMIT: Disconnect = Disconnect::new(3504, "connection limit");
const DISPLACED: Disconnect = Disconnect::new(3504, "displaced by a newer connection of the same user");

impl<C: Connection> Driver<C> {
    /// Lets a client in that has been authenticated.
    pub(super) fn admitted(
        &mut self,
        request: ConnectRequest,
        transport: &'static str,
        identity: Identity,
        now: Instant,
    ) {
        let id = self.app.ids.next();
        let info = ClientInfo {
            user: identity.user.clone(),
            client: id.clone(),
            connection: identity.info.clone(),
            channel: Bytes::new(),
        };
        let client =
            Arc::new(Client { id: id.clone(), info: Arc::new(info), transport, meta: identity.meta.clone() });
        let app = self.app.clone();
        let settings = app.settings();
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
    pub(super) fn connect_next(&mut self, mut connecting: Box<Connecting>, now: Instant) {
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
        if self.subscriptions.len() >= self.app.settings().channel_limit {
            return self.close(CHANNEL_LIMIT, now);
        }
        let recover = connecting.positions.remove(&call.channel);
        let wanted =
            Wanted { channel: call.channel.clone(), recover, request: None, by: By::Identity(connecting) };
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
