//! What a port's tasks run on.

use std::future::Future;
use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, TryLockError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};

/// Tokio, as quinn uses it, but that a port's packets are read before what they bring is done.
///
/// The task that reads them gives up its turn after 50 µs. Of the packets that a port gets most acknowledge what its
/// connections have sent; where thousands of those wait, it would take all tasks' turns many times until it comes
/// to a publication, and each would be delivered alone. So it has many turns in one here. Where thousands of clients
/// come at once, all tasks' turns take longer than the socket's buffer can hold what comes meanwhile. So
/// connections, after their turns, let it read on.
#[derive(Debug, Default)]
pub(crate) struct PortRuntime {
    /// The task that reads: the first that is spawned.
    reader: OnceLock<Arc<Reader>>,
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How often the task that reads has its turn before others have theirs: for 0.8 ms at most.
const READS: usize = 16;
/// Turns of connections before it reads on, if it has not come to the end. In a handshake such a turn takes some
/// hundred microseconds.
const TURNS: usize = 4;

impl Runtime for PortRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, task: Task) {
        let mut first = Some(task);
        let reader = self.reader.get_or_init(|| Arc::new(Reader::new(first.take())));
        let reader = reader.clone();
        TokioRuntime.spawn(match first {
            None => Box::pin(Reading(reader)),
            Some(task) => Box::pin(Connected { task, reader }),
        });
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

/// The task that reads, whoever lets it.
struct Reader {
    /// `None` when it has ended.
    task: Mutex<Option<Task>>,
    more: Arc<More>,
    waker: Waker,
    /// Turns of connections.
    turns: AtomicUsize,
}

/// Whether the task was woken since its turn began, which it does itself where there is more to be read.
#[derive(Debug, Default)]
struct More {
    woken: AtomicBool,
    /// Wakes [`Reading`].
    reading: OnceLock<Waker>,
}

impl Reader {
    fn new(task: Option<Task>) -> Self {
        let more = Arc::<More>::default();
        Self { task: Mutex::new(task), waker: Waker::from(more.clone()), more, turns: AtomicUsize::new(0) }
    }

    /// Reads; ready when nothing will ever come.
    fn read(&self) -> Poll<()> {
        let mut task = match self.task.try_lock() {
            Ok(task) => task,
            Err(TryLockError::Poisoned(task)) => task.into_inner(),
            Err(TryLockError::WouldBlock) => {
                // Another thread reads, and may not have seen what this one was woken for.
                self.more.wake_by_ref();
                return Poll::Pending;
            }
        };
        for _ in 0..READS {
            self.more.woken.store(false, Ordering::Release);
            let Some(reading) = task.as_mut() else { return Poll::Ready(()) };
            if reading.as_mut().poll(&mut Context::from_waker(&self.waker)).is_ready() {
                *task = None;
                self.more.wake_by_ref();
                return Poll::Ready(());
            }
            if !self.more.woken.load(Ordering::Acquire) {
                break;
            }
        }
        // If it was woken, so was `Reading`.
        Poll::Pending
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("more", &self.more).finish_non_exhaustive()
    }
}

impl Wake for More {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        if let Some(reading) = self.reading.get() {
            reading.wake_by_ref();
        }
    }
}

/// The reader's own turns.
struct Reading(Arc<Reader>);

impl Future for Reading {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // A task has one waker for all of its life.
        self.0.more.reading.get_or_init(|| cx.waker().clone());
        self.0.read()
    }
}

/// A connection's task.
struct Connected {
    task: Task,
    reader: Arc<Reader>,
}

impl Future for Connected {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let done = self.task.as_mut().poll(cx);
        let Reader { more, turns, .. } = &*self.reader;
        if more.woken.load(Ordering::Relaxed) && turns.fetch_add(1, Ordering::Relaxed) % TURNS == TURNS - 1 {
            // Whether it has ended is for `Reading` to say.
            let _ = self.reader.read();
        }
        done
    }
}

#[cfg(test)]
mod tests;
