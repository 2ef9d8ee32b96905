//! What was appended to a channel, in order: what every subscriber's story is held against.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

/// One channel's entries, from the beginning of the world.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    entries: Vec<Item>,
    /// Where each publication stands, by its number.
    places: BTreeMap<u64, usize>,
    /// Where histories were removed: publications before are kept no more.
    pub(crate) removed: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) what: What,
    pub(crate) at: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A publication: its number, its offset and epoch where it has one.
    Publication(u64, u64, Arc<str>),
    /// A client has come, by its id.
    Join(Arc<str>),
    /// It has gone.
    Leave(Arc<str>),
    /// The stream has begun another life.
    Break,
    /// The channel's log has ended, and with it every subscription there was.
    Deleted,
}

impl Truth {
    pub(crate) fn push(&mut self, what: What) {
        if let What::Publication(number, ..) = what {
            self.places.insert(number, self.entries.len());
        }
        self.entries.push(Item { what, at: Instant::now() });
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get(&self, place: usize) -> &Item {
        &self.entries[place]
    }

    pub(crate) fn from(&self, place: usize) -> impl Iterator<Item = (usize, &Item)> {
        self.entries.iter().enumerate().skip(place)
    }

    pub(crate) fn place(&self, number: u64) -> Option<usize> {
        self.places.get(&number).copied()
    }

    /// Publications of one life of the stream with offsets above `after`, in order.
    pub(crate) fn life<'a>(
        &'a self,
        epoch: &'a str,
        after: u64,
    ) -> impl Iterator<Item = (usize, u64, u64)> + 'a {
        self.entries.iter().enumerate().filter_map(move |(place, item)| match &item.what {
            What::Publication(number, offset, of) if *offset > after && **of == *epoch => {
                Some((place, *number, *offset))
            }
            _ => None,
        })
    }

    /// The highest offset that one life of the stream had reached before `place`.
    pub(crate) fn top(&self, epoch: &str, place: usize) -> u64 {
        self.life(epoch, 0)
            .take_while(|(at, ..)| *at < place)
            .map(|(_, _, offset)| offset)
            .last()
            .unwrap_or(0)
    }

    /// How often a client has come, and how often it has gone.
    pub(crate) fn comings(&self) -> BTreeMap<Arc<str>, (u32, u32)> {
        let mut comings: BTreeMap<Arc<str>, (u32, u32)> = BTreeMap::new();
        for item in &self.entries {
            match &item.what {
                What::Join(client) => comings.entry(client.clone()).or_default().0 += 1,
                What::Leave(client) => comings.entry(client.clone()).or_default().1 += 1,
                _ => {}
            }
        }
        comings
    }
}
