//! Hooks: where to ask, and what to tell.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::form;
use super::secret::Secret;

/// `proxies[]` and `*.proxy.*`: an endpoint that is asked.
#[derive(Debug, Clone, Deserialize)]
pub struct Proxy {
    /// URL to post to.
    pub endpoint: String,
    /// Time it has to answer.
    #[serde(deserialize_with = "form::duration")]
    pub timeout: Duration,
    /// Request headers of the client that are passed on.
    pub http_headers: Vec<String>,
    /// Headers of the connect command that are passed on like request headers.
    pub emulated_headers: Vec<String>,
    /// Whether payloads go as base64.
    pub binary_encoding: bool,
    /// Whether the meta of the connection is sent.
    pub include_connection_meta: bool,
    /// What is particular to HTTP.
    pub http: HttpProxy,
}

/// `*.proxy.*.http`: what is particular to HTTP.
#[derive(Debug, Clone, Deserialize)]
pub struct HttpProxy {
    /// Headers of every request; their values may be credentials.
    pub static_headers: BTreeMap<String, Secret>,
}

/// `client.proxy.*`: an endpoint that is asked about every connection, or not.
#[derive(Debug, Clone, Deserialize)]
pub struct EventProxy {
    /// Whether it is asked.
    pub enabled: bool,
    /// The endpoint.
    #[serde(flatten)]
    pub proxy: Proxy,
}

/// `rpc`: calls of clients.
#[derive(Debug, Clone, Deserialize)]
pub struct Rpc {
    /// The proxy called `default`.
    pub proxy: Proxy,
    /// Options of methods without a namespace.
    pub without_namespace: RpcOptions,
    /// Options of the methods of each namespace.
    #[serde(deserialize_with = "form::by_name")]
    pub namespaces: BTreeMap<String, RpcOptions>,
    /// A method that does nothing.
    pub ping: RpcPing,
    /// What ends the namespace in a method name.
    pub namespace_boundary: String,
}

/// `rpc.without_namespace` and each of `rpc.namespaces`.
#[derive(Debug, Clone, Deserialize)]
pub struct RpcOptions {
    /// Whether the proxy answers.
    pub proxy_enabled: bool,
    /// A name of `proxies`, or `default`.
    pub proxy_name: String,
}

/// `rpc.ping`: a method that does nothing.
#[derive(Debug, Clone, Deserialize)]
pub struct RpcPing {
    /// Whether it is there.
    pub enabled: bool,
    /// Its name.
    pub method: String,
}
