use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake};

use futures_util::task::AtomicWaker;

/// Remembers that a stream takes something again. quinn only wakes; whoever has several things to wait for must
/// know what it was.
#[derive(Debug, Default)]
pub(crate) struct Blocked {
    free: AtomicBool,
    task: AtomicWaker,
}

impl Blocked {
    /// Waits until it is free.
    pub(crate) fn poll_free(&self, cx: &Context<'_>) -> Poll<()> {
        self.task.register(cx.waker());
        if self.free.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Wake for Blocked {
    fn wake(self: Arc<Self>) {
        self.free.store(true, Ordering::Release);
        self.task.wake();
    }
}
