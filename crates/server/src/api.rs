//! The HTTP API: what backends ask of a running server, compatible with Centrifugo v6.
//!
//! `POST {prefix}/<method>` with a JSON object; `null` is an empty one. The reply is of status 200 with `{"result":{…}}` or
//! `{"error":{"code","message"}}`, except of `batch`: `{"replies":[…]}`. What is no request gets another
//! status: 400 for what is not JSON or has a field of the wrong type, 401 without the key, 404 for an unknown
//! method, 405 for anything but POST, 413 for a body that is too large. Unknown fields are ignored; a field
//! that is `null` is as good as absent, but for `data`, where it is the payload `null`. Where the configuration or a
//! request's header `X-Centrifugo-Error-Mode: transport` says so, errors are told by the status, too, and are the
//! whole body. `POST {prefix}` takes the form of older clients.

mod batch;
mod channels;
mod clients;
mod envelope;
mod field;
mod glob;
mod publish;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use tidegate_core::broker::{BrokerError, PublishOptions};
use tidegate_core::{Channel, ClientError, HistoryBounds};

use crate::config::{ErrorMode, Secret};
use crate::handle::Handle;
use crate::http::body;

/// The API's routes, to be merged into any axum router.
///
/// It sets no fallback: that unknown methods are answered with 404 is axum's default, and the caller's to
/// keep.
pub fn router(handle: Handle, options: ApiOptions) -> Router {
    let ApiOptions { prefix, key, insecure, errors, body_limit, body_timeout, channels, rpc } = options;
    let mut router = Router::new().route(&path(&prefix, "batch"), post(batch::batch));
    if let Some(path) = bare(&prefix) {
        router = router.route(&path, post(envelope::commands));
    }
    for (method, prepare) in METHODS {
        router = router.route(&path(&prefix, method), route(prepare));
    }
    let api = Api { handle, key, insecure, errors, body_limit, body_timeout, channels, rpc };
    router.with_state(Arc::new(api))
}

/// The paths of [`router`]'s methods behind `prefix`.
pub fn paths(prefix: &str) -> impl Iterator<Item = String> {
    let methods = METHODS.iter().map(|(method, _)| *method).chain(["batch"]);
    methods.map(move |method| path(prefix, method)).chain(bare(prefix))
}

/// The path without a method; there is none where methods stand at the top.
fn bare(prefix: &str) -> Option<String> {
    let name = prefix.trim_matches('/');
    (!name.is_empty()).then(|| format!("/{name}"))
}

fn path(prefix: &str, method: &str) -> String {
    match prefix.trim_matches('/') {
        "" => format!("/{method}"),
        prefix => format!("/{prefix}/{method}"),
    }
}

/// How the API is served.
#[derive(Clone)]
pub struct ApiOptions {
    /// The path before the method. `/api`.
    pub prefix: String,
    /// What requests must carry, as `X-API-Key: K` or `Authorization: apikey K`. An empty key refuses all.
    pub key: Secret,
    /// Take requests without a key.
    pub insecure: bool,
    /// How errors are answered, where the request does not say.
    pub errors: ErrorMode,
    /// The largest body that is read, in bytes. 8 MiB: a broadcast to 100,000 channels fits.
    pub body_limit: usize,
    /// How long a body may take to come. 30 s: 8 MiB over 2 Mbit/s.
    pub body_timeout: Duration,
    /// What is known of channels.
    pub channels: Arc<dyn Channels>,
    /// Who takes `rpc`; without one it is answered with 104.
    pub rpc: Option<Arc<dyn Rpc>>,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            prefix: "/api".to_owned(),
            key: Secret::default(),
            insecure: false,
            errors: ErrorMode::Reply,
            body_limit: 8 << 20,
            body_timeout: Duration::from_secs(30),
            channels: Arc::new(AnyChannel),
            rpc: None,
        }
    }
}

impl fmt::Debug for ApiOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiOptions")
            .field("prefix", &self.prefix)
            .field("key", &self.key)
            .field("insecure", &self.insecure)
            .field("body_limit", &self.body_limit)
            .finish_non_exhaustive()
    }
}

