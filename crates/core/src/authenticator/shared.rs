//! An authenticator, or hooks, that others keep a hold of, too.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Authenticator, Client, HistoryBounds, Hooks, Identity, PublishGrant, Refreshed, SubscribeGrant};
use crate::call::SubscribeCall;
use crate::request::{ConnectRequest, SubscribeRequest};
use crate::transport::Peer;
use crate::{Channel, Disconnect, Publication, Refusal};

#[async_trait]
impl<A: Authenticator + ?Sized> Authenticator for Arc<A> {
    async fn connect(&self, request: &ConnectRequest, peer: &Peer) -> Result<Identity, Refusal> {
        (**self).connect(request, peer).await
    }

    async fn subscribe(
        &self,
        client: &Client,
        request: &SubscribeRequest,
    ) -> Result<SubscribeGrant, Refusal> {
        (**self).subscribe(client, request).await
    }

    async fn subscribe_server_side(
        &self,
        client: &Client,
        call: &SubscribeCall,
    ) -> Result<SubscribeGrant, Refusal> {
        (**self).subscribe_server_side(client, call).await
    }

    async fn publish(
        &self,
        client: &Client,
        channel: &Channel,
        data: &Bytes,
        subscribed: bool,
    ) -> Result<PublishGrant, Refusal> {
        (**self).publish(client, channel, data, subscribed).await
    }

    async fn history(
        &self,
        client: &Client,
        channel: &Channel,
        subscribed: bool,
    ) -> Result<HistoryBounds, Refusal> {
        (**self).history(client, channel, subscribed).await
    }

    async fn presence(&self, client: &Client, channel: &Channel, subscribed: bool) -> Result<(), Refusal> {
        (**self).presence(client, channel, subscribed).await
    }

    async fn refresh(&self, client: &Client, token: &str) -> Result<Refreshed, Refusal> {
        (**self).refresh(client, token).await
    }

    async fn refresh_server_side(&self, client: &Client) -> Result<Refreshed, Refusal> {
        (**self).refresh_server_side(client).await
    }

    async fn sub_refresh(
        &self,
        client: &Client,
        channel: &Channel,
        token: &str,
    ) -> Result<Refreshed, Refusal> {
        (**self).sub_refresh(client, channel, token).await
    }

    async fn sub_refresh_server_side(
        &self,
        client: &Client,
        channel: &Channel,
    ) -> Result<Refreshed, Refusal> {
        (**self).sub_refresh_server_side(client, channel).await
    }
}

#[async_trait]
impl<H: Hooks + ?Sized> Hooks for Arc<H> {
    async fn connected(&self, client: &Client) {
        (**self).connected(client).await;
    }

    async fn subscribing(&self, client: &Client, channel: &Channel) -> Result<(), Refusal> {
        (**self).subscribing(client, channel).await
    }

    async fn publishing(
        &self,
        client: &Client,
        channel: &Channel,
        publication: Publication,
    ) -> Result<Publication, Refusal> {
        (**self).publishing(client, channel, publication).await
    }

    async fn rpc(&self, client: &Client, method: &str, data: Bytes) -> Result<Bytes, Refusal> {
        (**self).rpc(client, method, data).await
    }

    async fn message(&self, client: &Client, data: Bytes) -> Result<(), Disconnect> {
        (**self).message(client, data).await
    }

    async fn disconnected(&self, client: &Client, why: &Disconnect) {
        (**self).disconnected(client, why).await;
    }
}
