//! A server whose application panics whenever a client asks for it: what attackers would do with a bug.

use async_trait::async_trait;
use axum::Router;
use axum::routing::get;
use tidegate_server::core::request::{ConnectRequest, SubscribeRequest};
use tidegate_server::core::transport::Peer;
use tidegate_server::core::{
    Authenticator, Channel, Client, Disconnect, Hooks, Identity, Publication, PublishGrant, Refusal,
    SubscribeGrant,
};
use tidegate_server::transport_ws::Options;
use tidegate_server::{Bytes, Server, api, http, panics};

struct Panicking;

#[async_trait]
impl Authenticator for Panicking {
    async fn connect(&self, request: &ConnectRequest, _: &Peer) -> Result<Identity, Refusal> {
        assert_ne!(request.token, "panic");
        Ok(Identity::default())
    }

    async fn subscribe(&self, _: &Client, _: &SubscribeRequest) -> Result<SubscribeGrant, Refusal> {
        Ok(SubscribeGrant::default())
    }

    async fn publish(
        &self,
        _: &Client,
        channel: &Channel,
        _: &Bytes,
        _: bool,
    ) -> Result<PublishGrant, Refusal> {
        assert_ne!(channel.as_str(), "panic");
        Ok(PublishGrant::default())
    }
}

#[async_trait]
impl Hooks for Panicking {
    async fn subscribing(&self, _: &Client, channel: &Channel) -> Result<(), Refusal> {
        assert_ne!(channel.as_str(), "panic");
        Ok(())
    }

    async fn publishing(
        &self,
        _: &Client,
        _: &Channel,
        publication: Publication,
    ) -> Result<Publication, Refusal> {
        assert_ne!(publication.data, "\"panic\"");
        Ok(publication)
    }

    async fn rpc(&self, _: &Client, method: &str, data: Bytes) -> Result<Bytes, Refusal> {
        assert_ne!(method, "panic");
        Ok(data)
    }

    async fn message(&self, _: &Client, data: Bytes) -> Result<(), Disconnect> {
        assert_ne!(data, "\"panic\"");
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tidegate_server::runtime().build()?.block_on(serve())
}

async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    panics::log();
    let metrics = http::Metrics::install()?;
    let listener = http::listen(([127, 0, 0, 1], 0).into())?;
    let address = listener.local_addr()?;
    let server = Server::builder(Panicking)
        .hooks(Panicking)
        .http(listener, move |handle| {
            let api = api::ApiOptions { insecure: true, ..api::ApiOptions::default() };
            Router::new()
                .route("/connection/websocket", http::websocket(handle.clone(), Options::default()))
                .route("/metrics", http::metrics(metrics, handle.clone()))
                .route("/health", get(|| async { "{}" }))
                .merge(api::router(handle, api))
        })
        .build();
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    // Told only now: whoever reads it may stop this at once.
    println!("serving http://{address}");
    server.run(async move { _ = terminate.recv().await }).await;
    Ok(())
}
