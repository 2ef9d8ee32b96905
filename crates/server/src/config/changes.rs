//! What is different when a configuration is read again.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::keys::{self, Key, Status};
use super::kind;
use super::layers::Layers;

/// The value of every key that has an effect. `Debug` shows none: some are secrets.
#[derive(Clone, Default)]
pub struct Values(BTreeMap<&'static str, Value>);

/// A key that has another value than before. Displayed, it shows both, unless they are secret or long.
#[derive(Clone)]
pub struct Change {
    /// The key.
    pub key: &'static Key,
    before: Value,
    after: Value,
}

impl Values {
    pub(super) fn of(layers: &Layers) -> Self {
        let implemented = keys::all().iter().filter(|key| key.status == Status::Implemented);
        Self(implemented.map(|key| (key.name, layers.value(key.name).clone())).collect())
    }

    /// What `later` has changed, in the order of the table.
    pub fn changes(&self, later: &Self) -> Vec<Change> {
        let change = |key: &'static Key| {
            let (before, after) = (self.0.get(key.name)?.clone(), later.0.get(key.name)?.clone());
            (before != after).then_some(Change { key, before, after })
        };
        keys::all().iter().filter_map(change).collect()
    }

    /// What is in force once these were applied over `running`: that itself, where a restart is needed.
    pub fn in_force(mut self, running: &Self) -> Self {
        for (name, value) in &mut self.0 {
            if !is_reloadable(name)
                && let Some(running) = running.0.get(name)
            {
                value.clone_from(running);
            }
        }
        self
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Values").field(&self.0.len()).finish()
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, before, after } = self;
        if key.is_secret() || !key.kind.is_short() {
            return write!(f, "{} changed", key.name);
        }
        write!(f, "{} changed from {} to {}", key.name, kind::describe(before), kind::describe(after))
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Change({self})")
    }
}

/// Whether a new value of this key takes effect without a restart. What is not known here takes one: better
/// to say so in vain than not to say it.
pub(super) fn is_reloadable(name: &str) -> bool {
    !RESTART.contains(&name) && RELOADED.iter().any(|prefix| name.starts_with(prefix))
}

/// Keys, and what sections of keys begin with, that are applied when the configuration is read again.
pub(super) const RELOADED: &[&str] = &[
    "admin.",
    "channel.",
    "client.",
    "debug.",
    "emulation.",
    "health.",
    "http_api.",
    "http_server.internal_tls.cert_pem",
    "http_server.internal_tls.client_ca_pem",
    "http_server.internal_tls.key_pem",
    "http_server.tls.cert_pem",
    "http_server.tls.client_ca_pem",
    "http_server.tls.key_pem",
    "http_server.tls_check_interval",
    "http_stream.",
    "log.level",
    "node.resident_limit",
    "prometheus.",
    "proxies",
    "quic.tls.cert_pem",
    "quic.tls.client_ca_pem",
    "quic.tls.key_pem",
    "rpc.",
    "shutdown.",
    "sse.",
    "swagger.",
    "uni_http_stream.",
    "uni_sse.",
    "uni_websocket.",
    "websocket.",
];

/// Those of them that are not.
pub(super) const RESTART: &[&str] = &[
    "channel.tags_filter.bytes",
    "channel.tags_filter.depth",
    "channel.tags_filter.logs",
    "channel.tags_filter.nodes",
    "client.connect_code_to_unidirectional_disconnect.enabled",
    "client.connect_code_to_unidirectional_disconnect.transforms",
    "client.stale_close_delay",
    "uni_websocket.disable_disconnect_push",
];
