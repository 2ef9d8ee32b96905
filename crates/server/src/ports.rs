//! The ports of the binary, and what stands on which.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::routing::MethodRouter;
use tidegate_server::config::{Config, Tls};
use tidegate_server::http::{self, Certificate, Port, Routes};

use crate::node::Failure;

/// Whom a port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// For everybody: there is no other.
    Only,
    /// For clients, where there is another for operators.
    Public,
    /// For operators.
    Internal,
}

impl Side {
    pub(crate) fn serves_clients(self) -> bool {
        self != Self::Internal
    }

    /// Whether API, metrics and the like stand here; `external`: they are to stand on the public port, too.
    pub(crate) fn serves_operators(self, external: bool) -> bool {
        self != Self::Public || external
    }
}

/// A port that is open.
pub(crate) struct Front {
    pub(crate) port: Port,
    pub(crate) address: SocketAddr,
    pub(crate) face: Face,
}

/// What of a port can be replaced while it is served.
pub(crate) struct Face {
    pub(crate) side: Side,
    pub(crate) routes: Routes,
    /// Its TLS, and the section of the configuration that has its certificate.
    pub(crate) tls: Option<(Section, Arc<http::Tls>)>,
}

/// A section of the configuration that has a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Public,
    Internal,
    Quic,
}

impl Section {
    /// The section of a side's TLS; `None`: it has none.
    fn of(config: &Config, side: Side) -> Option<Self> {
        let server = &config.http_server;
        let shared = server.tls.enabled && !(side == Side::Internal && server.tls_external);
        match side {
            Side::Internal if server.internal_tls.enabled => Some(Self::Internal),
            _ => shared.then_some(Self::Public),
        }
    }

    pub(crate) fn options(self, config: &Config) -> &Tls {
        match self {
            Self::Public => &config.http_server.tls,
            Self::Internal => &config.http_server.internal_tls,
            Self::Quic => &config.quic.tls,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Public => "http_server.tls",
            Self::Internal => "http_server.internal_tls",
            Self::Quic => "quic.tls",
        }
    }

    /// Reads its certificate.
    pub(crate) fn certificate(self, config: &Config) -> Result<Certificate, http::TlsError> {
        Certificate::read(self.name(), self.options(config))
    }
}

/// Opens the ports that the configuration asks for: the public one first.
///
/// # Errors
/// An address that does not exist or is taken, or a certificate that cannot be used.
pub(crate) fn open(config: &Config) -> Result<Vec<Front>, Failure> {
    places(config).into_iter().map(|(side, address, port)| front(config, side, address, port)).collect()
}

/// The ports that the configuration asks for, the public one first: for whom, at which address, and their numbers.
fn places(config: &Config) -> Vec<(Side, &str, u16)> {
    let server = &config.http_server;
    let internal_address =
        if server.internal_address.is_empty() { &server.address } else { &server.internal_address };
    // Port 0 is another one each time.
    let other_port = server.internal_port.is_some_and(|port| port != server.port || port == 0);
    if !other_port && *internal_address == server.address {
        return vec![(Side::Only, &server.address, server.port)];
    }
    let internal_port = server.internal_port.unwrap_or(server.port);
    vec![(Side::Public, &server.address, server.port), (Side::Internal, internal_address, internal_port)]
}

/// The ports that the configuration asks for, without opening them: for whom they are.
///
/// # Errors
/// A certificate of one of them cannot be used.
pub(crate) fn examine(config: &Config) -> Result<Vec<Side>, Failure> {
    let side = |(side, ..): (Side, &str, u16)| {
        Section::of(config, side).map(|section| section.certificate(config)).transpose()?;
        Ok(side)
    };
    places(config).into_iter().map(side).collect()
}

fn front(config: &Config, side: Side, name: &str, port: u16) -> Result<Front, Failure> {
    let prefix = if side == Side::Internal { "http_server.internal_" } else { "http_server." };
    let address = address(prefix, name, port)?;
    let listener = http::listen(address).map_err(|error| {
        format!(
            "cannot listen on {address}: {error}; {prefix}port is {port} and {prefix}address is {name:?}: \
             choose another port, or stop what listens there",
        )
    })?;
    let address = listener.local_addr()?;
    let (mut port, mut tls) = (Port::from(listener), None);
    if let Some(section) = Section::of(config, side) {
        let certificate = http::Tls::new(section.certificate(config)?);
        port = port.tls(certificate.clone());
        tls = Some((section, certificate));
    }
    Ok(Front { port, address, face: Face { side, routes: Routes::default(), tls } })
}

/// Where to listen: everywhere, unless an interface is named.
pub(crate) fn address(prefix: &str, name: &str, port: u16) -> Result<SocketAddr, Failure> {
    if name.is_empty() {
        // A machine without IPv6 has no such socket; `listen` would fail.
        let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        let ipv6 = std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
        return Ok(if ipv6 { any } else { SocketAddr::new(IpAddr::from([0, 0, 0, 0]), port) });
    }
    let mut found = std::net::ToSocketAddrs::to_socket_addrs(&(name, port)).map_err(|error| {
        format!("{prefix}address is {name:?}; expected an address or a host's name: {error}")
    })?;
    found.next().ok_or_else(|| format!("{prefix}address is {name:?}, which has no address").into())
}

/// The routes of a port as they are put together: two things at one path are an error that names both, and
/// not a panic.
#[derive(Default)]
pub(crate) struct Table {
    router: Router,
    /// Who stands at which path.
    taken: BTreeMap<String, &'static str>,
}

impl Table {
    /// Puts `to` at the path that is the value of `key`; an empty one is `/`.
    pub(crate) fn route(&mut self, key: &'static str, path: &str, to: MethodRouter) -> Result<(), Failure> {
        let path = if path.is_empty() { "/" } else { path };
        self.take(key, path)?;
        self.router = std::mem::take(&mut self.router).route(path, to);
        Ok(())
    }

    /// Adds a router that stands at these paths.
    pub(crate) fn merge(
        &mut self,
        key: &'static str,
        paths: impl IntoIterator<Item = String>,
        router: impl FnOnce() -> Router,
    ) -> Result<(), Failure> {
        for path in paths {
            self.take(key, &path)?;
        }
        self.router = std::mem::take(&mut self.router).merge(router());
        Ok(())
    }

    pub(crate) fn router(self) -> Router {
        self.router
    }

    fn take(&mut self, key: &'static str, path: &str) -> Result<(), Failure> {
        let pattern = |segment: &str| segment.starts_with([':', '*']) || segment.contains(['{', '}']);
        if path.split('/').any(pattern) {
            return Err(
                format!("{key} leads to the path {path:?}; expected one without :, *, {{ and }}").into()
            );
        }
        match self.taken.insert(path.to_owned(), key) {
            None => Ok(()),
            Some(other) => {
                Err(format!("{key} leads to the path {path:?}, where {other} stands; expected another")
                    .into())
            }
        }
    }
}

#[cfg(test)]
mod tests;
