use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tidegate_core::transport::{Incoming, Listener};
use tidegate_core::{
    Admission, Authenticator, Broker, Budget, Caps, Disconnect, ExactRouter, Fanout, Health, Hooks, Hub,
    MemoryBroker, NoHooks, Permit, Protocol, Registry, Router, Window, outbox,
};
use tidegate_protocol::Centrifuge;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::handle::{Handle, Node};
use crate::http::{Port, Routes};
use crate::ids::Ids;
use crate::meters::Meters;
use crate::settings::Settings;
use crate::takeover::Takeovers;
use crate::wheel::{TICK, Wheel};
use crate::workers::{Threads, Workers};

/// A server that is assembled, and then run.
///
/// ```no_run
/// # async fn example(authenticator: impl tidegate_core::Authenticator) -> Result<(), Box<dyn std::error::Error>> {
/// use tidegate_server::{Server, transport_ws::{Options, WsListener}};
///
/// let websocket = WsListener::bind("127.0.0.1:8000".parse()?, Options::default())?;
/// let server = Server::builder(authenticator).listen(websocket).build();
/// let handle = server.handle();
/// tokio::spawn(async move { handle.publish("news", "\"hello\"").await });
/// server.run(async { tokio::signal::ctrl_c().await.unwrap_or_default() }).await;
/// # Ok(()) }
/// ```
pub struct Server {
    app: Arc<App>,
    fronts: Vec<Front>,
    stop: CancellationToken,
    threads: Threads,
}

/// Something that brings connections: runs until the token is cancelled.
type Front = Box<dyn FnOnce(Arc<App>, CancellationToken) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// How a server stops.
#[derive(Clone, Copy, Debug)]
pub struct Shutdown {
    /// How long clients may take to read what there is and to leave. 30 s; whoever is still there is cut off.
    pub timeout: Duration,
    /// Over how long the clients are sent away, so that the next node is not stampeded. 0 s: at once. At most
    /// three quarters of the timeout: the last ones have to read, too.
    pub spread: Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), spread: Duration::ZERO }
    }
}

/// What became of the clients when the server stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Connections that had to be cut off.
    pub cut: usize,
}

/// Puts a [`Server`] together. Everything but the authenticator has a default.
pub struct Builder {
    authenticator: Arc<dyn Authenticator>,
    hooks: Arc<dyn Hooks>,
    router: Option<Arc<dyn Router>>,
    broker: Option<Arc<dyn Broker>>,
    protocols: Vec<Arc<dyn Protocol>>,
    fronts: Vec<Front>,
    settings: Settings,
    caps: Caps,
    shutdown: Shutdown,
    fanout: Arc<Fanout>,
    budget: Arc<Budget>,
    node: Node,
    seed: Option<u64>,
    threads: Threads,
}

/// Bytes that all windows of a node hold together, unless said otherwise. 256 MiB.
const MEMORY_LIMIT: usize = 256 << 20;

impl Server {
    /// Begins to assemble a server whose clients `authenticator` judges.
    pub fn builder(authenticator: impl Authenticator) -> Builder {
        Builder {
            authenticator: Arc::new(authenticator),
            hooks: Arc::new(NoHooks),
            router: None,
            broker: None,
            protocols: Vec::new(),
            fronts: Vec::new(),
            settings: Settings::default(),
            caps: Caps::default(),
            shutdown: Shutdown::default(),
            fanout: Fanout::new(),
            budget: Budget::new(MEMORY_LIMIT),
            node: Node::default(),
            seed: None,
            threads: Threads::default(),
        }
    }

    /// What the application does with the server while it runs.
    pub fn handle(&self) -> Handle {
        Handle::new(self.app.clone())
    }

    /// Runs until `shutdown` is ready, then lets the clients go, and returns when the last task has ended. On any runtime
    /// of tokio's; [`runtime`](crate::runtime()) is the one that is fair to all clients.
    ///
    /// Not cancel safe: a server that is dropped while it runs cuts its clients off.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Stopped {
        let Self { app, fronts, stop, threads } = self;
        let upkeep = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(until(upkeep.clone(), app.wheel.clone().run()));
        tasks.spawn(until(upkeep.clone(), sweep(app.clone())));
        for worker in app.workers.all() {
            let (hub, calling, number) = (app.hub.clone(), worker.clone(), worker.number());
            worker.spawn(&tasks, until(upkeep.clone(), async move { hub.run_worker(number).await }));
            worker.spawn(&tasks, until(upkeep.clone(), async move { calling.ranks.run().await }));
        }
        for front in fronts {
            tasks.spawn(front(app.clone(), stop.clone()));
        }
        shutdown.await;
        let how = *app.shutdown.load_full();
        let stopped = drain(&app, how).await;
        stop.cancel();
        upkeep.cancel();
        tasks.close();
        tasks.wait().await;
        app.hub.broker().close().await;
        app.tell();
        drop(threads);
        stopped
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("fronts", &self.fronts.len()).finish_non_exhaustive()
    }
}

