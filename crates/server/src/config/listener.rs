//! What the node listens on, and what it serves there.

use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use super::form::{self, Bound};
use super::secret::Secret;
use super::transforms::{ToResponse, Transforms};

/// `http_server`: where to listen.
#[derive(Debug, Clone, Deserialize)]
pub struct HttpServer {
    /// Interface of the public server; empty is all of them.
    pub address: String,
    /// TCP port of the public server; 0 lets the system choose.
    pub port: u16,
    /// Interface of the internal server; empty takes `address`.
    pub internal_address: String,
    /// TCP port of API, metrics, health and admin; `None` serves them on `port`.
    #[serde(deserialize_with = "form::some_port")]
    pub internal_port: Option<u16>,
    /// TLS of the public server, and of the internal one unless it has its own.
    pub tls: Tls,
    /// Whether `tls` is of the public server only.
    pub tls_external: bool,
    /// Time between looks at the files of certificates; `None` looks on SIGHUP only. 1m: a certificate is
    /// renewed weeks before its end.
    #[serde(deserialize_with = "form::some_duration")]
    pub tls_check_interval: Option<Duration>,
    /// TLS of the internal server, instead of `tls`.
    pub internal_tls: Tls,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections of the port that are no clients; derived from the descriptors.
    pub connection_limit: Bound,
    /// Those from one address; derived from `connection_limit`.
    pub ip_connection_limit: Bound,
    /// Time a connection has to say something, to shake hands by TLS, to send headers, and to ask again. 10s:
    /// a mobile client's request takes three round trips of a second at worst.
    #[serde(deserialize_with = "form::duration")]
    pub idle_timeout: Duration,
}

/// `*.tls`: TLS of a listener.
#[derive(Debug, Clone, Deserialize)]
pub struct Tls {
    /// Whether to use TLS.
    pub enabled: bool,
    /// Certificate chain: a file, PEM or base64 PEM.
    pub cert_pem: String,
    /// Private key: a file, PEM or base64 PEM.
    pub key_pem: Secret,
    /// Authorities of client certificates: a file, PEM or base64 PEM. Empty asks clients for none.
    pub client_ca_pem: String,
}

/// `http_api`: the HTTP API.
#[derive(Debug, Clone, Deserialize)]
pub struct HttpApi {
    /// Whether to serve none.
    pub disabled: bool,
    /// URL path before the method.
    pub handler_prefix: String,
    /// Key that requests must carry; an empty one refuses every request.
    pub key: Secret,
    /// Whether to serve it on the public port although there is an internal one.
    pub external: bool,
    /// Whether to accept requests without a key.
    pub insecure: bool,
    /// Largest request body, in bytes. 8 MiB: a broadcast to 100,000 channels fits.
    pub max_request_body_size: usize,
    /// Time a body has to come. 30s: 8 MiB over 2 Mbit/s.
    #[serde(deserialize_with = "form::duration")]
    pub body_timeout: Duration,
    /// How errors are answered.
    pub error_mode: ErrorMode,
}

/// How the API answers errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorMode {
    /// Inside a reply of HTTP status 200.
    #[serde(rename = "")]
    Reply,
    /// As HTTP status.
    Transport,
}

/// `websocket`: bidirectional WebSocket.
#[derive(Debug, Clone, Deserialize)]
pub struct WebSocket {
    /// Whether to serve none.
    pub disabled: bool,
    /// URL path.
    pub handler_prefix: String,
    /// Whether to offer permessage-deflate.
    pub compression: bool,
    /// Time one write may make no progress before the slow subscriber policy judges.
    #[serde(deserialize_with = "form::duration")]
    pub write_timeout: Duration,
    /// Largest message from a client, in bytes. 64 KiB: a flood of them must not be the node's memory.
    pub message_size_limit: usize,
    /// Fragments of one message, empty ones included; at least 1. 128: 512 bytes each of the largest message.
    pub fragment_limit: u32,
    /// Time a client has to finish the handshake. 10s: as long as it then has to send connect.
    #[serde(deserialize_with = "form::duration")]
    pub handshake_timeout: Duration,
}

/// `uni_websocket`: unidirectional WebSocket.
#[derive(Debug, Clone, Deserialize)]
pub struct UniWebSocket {
    /// Whether to serve it.
    pub enabled: bool,
    /// URL path.
    pub handler_prefix: String,
    /// Largest message from a client, in bytes.
    pub message_size_limit: usize,
    /// Whether the close frame alone says why a connection is closed.
    pub disable_disconnect_push: bool,
}

