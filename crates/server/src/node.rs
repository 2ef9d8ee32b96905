//! A server as the configuration describes it.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use axum::Router;
use tidegate_server::config::{Config, DuplicateUser, Loaded, Sources, TagsFilter, Values};
use tidegate_server::core::{Client, ExactRouter, Hooks, Lag, Refusal, filter};
use tidegate_server::protocol::{Centrifuge, Options as Protocol};
use tidegate_server::{
    Bytes, Capacity, Handle, Rules, Server, Settings, Shutdown, System, Takeover, admin, api, http, page,
};

use crate::clients;
use crate::log::Log;
use crate::ports::{self, Side, Table};
use crate::reload::Reload;
use crate::{quic, signals, storage};

pub(crate) type Failure = Box<dyn Error>;

/// Runs the server until a signal ends it. `sources` are what `loaded` was loaded from.
pub(crate) fn run(loaded: Loaded, sources: Sources, dev: bool) -> Result<(), Failure> {
    let Loaded { mut config, warnings, values } = loaded;
    if dev {
        develop(&mut config);
    }
    let log = Log::start(&config.log)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    raise_descriptors();
    let runtime = tidegate_server::runtime().build()?;
    runtime.block_on(serve(Start { config, values, sources, log, dev }))
}

/// What a server starts with.
struct Start {
    config: Config,
    values: Values,
    sources: Sources,
    log: Log,
    dev: bool,
}

/// What development mode allows: everything, to everybody.
pub(crate) fn develop(config: &mut Config) {
    config.client.insecure = true;
    config.http_api.insecure = true;
    if config.client.allowed_origins.is_empty() {
        config.client.allowed_origins = vec!["*".to_owned()];
    }
    if config.http_server.address.is_empty() {
        config.http_server.address = "127.0.0.1".to_owned();
    }
}

async fn serve(start: Start) -> Result<(), Failure> {
    let Start { config, values, sources, log, dev } = start;
    let capacity = capacity(&config);
    for warning in &capacity.warnings {
        tracing::warn!("{warning}");
    }
    let metrics = http::Metrics::install()?;
    let fronts = ports::open(&config)?;
    let rules = Arc::new(ArcSwap::from_pointee(Rules::new(&config)?));
    let windows = {
        let rules = rules.clone();
        Box::new(move |channel: &_| rules.load().window(channel))
    };
    let TagsFilter { depth, nodes, bytes, logs } = config.channel.tags_filter;
    let mut builder = Server::builder(rules.load_full())
        .hooks(Current(rules.clone()))
        .memory_limit(config.node.memory_limit.map_or(0, std::num::NonZero::get))
        .workers(capacity.workers)?
        .router(|fanout, budget| ExactRouter::with_filters(windows, fanout, budget, logs))
        .protocol(Centrifuge::new(Protocol {
            stale_close_delay: config.client.stale_close_delay,
            filters: filter::Limits { depth, nodes, bytes },
            unidirectional_disconnects: clients::disconnects(&config),
            unidirectional_websocket_push: !config.uni_websocket.disable_disconnect_push,
            ..Default::default()
        }))
        .settings(settings(&config, capacity.http))
        .caps(capacity.caps)
        .shutdown(shutdown(&config))
        .name(config.node.name.as_deref().unwrap_or_default());
    if let Some(broker) = storage::open(&config.history)? {
        builder = builder.broker(broker);
    }
    let mut faces = Vec::new();
    let mut addresses = Vec::new();
    let public = fronts.first().expect("there is a public port").address;
    let mut udp = None;
    if let Some(quic::Udp { listener, address, face }) = quic::open(&config, public, dev)? {
        builder = builder.listen(listener);
        udp = Some((address, face));
    }
    for front in fronts {
        let routes = front.face.routes.clone();
        builder = builder.http(front.port, move |_| routes);
        addresses.push((front.address, front.face.tls.is_some()));
        faces.push(front.face);
    }
    let server = builder.build();
    let handle = server.handle();
    let desk = admin::Desk::default();
    for face in &faces {
        let router = routes(&config, face.side, rules.load_full(), metrics.clone(), handle.clone(), &desk)?;
        face.routes.replace(router);
    }
    let stop = signals::stop()?;
    let hangup = signals::hangup()?;
    let _pid = PidFile::write(&config)?;
    announce(&config, &addresses, dev);
    let quic = udp.map(|(address, face)| {
        tracing::info!(%address, "serving QUIC");
        face
    });
    let reload = Reload { sources, dev, values, config, rules, handle, metrics, desk, faces, quic, log };
    let stopped = tokio::select! {
        stopped = server.run(stop) => stopped,
        never = reload.run(hangup) => match never {},
    };
    tracing::info!(cut = stopped.cut, "stopped");
    Ok(())
}

