//! An authenticator that lets everybody do everything.

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_core::request::{ConnectRequest, SubscribeRequest};
use tidegate_core::transport::Peer;
use tidegate_core::{Authenticator, Channel, Client, Identity, PublishGrant, Refusal, SubscribeGrant};

/// Lets everybody connect, subscribe and publish: for examples and benches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open;

#[async_trait]
impl Authenticator for Open {
    async fn connect(&self, _: &ConnectRequest, _: &Peer) -> Result<Identity, Refusal> {
        Ok(Identity::default())
    }

    async fn subscribe(&self, _: &Client, _: &SubscribeRequest) -> Result<SubscribeGrant, Refusal> {
        Ok(SubscribeGrant::default())
    }

    async fn publish(&self, _: &Client, _: &Channel, _: &Bytes, _: bool) -> Result<PublishGrant, Refusal> {
        Ok(PublishGrant::default())
    }
}
