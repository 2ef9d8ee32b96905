//! A server of one's own in about twenty lines: anybody may connect who knows the password, and publish.
//!
//! `cargo run -p minimal -- 127.0.0.1:8001`

use async_trait::async_trait;
use tidegate_server::core::request::{ConnectRequest, SubscribeRequest};
use tidegate_server::core::transport::Peer;
use tidegate_server::core::{
    Authenticator, Channel, Client, Disconnect, Identity, PublishGrant, Refusal, SubscribeGrant,
};
use tidegate_server::transport_ws::{Options, WsListener};
use tidegate_server::{Bytes, Server};

struct Password;

#[async_trait]
impl Authenticator for Password {
    async fn connect(&self, request: &ConnectRequest, _: &Peer) -> Result<Identity, Refusal> {
        match request.token.strip_prefix("open sesame ") {
            Some(user) => Ok(Identity { user: user.into(), ..Identity::default() }),
            None => Err(Disconnect::new(3500, "invalid token").into()),
        }
    }

    async fn subscribe(&self, _: &Client, _: &SubscribeRequest) -> Result<SubscribeGrant, Refusal> {
        Ok(SubscribeGrant::default())
    }

    async fn publish(&self, _: &Client, _: &Channel, _: &Bytes, _: bool) -> Result<PublishGrant, Refusal> {
        Ok(PublishGrant::default())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tidegate_server::runtime().build()?.block_on(serve())
}

async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8001".to_owned());
    let server =
        Server::builder(Password).listen(WsListener::bind(address.parse()?, Options::default())?).build();
    let handle = server.handle();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            if handle.publish("ticks", "\"tick\"").await.is_err() {
                break;
            }
        }
    });
    println!(
        "serving ws://{address}/; connect with the token \"open sesame NAME\" and subscribe to \"ticks\""
    );
    server.run(async { tokio::signal::ctrl_c().await.unwrap_or_default() }).await;
    Ok(())
}
