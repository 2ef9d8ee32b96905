use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use crate::sync::Mutex;

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
    networks: HashMap<IpAddr, usize>,
}

/// The most connections at once, handshakes in flight included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// In all; `None` is unlimited.
    pub total: Option<usize>,
    /// From one IPv4 address or one IPv6 /64, which is what one subscriber line gets (RFC 6177); `None` is
    /// unlimited.
    pub per_network: Option<usize>,
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
    /// This network has its share.
    #[error("this network has as many connections as it may have")]
    NetworkFull,
    /// The server is draining.
    #[error("the server is stopping")]
    Closed,
}

impl NotAdmitted {
    /// A short name of the cause, for metrics.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Full => "connection_limit",
            Self::NetworkFull => "ip_connection_limit",
            Self::Closed => "draining",
        }
    }
}

impl Admission {
    /// Admits within `caps`.
    pub fn new(caps: Caps) -> Arc<Self> {
        let state = State { caps, live: 0, most: 0, open: true, networks: HashMap::new() };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// A permit for a peer, whose address is unknown where it has none.
    ///
    /// # Errors
    /// [`NotAdmitted`], and nothing was taken.
    pub fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Permit, NotAdmitted> {
        let mut state = self.state.lock();
        if !state.open {
            return Err(NotAdmitted::Closed);
        }
        if state.caps.total.is_some_and(|most| state.live >= most) {
            return Err(NotAdmitted::Full);
        }
        // Networks are counted only where they are capped: an uncapped server keeps no map of them.
        let network = address.filter(|_| state.caps.per_network.is_some()).map(network);
        if let (Some(network), Some(most)) = (network, state.caps.per_network) {
            let live = state.networks.entry(network).or_default();
            if *live >= most {
                return Err(NotAdmitted::NetworkFull);
            }
            *live += 1;
        }
        state.live += 1;
        state.most = state.most.max(state.live);
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

    /// Changes the caps. Who is in stays in.
    pub fn limit(&self, caps: Caps) {
        self.state.lock().caps = caps;
    }

    /// Admits nobody any more.
    pub fn close(&self) {
        self.state.lock().open = false;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.admission.state.lock();
        state.live -= 1;
        if let Some(network) = self.network
            && let Some(live) = state.networks.get_mut(&network)
        {
            *live -= 1;
            if *live == 0 {
                state.networks.remove(&network);
            }
        }
    }
}

/// What counts as one peer: an IPv4 address, or the /64 of an IPv6 one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(total: usize, per_network: usize) -> Caps {
        let some = |n: usize| (n > 0).then_some(n);
        Caps { total: some(total), per_network: some(per_network) }
    }

    fn check(caps: Caps, peers: &[&str], expected: &[Result<(), NotAdmitted>]) {
        let admission = Admission::new(caps);
        let permits: Vec<_> = peers.iter().map(|ip| admission.admit(Some(ip.parse().unwrap()))).collect();
        let got: Vec<_> = permits.iter().map(|p| p.as_ref().map(|_| ()).map_err(|e| *e)).collect();
        assert_eq!(got, expected, "{caps:?} {peers:?}");
        assert_eq!(admission.live(), expected.iter().filter(|e| e.is_ok()).count());
        drop(permits);
        assert_eq!(admission.live(), 0);
        assert!(admission.state.lock().networks.is_empty());
    }

    #[test]
    fn caps_hold() {
        let (full, network) = (Err(NotAdmitted::Full), Err(NotAdmitted::NetworkFull));
        check(caps(2, 0), &["10.0.0.1", "10.0.0.1", "10.0.0.2"], &[Ok(()), Ok(()), full]);
        check(caps(0, 1), &["10.0.0.1", "10.0.0.1", "10.0.0.2"], &[Ok(()), network, Ok(())]);
        check(caps(0, 1), &["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"], &[Ok(()), network, Ok(())]);
        check(caps(0, 1), &["10.0.0.1", "::ffff:10.0.0.1"], &[Ok(()), network]);
        check(caps(0, 0), &["10.0.0.1", "10.0.0.1"], &[Ok(()), Ok(())]);
    }

    #[test]
    fn a_closed_admission_admits_nobody() {
        let admission = Admission::new(Caps::default());
        let permit = admission.admit(None).unwrap();
        admission.close();
        assert_eq!(admission.admit(None).unwrap_err(), NotAdmitted::Closed);
        drop(permit);
        assert_eq!((admission.live(), admission.most()), (0, 1));
    }
}
