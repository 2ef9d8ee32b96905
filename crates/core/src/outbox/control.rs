//! The control lane: replies, and what the transport says by itself.

use bytes::Bytes;

use super::{Lane, Outbox};

/// A message of the control lane.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    pub(super) bytes: Bytes,
    pub(super) framed: bool,
    pub(super) first: bool,
    /// The transport's own answer to something of the peer's.
    answer: bool,
}

impl Message {
    /// What it counts for against [`Limits::control`](super::Limits::control), in bytes.
    pub(super) fn weight(&self) -> usize {
        self.bytes.len() + size_of::<Self>()
    }
}

impl Outbox {
    /// Whether the control lane holds as much as it may: time to stop reading commands.
    pub fn full(&self) -> bool {
        self.control_bytes >= self.limits.control
    }

    /// Whether a reply waits for its lane: what is answered now would overtake it.
    pub fn holds_replies(&self) -> bool {
        !self.deferred().is_empty()
    }

    /// Whether a reply waits for another lane than `lane`: one that follows `lane` would overtake it, or be
    /// overtaken.
    pub fn holds_replies_beside(&self, lane: Option<Lane>) -> bool {
        self.deferred().iter().any(|(of, ..)| Some(*of) != lane)
    }

    /// Adds a message to the control lane, which goes before all subscriptions; with `after`, as soon as
    /// that lane has been read up to what its log holds now. Between the control lane and a lane with a track
    /// there is no order.
    pub fn reply(&mut self, message: Bytes, after: Option<Lane>) {
        let message = Message { bytes: message, ..Message::default() };
        self.control_bytes += message.weight();
        if let Some(lane) = after
            && !self.is_tracked(lane)
            && let Some(attached) = self.lanes.get_mut(lane)
        {
            let head = attached.cursor.log().head().sequence;
            if attached.cursor.position().sequence < head {
                self.rare().deferred.push((lane, head, message));
                return;
            }
        }
        self.control.push_back(message);
    }

    /// Adds bytes that the transport has framed itself, such as its last words, to the control lane.
    pub fn framed(&mut self, bytes: Bytes) {
        self.control_last(Message { bytes, framed: true, ..Message::default() });
    }

    /// Adds a transport's own answer, such as a pong, framed. Where the control lane is full it takes the place of the
    /// last one, if nothing stands behind that: who pings and does not read is owed the latest answer only
    /// (RFC 6455 §5.5.3), and the lane stays bounded.
    pub fn answer(&mut self, bytes: Bytes) {
        if self.full()
            && let Some(last) = self.control.back_mut().filter(|last| last.answer)
        {
            self.control_bytes -= last.weight();
            last.bytes = bytes;
            self.control_bytes += last.weight();
            return;
        }
        self.control_last(Message { bytes, framed: true, answer: true, ..Message::default() });
    }

    /// Says the state of something, before all replies: one that no write has begun yet is replaced, so
    /// that only the latest is told.
    pub fn say_first(&mut self, message: Bytes) {
        self.first = Some(Box::new(Message { bytes: message, first: true, ..Message::default() }));
    }

    fn control_last(&mut self, message: Message) {
        self.control_bytes += message.weight();
        self.control.push_back(message);
    }
}
