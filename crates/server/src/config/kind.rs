//! What values a key takes.

use ipnet::IpNet;
use serde_json::Value;

use super::duration;

/// What values a key takes, and how they are written in the environment and flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// True or false.
    Switch,
    /// A whole number; `unit` is for messages.
    Integer { min: i64, max: i64, unit: &'static str },
    /// A limit whose default is derived from the system, which the empty text says; 0 is unlimited.
    Derived { unit: &'static str },
    /// A port, as a number or a string; empty means none where that is the default.
    Port { optional: bool },
    /// A Go duration, kept as the text Go writes.
    Duration { positive: bool },
    /// Any text.
    Text,
    /// The path of a URL, or nothing.
    Path,
    /// One of these words, in any case.
    Choice(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// A list of these words.
    Choices(&'static [&'static str]),
    /// A list of addresses and CIDR blocks.
    Networks,
    /// A list of tables.
    Tables(Element),
    /// A table with keys of the user's own and texts as values.
    Map,
}

/// What the tables of a list contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    /// A `name` and the keys below this prefix.
    Named(&'static str),
    /// A `name` and anything.
    NamedAny,
    /// Anything.
    Any,
}

/// A value that does not fit its key: what would have been right.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch(pub(super) String);

impl Kind {
    /// The kind of the key of this name and default.
    pub(super) fn of(name: &str, default: &Value) -> Self {
        let last = name.rsplit('.').next().unwrap_or(name);
        if last == "port" || last == "internal_port" {
            return Self::Port { optional: *default == "" };
        }
        if let Some((_, unit)) = DERIVED.iter().find(|(derived, _)| *derived == name) {
            return Self::Derived { unit };
        }
        match default {
            Value::Bool(_) => Self::Switch,
            Value::Number(_) => integer(name, last),
            Value::String(text) => match (name, last) {
                ("log.level", _) => Self::Choice(LOG_LEVELS),
                ("log.format", _) => Self::Choice(&["text", "json"]),
                ("client.duplicate_user", _) => Self::Choice(&["keep", "refuse", "takeover"]),
                ("history.storage", _) => Self::Choice(&["memory", "disk"]),
                ("history.fsync", _) => Self::Choice(&["each", "interval", "never"]),
                (_, "error_mode") => Self::Choice(&["", "transport"]),
                (_, "force_recovery_mode") => Self::Choice(&["", "stream", "cache"]),
                (_, "publication_data_format") => Self::Choice(&["", "json", "json_object", "binary"]),
                (_, "backpressure") => Self::Choice(BACKPRESSURE),
                (_, "handler_prefix") => Self::Path,
                _ if duration::parse(text).is_some() => {
                    Self::Duration { positive: POSITIVE_DURATIONS.contains(&last) }
                }
                _ => Self::Text,
            },
            Value::Null if last == "allowed_delta_types" => Self::Choices(&["fossil"]),
            Value::Null if last == "allowed_backpressure" => Self::Choices(&BACKPRESSURE[1..]),
            Value::Array(_) if last == "trusted_proxies" => Self::Networks,
            Value::Array(items) if items.is_empty() => Self::Tables(match name {
                "channel.namespaces" => Element::Named("channel.without_namespace."),
                "rpc.namespaces" => Element::Named("rpc.without_namespace."),
                "proxies" => Element::Named("channel.proxy.subscribe."),
                "consumers" => Element::NamedAny,
                _ => Element::Any,
            }),
            Value::Null | Value::Array(_) => Self::Texts,
            Value::Object(_) => Self::Map,
        }
    }

    /// Checks a value from a file, and brings equal values into one form.
    pub(super) fn accept(self, value: &Value) -> Result<Value, Mismatch> {
        let wrong = || Mismatch(self.expectation());
        match self {
            Self::Switch => value.as_bool().map(Value::Bool).ok_or_else(wrong),
            Self::Integer { min, max, unit } => {
                let number = whole(value).ok_or_else(wrong)?;
                if number < min {
                    return Err(Mismatch(format!("at least {}", with_unit(min, unit))));
                }
                if number > max {
                    return Err(Mismatch(format!("at most {}", with_unit(max, unit))));
                }
                Ok(number.into())
            }
            Self::Derived { unit } => match value.as_str() {
                Some("") => Ok(Value::from("")),
                // As the environment and flags write it.
                Some(text) => text.parse::<i64>().map_err(|_| wrong()).and_then(|n| limit(n, unit)),
                None => whole(value).ok_or_else(wrong).and_then(|n| limit(n, unit)),
            },
            Self::Port { optional } => match value {
                Value::String(text) if text.is_empty() && optional => Ok(Value::from("")),
                Value::String(text) => text.parse::<u16>().map(Value::from).map_err(|_| wrong()),
                _ => {
                    whole(value).and_then(|port| u16::try_from(port).ok()).map(Value::from).ok_or_else(wrong)
                }
            },
            Self::Duration { positive } => {
                let duration = match value {
                    Value::String(text) => duration::parse(text).ok_or_else(wrong)?,
                    _ if whole(value) == Some(0) => std::time::Duration::ZERO,
                    _ => return Err(wrong()),
                };
                if positive && duration.is_zero() {
                    return Err(Mismatch("more than 0s".to_owned()));
                }
                Ok(duration::format(duration).into())
            }
            Self::Text => value.as_str().map(Value::from).ok_or_else(wrong),
            Self::Path => match value.as_str() {
                Some(path) if path.is_empty() || path.starts_with('/') => Ok(path.into()),
                _ => Err(wrong()),
            },
            Self::Choice(words) => value.as_str().and_then(|text| word(words, text)).ok_or_else(wrong),
            Self::Texts => list(value, |text| Some(text.into())).ok_or_else(wrong),
            Self::Choices(words) => list(value, |text| word(words, text)).ok_or_else(wrong),
            Self::Networks => list(value, network).ok_or_else(wrong),
            Self::Tables(_) => match value.as_array() {
                Some(items) if items.iter().all(Value::is_object) => Ok(value.clone()),
                _ => Err(wrong()),
            },
            Self::Map => match value.as_object() {
                Some(map) if map.values().all(Value::is_string) => Ok(value.clone()),
                _ => Err(wrong()),
            },
        }
    }

    /// Checks a value from the environment or a flag.
    pub(super) fn read(self, text: &str) -> Result<Value, Mismatch> {
        let value = match self {
            Self::Switch => match text.to_ascii_lowercase().as_str() {
                "true" | "t" | "1" => true.into(),
                "false" | "f" | "0" => false.into(),
                _ => return Err(Mismatch("true, false, 1 or 0".to_owned())),
            },
            Self::Integer { .. } => {
                text.parse::<i64>().map(Value::from).map_err(|_| Mismatch(self.expectation()))?
            }
            Self::Texts | Self::Choices(_) | Self::Networks => {
                text.split_whitespace().map(Value::from).collect::<Vec<_>>().into()
            }
            Self::Tables(_) | Self::Map if text.is_empty() => {
                if self == Self::Map {
                    serde_json::json!({})
                } else {
                    serde_json::json!([])
                }
            }
            // Names alone: the variables of each say the rest.
            Self::Tables(Element::Named(_) | Element::NamedAny) if !text.trim_start().starts_with('[') => {
                text.split_whitespace()
                    .map(|name| serde_json::json!({ "name": name }))
                    .collect::<Vec<_>>()
                    .into()
            }
            Self::Tables(_) | Self::Map => serde_json::from_str(text)
                .map_err(|error| Mismatch(format!("{}, as JSON ({error})", self.expectation())))?,
            Self::Derived { .. }
            | Self::Port { .. }
            | Self::Duration { .. }
            | Self::Text
            | Self::Path
            | Self::Choice(_) => text.into(),
        };
        self.accept(&value)
    }

    /// Whether messages repeat the value: those of lists of tables may hold secrets.
    pub(super) fn is_short(self) -> bool {
        !matches!(self, Self::Tables(_) | Self::Map)
    }

    fn expectation(self) -> String {
        match self {
            Self::Switch => "true or false".to_owned(),
            Self::Integer { .. } => "a whole number".to_owned(),
            Self::Derived { .. } => "a whole number, or nothing".to_owned(),
            Self::Port { .. } => "a port from 0 to 65535".to_owned(),
            Self::Duration { .. } => "a duration with a unit, such as 25s, 100ms or 1h30m".to_owned(),
            Self::Text => "a text".to_owned(),
            Self::Path => "a path that starts with /".to_owned(),
            Self::Choice(words) => format!("one of {}", quoted(words)),
            Self::Texts => "a list of texts".to_owned(),
            Self::Choices(words) => format!("a list of {}", quoted(words)),
            Self::Networks => "a list of IP addresses or CIDR blocks such as 10.0.0.0/8".to_owned(),
            Self::Tables(_) => "a list of tables".to_owned(),
            Self::Map => "a table of texts".to_owned(),
        }
    }
}

/// A value as messages show it.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) if text.chars().count() > SHOWN_CHARS => {
            let start: String = text.chars().take(SHOWN_CHARS).collect();
            format!("{}…", Value::from(start))
        }
        Value::String(_) => value.to_string(),
        Value::Array(items) if items.iter().all(Value::is_string) && items.len() <= SHOWN_ITEMS => {
            format!("[{}]", items.iter().map(describe).collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "a table".to_owned(),
    }
}

