#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

/// The reverse proxies whose word on a client's address is taken: `http_server.trusted_proxies`.
///
/// Only `X-Forwarded-For` is read. A proxy passes on what it does not know, so of several headers all but
/// the one it writes itself may be the client's own invention; this is the one that proxies write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted(Vec<IpNet>);

/// Addresses of a list that are looked at, from its end. 32: many times the proxies that stand in a row.
const HOPS: usize = 32;

impl Trusted {
    /// Trusts the proxies of these networks, and nobody else.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self(networks.into_iter().collect())
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is a trusted proxy.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client's address: the right-most of `X-Forwarded-For` that is no trusted proxy, or the
    /// left-most, if all are. Its port is 0, as nobody knows it.
    ///
    /// It is the peer's own if the peer is not a trusted proxy, if there is no such header, if what has to
    /// be read of it is no address, or if it names more than 32 trusted proxies.
    pub fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        if self.is_empty() || !self.contains(peer.ip()) {
            return peer;
        }
        self.forwarded(headers).map_or(peer, |address| SocketAddr::new(address, 0))
    }

    fn forwarded(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let mut found = None;
        let mut hops = headers.get_all(FORWARDED_FOR).iter().rev().flat_map(|value| {
            // What is no text is no address either.
            value.to_str().unwrap_or("?").rsplit(',')
        });
        for hop in hops.by_ref().take(HOPS) {
            let address = parse(hop.trim())?;
            found = Some(address);
            if !self.contains(address) {
                return found;
            }
        }
        found.filter(|_| hops.next().is_none())
    }
}

/// An address, perhaps with a port.
fn parse(hop: &str) -> Option<IpAddr> {
    let bare = |text: &str| text.parse::<IpAddr>().ok();
    bare(hop)
        .or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .or_else(|| bare(hop.strip_prefix('[')?.strip_suffix(']')?))
        .map(|address| address.to_canonical())
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
