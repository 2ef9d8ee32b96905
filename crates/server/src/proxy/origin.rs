//! Where a client comes from: what of its connection the backend may hear of.

use std::collections::{BTreeMap, HashSet};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tidegate_core::Client;
use tidegate_core::transport::Peer;
use tidegate_protocol::is_protobuf;

/// Headers that proxies pass on, as far as this client has them, and the protocol it speaks.
#[derive(Debug, Default)]
pub(crate) struct Origin {
    protobuf: bool,
    /// Those of its request: a load balancer may have seen to them.
    transport: HeaderMap,
    /// Those of its connect command: the client may write what it likes.
    emulated: HeaderMap,
}

/// Which headers are wanted, of the request and of the connect command. Names are in lower case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    transport: HashSet<HeaderName>,
    emulated: HashSet<HeaderName>,
}

impl Wanted {
    /// Headers of these names. One that belongs to HTTP itself is passed over, and so is what is no name.
    pub(super) fn new(section: &str, transport: &[String], emulated: &[String]) -> Self {
        let names = |key: &str, names: &[String]| {
            let usable = |name: &String| {
                let parsed = HeaderName::try_from(name.as_str()).ok();
                let parsed = parsed.filter(|name| !OF_THE_MESSAGE.contains(&name.as_str()));
                if parsed.is_none() {
                    tracing::warn!(
                        "{section}.{key} has {name:?}, which is not passed on: expected the name of a header that is not HTTP's own"
                    );
                }
                parsed
            };
            names.iter().filter_map(usable).collect()
        };
        Self { transport: names("http_headers", transport), emulated: names("emulated_headers", emulated) }
    }

    /// Wants what `other` wants, too.
    pub(crate) fn add(&mut self, other: &Self) {
        self.transport.extend(other.transport.iter().cloned());
        self.emulated.extend(other.emulated.iter().cloned());
    }
}

impl Origin {
    /// What of a client's request and connect command is wanted. A value that is none of a header's is left
    /// out.
    pub(crate) fn of(peer: &Peer, emulated: &BTreeMap<String, String>, wanted: &Wanted) -> Self {
        let pick = |wanted: &HashSet<HeaderName>, headers: &mut dyn Iterator<Item = (&str, &str)>| {
            let mut picked = HeaderMap::new();
            if wanted.is_empty() {
                return picked;
            }
            for (name, value) in headers {
                let name = HeaderName::try_from(name).ok().filter(|name| wanted.contains(name));
                if let (Some(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
                    picked.append(name, value);
                }
            }
            picked
        };
        Self {
            protobuf: is_protobuf(peer),
            transport: pick(&wanted.transport, &mut peer.headers.iter().map(|(n, v)| (&**n, &**v))),
            emulated: pick(&wanted.emulated, &mut emulated.iter().map(|(n, v)| (&**n, &**v))),
        }
    }

    /// What was kept with a client.
    pub(super) fn kept(client: &Client) -> Option<&Self> {
        client.context.as_deref()?.downcast_ref()
    }

    /// The protocol as the backend knows it.
    pub(super) fn protocol(&self) -> &'static str {
        if self.protobuf { "protobuf" } else { "json" }
    }

    /// Lays what is wanted over `headers`: what the client writes in its connect command first, then its
    /// request's, which count more.
    pub(super) fn lay_over(&self, wanted: &Wanted, headers: &mut HeaderMap) {
        for (wanted, has) in [(&wanted.emulated, &self.emulated), (&wanted.transport, &self.transport)] {
            for name in wanted.iter().filter(|name| has.contains_key(*name)) {
                headers.remove(name);
                for value in has.get_all(name) {
                    headers.append(name.clone(), value.clone());
                }
            }
        }
    }
}

/// Headers that say how a message is sent, or to whom: those of the client's request are not the question's.
const OF_THE_MESSAGE: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
