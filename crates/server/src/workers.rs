//! Workers: who serves connections.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate_core::transport::Incoming;
use tokio::net::TcpStream;
use tokio::runtime::{Handle, Runtime};
use tokio::task::{JoinHandle, yield_now};
use tokio_util::task::TaskTracker;

use crate::connection::Floods;
use crate::meters::Tally;
use crate::ranks::{Ranks, all_others};
use crate::roster::Roster;

/// Who serves connections: one for all on the runtime that runs the server, or several, each with a runtime of its own.
///
/// A connection stays with its worker, and what it reads stands in logs that only this worker's connections read. So
/// cores share next to nothing: where a runtime moves connections between its threads, each turn begins with what
/// another core has in its cache, and all of them take the same logs' locks.
pub(crate) struct Workers {
    all: Box<[Arc<Worker>]>,
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
    /// Those that have these runtimes; without any, one that has none of its own.
    pub(crate) fn new(threads: &Threads, roster: &Arc<Roster>) -> Self {
        let runtimes = threads.0.iter().map(|runtime| Some(runtime.handle().clone()));
        let mut runtimes: Vec<_> = runtimes.collect();
        if runtimes.is_empty() {
            runtimes.push(None);
        }
        let worker = |(number, runtime)| Arc::new(Worker::new(number, runtime, roster.clone()));
        Self { all: runtimes.into_iter().enumerate().map(worker).collect(), next: AtomicUsize::new(0) }
    }

    pub(crate) fn all(&self) -> &[Arc<Worker>] {
        &self.all
    }

    /// The runtimes of those that have one.
    pub(crate) fn runtimes(&self) -> impl Iterator<Item = &Handle> {
        self.all.iter().filter_map(|worker| worker.runtime.as_ref())
    }

    /// Who takes a connection that comes now: who has the fewest, in turn where several have.
    pub(crate) fn take(&self) -> Served {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let (before, from) = self.all.split_at(first % self.all.len());
        let worker =
            from.iter().chain(before).min_by_key(|worker| worker.connections.load(Ordering::Relaxed));
        worker.expect("there is one").serve()
    }

    /// Who serves a connection for which something runs here already: the worker whose runtime this is, or the next.
    pub(crate) fn take_here(&self) -> Served {
        let here = Handle::try_current().ok().map(|here| here.id());
        let own = |worker: &&Arc<Worker>| worker.runtime.as_ref().map(Handle::id) == here;
        self.all.iter().find(own).map_or_else(|| self.take(), Worker::serve)
    }

    /// Until everybody who is awake has had a turn, whoever serves him.
    pub(crate) async fn all_others(&self) {
        all_others().await;
        self.each(all_others).await;
    }

    /// Until every runtime has heard of what has come to its sockets, and those for whom it came have had a turn.
    pub(crate) async fn all_heard(&self) {
        heard().await;
        self.each(heard).await;
    }

    /// Does something on each worker's runtime, at the same time on all.
    async fn each<F: Future<Output = ()> + Send + 'static>(&self, work: impl Fn() -> F) {
        let each: Vec<JoinHandle<()>> = self.runtimes().map(|runtime| runtime.spawn(work())).collect();
        for done in each {
            // It is cancelled where the server has stopped.
            let _ = done.await;
        }
    }
}

/// Once for the runtime to hear of what has come, once for those for whom it came.
async fn heard() {
    yield_now().await;
    yield_now().await;
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

    /// Begins a task on its runtime.
    pub(crate) fn spawn(&self, tasks: &TaskTracker, task: impl Future<Output = ()> + Send + 'static) {
        match &self.runtime {
            Some(runtime) => tasks.spawn_on(task, runtime),
            None => tasks.spawn(task),
        };
    }

    /// A socket that was accepted on the runtime that runs the server, for this worker's, which has to be the one that
    /// this runs on: from now on that one hears of what comes.
    pub(crate) fn adopt(&self, stream: TcpStream) -> io::Result<TcpStream> {
        if self.runtime.is_some() { TcpStream::from_std(stream.into_std()?) } else { Ok(stream) }
    }

    /// The same, for what a listener has brought.
    pub(crate) fn adopt_incoming<I: Incoming>(&self, incoming: I) -> io::Result<I> {
        if self.runtime.is_some() { incoming.adopt() } else { Ok(incoming) }
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
