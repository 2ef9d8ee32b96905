use std::sync::Arc;

use tidegate_core::outbox::{Lane, Outbox};
use tidegate_core::{Channel, ClientInfo, reserve_one};

/// A connection's subscriptions, by channel.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// Sorted by channel: a connection has few, and a map of one costs more than it holds.
    all: Vec<Held>,
}

/// A subscription that stands, or is being made.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) channel: Channel,
    pub(super) lane: Lane,
    /// How the client is known in the channel, where it is: then its leave is announced, or it is listed as
    /// present, or both.
    pub(super) known: Option<Box<Known>>,
    /// When it expires, in seconds since 1970; 0 for never.
    pub(super) expire_at: i64,
    /// The server made it: it ends with the connection, not alone.
    pub(super) server_side: bool,
    /// The client's token names it.
    pub(super) by_token: bool,
    /// The client prolongs its life itself.
    pub(super) client_refresh: bool,
    /// It is being asked whether its life goes on.
    pub(super) prolonging: bool,
}

/// How a client is known to others in a channel.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) info: Arc<ClientInfo>,
    pub(super) announced: bool,
    pub(super) present: bool,
    /// It was made known: before, there is nothing to take back.
    pub(super) introduced: bool,
}

impl Known {
    /// What nobody is told but by the subscriber's own publications.
    pub(super) fn untold(info: Arc<ClientInfo>) -> Self {
        Self { info, announced: false, present: false, introduced: false }
    }
}

impl Subscriptions {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, channel: &Channel) -> Option<&Held> {
        self.find(channel).ok().map(|at| &self.all[at])
    }

    pub(super) fn get_mut(&mut self, channel: &Channel) -> Option<&mut Held> {
        self.find(channel).ok().map(|at| &mut self.all[at])
    }

    pub(super) fn lane(&self, channel: &Channel) -> Option<Lane> {
        self.get(channel).map(|held| held.lane)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.all.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Held> {
        self.all.iter_mut()
    }

    pub(super) fn insert(&mut self, held: Held) {
        match self.find(&held.channel) {
            Ok(at) => self.all[at] = held,
            Err(at) => {
                reserve_one(&mut self.all);
                self.all.insert(at, held);
            }
        }
    }

    pub(super) fn remove(&mut self, channel: &Channel) -> Option<Held> {
        self.find(channel).ok().map(|at| self.all.remove(at))
    }

    pub(super) fn remove_lane(&mut self, lane: Lane) -> Option<Held> {
        self.all.iter().position(|held| held.lane == lane).map(|at| self.all.remove(at))
    }

    pub(super) fn take(&mut self) -> Vec<Held> {
        std::mem::take(&mut self.all)
    }

    /// Whether these are other channels than the client's token named when it connected: one of them is not
    /// subscribed to, or one that the token named is not among them.
    pub(super) fn differ_from(&self, channels: &[Channel]) -> bool {
        channels.iter().any(|channel| self.get(channel).is_none())
            || self.all.iter().any(|held| held.by_token && !channels.contains(&held.channel))
    }

    /// Stops reading all of them; they are still known, until the connection leaves.
    pub(super) fn detach(&mut self, outbox: &mut Outbox) {
        for held in &self.all {
            outbox.detach(held.lane);
        }
    }

    fn find(&self, channel: &Channel) -> Result<usize, usize> {
        self.all.binary_search_by(|held| held.channel.cmp(channel))
    }
}
