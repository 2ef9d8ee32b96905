//! A server as the configuration describes it.

use std::error::Error;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use tidegate_server::config::{Config, DuplicateUser, Loaded, LogLevel};
use tidegate_server::core::ExactRouter;
use tidegate_server::protocol::{Centrifuge, Options as Protocol};
use tidegate_server::transport_ws::{Options as WebSocket, Origins};
use tidegate_server::{Capacity, Handle, Rules, Server, Settings, Shutdown, System, api, http, page};
use tracing_subscriber::EnvFilter;

use crate::signals;

type Failure = Box<dyn Error>;

/// Runs the server until a signal ends it.
pub(crate) fn run(loaded: Loaded, dev: bool) -> Result<(), Failure> {
    let Loaded { mut config, warnings } = loaded;
    if dev {
        develop(&mut config);
    }
    log(&config)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let capacity = Capacity::of(&config, System::now(raise_descriptors()));
    for warning in &capacity.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(config, capacity, dev))
}

/// What development mode allows: everything, to everybody.
fn develop(config: &mut Config) {
    config.client.insecure = true;
    config.http_api.insecure = true;
    if config.client.allowed_origins.is_empty() {
        config.client.allowed_origins = vec!["*".to_owned()];
    }
    if config.http_server.address.is_empty() {
        config.http_server.address = "127.0.0.1".to_owned();
    }
}

async fn serve(config: Config, capacity: Capacity, dev: bool) -> Result<(), Failure> {
    let metrics = http::Metrics::install()?;
    let address = address(&config)?;
    let listener = http::listen(address).map_err(|error| {
        format!(
            "cannot listen on {address}: {error}; http_server.port is {} and http_server.address is {:?}: \
             choose another port, or stop what listens there",
            config.http_server.port, config.http_server.address
        )
    })?;
    let address = listener.local_addr()?;
    let rules = Arc::new(Rules::new(&config)?);
    let windows = {
        let rules = rules.clone();
        Box::new(move |channel: &_| rules.window(channel))
    };
    let routes = {
        let (config, rules) = (config.clone(), rules.clone());
        let origins = Origins::parse(&config.client.allowed_origins)?;
        move |handle: Handle| routes(&config, origins, rules, metrics, handle)
    };
    let server = Server::builder(rules)
        .memory_limit(config.node.memory_limit.map_or(0, std::num::NonZero::get))
        .router(|fanout, budget| ExactRouter::new(windows, fanout, budget))
        .protocol(Centrifuge::new(Protocol {
            stale_close_delay: config.client.stale_close_delay,
            ..Default::default()
        }))
        .settings(settings(&config, capacity.http))
        .caps(capacity.caps)
        .shutdown(Shutdown { timeout: config.shutdown.timeout, spread: config.shutdown.spread })
        .name(config.node.name.as_deref().unwrap_or_default())
        .http(listener, routes)
        .build();
    let stop = signals::stop()?;
    let _pid = PidFile::write(&config)?;
    announce(&config, address, dev);
    let stopped = server.run(stop).await;
    tracing::info!(cut = stopped.cut, "stopped");
    Ok(())
}

fn routes(
    config: &Config,
    origins: Origins,
    rules: Arc<Rules>,
    metrics: http::Metrics,
    handle: Handle,
) -> Router {
    let mut router = page::routes(if config.admin.enabled { "/demo" } else { "/" })
        .route("/ready", http::ready(handle.clone()));
    if !config.websocket.disabled {
        let options = WebSocket {
            handshake_timeout: config.websocket.handshake_timeout,
            message_size_limit: config.websocket.message_size_limit,
            allowed_origins: origins,
            ..Default::default()
        };
        router = router.route(&config.websocket.handler_prefix, http::websocket(handle.clone(), options));
    }
    if config.health.enabled {
        router = router.route(&config.health.handler_prefix, http::health());
    }
    if config.prometheus.enabled {
        router = router.route(&config.prometheus.handler_prefix, http::metrics(metrics, handle.clone()));
    }
    if !config.http_api.disabled {
        let options = api::ApiOptions {
            prefix: config.http_api.handler_prefix.clone(),
            key: config.http_api.key.clone(),
            insecure: config.http_api.insecure,
            channels: rules,
            ..Default::default()
        };
        router = router.merge(api::router(handle, options));
    }
    router
}

