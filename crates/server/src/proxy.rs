//! Proxies: the application's backend is asked, over HTTP, who may do what, and answers clients' calls.
//!
//! A question is a POST of JSON. The answer is one of three: a result, an error or a disconnect. Everything else,
//! and no answer in time, is a failure: the client is told 100 and may try again. A backend that hangs costs
//! those who ask it their timeout, and nobody else anything.
//!
//! Nothing of a question, an answer or a header is ever logged.

mod answer;
mod channel;
mod connection;
mod endpoint;
mod origin;
mod rpc;
#[cfg(test)]
pub(crate) mod tests;
mod tls;
mod transform;

use serde::Serialize;
use serde_json::value::RawValue;

pub(crate) use channel::{Published, Subscribed};
pub(crate) use endpoint::Proxy;
pub(crate) use origin::{Origin, Wanted};

/// What a proxy is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Connect,
    Refresh,
    Subscribe,
    Publish,
    SubRefresh,
    Rpc,
}

impl Event {
    /// All names, for the table of metrics.
    pub(crate) const NAMES: &'static [&'static str] =
        &["connect", "publish", "refresh", "rpc", "sub_refresh", "subscribe"];

    /// The name in logs and metrics.
    fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Refresh => "refresh",
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::SubRefresh => "sub_refresh",
            Self::Rpc => "rpc",
        }
    }
}

/// The body of a question. What an event does not have is left out.
#[derive(Default, Serialize)]
struct Question<'a> {
    client: &'a str,
    transport: &'a str,
    protocol: &'a str,
    encoding: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    method: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    channels: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b64data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<&'a RawValue>,
}
