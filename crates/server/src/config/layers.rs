//! Lays file, environment and flags over the defaults.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde_json::{Map, Value};

use super::keys::{self, Key};
use super::kind::{self, Element, Kind, Mismatch};
use super::nearest::nearest;
use super::problem::Problem;

/// Every key's value and where it came from, and what was wrong on the way.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) settings: BTreeMap<&'static str, Setting>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
}

/// A variable of ours or of v6.
pub(super) struct Variable<'a> {
    pub(super) name: &'a str,
    /// The name behind the prefix.
    pub(super) rest: &'a str,
    pub(super) value: &'a str,
}

/// A value somebody set.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) value: Value,
    pub(super) origin: Origin,
    /// The variables that set keys of its elements, by `list[index].key`.
    pub(super) variables: BTreeMap<String, String>,
}

impl Setting {
    fn new(value: Value, origin: Origin) -> Self {
        Self { value, origin, variables: BTreeMap::new() }
    }

    /// How a message names `key`, which is this setting's or one of an element.
    pub(super) fn place(&self, key: &str) -> String {
        match self.variables.get(key) {
            Some(variable) => format!("environment: {variable}"),
            None => self.origin.place(key),
        }
    }
}

/// Where a value came from.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    File(String),
    Environment(String),
    Flags,
}

impl Origin {
    /// How a message names `key` there.
    pub(super) fn place(&self, key: &str) -> String {
        match self {
            Self::File(file) => format!("{file}: {key}"),
            Self::Environment(variable) => match key.find('[') {
                Some(bracket) => format!("environment: {variable}{}", &key[bracket..]),
                None => format!("environment: {variable}"),
            },
            Self::Flags => format!("flags: --{key}"),
        }
    }
}

impl Layers {
    pub(super) fn new() -> Self {
        Self { settings: BTreeMap::new(), problems: Vec::new(), warnings: Vec::new() }
    }

    /// Lays the tree of a file over what is there.
    pub(super) fn file(&mut self, path: &Path, tree: &Map<String, Value>) {
        self.section("", tree, &Origin::File(path.display().to_string()));
    }

    /// Lays the variables over what is there: first the alias, then those named after keys, those of v6 before ours,
    /// then those about an element of a list.
    pub(super) fn environment(&mut self, variables: &[(String, String)]) {
        let set = || variables.iter().filter(|(_, value)| !value.is_empty());
        for (name, value) in set().filter(|(name, _)| name == CONNECTION_LIMIT_ALIAS) {
            let key = keys::find("client.connection_limit").expect("the table has client.connection_limit");
            self.text(key, value.trim(), Origin::Environment(name.clone()));
        }
        let mut others = Vec::new();
        let mut theirs = 0;
        for prefix in [keys::VARIABLE_PREFIX_OF_V6, keys::VARIABLE_PREFIX] {
            for (name, value) in set() {
                let Some(rest) = name.strip_prefix(prefix) else { continue };
                let variable = Variable { name, rest, value };
                match keys::find_variable(rest) {
                    Some(key) => {
                        self.text(key, value, Origin::Environment(name.clone()));
                        theirs += usize::from(prefix != keys::VARIABLE_PREFIX);
                    }
                    None => others.push(variable),
                }
            }
        }
        for variable in others {
            match self.element(&variable) {
                Ok(()) => theirs += usize::from(variable.name.starts_with(keys::VARIABLE_PREFIX_OF_V6)),
                Err(what) => {
                    let name = variable.name;
                    self.warnings.push(format!("environment: {name} {what}"));
                }
            }
        }
        if theirs > 0 {
            self.warnings.push(format!(
                "environment: variables named {}… are read as if they were named {}…, which go before them: {theirs}",
                keys::VARIABLE_PREFIX_OF_V6,
                keys::VARIABLE_PREFIX
            ));
        }
    }

    /// Lays the flags over what is there.
    pub(super) fn flags(&mut self, flags: &[(String, String)]) {
        for (name, value) in flags {
            match keys::find(name) {
                Some(key) => self.text(key, value, Origin::Flags),
                None => self.unknown(&Origin::Flags, name, nearest_key(name).map(|name| format!("--{name}"))),
            }
        }
    }

    /// The value of a key: the one set last, or the default.
    pub(super) fn value(&self, name: &str) -> &Value {
        match self.settings.get(name) {
            Some(setting) => &setting.value,
            None => &keys::find(name).expect("callers name keys of the table").default,
        }
    }

    /// What somebody set, by key.
    pub(super) fn settings(&self) -> impl Iterator<Item = (&'static Key, &Setting)> {
        keys::all().iter().filter_map(|key| Some((key, self.settings.get(key.name)?)))
    }

