use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use tidegate_protocol::Encoding;

use crate::driver::Driver;
use crate::machine::{Backoff, Config, Machine};
use crate::options::Limits;
use crate::token::TokenSource;
use crate::transport::{self, Scheme, Target, Trust};
use crate::{BuildError, Client, TokenError};

/// How a client connects. Everything but the URL has a default.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it connects"]
pub struct Builder {
    url: String,
    encoding: Encoding,
    token: String,
    token_source: Option<TokenSource>,
    data: Bytes,
    name: String,
    version: String,
    headers: BTreeMap<String, String>,
    request_headers: HeaderMap,
    notices: bool,
    trust: Trust,
    limits: Limits,
}

impl Builder {
    pub(crate) fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            encoding: Encoding::Json,
            token: String::new(),
            token_source: None,
            data: Bytes::new(),
            name: "tidegate-rust".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            headers: BTreeMap::new(),
            request_headers: HeaderMap::new(),
            notices: true,
            trust: Trust::System,
            limits: Limits::default(),
        }
    }

    /// How messages are written. JSON by default, whose payloads are JSON; Protobuf is smaller and takes any bytes.
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// Who the user is: a JWT. None by default.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = token.into();
        self
    }

    /// Where new tokens come from: asked at the start if there is no [`token`](Self::token), and whenever one ends or
    /// was refused as expired. It is polled by the client's task, and must not block.
    pub fn token_source<F>(mut self, source: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<String, TokenError>> + Send + 'static,
    {
        self.token_source = Some(TokenSource::new(source));
        self
    }

    /// What the application's backend is told with the connect command.
    pub fn data(mut self, data: impl Into<Bytes>) -> Self {
        self.data = data.into();
        self
    }

    /// What the client calls itself, for the server's statistics. `tidegate-rust` and this crate's version by default.
    pub fn name(mut self, name: impl Into<String>, version: impl Into<String>) -> Self {
        self.name = name.into();
        self.version = version.into();
        self
    }

    /// A stand-in for an HTTP header, in the connect command, where a proxy hook may be told it.
    pub fn emulated_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// A header of the WebSocket's request.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.request_headers.append(name, value);
        self
    }

    /// Whether Tidegate is to tell of gaps and of its health. On by default; other servers take no notice of it. Over QUIC it
    /// is asked for with each subscription, in its [data](crate::Subscribe::data), and tells of gaps only.
    pub fn notices(mut self, notices: bool) -> Self {
        self.notices = notices;
        self
    }

    /// Whose certificates are trusted. The system's authorities by default.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// How long opening a connection, and each answer of the server, may take. 5 s by default, as in the SDKs.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.limits.timeout = timeout;
        self
    }

    /// How much later than announced the server's ping may come before it is taken for dead. 10 s by default, as in
    /// the SDKs.
    pub fn max_ping_delay(mut self, delay: Duration) -> Self {
        self.limits.max_ping_delay = delay;
        self
    }

    /// The shortest and the longest pause before connecting again. 0.5 to 20 s by default, as in the SDKs. Each
    /// pause is drawn from a range that doubles with each attempt.
    pub fn reconnect_delay(mut self, min: Duration, max: Duration) -> Self {
        self.limits.reconnect = (min, max.max(min));
        self
    }

    /// The same for subscribing again after an error that is temporary. 0.5 to 20 s by default.
    pub fn resubscribe_delay(mut self, min: Duration, max: Duration) -> Self {
        self.limits.resubscribe = (min, max.max(min));
        self
    }

    /// The largest message that is taken, in bytes. 16 MiB by default: a subscribe reply brings up to 300
    /// publications at once. A larger one disconnects the client.
    pub fn message_size_limit(mut self, bytes: usize) -> Self {
        self.limits.message_size_limit = bytes;
        self
    }

    /// How many messages and server-side publications wait for each reader of [`Client::events`]. 1,024 by default, or 4
    /// MiB.
    pub fn event_buffer(mut self, events: usize) -> Self {
        self.limits.event_buffer = events.max(1);
        self
    }

    /// Begins to connect, in a task of its own, and returns at once.
    ///
    /// # Errors
    /// [`BuildError`]. That the server cannot be reached is none: the client tries again.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect(self) -> Result<Client, BuildError> {
        let mut target = Target::parse(&self.url)?;
        if self.encoding == Encoding::Json && !self.data.is_empty() && !self.encoding.carries(&self.data) {
            return Err(BuildError::NotJson);
        }
        let has_query = target.scheme != Scheme::Quic;
        if self.notices && has_query {
            target.add_query("tidegate_notices", "true");
        }
        let tls = transport::client_config(&self.trust)?;
        let quic = match target.scheme {
            Scheme::Quic => {
                Some(transport::quic_config(tls.clone(), self.encoding).map_err(BuildError::Trust)?)
            }
            Scheme::Ws | Scheme::Wss => None,
        };
        let options = transport::Options {
            target,
            encoding: self.encoding,
            headers: self.request_headers,
            message_size_limit: self.limits.message_size_limit,
            quic,
            tls: Arc::new(tls),
        };
        let backoff = |(min, max)| Backoff { min, max };
        let config = Config {
            encoding: self.encoding,
            token: self.token,
            token_source: self.token_source.is_some(),
            data: self.data,
            name: self.name,
            version: self.version,
            headers: self.headers,
            timeout: self.limits.timeout,
            max_ping_delay: self.limits.max_ping_delay,
            reconnect: backoff(self.limits.reconnect),
            resubscribe: backoff(self.limits.resubscribe),
            message_size_limit: self.limits.message_size_limit,
            notices: self.notices,
            notices_by_data: self.notices && !has_query,
        };
        // Hashing nothing under keys of its own is random enough for pauses.
        let seed = RandomState::new().build_hasher().finish();
        let (client, ends) = Client::new(self.encoding, self.limits.event_buffer);
        let driver = Driver::new(Machine::new(config, seed), options, self.token_source, ends);
        // Joined by `Client::disconnect`, and ended by dropping the last handle.
        drop(tokio::spawn(driver.run()));
        Ok(client)
    }
}
