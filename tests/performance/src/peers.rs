//! The servers that are measured: ours, and those of its peers that are installed.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::json;
use tidegate_bench::Dialect;

use crate::Failure;
use crate::dialects::{MQTT, NATS};

/// A server, and how to speak with it.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// For tables: `Tidegate, JSON`.
    pub(crate) name: String,
    kind: Kind,
    program: PathBuf,
    pub(crate) version: String,
    pub(crate) dialect: Dialect,
}

/// What is started in which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Tidegate,
    Centrifugo,
    Nats,
    Mosquitto,
}

/// How to start a peer once.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) command: Vec<OsString>,
    pub(crate) port: u16,
    pub(crate) url: String,
}

impl Peer {
    /// Ours, and those found on the PATH.
    pub(crate) fn find(tidegate: &Path) -> Result<Vec<Self>, Failure> {
        let mut peers = Vec::new();
        for kind in [Kind::Tidegate, Kind::Centrifugo, Kind::Nats, Kind::Mosquitto] {
            let program = match kind {
                Kind::Tidegate => Some(tidegate.to_owned()),
                other => on_path(other.program()),
            };
            let Some(program) = program else {
                eprintln!("== {} is not installed: it is left out", kind.program());
                continue;
            };
            let version = version(&program, kind)?;
            for &dialect in kind.dialects() {
                let name = match kind.dialects() {
                    [_] => kind.name().to_owned(),
                    _ => format!("{}, {}", kind.name(), spelled(dialect.name)),
                };
                let (program, version) = (program.clone(), version.clone());
                peers.push(Self { name, kind, program, version, dialect });
            }
        }
        Ok(peers)
    }

    /// Whether it is ours.
    pub(crate) fn is_ours(&self) -> bool {
        self.kind == Kind::Tidegate
    }

    /// Whether it keeps history for the channels of the namespace `kept`.
    pub(crate) fn keeps_history(&self) -> bool {
        matches!(self.kind, Kind::Tidegate | Kind::Centrifugo)
    }

    /// Writes its configuration into `folder`, for free ports.
    pub(crate) fn prepare(&self, folder: &Path) -> Result<Start, Failure> {
        let (port, other) = (free_port()?, free_port()?);
        let (file, text, path) = match self.kind {
            Kind::Tidegate | Kind::Centrifugo => ("server.json", centrifuge(port), "/connection/websocket"),
            Kind::Nats => ("nats.conf", nats(port, other), "/"),
            Kind::Mosquitto => ("mosquitto.conf", mosquitto(port, other), "/"),
        };
        let file = folder.join(file);
        fs::write(&file, text)?;
        let mut command = vec![self.program.clone().into_os_string()];
        command.push(
            if self.kind == Kind::Tidegate || self.kind == Kind::Centrifugo { "--config" } else { "-c" }
                .into(),
        );
        command.push(file.into());
        Ok(Start { command, port, url: format!("ws://127.0.0.1:{port}{path}") })
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Tidegate => "Tidegate",
            Self::Centrifugo => "Centrifugo",
            Self::Nats => "NATS",
            Self::Mosquitto => "Mosquitto",
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Tidegate => "tidegate",
            Self::Centrifugo => "centrifugo",
            Self::Nats => "nats-server",
            Self::Mosquitto => "mosquitto",
        }
    }

    fn dialects(self) -> &'static [Dialect] {
        match self {
            Self::Tidegate | Self::Centrifugo => &[Dialect::JSON, Dialect::PROTOBUF],
            Self::Nats => &[NATS],
            Self::Mosquitto => &[MQTT],
        }
    }
}

/// The keys are Centrifugo's as much as ours. `kept:` is for channels with history; metrics are on.
fn centrifuge(port: u16) -> String {
    let rights = json!({"allow_subscribe_for_client": true, "allow_publish_for_client": true});
    let mut kept = rights.clone();
    for (key, value) in [("name", json!("kept")), ("history_size", json!(100)), ("history_ttl", json!("5m"))]
    {
        kept[key] = value;
    }
    let configuration = json!({
        "http_server": {"address": "127.0.0.1", "port": port},
        "client": {"insecure": true},
        "channel": {"without_namespace": rights, "namespaces": [kept]},
        "prometheus": {"enabled": true},
        "log": {"level": "error"},
    });
    configuration.to_string()
}

fn nats(port: u16, other: u16) -> String {
    format!(
        "listen: \"127.0.0.1:{other}\"\n\
         websocket {{ listen: \"127.0.0.1:{port}\", no_tls: true, compression: false }}\n"
    )
}

/// A listener for WebSockets alone is refused by some versions. Nagle's delay is switched off: the others do so.
fn mosquitto(port: u16, other: u16) -> String {
    format!(
        "listener {other} 127.0.0.1\nlistener {port} 127.0.0.1\nprotocol websockets\nallow_anonymous true\n\
         persistence false\nset_tcp_nodelay true\nlog_type error\nuser root\n"
    )
}

/// A program on the PATH, or where Debian puts those of servers.
fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The first thing it says of its version that has a number in it.
fn version(program: &Path, kind: Kind) -> Result<String, Failure> {
    let argument = match kind {
        Kind::Tidegate | Kind::Nats => "--version",
        Kind::Centrifugo => "version",
        Kind::Mosquitto => "-h",
    };
    let output = Command::new(program).arg(argument).output();
    let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    if kind == Kind::Tidegate {
        // With the commit it was built from.
        return Ok(text.trim().trim_start_matches("tidegate ").to_owned());
    }
    let words = text.split_whitespace().map(|word| word.trim_start_matches('v').trim_matches(','));
    let mut versions =
        words.filter(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'));
    Ok(versions.next().unwrap_or("of unknown version").to_owned())
}

fn spelled(dialect: &str) -> &str {
    match dialect {
        "json" => "JSON",
        "protobuf" => "Protobuf",
        other => other,
    }
}

/// A port that nobody listens on, below those that the system gives to clients: thousands of them have just gone, and
/// their ports can hardly be listened on for a minute.
fn free_port() -> Result<u16, Failure> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = PORTS.start + std::process::id() as u16 % 1000 * 10;
    for _ in PORTS {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % (PORTS.end - PORTS.start - 10_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(format!("no port from {} to {} is free", PORTS.start, PORTS.end).into())
}

const PORTS: Range<u16> = 20_000..32_000;
