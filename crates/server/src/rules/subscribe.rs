//! Who subscribes, and how.

use bytes::Bytes;
use tidegate_core::call::Overrides;
use tidegate_core::request::SubscribeRequest;
use tidegate_core::{Channel, Client, ClientError, Refreshed, Refusal, SubscribeGrant};

use super::connect::{INVALID_TOKEN, check_expiry};
use super::namespace::Namespace;
use super::wishes::Wishes;
use super::{Allowed, Rules};
use crate::config::{DeltaType, RecoveryMode};
use crate::proxy::Subscribed;
use crate::token::{SubscribeToken, TokenError};

/// That a client may subscribe, and what was said along with it.
#[derive(Default)]
pub(super) struct Permission {
    expire_at: i64,
    client_refresh: bool,
    info: Bytes,
    data: Bytes,
    overrides: Overrides,
}

impl Rules {
    /// Whether `client` may subscribe, by the first that has a say: its token, the channel's name, the
    /// application's backend, the options.
    pub(super) async fn permit(
        &self,
        client: &Client,
        namespace: &Namespace,
        request: &SubscribeRequest,
        now: i64,
    ) -> Result<Permission, Refusal> {
        let (options, channel) = (&namespace.options, &request.channel);
        let client_refresh = namespace.proxies.sub_refresh.is_none();
        if !request.token.is_empty() {
            let permission = self.permit_by_token(client, channel, &request.token, now).await?;
            return Ok(Permission { client_refresh, ..permission });
        }
        if self.namespaces.is_private(channel.as_str()) {
            return Err(ClientError::PERMISSION_DENIED.into());
        }
        let users = self.namespaces.users(channel.as_str());
        let users = users.filter(|_| options.allow_user_limited_channels);
        let permitted = match (users, &namespace.proxies.subscribe) {
            (Some(users), _) => self.insecure || users.contains(client.user()),
            (None, Some(proxy)) => {
                let Subscribed { expire_at, info, data, overrides } =
                    proxy.subscribe(client, request).await?;
                check_expiry(expire_at, now)?;
                return Ok(Permission { expire_at, client_refresh, info, data, overrides });
            }
            (None, None) => {
                let allowed = Allowed {
                    client: options.allow_subscribe_for_client,
                    subscriber: false,
                    anonymous: options.allow_subscribe_for_anonymous,
                };
                self.allows(client, false, allowed)
            }
        };
        if permitted { Ok(Permission::default()) } else { Err(ClientError::PERMISSION_DENIED.into()) }
    }

    /// What a client that may subscribe gets of what it asks for.
    pub(super) fn grant(
        &self,
        client: &Client,
        namespace: &Namespace,
        request: &SubscribeRequest,
        permission: Permission,
    ) -> Result<SubscribeGrant, ClientError> {
        let options = &namespace.options;
        if request.filter.is_some() && !options.allow_tags_filter {
            return Err(ClientError::BAD_REQUEST);
        }
        let history = self.allows_history(client, true, options);
        let hears = options.join_leave && self.allows_presence(client, true, options);
        let asked = Asked {
            positioned: request.positioned && (options.allow_positioning || history),
            recoverable: request.recoverable && (options.allow_recovery || history),
            join_leave: request.join_leave && hears,
        };
        let grant = grant(namespace, &permission.overrides, asked);
        let wishes = Wishes::read(&request.data)?;
        let policy = match &wishes.backpressure {
            Some(name) => namespace.policy_asked_for(name)?,
            None => grant.policy,
        };
        let datagrams = wishes.datagrams && options.allow_datagrams && !namespace.history.is_kept();
        if wishes.datagrams && !datagrams {
            let message = "bad request: tidegate.datagrams in data: the channel has history, or its namespace has no \
                           allow_datagrams";
            return Err(ClientError { message: message.into(), ..ClientError::BAD_REQUEST });
        }
        Ok(SubscribeGrant {
            datagrams,
            delta: request.delta && grant.delta,
            filter: options.allow_tags_filter,
            expire_at: permission.expire_at,
            client_refresh: permission.client_refresh,
            info: permission.info,
            data: permission.data,
            policy,
            notices: wishes.notices,
            ..grant
        })
    }

    /// How the server subscribes a client.
    pub(super) fn grant_server_side(
        &self,
        channel: &Channel,
        overrides: &Overrides,
    ) -> Result<SubscribeGrant, ClientError> {
        Ok(grant(self.namespaces.of(channel.as_str())?, overrides, Asked::default()))
    }

