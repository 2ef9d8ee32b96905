//! One proxy: where it is, and how it is asked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tidegate_core::{ClientError, Refusal};
use tokio::sync::Semaphore;

use super::answer::Answer;
use super::origin::{Origin, Wanted};
use super::transform::Transforms;
use super::{Event, Question, tls};
use crate::config;
use crate::rules::RulesError;

/// A backend that is asked over HTTP.
pub(crate) struct Proxy {
    url: Url,
    client: Client,
    /// Time for everything: waiting for a turn, connecting, asking and reading.
    timeout: Duration,
    /// A turn for each call under way; `None` is unlimited.
    turns: Option<Semaphore>,
    response_size_limit: usize,
    /// Of every question, unless the client's own lie over them.
    headers: HeaderMap,
    wanted: Wanted,
    /// Payloads go as base64.
    pub(super) binary: bool,
    include_meta: bool,
    transforms: Transforms,
    /// It failed last time: that is said once, and not for each client.
    failing: AtomicBool,
}

/// No answer that could be used. It was logged.
#[derive(Debug)]
pub(super) struct Failed;

impl From<Failed> for Refusal {
    fn from(_: Failed) -> Self {
        ClientError::INTERNAL.into()
    }
}

/// Why there is no answer.
enum Failure {
    /// None came in time.
    Timeout,
    /// Something else than an answer came, or nothing could be sent.
    Broken(String),
}

