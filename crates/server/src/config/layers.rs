//! Lays file, environment and flags over the defaults.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde_json::{Map, Value};

use super::keys::{self, Key};
use super::kind::{self, Element, Kind, Mismatch};
use super::nearest::nearest;
use super::problem::{Problem, did_you_mean};

/// Every key's value and where it came from, and what was wrong on the way.
#[derive(Debug)]
pub(super) struct Layers {
    settings: BTreeMap<&'static str, Setting>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
}

/// A value somebody set.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) value: Value,
    pub(super) origin: Origin,
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

    /// Lays the variables over what is there: first the alias, then those named after keys.
    pub(super) fn environment(&mut self, variables: &[(String, String)]) {
        let set = || variables.iter().filter(|(_, value)| !value.is_empty());
        for (name, value) in set().filter(|(name, _)| name == CONNECTION_LIMIT_ALIAS) {
            let key = keys::find("client.connection_limit").expect("the table has client.connection_limit");
            self.text(key, value.trim(), Origin::Environment(name.clone()));
        }
        for (name, value) in set().filter(|(name, _)| name.starts_with(keys::VARIABLE_PREFIX)) {
            match keys::find_variable(name) {
                Some(key) => self.text(key, value, Origin::Environment(name.clone())),
                None => {
                    let known: Vec<String> = keys::all().iter().map(Key::variable).collect();
                    let nearest = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
                    self.warnings.push(format!(
                        "environment: {name} is not a known variable; it is ignored{}",
                        did_you_mean(&nearest)
                    ));
                }
            }
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
                self.settings.insert(key.name, Setting { value, origin });
            }
            (Ok(value), _) => {
                self.settings.insert(key.name, Setting { value, origin });
            }
            (Err(Mismatch(expected)), kind) => {
                let shown = !key.is_secret() && kind.is_short();
                let found = if shown { kind::describe(came) } else { kind::describe_type(came).to_owned() };
                self.bad(&origin, key.name, found, &expected);
            }
        }
    }

    /// The tables of a list, each with all its keys.
    fn tables(&mut self, list: &str, base: &'static str, items: &[Value], origin: &Origin) -> Value {
        let mut names = BTreeSet::new();
        let mut tables = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let place = format!("{list}[{index}].");
            let mut table = Map::new();
            for key in keys::below(base) {
                insert(&mut table, &key.name[base.len()..], key.default.clone());
            }
            let item = item.as_object().expect("the kind accepts only lists of tables");
            let name = item.get("name").cloned().unwrap_or_default();
            match name.as_str() {
                Some(text) if !is_name(text) => self.bad(
                    origin,
                    &format!("{place}name"),
                    kind::describe(&name),
                    "at least two letters, digits, hyphens, underscores or dots",
                ),
                Some(text) if !names.insert(text.to_owned()) => {
                    self.bad(origin, &format!("{place}name"), kind::describe(&name), "a name used only once");
                }
                Some(_) => {}
                None if name.is_null() => {
                    self.bad(origin, &format!("{place}name"), "missing".to_owned(), "a name")
                }
                None => self.bad(origin, &format!("{place}name"), kind::describe(&name), "a text"),
            }
            table.insert("name".to_owned(), name);
            self.table(base, "", item, &mut table, &place, origin);
            tables.push(Value::Object(table));
        }
        Value::Array(tables)
    }

    /// Lays one section of a table of a list over its defaults.
    fn table(
        &mut self,
        base: &str,
        section: &str,
        item: &Map<String, Value>,
        table: &mut Map<String, Value>,
        place: &str,
        origin: &Origin,
    ) {
        for (segment, value) in item {
            let relative = format!("{section}{segment}");
            let (name, path) = (format!("{base}{relative}"), format!("{place}{relative}"));
            if relative == "name"
                || value.is_null() && (keys::find(&name).is_some() || keys::is_section(&name))
            {
                continue;
            }
            if let Some(key) = keys::find(&name) {
                match key.kind.accept(value) {
                    Ok(value) => insert(table, &relative, value),
                    Err(Mismatch(expected)) => {
                        let shown = !key.is_secret() && key.kind.is_short();
                        let found =
                            if shown { kind::describe(value) } else { kind::describe_type(value).to_owned() };
                        self.bad(origin, &path, found, &expected);
                    }
                }
            } else if keys::is_section(&name) {
                match value.as_object() {
                    Some(item) => self.table(base, &format!("{relative}."), item, table, place, origin),
                    None => self.bad(origin, &path, kind::describe_type(value).to_owned(), "a table of keys"),
                }
            } else {
                let known = keys::below(base).map(|key| &key.name[base.len()..]).chain(["name"]);
                let nearest = nearest(&relative, known).map(str::to_owned);
                self.unknown(origin, &path, nearest);
            }
        }
    }

    fn unknown(&mut self, origin: &Origin, key: &str, nearest: Option<String>) {
        self.problems.push(Problem::UnknownKey { place: origin.place(key), nearest });
    }

    fn bad(&mut self, origin: &Origin, key: &str, found: String, expected: &str) {
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

/// Names of namespaces and proxies: `^[-a-zA-Z0-9_.]{2,}$`.
fn is_name(text: &str) -> bool {
    text.len() >= 2 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
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
