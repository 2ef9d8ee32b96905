//! Workers: who serves connections.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::{Handle, Runtime};
use tokio_util::task::TaskTracker;

use crate::connection::Floods;
use crate::meters::Tally;
use crate::ranks::{Ranks, all_others};
use crate::roster::Roster;

/// The one on the runtime that runs the server, as the fan-out calls it.
pub(crate) const MAIN: usize = 0;

/// How long others wait for a worker's turns. 10 ms: some thousand connections' turns.
const PATIENCE: Duration = Duration::from_millis(10);

/// Who serves connections: one on the runtime that runs the server, and perhaps others, each with a runtime of its own.
///
/// A connection stays with its worker, and what it reads stands in logs that only this worker's connections read. So
/// cores share next to nothing: where a runtime moves connections between its threads, each turn begins with what
/// another core has in its cache, and all of them take the same logs' locks.
///
/// What is not movable stays on the runtime that runs the server, with all that is not a connection.
pub(crate) struct Workers {
    main: Arc<Worker>,
    others: Box<[Arc<Worker>]>,
    /// Where the search for the one with least to do begins.
    next: AtomicUsize,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Worker {
    number: usize,
    /// `None`: the one that runs the server.
    runtime: Option<Handle>,
    /// Turns of those that have just come, and of those that clean up behind connections.
    pub(crate) ranks: Ranks,
    /// How many of its connections have more to do than a turn takes.
    pub(crate) floods: Floods,
    /// What its connections count.
    pub(crate) tally: Tally,
    /// Every open connection of the server.
    pub(crate) roster: Arc<Roster>,
    /// Connections that it serves.
    connections: AtomicUsize,
}

/// A connection that a worker serves, until it is dropped.
#[derive(Debug)]
pub(crate) struct Served(Arc<Worker>);

/// The runtimes of workers. When it is dropped, what still runs there is.
#[derive(Debug, Default)]
pub(crate) struct Threads(Vec<Runtime>);

impl Threads {
    /// So many, each of one thread.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let start = |number| {
            // Not tokio's runtime of the current thread: that one has no slot for who was woken last, which for a
            // connection and its client in memory makes all the difference to the cache.
            crate::runtime().worker_threads(1).thread_name(format!("worker-{number}")).build()
        };
        (0..count).map(start).collect::<io::Result<_>>().map(Self)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // A runtime that is dropped waits for its thread, which must not be done on another one's.
        self.0.drain(..).for_each(Runtime::shutdown_background);
    }
}

impl Workers {
    /// Those that have these runtimes, beside the one that has none of its own.
    pub(crate) fn new(threads: &Threads, roster: &Arc<Roster>) -> Self {
        let worker = |number, runtime| Arc::new(Worker::new(number, runtime, roster.clone()));
        let runtimes = threads.0.iter().map(|runtime| Some(runtime.handle().clone()));
        let others = (MAIN + 1..).zip(runtimes).map(|(number, runtime)| worker(number, runtime)).collect();
        Self { main: worker(MAIN, None), others, next: AtomicUsize::new(0) }
    }

    /// The one on the runtime that runs the server.
    pub(crate) fn main(&self) -> &Arc<Worker> {
        &self.main
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Worker>> {
        std::iter::once(&self.main).chain(&self.others)
    }

    /// The runtimes of those that have one.
    pub(crate) fn runtimes(&self) -> impl Iterator<Item = &Handle> {
        self.others.iter().filter_map(|worker| worker.runtime.as_ref())
    }

    /// Who takes a connection that comes now. Of those with a runtime, who has the fewest, in turn where several have.
    pub(crate) fn take(&self, movable: bool) -> Served {
        if !movable || self.others.is_empty() {
            return self.main.serve();
        }
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let (before, from) = self.others.split_at(first % self.others.len());
        let worker =
            from.iter().chain(before).min_by_key(|worker| worker.connections.load(Ordering::Relaxed));
        worker.expect("there is one").serve()
    }

    /// Until everybody who is awake has had a turn, whoever serves him; but a worker whose thread does not get on is not
    /// waited for any longer than [`PATIENCE`].
    pub(crate) async fn all_others(&self) {
        all_others().await;
        let others: Vec<_> = self.runtimes().map(|runtime| runtime.spawn(all_others())).collect();
        let all = async {
            for other in others {
                // It is cancelled where the server has stopped.
                let _ = other.await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, all).await;
    }
}

impl Worker {
    fn new(number: usize, runtime: Option<Handle>, roster: Arc<Roster>) -> Self {
        let (ranks, floods, tally, connections) = Default::default();
        Self { number, runtime, ranks, floods, tally, roster, connections }
    }

    /// What the fan-out calls it.
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// Notes that it serves one more.
    fn serve(self: &Arc<Self>) -> Served {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Served(self.clone())
    }

    /// Begins a task on its runtime, or on that which this runs on.
    pub(crate) fn spawn(&self, tasks: &TaskTracker, task: impl Future<Output = ()> + Send + 'static) {
        match &self.runtime {
            Some(runtime) => tasks.spawn_on(task, runtime),
            None => tasks.spawn(task),
        };
    }

    /// Whether it has a runtime of its own, which a connection has to be adopted by.
    pub(crate) fn has_runtime(&self) -> bool {
        self.runtime.is_some()
    }
}

impl Served {
    pub(crate) fn worker(&self) -> Arc<Worker> {
        self.0.clone()
    }
}

impl std::ops::Deref for Served {
    type Target = Worker;

    fn deref(&self) -> &Worker {
        &self.0
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