    /// The life of a subscription whose client shows another token.
    ///
    /// An expired token leaves the subscription to end when it would have ended: [`Refreshed::expired`] comes
    /// with a moment that has passed.
    pub(super) async fn sub_refreshed(
        &self,
        client: &Client,
        channel: &Channel,
        token: &str,
        now: i64,
    ) -> Result<Refreshed, Refusal> {
        // Where the backend says who may stay, the client has no say.
        if self.namespaces.of(channel.as_str())?.proxies.sub_refresh.is_some() {
            return Err(super::connect::BAD_REQUEST.into());
        }
        if token.is_empty() {
            return Err(ClientError::BAD_REQUEST.into());
        }
        let token = match self.subscription_tokens().subscribe(token, now).await {
            Ok(token) => token,
            Err(TokenError::Expired) => {
                return Ok(Refreshed { expire_at: now, expired: true, ..Refreshed::default() });
            }
            Err(TokenError::Unavailable) => return Err(ClientError::INTERNAL.into()),
            Err(error @ TokenError::Invalid(_)) => {
                tracing::info!(client = %client.id, %channel, %error, "a subscription was not refreshed");
                return Err(INVALID_TOKEN.into());
            }
        };
        check_claims(client, channel, &token)?;
        check_expiry(token.expire_at, now)?;
        Ok(Refreshed { expire_at: token.expire_at, info: token.info, ..Refreshed::default() })
    }

    /// What a subscription token permits, whoever prolongs it.
    pub(super) async fn permit_by_token(
        &self,
        client: &Client,
        channel: &Channel,
        token: &str,
        now: i64,
    ) -> Result<Permission, Refusal> {
        let token = self.subscription_tokens().subscribe(token, now).await;
        let token = token.map_err(|error| match error {
            TokenError::Expired => ClientError::TOKEN_EXPIRED,
            TokenError::Unavailable => ClientError::INTERNAL,
            TokenError::Invalid(why) => {
                tracing::info!(client = %client.id, %channel, why, "a subscription token was not accepted");
                ClientError::PERMISSION_DENIED
            }
        })?;
        check_claims(client, channel, &token)?;
        check_expiry(token.expire_at, now)?;
        Ok(Permission {
            expire_at: token.expire_at,
            info: token.info.unwrap_or_default(),
            data: token.data,
            overrides: token.overrides,
            ..Permission::default()
        })
    }
}

/// What a client asked for, of what it may ask for.
#[derive(Clone, Copy, Default)]
struct Asked {
    positioned: bool,
    recoverable: bool,
    join_leave: bool,
}

fn grant(namespace: &Namespace, overrides: &Overrides, asked: Asked) -> SubscribeGrant {
    let options = &namespace.options;
    let kept = namespace.history.is_kept();
    let positioned = overrides.force_positioning.unwrap_or(options.force_positioning) || asked.positioned;
    let recoverable = overrides.force_recovery.unwrap_or(options.force_recovery) || asked.recoverable;
    let pushed = overrides.force_push_join_leave.unwrap_or(options.force_push_join_leave);
    SubscribeGrant {
        // There are no offsets to hear of where nothing is kept.
        positioned: positioned && kept,
        recoverable: recoverable && kept,
        cache: options.force_recovery_mode == RecoveryMode::Cache,
        auto_recover: options.auto_cache_recover,
        announce: overrides.join_leave.unwrap_or(options.join_leave),
        join_leave: pushed || asked.join_leave,
        presence: overrides.presence.unwrap_or(options.presence),
        delta: options.allowed_delta_types.contains(&DeltaType::Fossil),
        filter: false,
        expire_at: 0,
        client_refresh: false,
        info: Bytes::new(),
        data: Bytes::new(),
        history: namespace.history,
        policy: namespace.policy((positioned || recoverable) && kept),
        notices: false,
        datagrams: false,
    }
}

/// A good token of somebody else, or for something else: 3500, and no second try.
fn check_claims(client: &Client, channel: &Channel, token: &SubscribeToken) -> Result<(), Refusal> {
    let wrong = if token.channel != channel.as_str() {
        "channel"
    } else if token.user != **client.user() {
        "user"
    } else if !token.client.is_empty() && token.client != *client.id {
        "client"
    } else {
        return Ok(());
    };
    tracing::info!(client = %client.id, %channel, wrong, "a subscription token of another");
    Err(INVALID_TOKEN.into())
}