/// What kind of value came, for values that must not be shown.
pub(super) fn describe_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

fn integer(name: &str, last: &str) -> Kind {
    let unit = if BYTES.contains(&last) { "bytes" } else { "" };
    let (min, max) = match (name, last) {
        // Less would not hold one small publication and the frames around it.
        ("client.queue_max_size", _) | (_, "window_bytes") => (4096, i64::MAX),
        ("client.read_ahead_size" | "client.reply_queue_max_size", _) => (1024, i64::MAX),
        ("websocket.fragment_limit", _) => (1, u32::MAX.into()),
        ("client.stalled_min_bytes", _) => (1, i64::MAX),
        ("channel.max_length", _) => (1, i64::from(u16::MAX)),
        ("client.channel_limit", _) => (1, i64::MAX),
        // As many levels of JSON as are read at all; and a filter has one node.
        ("channel.tags_filter.depth", _) => (1, 64),
        ("channel.tags_filter.nodes" | "channel.tags_filter.bytes", _) => (1, i64::MAX),
        (_, "window_size" | "message_size_limit" | "response_size_limit" | "max_request_body_size") => {
            (1, i64::MAX)
        }
        (_, "compression_level") => (-2, 9),
        // Eight of the smallest files; one publication.
        ("history.disk_limit", _) => (1 << 20, i64::MAX),
        ("history.segment_size", _) => (64 << 10, 1 << 40),
        ("history.queue_limit", _) => (64 << 10, u32::MAX.into()),
        // A packet or two; QUIC counts in 62 bits, our side of it in 32.
        (_, "send_window" | "receive_window" | "stream_receive_window") => (4096, u32::MAX.into()),
        // The kernel counts in 31 bits, and takes twice of it.
        ("quic.socket_buffer_size", _) => (4096, 1 << 30),
        ("quic.incoming_buffer_size", _) => (64 << 10, i64::MAX),
        _ => (0, i64::MAX),
    };
    Kind::Integer { min, max, unit }
}

