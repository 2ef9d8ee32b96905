use std::collections::VecDeque;

use bytes::Bytes;

use super::tracks::Tracks;
use super::{Event, Lane, Loss, Message, Outbox};

/// What an outbox holds at times, boxed while it does: an idle connection has none of it.
#[derive(Default)]
pub(super) struct Rare {
    /// Replies that wait for a lane to be read up to a place.
    pub(super) deferred: Vec<(Lane, u64, Message)>,
    /// The end of the message that the socket cut.
    pub(super) rest: VecDeque<Bytes>,
    pub(super) events: VecDeque<Event>,
    pub(super) losses: Vec<Loss>,
    /// What lanes with a track have; empty where the transport has none.
    pub(super) tracks: Tracks,
}

impl Rare {
    fn is_empty(&self) -> bool {
        self.deferred.is_empty()
            && self.rest.is_empty()
            && self.events.is_empty()
            && self.losses.is_empty()
            && self.tracks.is_empty()
    }
}

impl Outbox {
    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(super) fn deferred(&self) -> &[(Lane, u64, Message)] {
        self.rare.as_ref().map_or(&[], |rare| &rare.deferred)
    }

    pub(super) fn has_rest(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.rest.is_empty())
    }

    pub(super) fn next_event(&mut self) -> Option<Event> {
        self.rare.as_mut()?.events.pop_front()
    }

    /// Publications that were lost and not told of yet.
    pub(super) fn lost(&self) -> u64 {
        self.rare.as_ref().map_or(0, |rare| rare.losses.iter().map(|loss| loss.publications).sum())
    }

    /// Gives back what a burst has left behind: an idle connection holds no buffer.
    pub(super) fn shrink(&mut self) {
        self.rare = self.rare.take().filter(|rare| !rare.is_empty());
    }
}
