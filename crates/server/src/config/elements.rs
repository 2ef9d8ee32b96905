//! The elements of lists of tables: namespaces, named proxies.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::keys::{self, Key};
use super::kind::{self, Element, Kind, Mismatch};
use super::layers::{Layers, Origin, Variable, insert, nearest_key};
use super::nearest::nearest;
use super::problem::did_you_mean;

impl Layers {
    /// The tables of a list, each with all its keys.
    pub(super) fn tables(
        &mut self,
        list: &str,
        base: &'static str,
        items: &[Value],
        origin: &Origin,
    ) -> Value {
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

    /// Lays a variable over an element of a list: `TIDEGATE_CHANNEL_NAMESPACES_CHAT_PRESENCE` is about the
    /// namespace `chat`.
    ///
    /// # Errors
    /// What the variable is instead.
    pub(super) fn element(&mut self, variable: &Variable<'_>) -> Result<(), String> {
        let unknown = || {
            let key = nearest_key(&variable.rest.to_ascii_lowercase()).and_then(keys::find);
            format!("is not a known variable; it is ignored{}", did_you_mean(&key.map(Key::variable)))
        };
        let list = keys::all().iter().find_map(|key| match key.kind {
            Kind::Tables(Element::Named(base)) => {
                let rest = variable.rest.strip_prefix(&key.variable_name())?.strip_prefix('_')?;
                Some((key, base, rest))
            }
            _ => None,
        });
        let (list, base, rest) = list.ok_or_else(unknown)?;
        let names: Vec<String> = self
            .value(list.name)
            .as_array()
            .into_iter()
            .flatten()
            .map(|table| table["name"].as_str().unwrap_or_default().to_owned())
            .collect();
        // Of `team` and `team-a`, the longer one is meant.
        let named = names.iter().enumerate().filter_map(|(index, name)| {
            let rest = rest.strip_prefix(&as_variable(name))?.strip_prefix('_')?;
            Some((name.len(), index, rest))
        });
        let Some((_, index, option)) = named.max() else {
            let names = if names.is_empty() { "which has none".to_owned() } else { names.join(", ") };
            return Err(format!("begins with no name of {} ({names}); it is ignored", list.name));
        };
        let mut keys = keys::below(base);
        let Some(key) = keys.find(|key| as_variable(&key.name[base.len()..]) == option) else {
            let known = keys::below(base).map(|key| &key.name[base.len()..]);
            let nearest = nearest(&option.to_ascii_lowercase(), known);
            let nearest = nearest.map(|key| {
                let end = variable.name.len() - option.len();
                format!("{}{}", &variable.name[..end], as_variable(key))
            });
            return Err(format!("is not a known variable; it is ignored{}", did_you_mean(&nearest)));
        };
        match key.kind.read(variable.value) {
            Ok(value) => {
                let setting = self.settings.get_mut(list.name).expect("a list with elements was set");
                let tables = setting.value.as_array_mut().expect("the kind accepts only lists");
                let table = tables[index].as_object_mut().expect("the kind accepts only lists of tables");
                let relative = &key.name[base.len()..];
                insert(table, relative, value);
                let path = format!("{}[{index}].{relative}", list.name);
                setting.variables.insert(path, variable.name.to_owned());
            }
            Err(Mismatch(expected)) => {
                let shown = !key.is_secret() && key.kind.is_short();
                let found = if shown { kind::describe(&variable.value.into()) } else { "a text".to_owned() };
                self.bad(&Origin::Environment(variable.name.to_owned()), key.name, found, &expected);
            }
        }
        Ok(())
    }
}

/// A name or key as variables spell it.
fn as_variable(name: &str) -> String {
    name.replace(['.', '-'], "_").to_ascii_uppercase()
}

/// Names of namespaces and proxies: `^[-a-zA-Z0-9_.]{2,}$`.
fn is_name(text: &str) -> bool {
    text.len() >= 2 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}
