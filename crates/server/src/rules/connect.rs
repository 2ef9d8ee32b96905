//! Who connects.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_core::call::{Overrides, SubscribeCall};
use tidegate_core::request::ConnectRequest;
use tidegate_core::transport::Peer;
use tidegate_core::{Channel, Client, ClientContext, ClientError, Disconnect, Identity, Refreshed, Refusal};

use super::Rules;
use super::namespace::Namespace;
use crate::proxy::{Origin, Proxy};
use crate::token::{ConnectToken, TokenError};

impl Rules {
    /// Who connects, by the first that says so: the token, the application's backend, the header of a trusted
    /// proxy, the options that let everybody in.
    pub(super) async fn identify(
        &self,
        request: &ConnectRequest,
        peer: &Peer,
        now: i64,
    ) -> Result<Identity, Refusal> {
        let mut asked = true;
        let mut identity = if !request.token.is_empty() {
            self.identify_by_token(&request.token, now).await?
        } else if let Some(proxy) = &self.proxies.connect {
            // The backend heard of them, and has said which.
            asked = false;
            self.identify_by_proxy(proxy, request, peer, now).await?
        } else if let Some(user) = self.user_of_header(peer) {
            Identity { user: user.into(), ..Identity::default() }
        } else if self.insecure || self.anonymous_without_token {
            Identity::default()
        } else {
            return Err(BAD_REQUEST.into());
        };
        if self.personal.enabled && !identity.user.is_empty() {
            let channel = Channel::new(self.personal_channel(&identity.user));
            self.namespaces.of(channel.as_str())?;
            if identity.channels.iter().all(|call| call.channel != channel) {
                identity.channels.push(server_side(channel, Bytes::new(), Bytes::new()));
            }
        }
        if asked {
            self.add_wanted(&mut identity, request)?;
        }
        identity.context = self.proxies.kept.as_ref().map(|wanted| {
            let kept: ClientContext = Arc::new(Origin::of(peer, &request.headers, wanted));
            kept
        });
        Ok(identity)
    }

    /// The life of a connection whose client shows another token.
    pub(super) async fn refreshed(
        &self,
        client: &Client,
        token: &str,
        now: i64,
    ) -> Result<Refreshed, Refusal> {
        // Where the backend says who may stay, the client has no say.
        if token.is_empty() || self.proxies.refresh.is_some() {
            return Err(BAD_REQUEST.into());
        }
        let token = match self.connections.connect(token, now).await {
            Ok(token) => token,
            // The connection closes it, with 3005.
            Err(TokenError::Expired) => return Ok(Refreshed { expired: true, ..Refreshed::default() }),
            Err(error) => return Err(refusal(error)),
        };
        if token.user != **client.user() {
            tracing::info!(client = %client.id, "a refresh token of another user");
            return Err(INVALID_TOKEN.into());
        }
        check_expiry(token.expire_at, now)?;
        let expire_at = if self.insecure { 0 } else { token.expire_at };
        let meta = Some(token.meta).filter(|meta| !meta.is_empty());
        let channels = token.channels.into_iter().map(|named| Channel::new(named.channel)).collect();
        Ok(Refreshed { expire_at, info: token.info, meta, expired: false, channels: Some(channels) })
    }

    /// Has the server subscribe the client to what it wants to be subscribed to, where it could subscribe itself, without
    /// a token and without anybody's being asked. What it may not have is left out.
    ///
    /// # Errors
    /// 3501 for a namespace that is not known.
    fn add_wanted(&self, identity: &mut Identity, request: &ConnectRequest) -> Result<(), Refusal> {
        for channel in request.subs.keys() {
            let namespace = match self.namespaces.wanted_by_client(channel.as_str()) {
                Ok(namespace) => namespace,
                Err(error) if error.code == ClientError::UNKNOWN_CHANNEL.code => {
                    return Err(BAD_REQUEST.into());
                }
                Err(_) => continue,
            };
            let known = identity.channels.iter().any(|call| call.channel == *channel);
            if !known && self.lets_in(&identity.user, namespace, channel) {
                identity.channels.push(server_side(channel.clone(), Bytes::new(), Bytes::new()));
            }
        }
        Ok(())
    }

