//! What a port's tasks run on.

use std::future::Future;
use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};

/// Tokio, as quinn uses it, but that the task which reads a port's packets reads more of them in its turn.
///
/// That task gives up its turn after 50 µs of reading. Of the packets that a port gets most acknowledge what its
/// connections have sent; where thousands of those wait, it would take all tasks' turns many times until it comes
/// to a publication, and each would be delivered alone.
#[derive(Debug, Default)]
pub(crate) struct PortRuntime {
    /// The first task is the one that reads.
    reads: AtomicBool,
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How often the task that reads has its turn before others have theirs: for 0.8 ms at most.
const READS: usize = 16;

impl Runtime for PortRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, task: Task) {
        if self.reads.swap(true, Ordering::Relaxed) {
            TokioRuntime.spawn(task);
        } else {
            TokioRuntime.spawn(Box::pin(Reader { task, more: None }));
        }
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

/// The task that reads.
struct Reader {
    task: Task,
    more: Option<(Arc<More>, Waker)>,
}

/// Whether it was woken since its turn began, which it does itself where there is more to be read.
struct More {
    woken: AtomicBool,
    reader: Waker,
}

impl Future for Reader {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { task, more } = &mut *self;
        if more.as_ref().is_none_or(|(more, _)| !more.reader.will_wake(cx.waker())) {
            let new = Arc::new(More { woken: AtomicBool::new(false), reader: cx.waker().clone() });
            *more = Some((new.clone(), Waker::from(new)));
        }
        let Some((more, waker)) = more else { return Poll::Pending };
        let mut cx = Context::from_waker(waker);
        for _ in 0..READS {
            more.woken.store(false, Ordering::Release);
            if task.as_mut().poll(&mut cx).is_ready() {
                return Poll::Ready(());
            }
            if !more.woken.load(Ordering::Acquire) {
                break;
            }
        }
        // If it was woken, so was this.
        Poll::Pending
    }
}

impl Wake for More {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.reader.wake_by_ref();
    }
}

#[cfg(test)]
mod tests;
