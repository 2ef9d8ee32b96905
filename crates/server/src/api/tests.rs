mod clients;
mod commands;
mod envelope;
mod requests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use bytes::Bytes;
use serde_json::Value;
use tidegate_core::broker::PublishOptions;
use tidegate_core::call::SubscribeCall;
use tidegate_core::memory;
use tidegate_core::request::{ConnectRequest, SubscribeRequest};
use tidegate_core::transport::Peer;
use tidegate_core::{
    Authenticator, Channel, Client, ClientError, HistoryBounds, Identity, PublishGrant, Refusal,
    SubscribeGrant,
};
use tower::ServiceExt;

use super::{ApiOptions, Channels, Rpc, router};
use crate::server::Server;

/// A server with clients in memory, and its API.
struct World {
    router: axum::Router,
    address: memory::Address,
    server: Option<Server>,
}

/// A connected client.
struct Member {
    connection: memory::Client,
    id: String,
}

impl World {
    /// One whose requests need no key.
    fn new() -> Self {
        Self::with(ApiOptions { insecure: true, rpc: Some(Arc::new(Echo)), ..ApiOptions::default() })
    }

    fn with(options: ApiOptions) -> Self {
        let (listener, address) = memory::listener(memory::Limits::default());
        let server = Server::builder(Permissive).listen(listener).build();
        let options = ApiOptions { channels: Arc::new(Prefixes), ..options };
        Self { router: router(server.handle(), options), address, server: Some(server) }
    }

    /// Lets clients connect.
    fn start(&mut self) {
        let server = self.server.take().expect("a server is started once");
        tokio::spawn(server.run(std::future::pending()));
    }

    async fn connect(&self, user: &str) -> Member {
        let mut connection = self.address.connect().expect("the server listens");
        let connect = format!(r#"{{"id":1,"connect":{{"token":"{user}"}}}}"#);
        connection.send(connect).await.expect("the connection is open");
        let reply = connection.recv().await.expect("a connect reply");
        let reply: Value = serde_json::from_slice(&reply).expect("JSON");
        let id = reply["connect"]["client"].as_str().expect("a client id").to_owned();
        Member { connection, id }
    }

    /// Posts `body` to `method`; the reply must have `status`, and be `expected` if that is not empty: JSON in
    /// which every epoch is `E`, or a part of a text.
    async fn check(&self, method: &str, body: &str, status: u16, expected: &str) {
        let (found, text) = self.send(Method::POST, method, &[], body).await;
        assert_eq!(found, status, "{method} {body}: {text}");
        if status != 200 {
            return assert!(text.contains(expected), "{method} {body}: {text}; expected {expected}");
        }
        let mut reply: Value = serde_json::from_str(&text).expect("JSON");
        hide_epochs(&mut reply);
        let expected: Value = serde_json::from_str(expected).expect("the expectation is JSON");
        assert_eq!(reply, expected, "{method} {body}");
    }

    async fn send(
        &self,
        verb: Method,
        method: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (StatusCode, String) {
        let mut request = Request::builder().method(verb).uri(format!("/api/{method}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).expect("a request");
        let response = self.router.clone().oneshot(request).await.expect("a router does not fail");
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("a whole body");
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }
}

impl Member {
    /// The next message that is no ping.
    async fn next(&mut self) -> String {
        loop {
            let message = self.connection.recv().await.expect("a message");
            if *message != *b"{}" {
                return String::from_utf8(message.to_vec()).expect("text");
            }
        }
    }

    /// Why the server has closed.
    async fn closed(&mut self) -> String {
        while self.connection.recv().await.is_some() {}
        self.connection.closed().map(ToString::to_string).unwrap_or_default()
    }
}

fn hide_epochs(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "epoch" && !text.is_empty() => *text = "E".to_owned(),
                    value => hide_epochs(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(hide_epochs),
        _ => {}
    }
}

/// Lets everybody do everything. The token is the user's name.
struct Permissive;

#[async_trait]
impl Authenticator for Permissive {
    async fn connect(&self, request: &ConnectRequest, _: &Peer) -> Result<Identity, Refusal> {
        Ok(Identity { user: request.token.as_str().into(), info: "{\"n\":1}".into(), ..Default::default() })
    }

    async fn subscribe(&self, _: &Client, _: &SubscribeRequest) -> Result<SubscribeGrant, Refusal> {
        Ok(SubscribeGrant { presence: true, ..Default::default() })
    }

    async fn subscribe_server_side(&self, _: &Client, _: &SubscribeCall) -> Result<SubscribeGrant, Refusal> {
        Ok(SubscribeGrant { presence: true, ..Default::default() })
    }

    async fn publish(&self, _: &Client, _: &Channel, _: &Bytes, _: bool) -> Result<PublishGrant, Refusal> {
        Ok(PublishGrant {
            options: PublishOptions { history: BOUNDS, ..Default::default() },
            ..Default::default()
        })
    }
}

/// `h:…` keeps history, `p:…` presence, `plain` and `n:…` neither; other names are unknown.
struct Prefixes;

const BOUNDS: HistoryBounds =
    HistoryBounds { size: 500, ttl: Duration::from_secs(60), meta_ttl: Duration::from_secs(600) };

impl Channels for Prefixes {
    fn publish_options(&self, channel: &Channel) -> Result<PublishOptions, ClientError> {
        match channel.as_str().split(':').next() {
            Some("h") => Ok(PublishOptions { history: BOUNDS, ..Default::default() }),
            Some("p" | "n" | "plain") => Ok(PublishOptions::default()),
            _ => Err(ClientError::UNKNOWN_CHANNEL),
        }
    }

    fn history(&self, channel: &Channel) -> Result<HistoryBounds, ClientError> {
        let history = self.publish_options(channel)?.history;
        if history.is_kept() { Ok(history) } else { Err(ClientError::NOT_AVAILABLE) }
    }

    fn presence(&self, channel: &Channel) -> Result<(), ClientError> {
        self.publish_options(channel)?;
        if channel.as_str().starts_with("p:") { Ok(()) } else { Err(ClientError::NOT_AVAILABLE) }
    }
}

/// Answers `echo` with its own words.
struct Echo;

#[async_trait]
impl Rpc for Echo {
    async fn call(&self, method: &str, params: Bytes) -> Result<Bytes, ClientError> {
        match method {
            "echo" => Ok(params),
            "binary" => Ok(Bytes::from_static(&[0, 255])),
            "own" => Err(ClientError::new(1000, "out of stock")),
            _ => Err(super::NOT_FOUND),
        }
    }
}

const BAD_REQUEST: &str = r#"{"error":{"code":107,"message":"bad request"}}"#;
const UNKNOWN: &str = r#"{"error":{"code":102,"message":"unknown channel"}}"#;
const NOT_AVAILABLE: &str = r#"{"error":{"code":108,"message":"not available"}}"#;
const NOT_FOUND: &str = r#"{"error":{"code":104,"message":"not found"}}"#;
const INTERNAL: &str = r#"{"error":{"code":100,"message":"internal server error"}}"#;
const DONE: &str = r#"{"result":{}}"#;
