//! Prints a configuration file with every key, its default and its meaning.

use std::fmt::Write;

use serde_json::Value;

use super::file::Format;
use super::keys::{self, Key, Status};

/// A configuration file with every key at its default. In TOML and YAML the meaning stands above each key;
/// JSON has no comments. The file loads without error or warning.
pub fn print_default(format: Format) -> String {
    let root = Node::of_table();
    let mut out = String::new();
    match format {
        Format::Toml => toml(&root, "", &mut out),
        Format::Yaml => yaml(&root, 0, &mut out),
        Format::Json => {
            json(&root, 0, &mut out);
            out.push('\n');
        }
    }
    out
}

/// Every variable at its key's default, as shells read it, below what it is for.
pub fn print_variables() -> String {
    let mut out = String::new();
    for key in keys::all() {
        let value = match &key.default {
            Value::String(text) => text.clone(),
            Value::Array(items) if items.iter().all(Value::is_string) => {
                items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
            }
            other => other.to_string(),
        };
        let _ = writeln!(out, "# {}\n{}=\"{}\"", comment(key), key.variable(), value.replace('"', "\\\""));
    }
    out
}

/// The keys as a tree in the order of the table.
#[derive(Default)]
struct Node {
    keys: Vec<(&'static str, &'static Key)>,
    sections: Vec<(&'static str, Node)>,
}

impl Node {
    fn of_table() -> Self {
        let mut root = Self::default();
        for key in keys::all() {
            let mut node = &mut root;
            let mut segments = key.name.split('.').peekable();
            while let Some(segment) = segments.next() {
                if segments.peek().is_none() {
                    node.keys.push((segment, key));
                    break;
                }
                let index =
                    node.sections.iter().position(|(name, _)| *name == segment).unwrap_or_else(|| {
                        node.sections.push((segment, Self::default()));
                        node.sections.len() - 1
                    });
                node = &mut node.sections[index].1;
            }
        }
        root
    }
}

fn toml(node: &Node, path: &str, out: &mut String) {
    if !node.keys.is_empty() {
        if !path.is_empty() {
            let _ = writeln!(out, "\n[{path}]");
        }
        for (name, key) in &node.keys {
            let _ = writeln!(out, "# {}\n{name} = {}", comment(key), key.default);
        }
    }
    for (name, section) in &node.sections {
        let path = if path.is_empty() { (*name).to_owned() } else { format!("{path}.{name}") };
        toml(section, &path, out);
    }
}

fn yaml(node: &Node, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    for (name, key) in &node.keys {
        let _ = writeln!(out, "{indent}# {}\n{indent}{name}: {}", comment(key), key.default);
    }
    for (name, section) in &node.sections {
        let _ = writeln!(out, "{indent}{name}:");
        yaml(section, depth + 1, out);
    }
}

fn json(node: &Node, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth + 1);
    out.push('{');
    let mut separator = "\n";
    for (name, key) in &node.keys {
        let _ = write!(out, "{separator}{indent}\"{name}\": {}", key.default);
        separator = ",\n";
    }
    for (name, section) in &node.sections {
        let _ = write!(out, "{separator}{indent}\"{name}\": ");
        json(section, depth + 1, out);
        separator = ",\n";
    }
    let _ = write!(out, "\n{}}}", "  ".repeat(depth));
}

fn comment(key: &Key) -> String {
    match key.status {
        Status::Implemented if key.is_reloadable() => key.meaning.to_owned(),
        Status::Implemented => format!("{} (changes with a restart)", key.meaning),
        Status::Planned => format!("{} (not implemented yet)", key.meaning),
    }
}