/// What the API must know of channels.
pub trait Channels: Send + Sync + 'static {
    /// How the server publishes to `channel`.
    ///
    /// # Errors
    /// 102 where there is no such channel, as for all methods.
    fn publish_options(&self, channel: &Channel) -> Result<PublishOptions, ClientError>;

    /// Checks what is to be published to `channel`.
    ///
    /// # Errors
    /// 107 for what may not be published there: nothing at all, unless this is implemented otherwise.
    fn check(&self, channel: &Channel, data: &[u8]) -> Result<(), ClientError> {
        let _ = channel;
        if data.is_empty() { Err(ClientError::BAD_REQUEST) } else { Ok(()) }
    }

    /// Most bytes of a payload that `channel` takes, whether somebody is subscribed or not; what more there is, is
    /// refused with 107. By default any number: who is subscribed decides.
    fn largest(&self, channel: &Channel) -> usize {
        let _ = channel;
        usize::MAX
    }

    /// The history that `channel` keeps.
    ///
    /// # Errors
    /// 108 where it keeps none.
    fn history(&self, channel: &Channel) -> Result<HistoryBounds, ClientError>;

    /// Whether it is kept who is subscribed to `channel`.
    ///
    /// # Errors
    /// 108 where it is not.
    fn presence(&self, channel: &Channel) -> Result<(), ClientError>;
}

/// Every channel there may be, without history and presence.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnyChannel;

impl Channels for AnyChannel {
    fn publish_options(&self, _: &Channel) -> Result<PublishOptions, ClientError> {
        Ok(PublishOptions::default())
    }

    fn history(&self, _: &Channel) -> Result<HistoryBounds, ClientError> {
        Err(ClientError::NOT_AVAILABLE)
    }

    fn presence(&self, _: &Channel) -> Result<(), ClientError> {
        Err(ClientError::NOT_AVAILABLE)
    }
}

/// Takes the backend's calls of methods that are the application's own.
#[async_trait]
pub trait Rpc: Send + Sync + 'static {
    /// Calls `method` with `params`, which are JSON or empty. The answer is JSON or empty.
    ///
    /// # Errors
    /// As the backend is told; 104 for a method that there is not.
    async fn call(&self, method: &str, params: Bytes) -> Result<Bytes, ClientError>;
}

/// What all requests share.
struct Api {
    handle: Handle,
    key: Secret,
    insecure: bool,
    errors: ErrorMode,
    body_limit: usize,
    body_timeout: Duration,
    channels: Arc<dyn Channels>,
    rpc: Option<Arc<dyn Rpc>>,
}

impl Api {
    /// The channel of that name, which a request must give.
    fn channel(&self, name: &str) -> Result<Channel, ClientError> {
        if name.is_empty() { Err(bad_request("a channel")) } else { Ok(Channel::from(name)) }
    }
}

/// A request of some method.
trait Command: DeserializeOwned + Send + 'static {
    /// What is replied.
    type Result: Serialize;

    /// Does what is asked for.
    fn run(self, api: &Api) -> impl Future<Output = Result<Self::Result, ClientError>> + Send;
}

/// The result of a command that has nothing to tell.
#[derive(Serialize)]
struct Done {}

/// A command that was read and not begun: what it holds is what was asked, not yet what doing it takes.
type Work = Box<dyn FnOnce(Arc<Api>) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send>;

/// What came of a command, as it is replied.
type Outcome = Result<Box<RawValue>, ClientError>;

/// Reads a command of one method.
type Prepare = fn(&[u8]) -> Result<Work, serde_json::Error>;

/// Every method, but `batch`.
const METHODS: [(&str, Prepare); 13] = [
    ("publish", prepare::<publish::Publish>),
    ("broadcast", prepare::<publish::Broadcast>),
    ("subscribe", prepare::<clients::Subscribe>),
    ("unsubscribe", prepare::<clients::Unsubscribe>),
    ("disconnect", prepare::<clients::Disconnect>),
    ("refresh", prepare::<clients::Refresh>),
    ("presence", prepare::<channels::Presence>),
    ("presence_stats", prepare::<channels::PresenceStats>),
    ("history", prepare::<channels::History>),
    ("history_remove", prepare::<channels::HistoryRemove>),
    ("channels", prepare::<channels::Channels>),
    ("info", prepare::<channels::Info>),
    ("rpc", prepare::<channels::Call>),
];

fn prepare<C: Command>(params: &[u8]) -> Result<Work, serde_json::Error> {
    let field::Object(command) = serde_json::from_slice::<field::Object<C>>(params)?;
    Ok(Box::new(move |api| {
        Box::pin(async move {
            let result = command.run(&api).await?;
            to_raw_value(&result).map_err(|error| {
                tracing::error!(%error, "API: a result cannot be written as JSON");
                ClientError::INTERNAL
            })
        })
    }))
}

fn route(prepare: Prepare) -> MethodRouter<Arc<Api>> {
    post(async move |State(api): State<Arc<Api>>, _: Authorized, headers: HeaderMap, body: Body| {
        let body = read(&api, &headers, body).await?;
        let work = prepare(&body).map_err(|error| malformed("the body", &error))?;
        let by_status = api.errors == ErrorMode::Transport
            || headers.get(ERROR_MODE).is_some_and(|mode| mode == "transport");
        Ok::<_, Rejected>(match work(api).await {
            Err(error) if by_status => (status(&error), json(&Fault::from(error))).into_response(),
            outcome => json(&Reply::from(outcome)),
        })
    })
}

