//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::payload;
use crate::transport::Transport;

/// Put a server under load, check every delivery, and say what it cost
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// What to do to the server.
    #[command(subcommand)]
    pub scenario: Scenario,
}

/// What to do to the server.
#[derive(Debug, Clone, Subcommand)]
pub enum Scenario {
    /// Publish to many subscribers
    Fanout(Fanout),
    /// Keep connections open that only hold subscriptions
    Idle(Idle),
    /// Publish, and then again while some subscribers never read
    Slow(Slow),
    /// Drop all connections at once, and have them come back at once
    Churn(Churn),
}

/// `fanout`
#[derive(Debug, Clone, Args)]
pub struct Fanout {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) load: Load,
}

/// `idle`
#[derive(Debug, Clone, Args)]
pub struct Idle {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Connections
    #[arg(long, short = 'n', default_value_t = 10_000)]
    pub(crate) connections: usize,
    /// Subscriptions of each connection
    #[arg(long, default_value_t = 1)]
    pub(crate) channels: usize,
    /// Each connection has channels of its own; otherwise all share the same
    #[arg(long)]
    pub(crate) own_channels: bool,
    /// From the last subscription to the measuring of memory
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    pub(crate) settle: Duration,
    /// How long idle CPU is measured after that
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) duration: Duration,
}

/// `slow`
#[derive(Debug, Clone, Args)]
pub struct Slow {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) load: Load,
    /// Subscribers that never read
    #[arg(long, default_value_t = 20)]
    pub(crate) stalled: usize,
    /// Their receive buffers, in bytes [default: as the kernel likes]
    #[arg(long, value_name = "BYTES")]
    pub(crate) stalled_buffer: Option<usize>,
    /// How long to measure with them
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) stalled_duration: Duration,
}

/// `churn`
#[derive(Debug, Clone, Args)]
pub struct Churn {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Connections
    #[arg(long, short = 'n', default_value_t = 5_000)]
    pub(crate) connections: usize,
    /// Channels that they are spread over
    #[arg(long, default_value_t = 1)]
    pub(crate) channels: usize,
    /// How often they come back
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// How they go
    #[arg(long, value_enum, default_value_t = Drop::Reset)]
    pub(crate) drop: Drop,
    /// Connections that come back at a time [default: all]
    #[arg(long, value_name = "N")]
    pub(crate) returning: Option<usize>,
    /// From the last subscription of a round to the measuring of memory
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    pub(crate) settle: Duration,
}

/// How a connection ends, without a close frame in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Drop {
    /// TCP is reset
    Reset,
    /// TCP is closed
    Fin,
}

/// What all scenarios ask.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server and client")]
pub(crate) struct Common {
    /// Where clients connect: ws://, wss:// or quic:// [default: ws://localhost:8000/connection/websocket, or
    /// quic://localhost:8000]
    #[arg(long)]
    url: Option<String>,
    /// What they speak
    #[arg(long, value_enum, default_value_t = Encoding::Json)]
    pub(crate) protocol: Encoding,
    /// What carries it [default: quic where --url begins with that, else websocket]
    #[arg(long, value_enum)]
    transport: Option<Transport>,
    #[command(flatten)]
    pub(crate) trust: Trust,
    /// Token to connect with
    #[arg(long, env = "TIDEGATE_BENCH_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// What names of channels begin with: a namespace, `bench:`, say
    #[arg(long, value_name = "TEXT", default_value = "bench-")]
    pub(crate) prefix: String,
    /// The server's process, on this machine: its CPU and memory are reported. Several with commas
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub(crate) server_pid: Vec<i32>,
    /// Threads of the bench
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: u16,
    /// Connections that are opened at a time
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) connecting: usize,
    /// Connect from this many addresses from 127.0.0.1 on; each has some 28,000 ports
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) sources: u8,
    /// For each connection to connect, and to subscribe
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,
    /// Report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// No progress bar
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// Whose certificates are trusted, over TLS and QUIC; by default those of the authorities that the system trusts.
#[derive(Debug, Clone, Args)]
pub(crate) struct Trust {
    /// Trust the certificates of the authorities in this file (PEM), and no others
    #[arg(long, alias = "ca", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Trust the certificate with this SHA-256 hash (hexadecimal), and no other
    #[arg(long, alias = "certificate-hash", value_name = "HASH", conflicts_with = "ca_file")]
    pub(crate) cert_hash: Option<String>,
}

