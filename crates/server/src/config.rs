//! The configuration of a node, from a file, the environment and flags.
//!
//! Keys, defaults and meanings stand in `config/keys.tsv`; a key becomes implemented by changing its status
//! there. Values are merged as a tree and checked by the kind of their key; [`Config`] then takes the keys the
//! server uses.
//!
//! Order: flags, environment, `WS_MAX_CLIENTS`, file, default.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

mod changes;
mod channel;
mod client;
mod defaults;
pub(crate) mod duration;
mod elements;
mod file;
mod flags;
mod form;
mod keys;
mod kind;
mod layers;
mod listener;
mod nearest;
mod problem;
mod proxy;
mod rules;
mod secret;
mod settings;
#[cfg(test)]
mod tests;
mod transforms;

pub use changes::{Change, Values};
pub use channel::{
    Backpressure, ChannelOptions, ChannelProxies, Channels, DataFormat, DeltaType, RecoveryMode, TagsFilter,
};
pub use client::{Client, ClientProxies, DuplicateUser, PersonalChannel, SubscriptionToken, Token};
pub use defaults::{print_default, print_variables};
pub use duration::parse as parse_duration;
pub use file::Format;
pub use flags::{Arguments, known_flags, meant, split};
pub use form::Bound;
pub use keys::{Key, Status};
pub use listener::{
    Admin, Emulation, Endpoint, ErrorMode, HttpApi, HttpServer, HttpTransport, Quic, Tls, UniHttpTransport,
    UniWebSocket, WebSocket, WebTransport,
};
pub use problem::{ConfigErrors, Problem};
pub use proxy::{EventProxy, HttpProxy, Proxy, ProxyTls, Rpc, RpcOptions, RpcPing};
pub use secret::Secret;
pub use settings::{Config, Fsync, History, Log, LogFormat, LogLevel, Node, Shutdown, Storage};
pub use transforms::{ToDisconnect, ToResponse, Transform, Transforms};

/// A configuration, and what a person should know about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Keys that are set and have no effect, unknown variables and the like, one sentence each.
    pub warnings: Vec<String>,
    /// The value of each key, to compare with what is loaded later.
    pub values: Values,
}

/// Where a configuration comes from. `Debug` shows names only: values may be secrets.
#[derive(Clone, Default)]
pub struct Sources {
    /// A `.toml`, `.yaml`, `.yml` or `.json` file.
    pub file: Option<PathBuf>,
    /// Environment variables; others than `TIDEGATE_*` and `WS_MAX_CLIENTS` do not matter.
    pub environment: Vec<(String, String)>,
    /// Full keys and values, as [`split`] finds them.
    pub flags: Vec<(String, String)>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags: Vec<&str> = self.flags.iter().map(|(name, _)| name.as_str()).collect();
        let known = |name: &&str| name.starts_with(keys::VARIABLE_PREFIX);
        let environment: Vec<&str> =
            self.environment.iter().map(|(name, _)| name.as_str()).filter(known).collect();
        f.debug_struct("Sources")
            .field("file", &self.file)
            .field("environment", &environment)
            .field("flags", &flags)
            .finish()
    }
}

/// Reads, merges and checks a configuration. Reads the file and nothing else.
///
/// # Errors
/// Everything wrong in any source, not only the first; a file that cannot be read or parsed is alone.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigErrors> {
    match &sources.file {
        None => merge(None, sources),
        Some(path) => merge(Some((path, file::read(path)?)), sources),
    }
}

/// As [`load`], for a file of this name and text instead of the one that `sources` name.
///
/// # Errors
/// As [`load`].
pub fn load_text(name: &Path, text: &str, sources: &Sources) -> Result<Loaded, ConfigErrors> {
    merge(Some((name, file::tree(name, text)?)), sources)
}

fn merge(file: Option<(&Path, Map<String, Value>)>, sources: &Sources) -> Result<Loaded, ConfigErrors> {
    let mut layers = layers::Layers::new();
    if let Some((path, tree)) = file {
        layers.file(path, &tree);
    }
    layers.environment(&sources.environment);
    layers.flags(&sources.flags);
    rules::check_support(&mut layers);
    rules::check_relations(&mut layers);
    if !layers.problems.is_empty() {
        return Err(ConfigErrors(layers.problems));
    }
    let config = Config::of(&layers).expect("values their kinds accepted fit the fields: tested");
    let values = Values::of(&layers);
    Ok(Loaded { config, warnings: layers.warnings, values })
}

/// The environment, but for variables that are no text: none of those is meant for the configuration.
pub fn environment<C: FromIterator<(String, String)>>() -> C {
    let text =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    std::env::vars_os().filter_map(text).collect()
}

/// Loads a file alone.
///
/// # Errors
/// As [`load`].
pub fn load_file(file: &Path) -> Result<Loaded, ConfigErrors> {
    load(&Sources { file: Some(file.to_owned()), ..Sources::default() })
}
