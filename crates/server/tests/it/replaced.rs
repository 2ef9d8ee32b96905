//! What is replaced while a server runs.

use std::time::Duration;

use async_trait::async_trait;
use tidegate_server::core::request::{ConnectRequest, SubscribeRequest};
use tidegate_server::core::transport::Peer;
use tidegate_server::core::{
    Authenticator, Caps, Channel, Client, ClientError, Identity, PublishGrant, Refusal, SubscribeGrant,
};
use tidegate_server::{Bytes, Settings, Shutdown};

use crate::site::{Rules, Site, free, push};

/// Refuses everything.
struct Shut;

#[async_trait]
impl Authenticator for Shut {
    async fn connect(&self, _: &ConnectRequest, _: &Peer) -> Result<Identity, Refusal> {
        Err(ClientError::PERMISSION_DENIED.into())
    }

    async fn subscribe(&self, _: &Client, _: &SubscribeRequest) -> Result<SubscribeGrant, Refusal> {
        Err(ClientError::PERMISSION_DENIED.into())
    }

    async fn publish(&self, _: &Client, _: &Channel, _: &Bytes, _: bool) -> Result<PublishGrant, Refusal> {
        Err(ClientError::PERMISSION_DENIED.into())
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_replaced_holds_from_then_on_and_what_was_granted_stays() {
    let site = Site::start(Rules::default(), |b| b);
    let (mut ada, _bob) = (site.client("ada").await, site.client("bob").await);
    ada.subscribe("news").await;

    let full = r#"{"id":3,"error":{"code":106,"message":"limit exceeded"}}"#;
    site.handle.set_settings(Settings { channel_limit: 1, ..Default::default() });
    ada.ask(r#"{"id":3,"subscribe":{"channel":"more"}}"#, &[full]).await;
    site.handle.set_settings(Settings::default());

    site.handle.set_authenticator(Shut);
    let denied = r#"{"id":4,"error":{"code":103,"message":"permission denied"}}"#;
    ada.ask(r#"{"id":4,"subscribe":{"channel":"more"}}"#, &[denied]).await;
    site.publish("news", "1").await;
    ada.hears(&[&push("news", r#""pub":{"data":1}"#)]).await;

    // Two are in, and stay in.
    site.handle.set_caps(Caps { total: Some(1), ..Default::default() });
    free(&site.handle, 0);
    site.handle.set_caps(Caps { total: Some(5), ..Default::default() });
    free(&site.handle, 3);

    site.handle.set_shutdown(Shutdown { spread: Duration::from_secs(20), ..Default::default() });
    let (stopped, took) = site.stop().wait().await;
    assert_eq!(stopped.cut, 0);
    assert!(took >= Duration::from_secs(10), "the second of two goes after half of the time: {took:?}");
}
