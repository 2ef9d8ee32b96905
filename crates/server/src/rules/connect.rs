//! Who connects.

use std::collections::BTreeSet;

use bytes::Bytes;
use tidegate_core::call::{Overrides, SubscribeCall};
use tidegate_core::request::ConnectRequest;
use tidegate_core::transport::Peer;
use tidegate_core::{Channel, Client, ClientError, Disconnect, Identity, Refreshed, Refusal};

use super::Rules;
use crate::token::{ConnectToken, TokenError};

impl Rules {
    /// Who connects, by the first that says so: the token, the header of a trusted proxy, the options that
    /// let everybody in.
    pub(super) async fn identify(
        &self,
        request: &ConnectRequest,
        peer: &Peer,
        now: i64,
    ) -> Result<Identity, Refusal> {
        let mut identity = if !request.token.is_empty() {
            self.identify_by_token(&request.token, now).await?
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
        Ok(identity)
    }

    /// The life of a connection whose client shows another token.
    pub(super) async fn refreshed(
        &self,
        client: &Client,
        token: &str,
        now: i64,
    ) -> Result<Refreshed, Refusal> {
        if token.is_empty() {
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
        Ok(Refreshed { expire_at, info: token.info, expired: false })
    }

    async fn identify_by_token(&self, token: &str, now: i64) -> Result<Identity, Refusal> {
        let token = self.connections.connect(token, now).await.map_err(refusal)?;
        if token.user.is_empty() && !self.anonymous_tokens {
            return Err(PERMISSION_DENIED.into());
        }
        let expire_at = if self.insecure { 0 } else { token.expire_at };
        check_expiry(expire_at, now)?;
        let ConnectToken { user, info, meta, channels, .. } = token;
        let mut seen = BTreeSet::new();
        let mut calls = Vec::with_capacity(channels.len());
        for named in channels {
            let channel = Channel::new(named.channel);
            if channel.as_str().is_empty() {
                return Err(ClientError::BAD_REQUEST.into());
            }
            self.namespaces.of(channel.as_str())?;
            if seen.insert(channel.clone()) {
                calls.push(SubscribeCall {
                    overrides: named.overrides,
                    ..server_side(channel, named.info, named.data)
                });
            }
        }
        Ok(Identity {
            user: user.into(),
            info: info.unwrap_or_default(),
            data: Bytes::new(),
            expire_at,
            client_refresh: true,
            channels: calls,
            meta,
        })
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
    SubscribeCall { channel, info, data, expire_at: 0, recover_since: None, overrides: Overrides::default() }
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
const BAD_REQUEST: Disconnect = Disconnect::new(3501, "bad request");
const PERMISSION_DENIED: Disconnect = Disconnect::new(3507, "permission denied");
