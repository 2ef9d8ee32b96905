//! Which server, and how it is reached.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Error;
use crate::protocol::Dialect;
use crate::transport::Carrier;

/// The server under load, and what every connection to it has in common.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// As the URL has it, for the `Host` header.
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) dialect: Dialect,
    pub(crate) carrier: Carrier,
    pub(crate) token: Option<String>,
    /// Connections come from as many addresses from 127.0.0.1 on.
    pub(crate) sources: u8,
    /// For connecting, and for subscribing.
    pub(crate) timeout: Duration,
    /// Part of the names of this run's channels and clients, so that no other run meets them.
    pub(crate) run: String,
}

/// A URL in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) scheme: &'static str,
    pub(crate) socket: SocketAddr,
    pub(crate) host: String,
    pub(crate) path: String,
}

impl Address {
    /// The host without its port, as certificates have it.
    pub(crate) fn name(&self) -> &str {
        match self.host.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() => name,
            _ => &self.host,
        }
        .trim_matches(['[', ']'])
    }
}

/// Takes a URL of one of these schemes apart, and looks its host up. Where a host has several addresses, IPv4 goes first, for
/// that is what `localhost` means to most servers.
pub(crate) fn address(url: &str, schemes: &[&'static str]) -> Result<Address, Error> {
    let bad = |why: String| Error::Url { url: url.to_owned(), scheme: schemes[0], why };
    let known = url.split_once("://").and_then(|(given, rest)| {
        schemes.iter().find(|scheme| **scheme == given).map(|scheme| (*scheme, rest))
    });
    let Some((scheme, rest)) = known else {
        return Err(bad(format!("the scheme is none of {}", schemes.join(", "))));
    };
    let (host, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let whole = if has_port {
        host.to_owned()
    } else {
        format!("{host}:{}", if matches!(scheme, "wss" | "quic") { 443 } else { 80 })
    };
    let sockets = whole.to_socket_addrs().map_err(|error| bad(error.to_string()))?;
    let socket = sockets.min_by_key(SocketAddr::is_ipv6).ok_or_else(|| bad("no such host".into()))?;
    Ok(Address { scheme, socket, host: host.to_owned(), path: path.to_owned() })
}

/// A name that another run hardly has.
pub(crate) fn run() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}{:x}", now.as_millis() & 0xfff_ffff, std::process::id() & 0xffff)
}

#[cfg(test)]
mod tests {
    use super::{Address, address};

    #[track_caller]
    fn check(url: &str, scheme: &'static str, socket: &str, host: &str, path: &str) {
        let expected =
            Address { scheme, socket: socket.parse().unwrap(), host: host.into(), path: path.into() };
        assert_eq!(address(url, &[scheme]).unwrap(), expected, "{url}");
    }

    #[test]
    fn urls_are_taken_apart() {
        check(
            "ws://127.0.0.1:8000/connection/websocket?x=1",
            "ws",
            "127.0.0.1:8000",
            "127.0.0.1:8000",
            "/connection/websocket?x=1",
        );
        check("ws://127.0.0.1", "ws", "127.0.0.1:80", "127.0.0.1", "/");
        check("http://[::1]:9/api", "http", "[::1]:9", "[::1]:9", "/api");
        check("ws://[::1]/", "ws", "[::1]:80", "[::1]", "/");
        check("quic://[::1]", "quic", "[::1]:443", "[::1]", "/");
        for (url, name) in
            [("wss://127.0.0.1:5/", "127.0.0.1"), ("wss://[::1]:5", "::1"), ("wss://[::1]", "::1")]
        {
            assert_eq!(address(url, &["ws", "wss"]).unwrap().name(), name);
        }
    }

    #[test]
    fn a_bad_url_is_named() {
        for (url, why) in [
            ("localhost:8000", "the scheme"),
            ("http://localhost/", "the scheme"),
            ("wss://localhost/", "none of ws"),
            ("ws://no such host/", ""),
        ] {
            let error = address(url, &["ws"]).unwrap_err().to_string();
            assert!(error.contains(url) && error.contains(why), "{error}");
        }
    }
}
