mod rate;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

use crate::sync::Mutex;
use rate::TokenBucket;

/// Who may connect: a connection holds a [`Permit`] from before its handshake until it is gone.
#[derive(Debug)]
pub struct Admission {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    caps: Caps,
    live: usize,
    most: usize,
    open: bool,
    /// Counted although no cap asks for it: a cap that comes later counts those that are there.
    networks: HashMap<IpAddr, usize>,
    rate: Option<TokenBucket>,
    /// Bytes of memory that the node takes, as it was told last.
    memory: usize,
    /// Permits given since then.
    since: usize,
}

/// The most connections at once, handshakes in flight included, and how fast they may come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// In all; `None` is unlimited.
    pub total: Option<usize>,
    /// In all, because the system has no descriptors for more; `None` is unlimited.
    pub descriptors: Option<usize>,
    /// From one IPv4 address or one IPv6 /64, which is what one subscriber line gets (RFC 6177); `None` is
    /// unlimited. An IPv4 address written as IPv6 counts as the IPv4 address.
    pub per_network: Option<usize>,
    /// New ones in a second, and as many at once after a quiet second; `None` is unlimited. Those refused
    /// for another reason do not count.
    pub per_second: Option<usize>,
    /// Bytes of the node's memory over which nobody is admitted; `None` is unlimited. Compared with what
    /// [`Admission::measured`] was told.
    pub memory: Option<usize>,
}

/// The right to be connected. Dropping it gives the place to the next.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    network: Option<IpAddr>,
}

/// Why there is no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAdmitted {
    /// The server is full.
    #[error("the server has as many connections as it may have")]
    Full,
    /// The server is as full as the system's descriptors allow.
    #[error("the server has as many connections as its descriptors allow")]
    Descriptors,
    /// This network has its share.
    #[error("this network has as many connections as it may have")]
    NetworkFull,
    /// Too many have come within a second.
    #[error("too many connections came at once")]
    Rate,
    /// The node has no memory for more.
    #[error("the server has no memory for more connections")]
    Memory,
    /// The server is draining.
    #[error("the server is stopping")]
    Closed,
}

/// Bytes that a newcomer is taken to need until memory is measured again. 16 KiB: a handshake's buffers,
/// an open connection and its first subscriptions. A flood between two measurements is bounded by it.
pub const NEWCOMER: usize = 16 * 1024;

impl NotAdmitted {
    /// A short name of the cause, for metrics.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Full => "connection_limit",
            Self::Descriptors => "descriptors",
            Self::NetworkFull => "ip_connection_limit",
            Self::Rate => "connection_rate_limit",
            Self::Memory => "memory",
            Self::Closed => "draining",
        }
    }
}

impl Admission {
    /// Admits within `caps`.
    pub fn new(caps: Caps) -> Arc<Self> {
        let state = State {
            caps,
            live: 0,
            most: 0,
            open: true,
            networks: HashMap::new(),
            rate: None,
            memory: 0,
            since: 0,
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// A permit for a peer, whose address is unknown where it has none.
    ///
    /// # Errors
    /// [`NotAdmitted`], and nothing was taken.
    pub fn admit(self: &Arc<Self>, address: Option<IpAddr>, now: Instant) -> Result<Permit, NotAdmitted> {
        let network = address.map(network);
        self.state.lock().take(network, now)?;
        Ok(Permit { admission: self.clone(), network })
    }

    /// Permits held now.
    pub fn live(&self) -> usize {
        self.state.lock().live
    }

    /// The most permits that were held at once.
    pub fn most(&self) -> usize {
        self.state.lock().most
    }

    /// How many more descriptors the system has for clients; 0 where nobody knows.
    pub fn spare_descriptors(&self) -> usize {
        let state = self.state.lock();
        state.caps.descriptors.map_or(0, |most| most.saturating_sub(state.live))
    }

    /// What is admitted now.
    pub fn caps(&self) -> Caps {
        self.state.lock().caps
    }

    /// Changes the caps. Who is in stays in, and counts.
    pub fn limit(&self, caps: Caps) {
        self.state.lock().caps = caps;
    }

    /// Says how many bytes of memory the node takes now; to be said about once a second where
    /// [`Caps::memory`] is set.
    pub fn measured(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.memory = bytes;
        state.since = 0;
    }

    /// Admits nobody any more.
    pub fn close(&self) {
        self.state.lock().open = false;
    }
}

impl State {
    /// Takes a place, or nothing.
    fn take(&mut self, network: Option<IpAddr>, now: Instant) -> Result<(), NotAdmitted> {
        let Caps { total, descriptors, per_network, per_second, memory } = self.caps;
        if !self.open {
            return Err(NotAdmitted::Closed);
        }
        if total.is_some_and(|most| self.live >= most) {
            return Err(NotAdmitted::Full);
        }
        if descriptors.is_some_and(|most| self.live >= most) {
            return Err(NotAdmitted::Descriptors);
        }
        if memory.is_some_and(|most| self.memory.saturating_add(self.since.saturating_mul(NEWCOMER)) > most) {
            return Err(NotAdmitted::Memory);
        }
        let same = network.and_then(|network| self.networks.get(&network)).copied().unwrap_or_default();
        if network.is_some() && per_network.is_some_and(|most| same >= most) {
            return Err(NotAdmitted::NetworkFull);
        }
        // Last: who is refused for another reason takes no token.
        if !self.in_time(per_second, now) {
            return Err(NotAdmitted::Rate);
        }
        if let Some(network) = network {
            self.networks.insert(network, same + 1);
        }
        self.live += 1;
        self.since += 1;
        self.most = self.most.max(self.live);
        Ok(())
    }

    fn in_time(&mut self, per_second: Option<usize>, now: Instant) -> bool {
        let Some(per_second) = per_second else {
            self.rate = None;
            return true;
        };
        let rate = self.rate.get_or_insert_with(|| TokenBucket::new(per_second, now));
        rate.change(per_second);
        rate.take(now)
    }

    fn give_back(&mut self, network: Option<IpAddr>) {
        self.live -= 1;
        if let Some(network) = network
            && let Some(live) = self.networks.get_mut(&network)
        {
            *live -= 1;
            if *live == 0 {
                self.networks.remove(&network);
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.state.lock().give_back(self.network);
    }
}

/// What counts as one peer: an IPv4 address, or the /64 of an IPv6 one. An IPv4 address that is written as
/// IPv6 (`::ffff:192.0.2.1`) is the IPv4 address.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}
