#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tidegate_core::admission::network;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::Trusted;

/// How many connections an HTTP port holds that are no clients: those that ask something, those that have
/// not asked yet, and those kept open for another request; and for how long. A WebSocket leaves them with its
/// upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// In all, per port; `None` is unlimited. A connection over it takes the place of the one that has been
    /// silent longest, in the network that holds most: peers that connect and say nothing cannot keep out
    /// those that ask. Where all have just come, as when a fleet of clients comes back at once, it has a place
    /// beyond the limit as long as there are descriptors which no client uses.
    pub connections: Option<usize>,
    /// From one network, per port, trusted proxies excepted; `None` is unlimited. A connection over it
    /// takes the place of the silent one of its own network.
    pub per_network: Option<usize>,
    /// The reverse proxies that are believed.
    pub trusted: Trusted,
    /// How long a connection may take to say something, to shake hands by TLS, to send a request's headers, and
    /// to ask again. 10 s, as for a WebSocket's handshake.
    pub idle_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let idle_timeout = Duration::from_secs(10);
        Self { connections: None, per_network: None, trusted: Trusted::default(), idle_timeout }
    }
}

/// The connections of an HTTP port.
#[derive(Debug)]
pub(super) struct Places {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    members: HashMap<u64, Member>,
    /// Of each network, those to give up first come first: the silent ones, the oldest before others.
    networks: HashMap<IpAddr, BTreeSet<Rank>>,
    last: u64,
}

#[derive(Debug)]
struct Member {
    network: IpAddr,
    /// Requests under way: at most one over HTTP/1.1.
    requests: usize,
    asked: bool,
    /// Since when it has asked, or been silent.
    since: Instant,
    given_up: CancellationToken,
}

/// What it does, since when, and which it is.
type Rank = (Doing, Instant, u64);

/// What a connection does, those to give up first come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Doing {
    /// It has asked nothing yet.
    Silence,
    /// It has asked, and is kept open for more: a publisher between two publications.
    Pause,
    /// A request is under way.
    Request,
}

/// A connection's place. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    id: u64,
    given_up: CancellationToken,
}

/// A request under way. Dropping it ends the request.
#[derive(Debug)]
pub(super) struct Asking(Arc<Place>);

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crowded {
    /// Only a connection that has just come could be given up: it may be about to ask.
    Hasty,
    /// Everybody has asked something.
    Busy,
}

/// How long a connection may be silent before it is given up without a second look. 1 s.
const HASTE: Duration = Duration::from_secs(1);
/// How long one that has not asked yet may be silent where there are descriptors to spare. 5 s: a mobile
/// client's TCP, TLS and request take three round trips of a second at worst, and a fleet that comes back at once
/// is slow itself.
const ARRIVAL: Duration = Duration::from_secs(5);
/// How long a request may take before it may be given up for another. 10 s: the API answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