/// `uni_sse`, `uni_http_stream`: transports over plain HTTP for clients that only read.
#[derive(Debug, Clone, Deserialize)]
pub struct UniHttpTransport {
    /// What all transports over plain HTTP have.
    #[serde(flatten)]
    pub http: HttpTransport,
    /// How a refused connect request is answered.
    pub connect_code_to_http_response: Transforms<ToResponse>,
}

/// `sse`, `http_stream`, and what `uni_sse` and `uni_http_stream` share with them: transports over plain HTTP.
#[derive(Debug, Clone, Deserialize)]
pub struct HttpTransport {
    /// Whether to serve it.
    pub enabled: bool,
    /// URL path.
    pub handler_prefix: String,
    /// Largest request body, in bytes.
    pub max_request_body_size: usize,
}

/// `emulation`: what clients of one-way streams post.
#[derive(Debug, Clone, Deserialize)]
pub struct Emulation {
    /// URL path.
    pub handler_prefix: String,
    /// Largest request body, in bytes.
    pub max_request_body_size: usize,
}

/// `webtransport`: WebTransport, on the port of [`Quic`].
#[derive(Debug, Clone, Deserialize)]
pub struct WebTransport {
    /// Whether to serve it.
    pub enabled: bool,
    /// URL path.
    pub handler_prefix: String,
    /// Largest message from a client, in bytes.
    pub message_size_limit: usize,
}

/// `quic`: raw QUIC, and the UDP port that it shares with WebTransport.
#[derive(Debug, Clone, Deserialize)]
pub struct Quic {
    /// Whether to serve raw QUIC.
    pub enabled: bool,
    /// Interface to listen on; empty takes that of `http_server`.
    pub address: String,
    /// UDP port; `None` takes the number of the public TCP port.
    #[serde(deserialize_with = "form::some_port")]
    pub port: Option<u16>,
    /// Its certificate; if it is not enabled, that of `http_server` is shown.
    pub tls: Tls,
    /// Time a client has for the handshakes and its first stream. 10s: 5,000 at once need about 4 on two cores.
    #[serde(deserialize_with = "form::duration")]
    pub handshake_timeout: Duration,
    /// Largest message from a native client, in bytes. 64 KiB, as over WebSocket.
    pub message_size_limit: usize,
    /// Time without a packet after which a connection has ended. 40s: longer than the 25s between two pings.
    #[serde(deserialize_with = "form::duration")]
    pub idle_timeout: Duration,
    /// Bytes written and not acknowledged, per connection. 512 KiB: what 50 ms of 80 Mbit/s hold.
    pub send_window: u32,
    /// Bytes that a client may send before they are read. 128 KiB: two messages of the usual limit.
    pub receive_window: u32,
    /// The same for one stream. 64 KiB: one such message.
    pub stream_receive_window: u32,
    /// Handshakes under way from which on addresses are verified. 512: more than come by themselves in a moment.
    pub retry_threshold: usize,
    /// Packets that wait for the server to look at their sender, in bytes. 8 MiB: first packets of 5,000 clients.
    pub incoming_buffer_size: u64,
    /// Kernel buffers of the socket, in bytes. 4 MiB: with less, packets of 5,000 handshakes at once are dropped.
    pub socket_buffer_size: usize,
    /// Whether packets of more than 1,200 bytes are tried. False: it costs memory for each connection.
    pub mtu_discovery: bool,
}

/// `admin`: the admin page.
#[derive(Debug, Clone, Deserialize)]
pub struct Admin {
    /// Whether to serve it.
    pub enabled: bool,
    /// URL path; empty is `/`.
    pub handler_prefix: String,
    /// Password of the page.
    pub password: Secret,
    /// Secret that signs sessions.
    pub secret: Secret,
    /// Whether to ask for no password.
    pub insecure: bool,
    /// Whether to serve it on the public port although there is an internal one.
    pub external: bool,
}

/// `prometheus`, `health`, `debug`: a page that is there or not.
#[derive(Debug, Clone, Deserialize)]
pub struct Endpoint {
    /// Whether to serve it.
    pub enabled: bool,
    /// URL path.
    pub handler_prefix: String,
}
