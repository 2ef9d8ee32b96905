//! The whole configuration, and the parts that belong to the process.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::channel::Channels;
use super::client::Client;
use super::form::{self, Bound};
use super::layers::Layers;
use super::listener::{
    Admin, Emulation, Endpoint, HttpApi, HttpServer, HttpTransport, Quic, UniHttpTransport, UniWebSocket,
    WebSocket, WebTransport,
};
use super::proxy::{Proxy, Rpc};

/// The configuration of a node. Fields are named after their keys, which `config/keys.tsv` explains; every key
/// that is not a field is not used.
///
/// The default is the table's. Fields may be set freely; only [`load`](super::load) checks them.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    /// Where to listen.
    pub http_server: HttpServer,
    /// What to log, and where to.
    pub log: Log,
    /// Connections: who may connect, and their limits.
    pub client: Client,
    /// Channels and their namespaces.
    pub channel: Channels,
    /// Calls of clients.
    pub rpc: Rpc,
    /// Named proxies that namespaces refer to.
    #[serde(deserialize_with = "form::by_name")]
    pub proxies: BTreeMap<String, Proxy>,
    /// The HTTP API.
    pub http_api: HttpApi,
    /// Bidirectional WebSocket.
    pub websocket: WebSocket,
    /// Bidirectional SSE.
    pub sse: HttpTransport,
    /// Bidirectional HTTP streaming.
    pub http_stream: HttpTransport,
    /// What clients of `sse` and `http_stream` post.
    pub emulation: Emulation,
    /// Unidirectional SSE.
    pub uni_sse: UniHttpTransport,
    /// Unidirectional HTTP streaming.
    pub uni_http_stream: UniHttpTransport,
    /// Unidirectional WebSocket.
    pub uni_websocket: UniWebSocket,
    /// Raw QUIC, and the UDP port.
    pub quic: Quic,
    /// WebTransport.
    pub webtransport: WebTransport,
    /// The admin page.
    pub admin: Admin,
    /// The metrics.
    pub prometheus: Endpoint,
    /// The health check.
    pub health: Endpoint,
    /// The profiles.
    pub debug: Endpoint,
    /// The node itself.
    pub node: Node,
    /// How the node stops.
    pub shutdown: Shutdown,
    /// Where history is kept.
    pub history: History,
    /// File to write the process id to.
    #[serde(deserialize_with = "some_path")]
    pub pid_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self::of(&Layers::new()).expect("the defaults of keys.tsv fit the fields: tested")
    }
}

impl Config {
    /// The fields of merged and checked layers.
    pub(super) fn of(layers: &Layers) -> Result<Self, serde_json::Error> {
        serde_json::from_value(layers.tree())
    }
}

/// `log`: what to log, and where to.
#[derive(Debug, Clone, Deserialize)]
pub struct Log {
    /// Least severe messages to log.
    pub level: LogLevel,
    /// How to write them.
    pub format: LogFormat,
    /// File to append to; `None` is standard error.
    #[serde(deserialize_with = "some_path")]
    pub file: Option<PathBuf>,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// Least severe messages to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Nothing.
    None,
    /// Everything.
    Trace,
    /// What a developer wants to know.
    Debug,
    /// What an operator wants to know.
    Info,
    /// What may become a problem.
    Warn,
    /// What went wrong.
    Error,
    /// What ended the process; there is no level of its own for it, so errors too.
    Fatal,
}

impl LogLevel {
    /// The level as `tracing` filters write it.
    pub fn directive(self) -> &'static str {
        match self {
            Self::None => "off",
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error | Self::Fatal => "error",
        }
    }
}

/// `node`: the node itself.
#[derive(Debug, Clone, Deserialize)]
pub struct Node {
    /// Name in metrics and the admin page; `None`: made from host name and port.
    #[serde(deserialize_with = "form::some_text")]
    pub name: Option<String>,
    /// Bytes the windows of all channels may hold; `None` is unlimited. 256 MiB: windows are the only memory
    /// that grows with publications, and this leaves room on a small machine.
    #[serde(deserialize_with = "form::limit")]
    pub memory_limit: Option<NonZeroUsize>,
    /// Bytes of memory of the process over which newcomers are refused; derived from the memory there is.
    pub resident_limit: Bound,
    /// Threads that serve connections; derived from the cores there are.
    pub workers: Bound,
}

/// `shutdown`: how the node stops.
#[derive(Debug, Clone, Deserialize)]
pub struct Shutdown {
    /// Time connections have to drain before the rest is aborted.
    #[serde(deserialize_with = "form::duration")]
    pub timeout: Duration,
    /// Time over which closing connections is spread; zero closes them as soon as they are read to the head.
    #[serde(deserialize_with = "form::duration")]
    pub spread: Duration,
}

/// `history`: where history is kept.
#[derive(Debug, Clone, Deserialize)]
pub struct History {
    /// Memory or disk.
    pub storage: Storage,
    /// Directory of history on disk.
    #[serde(deserialize_with = "some_path")]
    pub path: Option<PathBuf>,
    /// When history on disk is synced.
    pub fsync: Fsync,
    /// Time between syncs. 1 s: what a power failure may cost.
    #[serde(deserialize_with = "form::duration")]
    pub fsync_interval: Duration,
    /// Bytes that files may take. 4 GiB: room for 2 GiB of history, which is in memory, too.
    pub disk_limit: u64,
    /// Bytes of one file. 16 MiB: cleaning one takes a fraction of a second.
    pub segment_size: u64,
    /// Bytes that may wait to be written. 16 MiB: what a slow disk takes in a fraction of a second.
    pub queue_limit: usize,
}

/// Where history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// In memory: it is gone after a restart.
    Memory,
    /// On disk.
    Disk,
}

/// When history on disk is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fsync {
    /// Before a publication is confirmed.
    Each,
    /// Every [`History::fsync_interval`]: publications of that long may be lost with the machine.
    Interval,
    /// When the operating system likes.
    Never,
}

fn some_path<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    Ok(form::some_text(from)?.map(PathBuf::from))
}
