//! Hooks: where to ask, and what to tell.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
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
    /// Calls under way at the same time; others wait for their turn, within their timeout. `None` is
    /// unlimited. 256: what a backend that answers within 10 ms does in parallel for 25,000 calls a second.
    #[serde(deserialize_with = "form::limit")]
    pub call_limit: Option<NonZeroUsize>,
    /// Largest reply, in bytes. 1 MiB: a reply is held in memory, and a client's message is smaller.
    pub response_size_limit: usize,
    /// What is particular to HTTP.
    pub http: HttpProxy,
}

/// `*.proxy.*.http`: what is particular to HTTP.
#[derive(Debug, Clone, Deserialize)]
pub struct HttpProxy {
    /// TLS, where it is not what the system has.
    pub tls: ProxyTls,
    /// Headers of every request; their values may be credentials.
    pub static_headers: BTreeMap<String, Secret>,
    /// Tables of what a status other than 200 means to the client: `status_code` with `to_error` or
    /// `to_disconnect`.
    pub status_to_code_transforms: Vec<serde_json::Value>,
}

/// `*.proxy.*.http.tls`: TLS towards the backend.
#[derive(Debug, Clone, Deserialize)]
pub struct ProxyTls {
    /// Whether the other keys count; without them `https://` trusts whom the system trusts.
    pub enabled: bool,
    /// The node's own certificate: a file, PEM or base64 PEM.
    pub cert_pem: String,
    /// The node's own private key: a file, PEM or base64 PEM.
    pub key_pem: Secret,
    /// The only authorities trusted to sign the backend's certificate: a file, PEM or base64 PEM.
    pub server_ca_pem: String,
    /// Whether any certificate will do.
    pub insecure_skip_verify: bool,
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