impl Builder {
    /// What the application does besides judging.
    pub fn hooks(mut self, hooks: impl Hooks) -> Self {
        self.hooks = Arc::new(hooks);
        self
    }

    /// Serves connections by so many workers, each with a thread and a runtime of its own, instead of on the runtime
    /// that runs the server; 0: on that. As many as there are cores, say: then a hot channel's fan-out uses all of them.
    /// It concerns connections that are [movable](tidegate_core::transport::Connection::is_movable): WebSockets without TLS,
    /// and those in memory. Others, and whatever is no connection, stay with the runtime that runs the server.
    ///
    /// To be said before [`Builder::router`]. What hooks and authenticators do, they do where their connection is served;
    /// what they spawn there ends with the server.
    ///
    /// # Errors
    /// The system's: it gives no threads.
    ///
    /// # Panics
    /// If there is a router already, which would not know of them.
    pub fn workers(mut self, count: usize) -> io::Result<Self> {
        assert!(self.router.is_none(), "workers are to be said before the router");
        self.threads = Threads::start(count)?;
        self.fanout = Fanout::for_workers(1 + count);
        Ok(self)
    }

    /// Finds channels by `router`, whose logs wake by the first argument and count in the second.
    pub fn router<R: Router>(mut self, router: impl FnOnce(Arc<Fanout>, Arc<Budget>) -> Arc<R>) -> Self {
        self.router = Some(router(self.fanout.clone(), self.budget.clone()));
        self
    }

    /// Publishes through `broker`, instead of keeping everything on this node.
    pub fn broker(mut self, broker: impl Broker) -> Self {
        self.broker = Some(Arc::new(broker));
        self
    }

    /// Speaks `protocol`, too. The first that accepts a peer serves it; Centrifuge's, if none is given.
    pub fn protocol(mut self, protocol: impl Protocol) -> Self {
        self.protocols.push(Arc::new(protocol));
        self
    }

    /// Takes connections from `listener`, too.
    pub fn listen<L: Listener>(mut self, listener: L) -> Self {
        self.fronts.push(Box::new(|app, stop| Box::pin(accept(app, listener, stop))));
        self
    }

    /// Serves HTTP on `port`: the routes that `routes` makes, [`http::websocket`](crate::http::websocket)
    /// among them, for example. [`Settings::http`] bounds the connections that are no clients, and says which
    /// proxies are believed.
    ///
    /// `port` is a [`TcpListener`](tokio::net::TcpListener), or one [with TLS](Port::tls). `routes` makes a
    /// router, or [`Routes`] that can be replaced while the server runs.
    pub fn http<R: Into<Routes>>(
        mut self,
        port: impl Into<Port>,
        routes: impl FnOnce(Handle) -> R + Send + 'static,
    ) -> Self {
        let port = port.into();
        self.fronts.push(Box::new(|app, stop| {
            let routes = routes(Handle::new(app.clone())).into();
            Box::pin(crate::http::serve(port, routes, app, stop))
        }));
        self
    }

    /// What the node is called, as people know it; its host's name, if that is empty.
    pub fn name(mut self, name: &str) -> Self {
        if !name.is_empty() {
            self.node.name = name.to_owned();
        }
        self
    }

    /// The bounds that every connection is held to.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// How many connections there may be.
    pub fn caps(mut self, caps: Caps) -> Self {
        self.caps = caps;
        self
    }

    /// How the server stops.
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// How many bytes all windows may hold together; 0 is unlimited. To be said before
    /// [`Builder::router`].
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.budget = Budget::new(bytes);
        self
    }

    /// Takes from `seed` what is random otherwise: clients' ids, and the order in which the registry is
    /// visited. Only for simulations, which are to run the same way twice: whoever knows the seed knows the
    /// ids.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The server, ready to run.
    pub fn build(self) -> Server {
        let (fanout, budget) = (self.fanout, self.budget);
        let router = self.router.unwrap_or_else(|| {
            let windows = Box::new(|_: &_| Window::default());
            ExactRouter::new(windows, fanout.clone(), budget.clone())
        });
        let broker =
            self.broker.unwrap_or_else(|| Arc::new(MemoryBroker::new(uuid::Uuid::new_v4().as_u64_pair().0)));
        let mut protocols = self.protocols;
        if protocols.is_empty() {
            protocols.push(Arc::new(Centrifuge::default()));
        }
        let roster = Arc::default();
        let registry = self.seed.map_or_else(Registry::new, Registry::seeded);
        let app = Arc::new(App {
            hub: Hub::with_registry(router, broker, fanout, budget, registry),
            ids: Ids::new(self.seed),
            authenticator: ArcSwap::from_pointee(self.authenticator),
            hooks: self.hooks,
            protocols,
            outbox: ArcSwap::new(self.settings.outbox()),
            settings: ArcSwap::from_pointee(self.settings),
            shutdown: ArcSwap::from_pointee(self.shutdown),
            admission: Admission::new(self.caps),
            wheel: Wheel::new(tokio::time::Instant::now().into_std()),
            meters: Meters::new(),
            tasks: TaskTracker::new(),
            workers: Workers::new(&self.threads, &roster),
            draining: AtomicBool::new(false),
            sessions: Arc::default(),
            roster,
            takeovers: Takeovers::default(),
            cut: CancellationToken::new(),
            started: tokio::time::Instant::now().into_std(),
            node: self.node,
        });
        Server { app, fronts: self.fronts, stop: CancellationToken::new(), threads: self.threads }
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Takes what a listener brings, until told to stop.
async fn accept<L: Listener>(app: Arc<App>, mut listener: L, stop: CancellationToken) {
    let refusals = Arc::new(Semaphore::new(app.settings().refusals));
    loop {
        let incoming = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            incoming = listener.accept() => incoming,
        };
        let Some(incoming) = incoming else { break };
        let address = incoming.address().map(|address| address.ip());
        match app.admission.admit(address, crate::time::now()) {
            Ok(permit) => {
                app.tasks.spawn(greet(app.clone(), incoming, permit));
            }
            Err(cause) => {
                app.meters.refused(cause.cause());
                // Over the bound they are turned away without a word: a refusal holds a descriptor, too.
                if let Ok(turn) = refusals.clone().try_acquire_owned() {
                    app.tasks.spawn(async move {
                        incoming.refuse().await;
                        drop(turn);
                    });
                }
            }
        }
    }
    listener.close().await;
}