fn limit(number: i64, unit: &str) -> Result<Value, Mismatch> {
    if number < 0 { Err(Mismatch(format!("at least {}", with_unit(0, unit)))) } else { Ok(number.into()) }
}

/// A whole number; tools that template YAML write large ones as `1.048576e+06`.
pub(super) fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        let number = value.as_f64()?;
        (number.fract() == 0.0 && number.abs() < MAX_EXACT_FLOAT).then_some(number as i64)
    })
}

fn list(value: &Value, item: impl Fn(&str) -> Option<Value>) -> Option<Value> {
    value.as_array()?.iter().map(|value| item(value.as_str()?)).collect::<Option<Vec<_>>>().map(Value::Array)
}

fn word(words: &[&'static str], text: &str) -> Option<Value> {
    words.iter().find(|word| word.eq_ignore_ascii_case(text)).map(|word| Value::from(*word))
}

fn network(text: &str) -> Option<Value> {
    let network =
        text.parse::<IpNet>().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))?;
    Some(network.to_string().into())
}

fn with_unit(number: i64, unit: &str) -> String {
    if unit.is_empty() { number.to_string() } else { format!("{number} {unit}") }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
}

/// Limits that are derived from the system, and their units.
const DERIVED: &[(&str, &str)] = &[
    ("http_server.connection_limit", ""),
    ("http_server.ip_connection_limit", ""),
    ("node.resident_limit", "bytes"),
    ("node.workers", ""),
];
const LOG_LEVELS: &[&str] = &["none", "trace", "debug", "info", "warn", "error", "fatal"];
const BACKPRESSURE: &[&str] = &["", "skip_oldest", "skip_latest", "latest_per_key", "end", "disconnect"];

/// Keys, by their last part, whose value is in bytes.
const BYTES: &[&str] = &[
    "connection_queue_max_size",
    "disk_limit",
    "incoming_buffer_size",
    "receive_window",
    "send_window",
    "socket_buffer_size",
    "stream_receive_window",
    "queue_limit",
    "segment_size",
    "key_table_bytes",
    "queue_max_size",
    "stalled_min_bytes",
    "read_ahead_size",
    "reply_queue_max_size",
    "window_bytes",
    "memory_limit",
    "max_length",
    "message_size_limit",
    "response_size_limit",
    "decompressed_message_size_limit",
    "max_request_body_size",
    "max_receive_message_size",
    "compression_min_size",
];

/// Keys, by their last part, for which no time at all makes no sense.
const POSITIVE_DURATIONS: &[&str] = &[
    "fsync_interval",
    "ping_interval",
    "pong_timeout",
    "stale_close_delay",
    "stalled_close_delay",
    "message_timeout",
    "close_timeout",
    "leave_timeout",
    "takeover_timeout",
    "presence_update_interval",
    "write_timeout",
    "handshake_timeout",
    "idle_timeout",
    "body_timeout",
    "window_age",
];

const MAX_EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;
const SHOWN_CHARS: usize = 60;
const SHOWN_ITEMS: usize = 4;