/// What stands for an error where errors are told by the HTTP status.
fn status(error: &ClientError) -> StatusCode {
    match error.code {
        102 | 104 => StatusCode::NOT_FOUND,
        107 | 108 => StatusCode::BAD_REQUEST,
        112 => StatusCode::RANGE_NOT_SATISFIABLE,
        113 => StatusCode::CONFLICT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The reply to what is no request: a status, and a text for people.
struct Rejected(StatusCode, String);

impl IntoResponse for Rejected {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}

/// The body, or what is replied instead.
async fn read(api: &Api, headers: &HeaderMap, body: Body) -> Result<Bytes, Rejected> {
    body::read(headers, body, api.body_limit, api.body_timeout)
        .await
        .map_err(|unread| Rejected(unread.status(), format!("{unread}\n")))
}

/// A request that cannot be read. `place` is where `error` counts its lines and columns.
fn malformed(place: &str, error: &serde_json::Error) -> Rejected {
    tracing::info!(place, %error, "API: malformed request");
    Rejected(StatusCode::BAD_REQUEST, format!("{place}: {error}\n"))
}

fn json(reply: &impl Serialize) -> Response {
    match serde_json::to_vec(reply) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => {
            tracing::error!(%error, "API: a reply cannot be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// What came of a command.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Reply<T> {
    Result(T),
    Error(Fault),
}

impl<T> From<Result<T, ClientError>> for Reply<T> {
    fn from(outcome: Result<T, ClientError>) -> Self {
        match outcome {
            Ok(result) => Self::Result(result),
            Err(error) => Self::Error(error.into()),
        }
    }
}

/// An error as it is replied.
#[derive(Serialize)]
struct Fault {
    code: u32,
    message: Cow<'static, str>,
}

impl From<ClientError> for Fault {
    fn from(error: ClientError) -> Self {
        Self { code: error.code, message: error.message }
    }
}

/// A request that has the key. Checked before the body is read.
struct Authorized;

impl FromRequestParts<Arc<Api>> for Authorized {
    type Rejection = Rejected;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Rejected> {
        if api.insecure || in_headers(&parts.headers).is_some_and(|key| api.key.matches(key)) {
            return Ok(Self);
        }
        let query = parts.uri.query().unwrap_or_default();
        if in_query(query).is_some_and(|key| api.key.matches(key.as_bytes())) {
            return Ok(Self);
        }
        tracing::info!(path = parts.uri.path(), "API: request without the key");
        let expected = "expected the key of http_api.key, as `X-API-Key: K`, `Authorization: apikey K` or `?api_key=K`\n";
        Err(Rejected(StatusCode::UNAUTHORIZED, expected.to_owned()))
    }
}

/// The key of a request's headers. Where there is an `X-API-Key`, `Authorization` is not looked at.
fn in_headers(headers: &HeaderMap) -> Option<&[u8]> {
    let key = headers.get("x-api-key").map(|value| value.as_bytes()).filter(|key| !key.is_empty());
    key.or_else(|| headers.get(header::AUTHORIZATION).and_then(|value| apikey(value.as_bytes())))
}

/// The key of a `?api_key=K`, for backends that cannot set headers.
fn in_query(query: &str) -> Option<Cow<'_, str>> {
    form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "api_key").map(|(_, key)| key)
}

/// The key of an `Authorization: apikey K`; schemes have no case (RFC 9110 §11.1).
fn apikey(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked("apikey ".len())?;
    scheme.eq_ignore_ascii_case(b"apikey ").then_some(key.trim_ascii())
}

/// 107, with what was expected for the log.
fn bad_request(expected: &str) -> ClientError {
    tracing::info!("API: bad request: expected {expected}");
    ClientError::BAD_REQUEST
}

/// What a backend is told of a broker's trouble.
fn broker_error(error: &BrokerError) -> ClientError {
    match error {
        BrokerError::Unsupported => ClientError::NOT_AVAILABLE,
        BrokerError::WrongEpoch => ClientError::UNRECOVERABLE_POSITION,
        // Whoever found it out has said so, once; here it would be said for every publication.
        BrokerError::Unavailable(why) => {
            tracing::debug!(why, "API: broker");
            ClientError::INTERNAL
        }
        error => {
            tracing::error!(%error, "API: broker");
            ClientError::INTERNAL
        }
    }
}

/// The header of a request that wants errors told by the HTTP status: `transport`.
const ERROR_MODE: &str = "x-centrifugo-error-mode";

/// 104, in the API's words.
const NOT_FOUND: ClientError = ClientError::new(104, "not found");

/// Publications and commands that are under way at once, after which other tasks have their turn: some
/// 100 µs.
const TURN: usize = 64;
