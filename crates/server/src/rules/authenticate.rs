//! The rules, as a server asks them.

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_core::broker::PublishOptions;
use tidegate_core::call::SubscribeCall;
use tidegate_core::request::{ConnectRequest, SubscribeRequest};
use tidegate_core::transport::Peer;
use tidegate_core::{
    Authenticator, Channel, Client, ClientError, HistoryBounds, Identity, PublishGrant, Refreshed, Refusal,
    SubscribeGrant,
};

use super::{Rules, unix_now};
use crate::proxy::Published;

#[async_trait]
impl Authenticator for Rules {
    async fn connect(&self, request: &ConnectRequest, peer: &Peer) -> Result<Identity, Refusal> {
        self.identify(request, peer, unix_now()).await
    }

    async fn subscribe(
        &self,
        client: &Client,
        request: &SubscribeRequest,
    ) -> Result<SubscribeGrant, Refusal> {
        let namespace = self.namespaces.wanted_by_client(request.channel.as_str())?;
        let permission = self.permit(client, namespace, request, unix_now()).await?;
        Ok(self.grant(client, namespace, request, permission)?)
    }

    async fn subscribe_server_side(
        &self,
        _: &Client,
        call: &SubscribeCall,
    ) -> Result<SubscribeGrant, Refusal> {
        Ok(self.grant_server_side(&call.channel, &call.overrides)?)
    }

    async fn publish(
        &self,
        client: &Client,
        channel: &Channel,
        data: &Bytes,
        subscribed: bool,
    ) -> Result<PublishGrant, Refusal> {
        let namespace = self.named_by_client(channel)?;
        // What a backend makes of it is not bound by the format.
        namespace.check(data)?;
        let options = namespace.publish_options();
        let grant = match &namespace.proxies.publish {
            Some(proxy) => published(proxy.publish(client, channel, data).await?, options),
            None if self.allows_publish(client, subscribed, &namespace.options) => {
                PublishGrant { options, ..PublishGrant::default() }
            }
            None => return Err(ClientError::PERMISSION_DENIED.into()),
        };
        let data = grant.data.as_ref().unwrap_or(data);
        // As it is where somebody is subscribed: what is refused must not depend on that.
        if data.len() > namespace.window().largest() {
            return Err(ClientError::LIMIT_EXCEEDED.into());
        }
        // What it may be has been said.
        Ok(PublishGrant { empty: true, ..grant })
    }

    async fn history(
        &self,
        client: &Client,
        channel: &Channel,
        subscribed: bool,
    ) -> Result<HistoryBounds, Refusal> {
        let namespace = self.named_by_client(channel)?;
        if !namespace.history.is_kept() {
            return Err(ClientError::NOT_AVAILABLE.into());
        }
        match self.allows_history(client, subscribed, &namespace.options) {
            true => Ok(namespace.history),
            false => Err(ClientError::PERMISSION_DENIED.into()),
        }
    }

    async fn presence(&self, client: &Client, channel: &Channel, subscribed: bool) -> Result<(), Refusal> {
        let namespace = self.named_by_client(channel)?;
        if !namespace.options.presence {
            return Err(ClientError::NOT_AVAILABLE.into());
        }
        match self.allows_presence(client, subscribed, &namespace.options) {
            true => Ok(()),
            false => Err(ClientError::PERMISSION_DENIED.into()),
        }
    }

    async fn refresh(&self, client: &Client, token: &str) -> Result<Refreshed, Refusal> {
        self.refreshed(client, token, unix_now()).await
    }

    async fn refresh_server_side(&self, client: &Client) -> Result<Refreshed, Refusal> {
        match &self.proxies.refresh {
            Some(proxy) => proxy.refresh(client, unix_now()).await,
            None => Ok(Refreshed { expired: true, ..Refreshed::default() }),
        }
    }

    async fn sub_refresh(
        &self,
        client: &Client,
        channel: &Channel,
        token: &str,
    ) -> Result<Refreshed, Refusal> {
        self.sub_refreshed(client, channel, token, unix_now()).await
    }

    async fn sub_refresh_server_side(
        &self,
        client: &Client,
        channel: &Channel,
    ) -> Result<Refreshed, Refusal> {
        match &self.namespaces.of(channel.as_str())?.proxies.sub_refresh {
            Some(proxy) => proxy.sub_refresh(client, channel, unix_now()).await,
            None => Ok(Refreshed { expired: true, ..Refreshed::default() }),
        }
    }
}

/// What is published where a proxy was asked.
fn published(answer: Published, options: PublishOptions) -> PublishGrant {
    let history = if answer.skip_history { HistoryBounds::default() } else { options.history };
    PublishGrant {
        data: answer.data,
        version: answer.version,
        empty: false,
        options: PublishOptions {
            history,
            tags: answer.tags.or(options.tags),
            delta: options.delta || answer.delta,
            idempotency_key: answer.idempotency_key.or(options.idempotency_key),
            version_epoch: answer.version_epoch.or(options.version_epoch),
            ..options
        },
    }
}