    /// What somebody set this key to.
    pub(super) fn setting(&self, name: &str) -> Option<&Setting> {
        self.settings.get(name)
    }

    /// All values as a tree with every key.
    pub(super) fn tree(&self) -> Value {
        let mut tree = Map::new();
        for key in keys::all() {
            insert(&mut tree, key.name, self.value(key.name).clone());
        }
        Value::Object(tree)
    }

    fn section(&mut self, prefix: &str, tree: &Map<String, Value>, origin: &Origin) {
        for (segment, value) in tree {
            let name = format!("{prefix}{segment}");
            if let Some(key) = keys::find(&name) {
                if !value.is_null() {
                    self.accept(key, value, origin.clone());
                }
            } else if keys::is_section(&name) {
                match value {
                    Value::Object(tree) => self.section(&format!("{name}."), tree, origin),
                    Value::Null => {}
                    other => {
                        self.bad(origin, &name, kind::describe_type(other).to_owned(), "a table of keys")
                    }
                }
            } else if value.is_object() {
                let nearest = nearest(&name, keys::sections()).or_else(|| nearest_key(&name));
                self.unknown(origin, &name, nearest.map(str::to_owned));
            } else {
                self.unknown(origin, &name, nearest_key(&name).map(str::to_owned));
            }
        }
    }

    fn text(&mut self, key: &'static Key, text: &str, origin: Origin) {
        if self.below_zero(key, text.trim().parse().ok(), &origin) {
            return self.set(key, Ok(0.into()), &0.into(), origin);
        }
        let read = key.kind.read(text);
        self.set(key, read, &text.into(), origin);
    }

    fn accept(&mut self, key: &'static Key, value: &Value, origin: Origin) {
        if self.below_zero(key, kind::whole(value), &origin) {
            return self.set(key, Ok(0.into()), &0.into(), origin);
        }
        let accepted = key.kind.accept(value);
        self.set(key, accepted, value, origin);
    }

    /// Whether this is a limit of connections below zero: it counts as 0, and somebody should know.
    fn below_zero(&mut self, key: &Key, number: Option<i64>, origin: &Origin) -> bool {
        let Some(number) = number.filter(|n| *n < 0 && CONNECTION_LIMITS.contains(&key.name)) else {
            return false;
        };
        let place = origin.place(key.name);
        self.warnings.push(format!("{place} is {number}; it counts as 0, which is unlimited"));
        true
    }

    fn set(&mut self, key: &'static Key, read: Result<Value, Mismatch>, came: &Value, origin: Origin) {
        match (read, key.kind) {
            (Ok(value), Kind::Tables(Element::Named(base))) => {
                let items = value.as_array().map_or(&[][..], Vec::as_slice);
                let value = self.tables(key.name, base, items, &origin);
                self.settings.insert(key.name, Setting::new(value, origin));
            }
            (Ok(value), _) => {
                self.settings.insert(key.name, Setting::new(value, origin));
            }
            (Err(Mismatch(expected)), kind) => {
                let shown = !key.is_secret() && kind.is_short();
                let found = if shown { kind::describe(came) } else { kind::describe_type(came).to_owned() };
                self.bad(&origin, key.name, found, &expected);
            }
        }
    }

    pub(super) fn unknown(&mut self, origin: &Origin, key: &str, nearest: Option<String>) {
        self.problems.push(Problem::UnknownKey { place: origin.place(key), nearest });
    }

    pub(super) fn bad(&mut self, origin: &Origin, key: &str, found: String, expected: &str) {
        let place = origin.place(key);
        self.problems.push(Problem::BadValue { place, found, expected: expected.to_owned() });
    }
}

impl fmt::Display for Setting {
    /// The value as messages show it; for keys that are no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&kind::describe(&self.value))
    }
}

/// The known key closest to an unknown one.
pub(super) fn nearest_key(name: &str) -> Option<&'static str> {
    nearest(name, keys::all().iter().map(|key| key.name))
}

/// Puts a value at a dotted place of a tree.
pub(super) fn insert(tree: &mut Map<String, Value>, name: &str, value: Value) {
    match name.split_once('.') {
        None => {
            tree.insert(name.to_owned(), value);
        }
        Some((section, rest)) => {
            let below = tree.entry(section).or_insert_with(|| Value::Object(Map::new()));
            insert(below.as_object_mut().expect("no key is also a section: tested"), rest, value);
        }
    }
}

/// The usual name for the connection limit on container platforms.
const CONNECTION_LIMIT_ALIAS: &str = "WS_MAX_CLIENTS";
/// Limits of which a negative one is unlimited, as 0 is.
const CONNECTION_LIMITS: &[&str] = &[
    "client.connection_limit",
    "client.user_connection_limit",
    "client.ip_connection_limit",
    "client.connection_rate_limit",
];
