//! WebSockets over real sockets, with tokio-tungstenite as the client.

mod closing;
mod handshake;
mod messages;
mod support;
mod tls;