/// Shakes hands, and serves.
async fn greet<I: Incoming>(app: Arc<App>, incoming: I, permit: Permit) {
    let shaken = tokio::select! {
        // Boxed, so that an open connection does not keep room for it.
        shaken = Box::pin(incoming.handshake()) => shaken,
        () = app.cut.cancelled() => return,
    };
    match shaken {
        Ok((io, peer)) => app.serve(io, peer, permit),
        Err(error) => {
            app.meters.refused("handshake");
            tracing::debug!(%error, "handshake failed");
        }
    }
}

/// Lets every client read what there is and go; cuts off whoever takes too long.
async fn drain(app: &Arc<App>, how: Shutdown) -> Stopped {
    app.draining.store(true, Ordering::Relaxed);
    app.admission.close();
    app.tasks.close();
    app.hub.broadcast_health(Health::Draining);
    // Whoever takes a seat after this sees that the node is draining.
    let members = app.roster.handles();
    app.meters.draining(members.len());
    tracing::info!(connections = members.len(), timeout = ?how.timeout, spread = ?how.spread, "draining");
    let spread = how.spread.min(how.timeout * 3 / 4);
    let everybody_gone = async {
        tokio::select! {
            // They may all leave by themselves before their turn.
            biased;
            () = app.tasks.wait() => {}
            () = send_away(&members, spread) => app.tasks.wait().await,
        }
    };
    let cut = match tokio::time::timeout(how.timeout, everybody_gone).await {
        Ok(()) => 0,
        Err(_) => app.admission.live(),
    };
    app.cut.cancel();
    if cut > 0 {
        tracing::warn!(cut, "cutting off clients that did not leave in time");
        app.meters.cut(cut);
    }
    for handle in app.roster.handles() {
        // Gone already: all the better.
        let _ = handle.abort();
    }
    app.tasks.wait().await;
    Stopped { cut }
}

/// Asks clients to go, in as many turns as `spread` has ticks.
async fn send_away(members: &[outbox::Handle], spread: Duration) {
    let turns = (spread.as_millis() / TICK.as_millis()).max(1) as usize;
    let each = members.len().div_ceil(turns).max(1);
    // As many pauses as there are turns: a few clients are sent away over the whole spread, too.
    let pause = spread / members.len().div_ceil(each).max(1) as u32;
    for (i, members) in members.chunks(each).enumerate() {
        if i > 0 {
            tokio::time::sleep(pause).await;
        }
        for member in members {
            // Gone already: nothing to tell.
            let _ = member.close(Disconnect::new(3001, "shutdown"));
        }
    }
}

/// What is due about once a second.
async fn sweep(app: Arc<App>) {
    let mut interval = tokio::time::interval(Duration::from_secs(1));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut memory = crate::memory::Watch::default();
    let mut failing = false;
    loop {
        interval.tick().await;
        watch_broker(&app, &mut failing).await;
        memory.watch(&app.admission);
        app.hub.sweep(tokio::time::Instant::now().into_std()).await;
        app.tell();
        crate::http::upkeep();
    }
}

/// Tells clients when the broker begins to fail, and when it is well again.
async fn watch_broker(app: &App, failing: &mut bool) {
    let fails = app.hub.broker().ready().await.is_err();
    if std::mem::replace(failing, fails) != fails && !app.is_draining() {
        let health = if fails { Health::Degraded } else { Health::Serving };
        tracing::info!(?health, "the node's health has changed");
        app.hub.broadcast_health(health);
    }
}

async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = work => {}
    }
}
