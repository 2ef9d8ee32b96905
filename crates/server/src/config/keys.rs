//! The table of all keys: name, default, status, meaning.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value;

use super::kind::Kind;

/// A configuration key, as `tidegate config default` shows it and `--name value` sets it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Key {
    /// The full name: `http_server.port`.
    pub name: &'static str,
    /// The value when nobody sets it; never null.
    pub default: Value,
    /// Whether setting it has an effect.
    pub status: Status,
    /// What it is for, in a sentence.
    pub meaning: &'static str,
    pub(super) kind: Kind,
}

/// Whether setting a key has an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It has.
    Implemented,
    /// Not yet: setting it warns, or fails if ignoring it weakens security or delivery.
    Planned,
}

impl Key {
    /// Whether the key is true or false, so that its flag needs no value.
    pub fn is_switch(&self) -> bool {
        matches!(self.kind, Kind::Switch)
    }

    /// Whether a new value takes effect when the configuration is read again, without a restart.
    pub fn is_reloadable(&self) -> bool {
        super::changes::is_reloadable(self.name)
    }

    /// Whether the value must not be shown.
    pub fn is_secret(&self) -> bool {
        is_secret(self.name)
    }

    /// The variable that sets the key: `TIDEGATE_HTTP_SERVER_PORT`.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.variable_name())
    }

    /// The same without the prefix.
    pub(super) fn variable_name(&self) -> String {
        self.name.replace('.', "_").to_ascii_uppercase()
    }
}

/// Every key, in the order of the table.
pub(super) fn all() -> &'static [Key] {
    &TABLE.keys
}

/// The key of this name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    TABLE.by_name.get(name).map(|index| &TABLE.keys[*index])
}

/// The key that a variable sets whose name behind the prefix is this.
pub(super) fn find_variable(variable: &str) -> Option<&'static Key> {
    TABLE.by_variable.get(variable).map(|index| &TABLE.keys[*index])
}

/// Whether keys stand below this name: `http_server.tls`.
pub(super) fn is_section(name: &str) -> bool {
    TABLE.sections.contains(&name)
}

/// Every name below which keys stand, in the order of the table.
pub(super) fn sections() -> impl Iterator<Item = &'static str> {
    TABLE.sections.iter().copied()
}

/// The keys below `prefix`, which ends in a dot.
pub(super) fn below(prefix: &str) -> impl Iterator<Item = &'static Key> {
    TABLE.keys.iter().filter(move |key| key.name.starts_with(prefix))
}

pub(super) const VARIABLE_PREFIX: &str = "TIDEGATE_";
/// What the variables of Centrifugo v6 begin with: they are taken, too, so that a container moves over as it is.
pub(super) const VARIABLE_PREFIX_OF_V6: &str = "CENTRIFUGO_";

struct Table {
    keys: Vec<Key>,
    by_name: HashMap<&'static str, usize>,
    by_variable: HashMap<String, usize>,
    sections: Vec<&'static str>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let keys: Vec<Key> = include_str!("keys.tsv").lines().skip(1).map(row).collect();
    let mut sections = Vec::new();
    for key in &keys {
        for (dot, _) in key.name.match_indices('.') {
            if !sections.contains(&&key.name[..dot]) {
                sections.push(&key.name[..dot]);
            }
        }
    }
    Table {
        by_name: keys.iter().enumerate().map(|(index, key)| (key.name, index)).collect(),
        by_variable: keys.iter().enumerate().map(|(index, key)| (key.variable_name(), index)).collect(),
        sections,
        keys,
    }
});

fn row(line: &'static str) -> Key {
    let columns: Vec<&'static str> = line.split('\t').collect();
    let [name, default, status, meaning] = columns[..] else {
        panic!("keys.tsv: `{line}` has {} columns, not 4", columns.len());
    };
    let written: Value = serde_json::from_str(default).expect("defaults in keys.tsv are JSON: tested");
    let kind = Kind::of(name, &written);
    let status = match status {
        "implemented" => Status::Implemented,
        "planned" => Status::Planned,
        other => panic!("keys.tsv: the status of {name} is {other}; expected implemented or planned"),
    };
    // A list nobody set is empty: null has no spelling in TOML.
    let written = if written.is_null() { Value::Array(Vec::new()) } else { written };
    let default = kind.accept(&written).expect("defaults in keys.tsv fit their keys: tested");
    Key { name, default, status, meaning, kind }
}

/// Whether the value of this key must not be shown, in messages or by `Debug`.
pub(super) fn is_secret(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    matches!(last, "password" | "secret" | "key" | "key_pem" | "dsn" | "notify_dsn" | "credentials_value" | "url")
        || last.ends_with("_secret_key")
        || last.ends_with("_password")
        // Addresses of Redis may carry a password.
        || name.ends_with("redis.address")
}
