//! How fields stand in JSON, where that is not what serde does by itself.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::value::{MapAccessDeserializer, MapDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::{RawValue, to_raw_value};
use tidegate_core::ClientError;

use super::bad_request;

/// A field whose zero value may be written as `null`.
pub(super) fn or_zero<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A list of strings, or values by strings, where `null` may stand for any of them, and for the whole.
pub(super) fn strings<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Strings,
{
    Ok(Option::<T::Nullable>::deserialize(deserializer)?.map(T::of).unwrap_or_default())
}

/// See [`strings`].
pub(super) trait Strings: Default {
    /// As it is read.
    type Nullable: for<'de> Deserialize<'de>;

    fn of(nullable: Self::Nullable) -> Self;
}

impl Strings for Vec<String> {
    type Nullable = Vec<Option<String>>;

    fn of(nullable: Self::Nullable) -> Self {
        nullable.into_iter().map(Option::unwrap_or_default).collect()
    }
}

impl Strings for BTreeMap<String, String> {
    type Nullable = BTreeMap<String, Option<String>>;

    fn of(nullable: Self::Nullable) -> Self {
        nullable.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect()
    }
}

/// An object within an object.
pub(super) fn object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::<Object<T>>::deserialize(deserializer)?.map(|Object(object)| object))
}

/// A payload: any JSON, kept as written; `null` is one, too.
///
/// It is copied: a publication in a channel's history must not keep the body of a whole batch.
pub(super) fn payload<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bytes>, D::Error> {
    let value = <&RawValue>::deserialize(deserializer)?;
    Ok(Some(Bytes::copy_from_slice(value.get().as_bytes())))
}

/// Any JSON, kept as written, where `null` stands for nothing.
pub(super) fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bytes>, D::Error> {
    Ok(payload(deserializer)?.filter(|bytes| **bytes != *b"null"))
}

/// What is in base64 if there is something, else what is in JSON; empty if nothing is.
pub(super) fn either(json: Option<Bytes>, base64: &str) -> Result<Bytes, ClientError> {
    if base64.is_empty() {
        return Ok(json.unwrap_or_default());
    }
    STANDARD.decode(base64).map(Bytes::from).map_err(|_| bad_request("padded base64 in a b64 field"))
}

/// Bytes that are a reply's, embedded as they are; those that are no JSON as a string of base64. Nothing, if
/// there are none.
pub(super) fn embed(bytes: &Bytes) -> Option<Box<RawValue>> {
    if bytes.is_empty() {
        return None;
    }
    let json = std::str::from_utf8(bytes).ok();
    let json = json.and_then(|text| RawValue::from_string(text.to_owned()).ok());
    json.or_else(|| to_raw_value(&STANDARD.encode(bytes)).ok())
}

/// Whether a field is left out of a reply.
pub(super) fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// What is read from a JSON object, or `null`, which is an empty one: serde's derive would take an array, too.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsMap<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for AsMap<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }

            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                T::deserialize(MapDeserializer::new(std::iter::empty::<(&str, &str)>())).map(Object)
            }
        }

        deserializer.deserialize_any(AsMap(PhantomData))
    }
}
