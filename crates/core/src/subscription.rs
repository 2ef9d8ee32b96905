use crate::outbox::Batch;
use crate::{Entry, Gap};

/// How one subscription's entries become messages of its connection.
///
/// Called by the connection that owns it, under no lock. Both calls may be repeated for the same entries:
/// what the socket did not take is unread and is written again later. So they depend on their arguments
/// and on what was fixed when the subscription was made, and change nothing.
pub trait Subscription: Send {
    /// Writes `entry`, in as many messages as it takes; writing none means that it is not wanted.
    ///
    /// `contiguous` is whether the publication before it in the log was written to this subscriber too, so
    /// that it can do with a [patch](Entry::patch).
    fn write(&mut self, entry: &Entry, contiguous: bool, out: &mut Batch);

    /// Tells the subscriber what it missed, or writes nothing where its protocol has no word for it.
    fn gap(&mut self, gap: &Gap, out: &mut Batch);

    /// A number for how it writes what stands in the log from `first` on; `None` where that is its own affair.
    /// Once it has said a number, it stands by it.
    ///
    /// Of two subscriptions to one log that say the same number, each writes the very bytes for an entry that
    /// the other does, whatever was written before it: what one of them has written may be copied for the
    /// other, without asking it.
    fn likeness(&self, first: &Entry) -> Option<u16> {
        let _ = first;
        None
    }

    /// Whether the subscriber can do without `entry`, because the reply that began the subscription brought it or
    /// stood for it. Asked, before the first is written, of what was appended while the subscription was made:
    /// such entries count neither as read nor as missed.
    fn has(&self, _entry: &Entry) -> bool {
        false
    }

    /// Whether the subscriber relies on the stream's offsets: it is then ended at a
    /// [`Kind::Break`](crate::Kind::Break) rather than read over it, and where its policy would skip.
    fn continuous(&self) -> bool {
        false
    }
}
