//! Where clients connect whose connection is the body of a response: HTTP streaming and SSE, in both directions
//! or only for reading.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use tidegate_core::outbox::{Framing, HEADER};
use tidegate_core::transport::Peer;
use tidegate_protocol::Encoding;
use tidegate_transport_ws::{Origins, peer};

use super::body::Unread;
use super::stream::{Began, pair};
use super::{Hold, body, cors};
use crate::handle::Handle;

/// What requests of streams, and those posted for them, are allowed.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// The origins whose pages may send them. Empty by default: only requests without an `Origin` header,
    /// which come from no browser.
    pub allowed_origins: Origins,
    /// The body of a request, in bytes. 64 KiB, as Centrifugo's `max_request_body_size`.
    pub max_request_body_size: usize,
    /// How long a request's body may take. 10 s, as for a WebSocket's handshake: a silent peer holds a
    /// client's place no longer than this.
    pub request_timeout: Duration,
    /// What a client is told to wait for whom there is no room, in whole seconds (`Retry-After`). 5 s, as
    /// WebSockets are told.
    pub retry_after: Duration,
    /// What is answered instead of a stream when the connect request is refused, by the code of the error or of
    /// the disconnect. Only of use to clients that only read. Where it is not empty, a response begins
    /// when the connect request has been judged.
    pub refusals: BTreeMap<u32, (StatusCode, String)>,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            allowed_origins: Origins::default(),
            max_request_body_size: 64 * 1024,
            request_timeout: Duration::from_secs(10),
            retry_after: Duration::from_secs(5),
            refusals: BTreeMap::new(),
        }
    }
}

/// The route of HTTP streaming: the first commands are posted, and the response goes on until the connection
/// ends. What comes later is posted to [`emulation`](super::emulation).
pub fn http_stream(handle: Handle, options: StreamOptions) -> MethodRouter {
    route(handle, options, Kind::HttpStream)
}

/// The route of SSE: the first commands stand in the query, as `cf_connect`, or are posted. What comes later is
/// posted to [`emulation`](super::emulation).
pub fn sse(handle: Handle, options: StreamOptions) -> MethodRouter {
    route(handle, options, Kind::Sse)
}

/// The route of HTTP streaming for clients that only read. They post a connect request, or nothing.
pub fn uni_http_stream(handle: Handle, options: StreamOptions) -> MethodRouter {
    route(handle, options, Kind::UniHttpStream)
}

/// The route of SSE for clients that only read, such as a browser's `EventSource`. Their connect request
/// stands in the query, as `cf_connect`, or is posted, or there is none.
pub fn uni_sse(handle: Handle, options: StreamOptions) -> MethodRouter {
    route(handle, options, Kind::UniSse)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    HttpStream,
    Sse,
    UniHttpStream,
    UniSse,
}

struct Mounted {
    handle: Handle,
    options: StreamOptions,
    kind: Kind,
}

/// `data:` before each message and an empty line behind it. A message in JSON has no line feed of its own.
const EVENTS: Framing = Framing {
    header: |_, into: &mut [u8; HEADER]| {
        into[..EVENT.len()].copy_from_slice(EVENT);
        EVENT.len()
    },
    suffix: b"\n\n",
};
const EVENT: &[u8] = b"data: ";
/// A connect request that asks for nothing.
const NOTHING: Bytes = Bytes::from_static(b"{}");
/// A frame without a command: it is read as any other, and its stream says what is wrong with it.
const EMPTY: Bytes = Bytes::from_static(b"\n");
/// What nginx and its like are told: to pass on what comes as it comes.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

fn route(handle: Handle, options: StreamOptions, kind: Kind) -> MethodRouter {
    any(open).with_state(Arc::new(Mounted { handle, options, kind }))
}

async fn open(State(mounted): State<Arc<Mounted>>, request: Request) -> Response {
    let methods = mounted.kind.methods();
    let allowed = match cors::judge(&mounted.options.allowed_origins, request.headers()) {
        Ok(allowed) => allowed,
        Err(refused) => {
            mounted.handle.app().meters.refused("handshake");
            return refused.into_response();
        }
    };
    if request.method() == Method::OPTIONS {
        return allowed.preflight(methods, request.headers());
    }
    let mut response = if mounted.kind.takes(request.method()) {
        Box::pin(mounted.stream(request)).await
    } else {
        (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, methods)]).into_response()
    };
    allowed.mark(&mut response);
    response
}

