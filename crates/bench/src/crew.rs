//! The threads of a run. Each has a runtime of its own and many connections, which never change threads.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc as blocking};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use hdrhistogram::Histogram;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle as LocalHandle, LocalSet, spawn_local};

use crate::Error;
use crate::connection::Connection;
use crate::shared::Shared;
use crate::subscriber::Subscriber;
use crate::transport::quic;

type Job = Box<dyn FnOnce(Rc<Worker>) -> LocalBoxFuture<'static, ()> + Send>;

/// All threads of a run. They end, with all that runs on them, when it is dropped.
#[derive(Debug)]
pub(crate) struct Crew {
    queues: Vec<mpsc::UnboundedSender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

/// What one thread has.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    /// What sockets are read into, one after the other.
    pub(crate) buffer: RefCell<Vec<u8>>,
    /// From handing a publication to the socket to the end of the read that brought it, in nanoseconds.
    pub(crate) latencies: RefCell<Histogram<u64>>,
    /// Whose deliveries are checked in the end.
    pub(crate) subscribers: RefCell<Vec<Rc<RefCell<Subscriber>>>>,
    /// Connections that are read until they are dropped.
    pub(crate) held: RefCell<Vec<LocalHandle<()>>>,
    /// Connections that nobody reads.
    pub(crate) stalled: RefCell<Vec<Connection>>,
    /// What all its QUIC connections share.
    quic: OnceCell<quinn::Endpoint>,
    /// When the last read returned, and what it brought.
    now: Cell<u64>,
    read: Cell<usize>,
    received: Cell<u64>,
}

/// Work that was given to all threads.
pub(crate) struct Asked<T>(Vec<blocking::Receiver<T>>);

impl Crew {
    pub(crate) fn new(threads: usize, shared: &Arc<Shared>) -> Result<Self, Error> {
        let mut crew = Self { queues: Vec::new(), threads: Vec::new() };
        for _ in 0..threads {
            let (queue, mut jobs) = mpsc::unbounded_channel::<Job>();
            let runtime = Builder::new_current_thread().enable_all().build().map_err(Error::Thread)?;
            let shared = shared.clone();
            let work = move || {
                let worker = Rc::new(Worker::new(shared));
                LocalSet::new().block_on(&runtime, async {
                    while let Some(job) = jobs.recv().await {
                        spawn_local(job(worker.clone()));
                    }
                    if let Some(endpoint) = worker.quic.get() {
                        quic::close(endpoint).await;
                    }
                });
            };
            let thread = std::thread::Builder::new().name("bench".into()).spawn(work);
            crew.threads.push(thread.map_err(Error::Thread)?);
            crew.queues.push(queue);
        }
        Ok(crew)
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Gives the same work to every thread, with the thread's number.
    pub(crate) fn ask<T, F>(&self, work: impl Fn(usize, Rc<Worker>) -> F + Clone + Send + 'static) -> Asked<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let ask = |(number, queue): (usize, &mpsc::UnboundedSender<Job>)| {
            let (answer, answers) = blocking::channel();
            let work = work.clone();
            let job = move |worker| {
                let work = work(number, worker);
                // Whoever asked may have given up.
                async move { drop(answer.send(work.await)) }.boxed_local()
            };
            queue.send(Box::new(job)).expect("threads outlive their crew");
            answers
        };
        Asked(self.queues.iter().enumerate().map(ask).collect())
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.queues.clear();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            drop(thread.join());
        }
    }
}

impl<T> Asked<T> {
    /// Waits for the answers of all, and calls `meanwhile` ten times a second.
    pub(crate) fn wait(self, mut meanwhile: impl FnMut()) -> Vec<T> {
        let answer = |answers: blocking::Receiver<T>| {
            loop {
                match answers.recv_timeout(TICK) {
                    Ok(answer) => return answer,
                    Err(blocking::RecvTimeoutError::Timeout) => meanwhile(),
                    Err(blocking::RecvTimeoutError::Disconnected) => panic!("a thread of the bench panicked"),
                }
            }
        };
        self.0.into_iter().map(answer).collect()
    }
}

impl Worker {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            buffer: RefCell::new(vec![0; BUFFER]),
            latencies: RefCell::new(latencies()),
            subscribers: RefCell::default(),
            held: RefCell::default(),
            stalled: RefCell::default(),
            quic: OnceCell::new(),
            now: Cell::new(0),
            read: Cell::new(0),
            received: Cell::new(0),
        }
    }

    /// The thread's socket for QUIC, with the first connection.
    pub(crate) fn endpoint(&self, to: SocketAddr) -> io::Result<&quinn::Endpoint> {
        match self.quic.get() {
            Some(endpoint) => Ok(endpoint),
            None => {
                let endpoint = quic::endpoint(to)?;
                Ok(self.quic.get_or_init(|| endpoint))
            }
        }
    }

    /// A socket has brought `bytes`.
    pub(crate) fn has_read(&self, bytes: usize) {
        self.now.set(self.shared.now());
        self.read.set(bytes);
        self.received.set(0);
    }

    /// All that the last read brought was heard.
    pub(crate) fn has_noted(&self) {
        self.shared.add(self.now.get(), self.read.get(), self.received.get());
    }

    /// Counts a delivery of what was sent at `sent`.
    #[inline]
    pub(crate) fn received(&self, sent: u64) {
        self.received.set(self.received.get() + 1);
        if self.shared.measuring.load(Ordering::Relaxed) {
            self.latencies.borrow_mut().saturating_record(self.now.get().saturating_sub(sent));
        }
    }
}

/// From a microsecond to a minute, in nanoseconds, to three digits.
pub(crate) fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 60_000_000_000, 3).expect("these bounds are good")
}

/// Of one read, in bytes: what a server writes while its clients are busy, once.
const BUFFER: usize = 256 * 1024;
/// How often who waits looks around.
const TICK: Duration = Duration::from_millis(100);
