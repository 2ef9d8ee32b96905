//! Splits the command line into settings and what is left for the command line parser.

use std::ffi::OsString;

use super::keys::{self, Key};
use super::layers::nearest_key;
use super::problem::{ConfigErrors, Problem};

/// A command line, split.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arguments {
    /// Settings as full key and value, in the order given: the flags of [`Sources`](super::Sources).
    pub settings: Vec<(String, String)>,
    /// Everything else, in the order given.
    pub rest: Vec<OsString>,
}

/// Takes the settings out of a command line: `--key=value`, `--key value`, and `--key` alone for switches;
/// `--port` and `--address` stand for those of `http_server`. What follows `--` is left alone, and so is every
/// flag without a dot that is not a key.
///
/// # Errors
/// A flag with a dot that is not a key, or a flag without its value.
pub fn split(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, ConfigErrors> {
    let mut arguments = arguments.into_iter().peekable();
    let mut split = Arguments::default();
    let mut problems = Vec::new();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            split.rest.push(argument);
            split.rest.extend(arguments.by_ref());
            break;
        }
        let Some(flag) = argument.to_str().and_then(|text| text.strip_prefix("--")) else {
            split.rest.push(argument);
            continue;
        };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        let name = SHORTS.iter().find(|(short, _)| *short == name).map_or(name, |(_, name)| *name);
        match keys::find(name) {
            Some(key) => {
                let follows = |next: &OsString| next.to_str().is_some_and(|next| is_value(key, next));
                let value = value
                    .or_else(|| arguments.next_if(follows).and_then(|next| next.into_string().ok()))
                    .or_else(|| key.is_switch().then(|| "true".to_owned()));
                match value {
                    Some(value) => split.settings.push((key.name.to_owned(), value)),
                    None => problems.push(Problem::MissingValue { flag: name.to_owned() }),
                }
            }
            None if name.contains('.') => problems.push(Problem::UnknownKey {
                place: format!("flags: --{name}"),
                nearest: nearest_key(name).map(|name| format!("--{name}")),
            }),
            None => split.rest.push(argument),
        }
    }
    if problems.is_empty() { Ok(split) } else { Err(ConfigErrors(problems)) }
}

/// The key that a flag without a dot was probably meant for, as older servers had it: `--log_level` is `log.level`,
/// `--admin` is `admin.enabled`.
pub fn meant(flag: &str) -> Option<&'static str> {
    let below = |last: &str| keys::find(&format!("{flag}.{last}")).map(|key| key.name);
    below("enabled").or_else(|| below("type")).or_else(|| nearest_key(flag))
}

/// Every key a flag may set; the flag is its name.
pub fn known_flags() -> impl Iterator<Item = &'static Key> {
    keys::all().iter()
}

/// Whether the next argument is the value of a flag and not a flag of its own.
fn is_value(key: &Key, next: &str) -> bool {
    if key.is_switch() {
        matches!(next.to_ascii_lowercase().as_str(), "true" | "false" | "1" | "0")
    } else {
        // A PEM begins like a flag.
        !next.starts_with("--") || next.starts_with("-----BEGIN ")
    }
}

const SHORTS: &[(&str, &str)] = &[("port", "http_server.port"), ("address", "http_server.address")];
