use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;

use crate::ClientEvent;
use crate::queue::Queue;

/// What happens to a client as a whole: see [`Client::events`](crate::Client::events).
///
/// Bounded by [`Builder::event_buffer`](crate::Builder::event_buffer): of a reader who is too slow the oldest messages
/// and server-side publications are given up, and it is told how many.
#[derive(Debug)]
pub struct Events {
    queue: Arc<Queue<ClientEvent>>,
}

impl Events {
    pub(crate) fn new(queue: Arc<Queue<ClientEvent>>) -> Self {
        Self { queue }
    }

    /// The next event; `None` at the end. Cancel safe.
    pub async fn next(&mut self) -> Option<ClientEvent> {
        std::future::poll_fn(|cx| self.queue.poll_next(cx).0).await
    }
}

impl Stream for Events {
    type Item = ClientEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ClientEvent>> {
        self.queue.poll_next(cx).0
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.queue.leave();
    }
}
