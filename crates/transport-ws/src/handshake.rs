//! What both ways to a WebSocket look at in a request.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use http::header::{HOST, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, Uri};
use tidegate_core::transport::Peer;

use crate::Origins;

/// Whether the request's origin may connect. Two `Origin` headers are nobody's.
pub fn origin_allowed(headers: &HeaderMap, origins: &Origins) -> bool {
    let mut values = headers.get_all(ORIGIN).iter();
    match (values.next(), values.next()) {
        (None, _) => origins.allow(None),
        (Some(origin), None) => origins.allow(Some(origin.to_str().unwrap_or_default())),
        (Some(_), Some(_)) => origins.allow_any(),
    }
}

/// Whether the request names its host, once: RFC 9112 §3.2 has every other one of HTTP/1.1 refused.
pub(crate) fn names_host(headers: &HeaderMap) -> bool {
    headers.get_all(HOST).iter().count() == 1
}

/// The first subprotocol in the client's order that the server knows.
pub(crate) fn subprotocol<'a>(headers: &HeaderMap, known: &'a [String]) -> Option<&'a str> {
    headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .find_map(|offered| known.iter().find(|known| *known == offered))
        .map(String::as_str)
}

/// What the request tells of its sender, who connects by WebSocket.
pub fn peer(uri: &Uri, headers: &HeaderMap, address: Option<SocketAddr>, protocol: &str) -> Peer {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Peer {
        address,
        transport: "websocket",
        protocol: protocol.to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        headers: headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect(),
    }
}