    /// Whether the options and the channel's name alone let a user in.
    fn lets_in(&self, user: &str, namespace: &Namespace, channel: &Channel) -> bool {
        let options = &namespace.options;
        if self.namespaces.is_private(channel.as_str()) || namespace.proxies.subscribe.is_some() {
            return false;
        }
        if self.insecure {
            return true;
        }
        match self.namespaces.users(channel.as_str()).filter(|_| options.allow_user_limited_channels) {
            Some(users) => users.contains(user),
            None => {
                options.allow_subscribe_for_client
                    && (!user.is_empty() || options.allow_subscribe_for_anonymous)
            }
        }
    }

    async fn identify_by_token(&self, token: &str, now: i64) -> Result<Identity, Refusal> {
        let token = self.connections.connect(token, now).await.map_err(refusal)?;
        if token.user.is_empty() && !self.anonymous_tokens {
            return Err(PERMISSION_DENIED.into());
        }
        let expire_at = if self.insecure { 0 } else { token.expire_at };
        check_expiry(expire_at, now)?;
        let ConnectToken { user, info, meta, channels, .. } = token;
        let calls = channels.into_iter().map(|named| SubscribeCall {
            overrides: named.overrides,
            by_token: true,
            ..server_side(Channel::new(named.channel), named.info, named.data)
        });
        Ok(Identity {
            user: user.into(),
            info: info.unwrap_or_default(),
            expire_at,
            client_refresh: self.proxies.refresh.is_none(),
            channels: self.known(calls)?,
            meta,
            ..Identity::default()
        })
    }

    async fn identify_by_proxy(
        &self,
        proxy: &Proxy,
        request: &ConnectRequest,
        peer: &Peer,
        now: i64,
    ) -> Result<Identity, Refusal> {
        // The backend is told the id, so it is made here.
        let client: Arc<str> = uuid::Uuid::new_v4().to_string().into();
        let origin = Origin::of(peer, &request.headers, proxy.wanted());
        let connected = proxy.connect(&client, request, peer, &origin).await?;
        let expire_at = if self.insecure { 0 } else { connected.expire_at };
        check_expiry(expire_at, now)?;
        Ok(Identity {
            client: Some(client),
            user: connected.user.into(),
            info: connected.info,
            data: connected.data,
            expire_at,
            client_refresh: self.proxies.refresh.is_none(),
            channels: self.known(connected.channels)?,
            meta: connected.meta,
            context: None,
        })
    }

    /// The subscriptions that an identity brings, each channel once, those without a name left out.
    ///
    /// # Errors
    /// 102 where a namespace is unknown.
    fn known(
        &self,
        calls: impl IntoIterator<Item = SubscribeCall>,
    ) -> Result<Vec<SubscribeCall>, ClientError> {
        let mut seen = BTreeSet::new();
        let mut known = Vec::new();
        for call in calls {
            if call.channel.as_str().is_empty() {
                continue;
            }
            self.namespaces.of(call.channel.as_str())?;
            if seen.insert(call.channel.clone()) {
                known.push(call);
            }
        }
        Ok(known)
    }

    /// The user that the header names. Stand-ins for headers that a client sends in its connect do not count:
    /// no proxy has set them.
    fn user_of_header<'a>(&self, peer: &'a Peer) -> Option<&'a str> {
        peer.header(self.user_header.as_deref()?).filter(|user| !user.is_empty())
    }
}

/// 110 for a life that is over before it begins.
pub(super) fn check_expiry(expire_at: i64, now: i64) -> Result<(), ClientError> {
    if expire_at > 0 && expire_at <= now { Err(ClientError::EXPIRED) } else { Ok(()) }
}

fn server_side(channel: Channel, info: Bytes, data: Bytes) -> SubscribeCall {
    SubscribeCall {
        channel,
        info,
        data,
        expire_at: 0,
        recover_since: None,
        overrides: Overrides::default(),
        by_token: false,
    }
}

/// What a client is told whose connection token was not accepted.
fn refusal(error: TokenError) -> Refusal {
    match error {
        TokenError::Expired => ClientError::TOKEN_EXPIRED.into(),
        TokenError::Unavailable => ClientError::INTERNAL.into(),
        TokenError::Invalid(why) => {
            tracing::info!(why, "a connection token was not accepted");
            INVALID_TOKEN.into()
        }
    }
}

pub(super) const INVALID_TOKEN: Disconnect = Disconnect::new(3500, "invalid token");
pub(super) const BAD_REQUEST: Disconnect = Disconnect::new(3501, "bad request");
const PERMISSION_DENIED: Disconnect = Disconnect::new(3507, "permission denied");
