#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::response::{IntoResponse, Response};
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use tidegate_core::transport::Peer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{Io, Options, Rejection, WebSocket, handshake};

/// A request for a WebSocket, as an axum extractor.
///
/// ```
/// use axum::{Router, response::{IntoResponse, Response}, routing::get};
/// use tidegate_transport_ws::{Options, Upgrade};
///
/// async fn websocket(upgrade: Upgrade) -> Response {
///     match upgrade.accept(&Options::default()) {
///         Ok((response, upgraded)) => {
///             tokio::spawn(async move {
///                 if let Ok((connection, peer)) = upgraded.await { /* serve it */ }
///             });
///             response
///         }
///         Err(rejection) => rejection.into_response(),
///     }
/// }
///
/// let router: Router = Router::new().route("/connection/websocket", get(websocket));
/// ```
#[derive(Debug)]
pub struct Upgrade {
    accept: HeaderValue,
    uri: Uri,
    headers: HeaderMap,
    address: Option<SocketAddr>,
    on_upgrade: OnUpgrade,
}

/// The connection that a request becomes, once the response has been sent.
///
/// Resolves to an error when the HTTP connection ends first, or within
/// [`Options::handshake_timeout`]. Dropping it closes the connection.
#[must_use = "the connection is closed when this is dropped"]
pub struct Upgraded(Pin<Box<dyn Future<Output = Accepted> + Send>>);

type Accepted = io::Result<(WebSocket, Peer)>;

impl Upgrade {
    /// Where the request comes from, if the router is served with
    /// `into_make_service_with_connect_info::<SocketAddr>()`.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The request's headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The response that begins the WebSocket, and the connection to serve in a task of its own.
    ///
    /// # Errors
    /// [`Rejection::Origin`]
    pub fn accept(self, options: &Options) -> Result<(Response, Upgraded), Rejection> {
        let Self { accept, uri, headers, address, on_upgrade } = self;
        if !handshake::origin_allowed(&headers, &options.allowed_origins) {
            return Err(Rejection::Origin);
        }
        let protocol = handshake::subprotocol(&headers, &options.subprotocols).unwrap_or_default();
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let answer = response.headers_mut();
        answer.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        answer.insert(UPGRADE, HeaderValue::from_static("websocket"));
        answer.insert(SEC_WEBSOCKET_ACCEPT, accept);
        if !protocol.is_empty() {
            let protocol = HeaderValue::from_str(protocol).expect("it came in a header");
            answer.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        let peer = handshake::peer(&uri, &headers, address, protocol);
        let options = options.clone();
        let upgraded = async move {
            let upgraded = timeout(options.handshake_timeout, on_upgrade)
                .await
                .map_err(|_| io::Error::new(ErrorKind::TimedOut, "the upgrade was not answered in time"))?
                .map_err(io::Error::other)?;
            Ok((websocket(upgraded, &options), peer))
        };
        Ok((response, Upgraded(Box::pin(upgraded))))
    }

    /// The response for a server that has no room: 503.
    pub fn refuse(self, options: &Options) -> Response {
        Rejection::Full { retry_after: options.retry_after }.into_response()
    }
}

impl<S: Sync> FromRequestParts<S> for Upgrade {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        let key = check(&parts.method, parts.version, &parts.headers)?;
        let accept = derive_accept_key(key.as_bytes());
        let accept = HeaderValue::from_str(&accept).expect("Base64 is plain text");
        let on_upgrade = parts.extensions.remove::<OnUpgrade>().ok_or(Rejection::NotUpgradable)?;
        Ok(Self {
            accept,
            uri: parts.uri.clone(),
            headers: parts.headers.clone(),
            address: parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0),
            on_upgrade,
        })
    }
}

impl Future for Upgraded {
    type Output = io::Result<(WebSocket, Peer)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upgraded")
    }
}

/// The connection without what served HTTP over it, where the socket can be had.
fn websocket(upgraded: hyper::upgrade::Upgraded, options: &Options) -> WebSocket {
    let upgraded = match over::<TcpStream>(upgraded, options) {
        Ok(connection) => return connection,
        Err(upgraded) => upgraded,
    };
    #[cfg(feature = "tls")]
    let upgraded = match over::<tokio_rustls::server::TlsStream<TcpStream>>(upgraded, options) {
        Ok(connection) => return connection,
        Err(upgraded) => upgraded,
    };
    WebSocket::new(Io::other(TokioIo::new(upgraded)), options)
}

/// The connection over the stream that was served, if it is an `S`.
fn over<S>(
    upgraded: hyper::upgrade::Upgraded,
    options: &Options,
) -> Result<WebSocket, hyper::upgrade::Upgraded>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + Into<Io> + 'static,
{
    // Behind `hyper_util`'s server that finds out the version of HTTP, and behind hyper's own.
    match downcast::<TokioIo<S>>(upgraded) {
        Ok(parts) => Ok(WebSocket::with_read_ahead(parts.io.into_inner(), options, &parts.read_buf)),
        Err(upgraded) => {
            let parts = upgraded.downcast::<TokioIo<S>>()?;
            Ok(WebSocket::with_read_ahead(parts.io.into_inner(), options, &parts.read_buf))
        }
    }
}

/// Judges a request as RFC 6455 §4.2.1 says, and returns its key.
fn check<'a>(
    method: &Method,
    version: Version,
    headers: &'a HeaderMap,
) -> Result<&'a HeaderValue, Rejection> {
    if method != Method::GET {
        return Err(Rejection::Method);
    }
    if version != Version::HTTP_11 {
        return Err(Rejection::HttpVersion);
    }
    if !handshake::names_host(headers) {
        return Err(Rejection::Host);
    }
    if !has_token(headers, CONNECTION, "upgrade") || !has_token(headers, UPGRADE, "websocket") {
        return Err(Rejection::NotUpgrade);
    }
    if only(headers, SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Rejection::Version);
    }
    only(headers, SEC_WEBSOCKET_KEY).filter(|key| is_key(key.as_bytes())).ok_or(Rejection::Key)
}

/// The value of a header that is there once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).into_iter();
    values.next().filter(|_| values.next().is_none())
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(token))
}

/// Whether this is the Base64 of 16 bytes: 22 digits, of which the last carries two bits, and the padding.
fn is_key(key: &[u8]) -> bool {
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    match key {
        [digits @ .., last, b'=', b'='] => {
            digits.len() == 21 && digits.iter().all(digit) && matches!(last, b'A' | b'Q' | b'g' | b'w')
        }
        _ => false,
    }
}