fn settings(config: &Config, http: http::Limits) -> Settings {
    let client = &config.client;
    Settings {
        ping_interval: client.ping_interval,
        pong_timeout: client.pong_timeout,
        channel_limit: client.channel_limit,
        queue_max_size: client.queue_max_size,
        write_timeout: config.websocket.write_timeout,
        stalled_close_delay: client.stalled_close_delay,
        expired_close_delay: client.expired_close_delay,
        expired_sub_close_delay: client.expired_sub_close_delay,
        presence_update_interval: client.presence_update_interval,
        history_limit: unlimited(client.history_max_publication_limit),
        recovery_limit: unlimited(client.recovery_max_publication_limit),
        user_connection_limit: client.user_connection_limit.map(std::num::NonZero::get),
        duplicate_user: match client.duplicate_user {
            DuplicateUser::Keep => tidegate_server::DuplicateUser::Keep,
            DuplicateUser::Refuse => tidegate_server::DuplicateUser::Refuse,
            DuplicateUser::Takeover => tidegate_server::DuplicateUser::TakeOver,
        },
        server_time: client.connect_include_server_time,
        http,
        ..Default::default()
    }
}

/// A bound that a person has lifted.
fn unlimited(limit: Option<std::num::NonZero<usize>>) -> usize {
    limit.map_or(usize::MAX, std::num::NonZero::get)
}

/// Where to listen: everywhere, unless an interface is named.
fn address(config: &Config) -> Result<SocketAddr, Failure> {
    let (name, port) = (&config.http_server.address, config.http_server.port);
    if name.is_empty() {
        // A machine without IPv6 has no such socket; `listen` would fail.
        let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        let ipv6 = std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
        return Ok(if ipv6 { any } else { SocketAddr::new(IpAddr::from([0, 0, 0, 0]), port) });
    }
    let mut found = std::net::ToSocketAddrs::to_socket_addrs(&(name.as_str(), port)).map_err(|error| {
        format!("http_server.address is {name:?}; expected an address or a host's name: {error}")
    })?;
    found.next().ok_or_else(|| format!("http_server.address is {name:?}, which has no address").into())
}

fn log(config: &Config) -> Result<(), Failure> {
    let level: LogLevel = config.log.level;
    let filter = EnvFilter::builder()
        .with_default_directive(level.directive().parse()?)
        .from_env()
        .map_err(|error| format!("RUST_LOG: {error}"))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter);
    match &config.log.file {
        None => subscriber.with_writer(io::stderr).init(),
        Some(path) => {
            let file = fs::OpenOptions::new().create(true).append(true).open(path);
            let file = file.map_err(|error| format!("log.file is {}: {error}", path.display()))?;
            subscriber.with_ansi(false).with_writer(file).init();
        }
    }
    Ok(())
}

/// Asks for as many descriptors as the system allows: each connection needs one. Returns how many there are.
fn raise_descriptors() -> Option<u64> {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => {
            tracing::info!(limit, "descriptors");
            Some(limit)
        }
        Err(error) => {
            tracing::warn!(%error, "the limit of descriptors was not raised");
            rlimit::getrlimit(rlimit::Resource::NOFILE).ok().map(|(soft, _)| soft)
        }
    }
}

fn announce(config: &Config, address: SocketAddr, dev: bool) {
    let host = if address.ip().is_unspecified() { "localhost".to_owned() } else { address.ip().to_string() };
    let host = if address.is_ipv6() && !address.ip().is_unspecified() { format!("[{host}]") } else { host };
    let url = format!("http://{host}:{}", address.port());
    let websocket = &config.websocket.handler_prefix;
    tracing::info!(%address, version = env!("BUILT_FROM"), "serving {url}");
    if dev {
        eprintln!(
            "\n  DEVELOPMENT MODE: anybody who reaches {url} may do anything. Never in production.\n\n  \
             page       {url}/\n  \
             websocket  ws://{}:{}{websocket}\n  \
             publish    curl -X POST {url}/api/publish -d '{{\"channel\":\"news\",\"data\":\"hello\"}}'\n  \
             metrics    {url}/metrics\n",
            host,
            address.port(),
        );
    }
}

/// The file that names the process, while it runs.
struct PidFile(Option<std::path::PathBuf>);

impl PidFile {
    fn write(config: &Config) -> Result<Self, Failure> {
        let Some(path) = config.pid_file.clone() else { return Ok(Self(None)) };
        fs::write(&path, std::process::id().to_string())
            .map_err(|error| format!("pid_file is {}: {error}", path.display()))?;
        Ok(Self(Some(path)))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // Nobody is left to be told.
            let _ = fs::remove_file(path);
        }
    }
}