/// What is published.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct Load {
    /// Subscribers, spread over the channels
    #[arg(long, short = 's', default_value_t = 1_000)]
    pub(crate) subscribers: usize,
    /// Channels
    #[arg(long, short = 'c', default_value_t = 1)]
    pub(crate) channels: usize,
    /// Publishers; each publishes in all channels in turn
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) publishers: u16,
    /// Bytes of a payload
    #[arg(long, default_value_t = 128)]
    pub(crate) size: usize,
    /// Publications that are not yet delivered to all, at most: as fast as the server goes with so many at once
    #[arg(long, value_name = "N", default_value_t = 32, conflicts_with = "rate")]
    pub(crate) in_flight: u64,
    /// Publications per second over all channels, whatever the server does [default: as --in-flight says]
    #[arg(long, value_name = "N")]
    pub(crate) rate: Option<f64>,
    /// How long to measure
    #[arg(long, short = 'd', value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) duration: Duration,
    /// The same load before that, not measured
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    pub(crate) warmup: Duration,
    /// Publish so many in all and measure until they are delivered, without a warm-up
    #[arg(long, value_name = "N", conflicts_with_all = ["duration", "warmup"])]
    pub(crate) count: Option<u64>,
    /// As whom to publish
    #[arg(long, value_enum, default_value_t = Publish::Client)]
    pub(crate) publish: Publish,
    /// The HTTP API [default: /api where --url leads]
    #[arg(long, value_name = "URL")]
    pub(crate) api_url: Option<String>,
    /// Its key
    #[arg(long, value_name = "KEY", env = "TIDEGATE_BENCH_API_KEY", hide_env_values = true)]
    pub(crate) api_key: Option<String>,
}

/// Encodings of the Centrifuge protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Encoding {
    /// JSON
    Json,
    /// Protobuf
    Protobuf,
}

/// How publications get to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Publish {
    /// As a client
    Client,
    /// Over the HTTP API; what is due together goes as a batch
    Api,
}

impl Common {
    /// As asked for, or as the URL has it.
    pub(crate) fn transport(&self) -> Transport {
        let quic = self.url.as_ref().is_some_and(|url| url.starts_with("quic://"));
        self.transport.unwrap_or(if quic { Transport::Quic } else { Transport::Websocket })
    }

    pub(crate) fn url(&self) -> &str {
        self.url.as_deref().unwrap_or(match self.transport() {
            Transport::Websocket => "ws://localhost:8000/connection/websocket",
            Transport::Quic => "quic://localhost:8000",
        })
    }
}

impl Scenario {
    pub(crate) fn common(&self) -> &Common {
        match self {
            Self::Fanout(fanout) => &fanout.common,
            Self::Idle(idle) => &idle.common,
            Self::Slow(slow) => &slow.common,
            Self::Churn(churn) => &churn.common,
        }
    }

    /// What is wrong with the options together.
    pub(crate) fn fault(&self) -> Option<String> {
        let (load, connections, channels) = match self {
            Self::Fanout(Fanout { load, .. }) | Self::Slow(Slow { load, .. }) => {
                (Some(load), load.subscribers, load.channels)
            }
            Self::Idle(idle) => (None, idle.connections, 1),
            Self::Churn(churn) => (None, churn.connections, churn.channels),
        };
        if connections == 0 || channels == 0 || channels > connections {
            return Some(format!(
                "{channels} channels and {connections} clients; expected at least one client for each channel"
            ));
        }
        if self.common().connecting == 0 || self.common().sources == 0 {
            return Some("--connecting and --sources; expected at least 1".into());
        }
        if self.common().transport() == Transport::Quic {
            if matches!(self, Self::Slow(_) | Self::Churn(_)) {
                return Some("slow and churn are not there over QUIC; expected fanout or idle".into());
            }
            if self.common().sources > 1 {
                return Some("--sources; expected 1 over QUIC, where all connections share a port".into());
            }
        }
        let load = load?;
        if load.publish == Publish::Api && load.api_url.is_none() && !self.common().url().starts_with("ws://")
        {
            return Some("--publish api; expected --api-url where --url does not begin with ws://".into());
        }
        if load.size < payload::SMALLEST {
            let (size, smallest) = (load.size, payload::SMALLEST);
            return Some(format!(
                "--size {size}; expected at least {smallest}, for what deliveries are checked by"
            ));
        }
        if load.in_flight == 0 || load.rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
            return Some("--in-flight and --rate; expected more than 0".into());
        }
        None
    }
}