/// The rules in force, as those who answer calls.
struct Current(Arc<ArcSwap<Rules>>);

#[async_trait]
impl Hooks for Current {
    async fn rpc(&self, client: &Client, method: &str, data: Bytes) -> Result<Bytes, Refusal> {
        self.0.load_full().rpc(client, method, data).await
    }
}

/// Makes everything of a configuration that can fail, but for opening ports and files of its own.
///
/// # Errors
/// What a start would fail of.
pub(crate) fn examine(config: &Config) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        crate::log::filter(&config.log)?;
        let rules = Arc::new(Rules::new(config)?);
        clients::origins(config)?;
        quic::certificate(config, false)?;
        let handle = Server::builder(rules.clone()).build().handle();
        let (metrics, desk) = (http::Metrics::install()?, admin::Desk::default());
        for side in ports::examine(config)? {
            drop(routes(config, side, rules.clone(), metrics.clone(), handle.clone(), &desk)?);
        }
        Ok(())
    })
}

/// What a port answers.
///
/// # Errors
/// A value that cannot be served: a path that two things claim, an origin that is none.
pub(crate) fn routes(
    config: &Config,
    side: Side,
    rules: Arc<Rules>,
    metrics: http::Metrics,
    handle: Handle,
    desk: &admin::Desk,
) -> Result<Router, Failure> {
    let mut table = Table::default();
    if side.serves_operators(false) {
        table.route("the readiness check", "/ready", http::ready(handle.clone()))?;
        if config.health.enabled {
            table.route("health.handler_prefix", &config.health.handler_prefix, http::health())?;
        }
        if config.prometheus.enabled {
            let metrics = http::metrics(metrics.clone(), handle.clone());
            table.route("prometheus.handler_prefix", &config.prometheus.handler_prefix, metrics)?;
        }
    }
    if side.serves_operators(config.http_api.external) && !config.http_api.disabled {
        let options = api::ApiOptions {
            prefix: config.http_api.handler_prefix.clone(),
            key: config.http_api.key.clone(),
            insecure: config.http_api.insecure,
            errors: config.http_api.error_mode,
            body_limit: config.http_api.max_request_body_size,
            body_timeout: config.http_api.body_timeout,
            channels: rules.clone(),
            ..Default::default()
        };
        let paths = api::paths(&config.http_api.handler_prefix);
        table.merge("http_api.handler_prefix", paths, || api::router(handle.clone(), options))?;
    }
    if side.serves_operators(config.admin.external) && config.admin.enabled {
        let paths = admin::paths(&config.admin.handler_prefix);
        let options = admin::Options {
            prefix: config.admin.handler_prefix.clone(),
            password: config.admin.password.clone(),
            secret: config.admin.secret.clone(),
            insecure: config.admin.insecure,
            channels: rules.clone(),
            ..Default::default()
        };
        let router = || admin::router(handle.clone(), metrics.clone(), desk, options);
        table.merge("admin.handler_prefix", paths, router)?;
    }
    if side.serves_clients() {
        let home = if config.admin.enabled && admin::home(&config.admin.handler_prefix) == "/" {
            "/demo"
        } else {
            "/"
        };
        table.merge("the page", page::paths(home), || page::routes(home))?;
        clients::routes(config, &handle, &mut table)?;
    }
    Ok(table.router())
}

/// What the node takes on, as the configuration and the system say.
pub(crate) fn capacity(config: &Config) -> Capacity {
    let descriptors = rlimit::getrlimit(rlimit::Resource::NOFILE).ok().map(|(soft, _)| soft);
    Capacity::of(config, System::now(descriptors))
}

pub(crate) fn shutdown(config: &Config) -> Shutdown {
    Shutdown { timeout: config.shutdown.timeout, spread: config.shutdown.spread }
}