impl Mounted {
    /// Lets a client in, and answers with its stream.
    async fn stream(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let address = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        // Before its body is read: a request in flight has its place already.
        let Ok(permit) = self.handle.admit(address.map(|address| address.ip())) else {
            return self.options.full("no room for another connection\n");
        };
        let first = match self.first(&parts, body).await {
            Ok(first) => first,
            Err(refused) => {
                self.handle.app().meters.refused("handshake");
                return refused.into_response();
            }
        };
        let kind = self.kind;
        let protobuf = kind == Kind::HttpStream && is_binary(&parts.headers);
        let events = matches!(kind, Kind::Sse | Kind::UniSse);
        let (framing, content_type) = if events {
            (EVENTS, "text/event-stream; charset=utf-8")
        } else if protobuf {
            // A message has its length in front.
            (Framing::NONE, "application/octet-stream")
        } else {
            (Framing::LINES, "application/json")
        };
        let protocol = if protobuf { "centrifuge-protobuf" } else { "centrifuge-json" };
        let peer =
            Peer { transport: kind.transport(), ..peer(&parts.uri, &parts.headers, address, protocol) };
        let hold = parts.extensions.get::<Hold>().cloned();
        if let Some(hold) = &hold {
            // It counts as a client from now on.
            hold.leave();
        }
        let app = self.handle.app();
        let session = app.sessions.open(app.ids.next(), !kind.only_reads());
        let pipe = session.pipe().clone();
        let (stream, body) = pair(framing, events, session, hold);
        if let Some(first) = first {
            pipe.post(first, 0).expect("the first message has room");
        }
        self.handle.serve(stream, peer, permit);
        if !self.options.refusals.is_empty()
            && let Began::Refused(code) = pipe.began().await
            && let Some((status, text)) = self.options.refusals.get(&code)
        {
            let closed = [(header::CONNECTION, HeaderValue::from_static("close"))];
            return (*status, closed, text.clone()).into_response();
        }
        let headers = [
            (header::CONTENT_TYPE, content_type),
            // Neither kept nor put together differently on its way.
            (header::CACHE_CONTROL, "no-store, no-transform"),
            (BUFFERING, "no"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            // It has no place among the connections that are no clients, to which it would return.
            (header::CONNECTION, "close"),
        ];
        (headers, Body::new(body)).into_response()
    }

    /// The first message, where it is not in the query, which the session reads.
    async fn first(&self, parts: &Parts, body: Body) -> Result<Option<Bytes>, Unread> {
        let only_reads = self.kind.only_reads();
        if parts.method == Method::POST {
            let body = self.options.read(&parts.headers, body).await?;
            return match body.trim_ascii().is_empty() {
                false if only_reads => checked(body).map(Some),
                false => Ok(Some(body)),
                true if only_reads => Ok(Some(NOTHING)),
                true if self.kind == Kind::HttpStream => Ok(Some(EMPTY)),
                true => Err(Unread::Empty),
            };
        }
        let query = parts.uri.query().unwrap_or_default();
        let found = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "cf_connect");
        match found.map(|(_, connect)| connect).filter(|connect| !connect.is_empty()) {
            Some(connect) if only_reads => checked(connect.into_owned().into()).map(|_| None),
            Some(_) => Ok(None),
            None if only_reads => Ok(Some(NOTHING)),
            None => Err(Unread::NoQuery),
        }
    }
}

impl StreamOptions {
    /// A request's whole body.
    pub(super) async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Bytes, Unread> {
        body::read(headers, body, self.max_request_body_size, self.request_timeout).await
    }

    /// The response that there is no room.
    pub(super) fn full(&self, text: &'static str) -> Response {
        let retry = self.retry_after.as_secs().max(1).to_string();
        // The descriptor is wanted for others.
        let headers = [(header::RETRY_AFTER, retry), (header::CONNECTION, "close".to_owned())];
        (StatusCode::SERVICE_UNAVAILABLE, headers, text).into_response()
    }
}

impl Kind {
    fn transport(self) -> &'static str {
        match self {
            Self::HttpStream => "http_stream",
            Self::Sse => "sse",
            Self::UniHttpStream => "uni_http_stream",
            Self::UniSse => "uni_sse",
        }
    }

    fn only_reads(self) -> bool {
        matches!(self, Self::UniHttpStream | Self::UniSse)
    }

    fn methods(self) -> &'static str {
        match self {
            Self::HttpStream | Self::UniHttpStream => "POST, OPTIONS",
            Self::Sse | Self::UniSse => "GET, POST, OPTIONS",
        }
    }

    fn takes(self, method: &Method) -> bool {
        method == Method::POST || (method == Method::GET && matches!(self, Self::Sse | Self::UniSse))
    }
}

/// The connect request of a client that only reads, if it can be read: what it asks for is judged later.
fn checked(request: Bytes) -> Result<Bytes, Unread> {
    Encoding::Json.connect_request(&request)?;
    Ok(request)
}

/// Whether a body is in Protobuf.
pub(super) fn is_binary(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/octet-stream")
}
