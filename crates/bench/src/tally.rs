//! What one subscriber got of one publisher: everything, once, in order?

use std::ops::Range;

/// Follows the sequence numbers of one publisher in one channel, as one subscriber sees them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// The one that comes next when all is well.
    next: u64,
    /// Those below `next` that have not come, in order.
    missing: Vec<Range<u64>>,
    /// Missing ones that are no longer looked for.
    given_up: u64,
    late: u64,
    repeated: u64,
}

/// What all tallies of a run add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Never came.
    pub(crate) lost: u64,
    /// Came after one that was published later.
    pub(crate) late: u64,
    /// Came again.
    pub(crate) repeated: u64,
}

impl Tally {
    /// Takes note of a publication.
    #[inline]
    pub(crate) fn note(&mut self, sequence: u64) {
        if sequence == self.next {
            self.next += 1;
        } else {
            self.note_odd(sequence);
        }
    }

    /// What was wrong, given how many were published.
    pub(crate) fn wrong(&self, published: u64) -> Wrong {
        let missing: u64 = self.missing.iter().map(|range| range.end - range.start).sum();
        let lost = missing + self.given_up + published.saturating_sub(self.next);
        Wrong { lost, late: self.late, repeated: self.repeated }
    }

    #[cold]
    fn note_odd(&mut self, sequence: u64) {
        if sequence > self.next {
            if self.missing.len() == MISSING {
                let oldest = self.missing.remove(0);
                self.given_up += oldest.end - oldest.start;
            }
            self.missing.push(self.next..sequence);
            self.next = sequence + 1;
            return;
        }
        let Some(at) = self.missing.iter().position(|range| range.contains(&sequence)) else {
            self.repeated += 1;
            return;
        };
        self.late += 1;
        let range = self.missing.remove(at);
        for part in [sequence + 1..range.end, range.start..sequence] {
            if !part.is_empty() {
                self.missing.insert(at, part);
            }
        }
    }
}

impl std::ops::AddAssign for Wrong {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.late += other.late;
        self.repeated += other.repeated;
    }
}

/// Holes that are looked at when something comes late. A server that leaves more than these is wrong enough.
const MISSING: usize = 1024;

#[cfg(test)]
mod tests {
    use super::{MISSING, Tally, Wrong};

    #[track_caller]
    fn check(came: &[u64], published: u64, lost: u64, late: u64, repeated: u64) {
        let mut tally = Tally::default();
        came.iter().for_each(|&sequence| tally.note(sequence));
        assert_eq!(tally.wrong(published), Wrong { lost, late, repeated }, "{came:?} of {published}");
    }

    #[test]
    fn everything_once_and_in_order() {
        check(&[], 0, 0, 0, 0);
        check(&[0, 1, 2, 3], 4, 0, 0, 0);
    }

    #[test]
    fn what_is_lost_late_and_repeated() {
        check(&[0, 1], 4, 2, 0, 0);
        check(&[3], 4, 3, 0, 0);
        check(&[0, 2, 3], 4, 1, 0, 0);
        check(&[0, 2, 1, 3], 4, 0, 1, 0);
        check(&[0, 1, 1, 0, 2], 3, 0, 0, 2);
        check(&[0, 9, 5, 5, 4, 6, 1], 10, 4, 4, 1);
        check(&[0, 4, 2, 2], 5, 2, 1, 1);
    }

    #[test]
    fn holes_are_bounded() {
        let came: Vec<u64> = (0..2 * MISSING as u64).map(|n| 2 * n).collect();
        check(&came, 4 * MISSING as u64 - 1, 2 * MISSING as u64 - 1, 0, 0);
    }
}