impl Proxy {
    /// The proxy that `section` describes. Connects to nothing yet.
    ///
    /// # Errors
    /// An endpoint that is none, or not of HTTP; a timeout of zero; TLS, static headers or transforms that make
    /// no sense.
    pub(crate) fn new(section: &str, proxy: &config::Proxy) -> Result<Self, RulesError> {
        let wrong = |key: &str, found: String, expected: &str| RulesError::BadValue {
            key: format!("{section}.{key}"),
            found,
            expected: expected.to_owned(),
        };
        let url = endpoint(section, &proxy.endpoint)?;
        if proxy.timeout.is_zero() {
            return Err(wrong("timeout", "0s".to_owned(), "more: who asks would have no answer"));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &proxy.http.static_headers {
            let parsed = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value.expose()).ok());
            let (parsed, mut value) = parsed.ok_or_else(|| {
                wrong("http.static_headers", format!("a table with {name:?}"), "names and values of headers")
            })?;
            value.set_sensitive(true);
            headers.insert(parsed, value);
        }
        let builder = Client::builder()
            // A proxy of the environment is not between a server and its backend, unless somebody says so here.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(proxy.call_limit.map_or(IDLE, |limit| limit.get().min(IDLE)))
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")));
        let builder = tls::configure(&format!("{section}.http.tls"), &proxy.http.tls, builder)?;
        let client = builder.build().map_err(|error| {
            wrong("http.tls", format!("of no use ({error})"), "certificates and keys that fit each other")
        })?;
        let transforms = &proxy.http.status_to_code_transforms;
        Ok(Self {
            url,
            client,
            timeout: proxy.timeout,
            turns: proxy.call_limit.map(|limit| Semaphore::new(limit.get().min(Semaphore::MAX_PERMITS))),
            response_size_limit: proxy.response_size_limit,
            headers,
            wanted: Wanted::new(section, &proxy.http_headers, &proxy.emulated_headers),
            binary: proxy.binary_encoding,
            include_meta: proxy.include_connection_meta,
            transforms: Transforms::new(&format!("{section}.http.status_to_code_transforms"), transforms)?,
            failing: AtomicBool::new(false),
        })
    }

    /// The headers of clients that it wants.
    pub(crate) fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// How payloads are encoded, as the backend is told.
    pub(super) fn encoding(&self) -> &'static str {
        if self.binary { "binary" } else { "json" }
    }

    /// The meta of a connection, where the proxy is to have it.
    pub(super) fn meta<'a>(&self, meta: &'a [u8]) -> Option<&'a RawValue> {
        if self.include_meta { serde_json::from_slice(meta).ok() } else { None }
    }

    /// Asks, and waits for the answer: a result, or what the client is to be told instead.
    ///
    /// Cancel safe in that a dropped call gives its turn back; the backend may have been asked.
    ///
    /// # Errors
    /// [`Failed`] where there is no answer within the timeout, or none that makes sense.
    pub(super) async fn ask<R: DeserializeOwned>(
        &self,
        event: Event,
        origin: Option<&Origin>,
        question: &Question<'_>,
    ) -> Result<Result<R, Refusal>, Failed> {
        let asked = tokio::time::Instant::now();
        let answered = tokio::time::timeout(self.timeout, self.call(origin, question)).await;
        let outcome = answered.unwrap_or(Err(Failure::Timeout));
        metrics::histogram!("tidegate_proxy_call_seconds").record(asked.elapsed());
        let label = match &outcome {
            Ok(Ok(_)) => "result",
            Ok(Err(_)) => "refused",
            Err(Failure::Timeout) => "timeout",
            Err(Failure::Broken(_)) => "failed",
        };
        metrics::counter!("tidegate_proxy_calls_total", "event" => event.name(), "outcome" => label)
            .increment(1);
        match outcome {
            Ok(answer) => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(event = event.name(), url = %self.shown(), "the proxy answers again");
                }
                Ok(answer)
            }
            Err(failure) => {
                let why = match failure {
                    Failure::Timeout => format!("no answer within {:?}", self.timeout),
                    Failure::Broken(why) => why,
                };
                let (event, url) = (event.name(), self.shown());
                if self.failing.swap(true, Ordering::Relaxed) {
                    tracing::debug!(event, %url, why, "the proxy fails");
                } else {
                    tracing::warn!(event, %url, why, "the proxy fails; more of it at level debug");
                }
                Err(Failed)
            }
        }
    }

    async fn call<R: DeserializeOwned>(
        &self,
        origin: Option<&Origin>,
        question: &Question<'_>,
    ) -> Result<Result<R, Refusal>, Failure> {
        let _turn = match &self.turns {
            Some(turns) => Some(turns.acquire().await.expect("nobody closes the turns of a proxy")),
            None => None,
        };
        let mut headers = self.headers.clone();
        if let Some(origin) = origin {
            origin.lay_over(&self.wanted, &mut headers);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = serde_json::to_vec(question).map_err(|error| Failure::Broken(error.to_string()))?;
        let sent = self.client.post(self.url.clone()).headers(headers).body(body).send().await;
        let response = sent.map_err(broken)?;
        let status = response.status();
        if status != StatusCode::OK {
            return match self.transforms.of(status.as_u16()) {
                Some(refusal) => Ok(Err(refusal)),
                None => Err(Failure::Broken(format!("expected status 200, got {status}"))),
            };
        }
        let body = self.read(response).await?;
        // What serde says may repeat what it read.
        let answer: Answer<R> = serde_json::from_slice(&body).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Failure::Broken(format!(
                "expected JSON with the documented types; at line {line} column {column} it is something else"
            ))
        })?;
        answer.judge().map_err(|expected| Failure::Broken(expected.to_owned()))
    }

    async fn read(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let limit = self.response_size_limit;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > limit {
                return Err(Failure::Broken(format!("expected a reply of at most {limit} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// The URL without user, password and query.
    fn shown(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{host}{port}{}", self.url.scheme(), self.url.path())
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("url", &self.shown()).finish_non_exhaustive()
    }
}

fn endpoint(section: &str, endpoint: &str) -> Result<Url, RulesError> {
    let key = format!("{section}.endpoint");
    if endpoint.starts_with("grpc://") {
        return Err(RulesError::Unsupported {
            key,
            found: "one of gRPC".to_owned(),
            expected: "a URL that starts with http:// or https://".to_owned(),
        });
    }
    // The URL may have a password in it.
    let url = Url::parse(endpoint).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.ok_or_else(|| RulesError::BadValue {
        key,
        found: if endpoint.is_empty() { "not set" } else { "something else" }.to_owned(),
        expected: "a URL that starts with http:// or https://".to_owned(),
    })
}

fn broken(error: reqwest::Error) -> Failure {
    let mut why = String::new();
    let error = error.without_url();
    let mut source: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = source {
        if !why.is_empty() {
            why.push_str(": ");
        }
        why.push_str(&error.to_string());
        source = error.source();
    }
    Failure::Broken(why)
}

/// Connections to a backend that are kept for the next question, at most. 255, as v6.
const IDLE: usize = 255;
