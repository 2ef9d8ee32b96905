//! Which server, and how it is reached.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Error;
use crate::protocol::Dialect;
use crate::transport::Transport;

/// The server under load, and what every connection to it has in common.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// As the URL has it, for the `Host` header.
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) dialect: Dialect,
    pub(crate) transport: Transport,
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
    pub(crate) socket: SocketAddr,
    pub(crate) host: String,
    pub(crate) path: String,
}

/// Takes a URL of this scheme apart, and looks its host up. Where a host has several addresses, IPv4 goes first, for
/// that is what `localhost` means to most servers.
pub(crate) fn address(url: &str, scheme: &'static str) -> Result<Address, Error> {
    let bad = |why: String| Error::Url { url: url.to_owned(), scheme, why };
    let rest = match url.split_once("://") {
        Some((given, rest)) if given == scheme => rest,
        Some((given, _)) if given == "wss" || given == "https" => {
            return Err(bad("TLS is not there: measure behind it".into()));
        }
        _ => return Err(bad("the scheme is another".into())),
    };
    let (host, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let whole = if has_port { host.to_owned() } else { format!("{host}:80") };
    let sockets = whole.to_socket_addrs().map_err(|error| bad(error.to_string()))?;
    let socket = sockets.min_by_key(SocketAddr::is_ipv6).ok_or_else(|| bad("no such host".into()))?;
    Ok(Address { socket, host: host.to_owned(), path: path.to_owned() })
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
        let expected = Address { socket: socket.parse().unwrap(), host: host.into(), path: path.into() };
        assert_eq!(address(url, scheme).unwrap(), expected, "{url}");
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
    }

    #[test]
    fn a_bad_url_is_named() {
        for (url, why) in [
            ("localhost:8000", "the scheme"),
            ("http://localhost/", "the scheme"),
            ("wss://localhost/", "TLS"),
            ("ws://no such host/", ""),
        ] {
            let error = address(url, "ws").unwrap_err().to_string();
            assert!(error.contains(url) && error.contains(why), "{error}");
        }
    }
}