impl Places {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default() })
    }

    pub(super) fn idle_timeout(&self) -> Duration {
        self.limits.idle_timeout
    }

    pub(super) fn trusted(&self) -> &Trusted {
        &self.limits.trusted
    }

    /// A place for a peer, and whether another was given up for it. `spare`: places that there may be beyond
    /// the limit instead of giving up one that has just come; `hurry`: give up such a one, too.
    ///
    /// # Errors
    /// [`Crowded`], and nothing has changed.
    pub(super) fn enter(
        self: &Arc<Self>,
        address: IpAddr,
        now: Instant,
        spare: usize,
        hurry: bool,
    ) -> Result<(Place, bool), Crowded> {
        let Limits { connections, per_network, trusted, .. } = &self.limits;
        let per_network = per_network.filter(|_| !trusted.contains(address));
        let network = network(address);
        let mut state = self.lock();
        let same = state.networks.get(&network).map_or(0, BTreeSet::len);
        let crowded = if per_network.is_some_and(|most| same >= most) {
            Some(network)
        } else if connections.is_some_and(|most| state.members.len() >= most) {
            Some(state.largest(now).ok_or(Crowded::Busy)?)
        } else {
            None
        };
        let roomy = state.members.len() < connections.unwrap_or(0) + spare;
        let patience = |doing| match doing {
            _ if hurry => Duration::ZERO,
            Doing::Silence if roomy => ARRIVAL,
            _ => HASTE,
        };
        let other = match crowded {
            Some(network) => match state.give_up(network, now, patience) {
                Err(Crowded::Hasty) if roomy => None,
                given_up => given_up?,
            },
            None => None,
        };
        let given_up = CancellationToken::new();
        state.last += 1;
        let id = state.last;
        let member = Member { network, requests: 0, asked: false, since: now, given_up: given_up.clone() };
        state.networks.entry(network).or_default().insert(member.rank(id));
        state.members.insert(id, member);
        drop(state);
        let at_anothers_cost = other.is_some();
        if let Some(other) = other {
            // It wakes the other's task: not under the lock.
            other.given_up.cancel();
        }
        Ok((Place { places: self.clone(), id, given_up }, at_anothers_cost))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The network with the most connections of those that have one to give up.
    fn largest(&self, now: Instant) -> Option<IpAddr> {
        let candidates = self.networks.iter().filter_map(|(network, ranks)| {
            let first = ranks.first().filter(|rank| expendable(rank, now))?;
            Some((ranks.len(), Reverse(first.1), *network))
        });
        candidates.max().map(|(.., network)| network)
    }

    /// Takes out the first connection of a network, unless it is to have more time for what it does.
    fn give_up(
        &mut self,
        network: IpAddr,
        now: Instant,
        patience: impl Fn(Doing) -> Duration,
    ) -> Result<Option<Member>, Crowded> {
        let first = self.networks.get(&network).and_then(|ranks| ranks.first()).copied();
        let rank = first.filter(|rank| expendable(rank, now)).ok_or(Crowded::Busy)?;
        if now.saturating_duration_since(rank.1) < patience(rank.0) {
            return Err(Crowded::Hasty);
        }
        Ok(self.remove(rank.2))
    }

    fn remove(&mut self, id: u64) -> Option<Member> {
        let member = self.members.remove(&id)?;
        if let Some(ranks) = self.networks.get_mut(&member.network) {
            ranks.remove(&member.rank(id));
            if ranks.is_empty() {
                self.networks.remove(&member.network);
            }
        }
        Some(member)
    }

    fn change(&mut self, id: u64, now: Instant, change: impl FnOnce(&mut usize)) {
        // It may have been given up.
        let Some(member) = self.members.get_mut(&id) else { return };
        let before = member.rank(id);
        change(&mut member.requests);
        (member.asked, member.since) = (true, now);
        let after = member.rank(id);
        let ranks = self.networks.entry(member.network).or_default();
        ranks.remove(&before);
        ranks.insert(after);
    }
}

impl Member {
    fn rank(&self, id: u64) -> Rank {
        let doing = match self.requests {
            0 if !self.asked => Doing::Silence,
            0 => Doing::Pause,
            _ => Doing::Request,
        };
        (doing, self.since, id)
    }
}

impl Place {
    /// Waits until the place is given to another: the connection is to end.
    pub(super) fn given_up(&self) -> WaitForCancellationFuture<'_> {
        self.given_up.cancelled()
    }

    /// Frees the place: the connection has become a client's. It is not given up any more.
    pub(super) fn leave(&self) {
        let member = self.places.lock().remove(self.id);
        drop(member);
    }

    /// Notes that a request has come.
    pub(super) fn ask(self: &Arc<Self>) -> Asking {
        self.places.lock().change(self.id, crate::time::now(), |requests| *requests += 1);
        Asking(self.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.places.lock().change(self.0.id, crate::time::now(), |requests| *requests -= 1);
    }
}

/// Whether it may be given up: it is silent, or it has asked long ago.
fn expendable((doing, since, _): &Rank, now: Instant) -> bool {
    *doing != Doing::Request || now.saturating_duration_since(*since) >= PATIENCE
}
