//! How values of the merged tree become fields: for `#[serde(deserialize_with = …)]`.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};

/// A Go duration.
pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    super::duration::parse(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is not a duration")))
}

/// A Go duration; `0s` is none.
pub(super) fn some_duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    Ok(Some(duration(from)?).filter(|duration| !duration.is_zero()))
}

/// A limit; 0 is unlimited.
pub(super) fn limit<'de, D: Deserializer<'de>>(from: D) -> Result<Option<NonZeroUsize>, D::Error> {
    usize::deserialize(from).map(NonZeroUsize::new)
}

/// A limit that is derived from the system unless somebody sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// From what the system gives.
    Derived,
    /// None, as somebody said: 0.
    Unlimited,
    /// So many.
    At(NonZeroUsize),
}

impl<'de> Deserialize<'de> for Bound {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(usize),
            Text(String),
        }
        match Written::deserialize(from)? {
            Written::Number(number) => Ok(NonZeroUsize::new(number).map_or(Self::Unlimited, Self::At)),
            Written::Text(text) if text.is_empty() => Ok(Self::Derived),
            Written::Text(text) => Err(D::Error::custom(format!("{text:?} is not a limit"))),
        }
    }
}

/// Unix seconds; 0 is none.
pub(super) fn some_seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    Ok(Some(i64::deserialize(from)?).filter(|seconds| *seconds != 0))
}

/// A text; the empty one is none.
pub(super) fn some_text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Some(String::deserialize(from)?).filter(|text| !text.is_empty()))
}

/// A port; the empty text is none.
pub(super) fn some_port<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u16>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Port {
        Some(u16),
        None(String),
    }
    match Port::deserialize(from)? {
        Port::Some(port) => Ok(Some(port)),
        Port::None(text) if text.is_empty() => Ok(None),
        Port::None(text) => Err(D::Error::custom(format!("{text:?} is not a port"))),
    }
}

/// A list of tables with a `name`, as a map by name.
pub(super) fn by_name<'de, D, T>(from: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let tables = Vec::<serde_json::Map<String, serde_json::Value>>::deserialize(from)?;
    let named = |mut table: serde_json::Map<String, serde_json::Value>| {
        let name = table.remove("name").and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default();
        Ok((name, serde_json::from_value(table.into()).map_err(D::Error::custom)?))
    };
    tables.into_iter().map(named).collect()
}
