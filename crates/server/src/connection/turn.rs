//! What a connection does before others have their turn: the runtime's own budget does not count it.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many connections have more to do than one turn takes: clients that flood. The more there are, the shorter their
/// turns, so that others, who wait for all of them, wait no longer.
#[derive(Debug, Default)]
pub(crate) struct Floods(AtomicUsize);

/// A connection's turn.
pub(super) struct Turn {
    /// Things done.
    pub(super) done: usize,
    /// Bytes of the messages that were read.
    pub(super) read: usize,
    pub(super) writes: usize,
    /// A deadline was looked at, or something happened that may have moved one.
    pub(super) moved: bool,
    /// So many like it make a whole turn.
    share: usize,
}

/// Things done in one turn, a request counting for three or four: a client that floods has its turn like the
/// others.
const DONE: usize = 256;
/// Bytes of messages read in one turn: what four reads of a socket bring.
const READ: usize = 64 * 1024;
/// Writes of one turn.
const WRITES: usize = 4;
/// Connections with more to do that have whole turns: a round of them takes about 2.5 ms.
const FEW: usize = 8;
/// So many of the shortest turns make a whole one: less than four or five requests would not be worth the write of
/// their replies.
const SHORTEST: usize = 16;

impl Floods {
    pub(super) fn begin(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    fn share(&self) -> usize {
        (self.0.load(Ordering::Relaxed) / FEW).clamp(1, SHORTEST)
    }
}

impl Turn {
    pub(super) fn new(floods: &Floods) -> Self {
        Self { done: 0, read: 0, writes: 0, moved: false, share: floods.share() }
    }

    /// Whether it may do more of what is asked for.
    pub(super) fn may_work(&self) -> bool {
        self.done * self.share < DONE && self.read * self.share < READ
    }

    pub(super) fn may_write(&self) -> bool {
        self.writes < WRITES
    }
}

#[cfg(test)]
mod tests {
    use super::{Floods, Turn};

    fn things(floods: &Floods) -> usize {
        let mut turn = Turn::new(floods);
        while turn.may_work() {
            turn.done += 1;
        }
        turn.done
    }

    #[test]
    fn turns_are_shorter_the_more_there_are_that_flood() {
        let floods = Floods::default();
        for (count, expected) in [(0, 256), (8, 256), (32, 64), (128, 16), (10_000, 16)] {
            (0..count).for_each(|_| floods.begin());
            assert_eq!(things(&floods), expected, "{count}");
            (0..count).for_each(|_| floods.end());
        }
        assert_eq!(things(&floods), 256);
    }
}
