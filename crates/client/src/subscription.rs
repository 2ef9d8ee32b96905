use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;

use crate::client::Handle;
use crate::machine::SubId;
use crate::queue::Queue;
use crate::shared::Want;
use crate::{Event, Position};

/// A subscription of a channel: a stream of what happens in it.
///
/// It ends behind [`Event::Unsubscribed`]: when the server ends it for good, or the client is disconnected. Dropping it
/// leaves the channel; until then it keeps the client alive.
pub struct Subscription {
    handle: Arc<Handle>,
    id: SubId,
    channel: String,
    queue: Arc<Queue<Event>>,
    position: Option<Position>,
}

impl Subscription {
    pub(crate) fn new(handle: Arc<Handle>, id: SubId, channel: String, queue: Arc<Queue<Event>>) -> Self {
        Self { handle, id, channel, queue, position: None }
    }

    /// The channel.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// Where the program is in the channel's stream: behind the last publication that it has read. `None` where the
    /// channel keeps no history, and before the subscription is live.
    ///
    /// A later subscription may go on [from here](crate::Subscribe::since).
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// The next event; `None` at the end. Cancel safe: a dropped call loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let (polled, freed) = self.queue.poll_next(cx);
        if freed {
            self.handle.shared.want(Want::Room(self.id));
        }
        match &polled {
            Poll::Ready(Some(Event::Subscribed(subscribed))) => {
                self.position.clone_from(&subscribed.position)
            }
            Poll::Ready(Some(Event::Publication(publication))) if publication.offset > 0 => {
                if let Some(position) = &mut self.position {
                    position.offset = publication.offset;
                }
            }
            _ => {}
        }
        polled
    }
}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_event(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.queue.leave();
        self.handle.shared.release(&self.channel, self.id);
        self.handle.shared.want(Want::Leave(self.id));
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("channel", &self.channel)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
