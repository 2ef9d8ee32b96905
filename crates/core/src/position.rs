use crate::{Entry, Kind};

/// A place in a log: the sequence number of the entry behind it, and the running totals of all before it.
///
/// Loss is the difference of two positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The sequence number of the next entry, from 0.
    pub sequence: u64,
    /// Publications before this place.
    pub publications: u64,
    /// Bytes of all entries before this place, by weight.
    pub bytes: u64,
}

impl Position {
    /// How many publications lie between `earlier` and here.
    pub fn publications_since(&self, earlier: &Position) -> u64 {
        self.publications.saturating_sub(earlier.publications)
    }

    /// How many bytes lie between `earlier` and here.
    pub fn bytes_since(&self, earlier: &Position) -> u64 {
        self.bytes.saturating_sub(earlier.bytes)
    }

    /// The position behind `entry`, if it stands here.
    pub(crate) fn behind(&self, entry: &Entry) -> Position {
        Position {
            sequence: self.sequence + 1,
            publications: self.publications + u64::from(matches!(entry.kind(), Kind::Publication(_))),
            bytes: self.bytes + entry.weight() as u64,
        }
    }
}