pub(crate) fn settings(config: &Config, http: http::Limits) -> Settings {
    let client = &config.client;
    let personal = &client.subscribe_to_user_personal_channel;
    Settings {
        ping_interval: client.ping_interval,
        pong_timeout: client.pong_timeout,
        channel_limit: client.channel_limit,
        queue_max_size: client.queue_max_size,
        queue_max_entries: client.queue_max_entries.map(std::num::NonZero::get),
        connection_behind: Lag {
            entries: client.connection_queue_max_entries.map_or(u64::MAX, |most| most.get() as u64),
            bytes: client.connection_queue_max_size.map_or(u64::MAX, |most| most.get() as u64),
        },
        control_queue: client.reply_queue_max_size,
        publish_wait_limit: config.channel.publish_wait_limit,
        write_timeout: config.websocket.write_timeout,
        stalled_close_delay: client.stalled_close_delay,
        stalled_min_bytes: client.stalled_min_bytes,
        message_timeout: client.message_timeout,
        control_frame_limit: client.control_frame_limit.map(|limit| narrow(limit.get())),
        read_ahead: client.read_ahead_size,
        close_timeout: client.close_timeout,
        leave_timeout: client.leave_timeout,
        expired_close_delay: client.expired_close_delay,
        expired_sub_close_delay: client.expired_sub_close_delay,
        presence_update_interval: client.presence_update_interval,
        history_limit: unlimited(client.history_max_publication_limit),
        recovery_limit: unlimited(client.recovery_max_publication_limit),
        user_connection_limit: client.user_connection_limit.map(std::num::NonZero::get),
        duplicate_user: match client.duplicate_user {
            DuplicateUser::Keep if personal.enabled && personal.single_connection => {
                tidegate_server::DuplicateUser::TakeOver
            }
            DuplicateUser::Keep => tidegate_server::DuplicateUser::Keep,
            DuplicateUser::Refuse => tidegate_server::DuplicateUser::Refuse,
            DuplicateUser::Takeover => tidegate_server::DuplicateUser::TakeOver,
        },
        takeover: Takeover {
            limit: narrow(client.takeover_limit),
            window: client.takeover_window,
            backoff: client.takeover_backoff,
            backoff_max: client.takeover_backoff_max,
        },
        takeover_timeout: client.takeover_timeout,
        server_time: client.connect_include_server_time,
        http,
        ..Default::default()
    }
}

/// A bound that is as good as unlimited beyond 2^32.
fn narrow(limit: usize) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}

/// A bound that a person has lifted.
fn unlimited(limit: Option<std::num::NonZero<usize>>) -> usize {
    limit.map_or(usize::MAX, std::num::NonZero::get)
}

/// Asks for as many descriptors as the system allows: each connection needs one.
fn raise_descriptors() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::info!(limit, "descriptors"),
        Err(error) => tracing::warn!(%error, "the limit of descriptors was not raised"),
    }
}

fn announce(config: &Config, faces: &[(SocketAddr, bool)], dev: bool) {
    let [clients, ..] = faces else { return };
    let operators = faces.last().unwrap_or(clients);
    let page = url("http", clients);
    let api = url("http", operators);
    tracing::info!(address = %clients.0, version = env!("BUILT_FROM"), "serving {page}");
    if operators != clients {
        tracing::info!(address = %operators.0, "serving API, metrics and health at {api}");
    }
    if config.admin.enabled {
        let at = if config.admin.external { &page } else { &api };
        tracing::info!("serving the admin page at {at}{}", admin::home(&config.admin.handler_prefix));
    }
    if dev {
        let websocket = format!("{}{}", url("ws", clients), config.websocket.handler_prefix);
        // Whoever started it may not read on.
        let _ = writeln!(
            std::io::stderr(),
            "\n  DEVELOPMENT MODE: anybody who reaches {page} may do anything. Never in production.\n\n  \
             page       {page}/\n  \
             websocket  {websocket}\n  \
             publish    curl -X POST {api}/api/publish -d '{{\"channel\":\"news\",\"data\":\"hello\"}}'\n  \
             metrics    {api}/metrics\n",
        );
    }
}

/// Where a person finds a port: its address, and whether it has TLS.
fn url(scheme: &str, (address, tls): &(SocketAddr, bool)) -> String {
    let s = if *tls { "s" } else { "" };
    match address.ip().is_unspecified() {
        true => format!("{scheme}{s}://localhost:{}", address.port()),
        false => format!("{scheme}{s}://{address}"),
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
