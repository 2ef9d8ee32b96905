//! How single fields stand in JSON, where that is not what serde does by itself.
//!
//! A field that is `null` has its zero value, as if it were absent; an object is never taken from an array
//! (which serde's derive would allow); a `bytes` field is embedded JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// Whether the field is left out of the JSON: the protocol omits zero values.
pub(crate) fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A number, a flag or a string.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A sub-message.
pub(super) fn object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::<Object<T>>::deserialize(deserializer)?.map(|object| object.0))
}

/// A list of sub-messages.
pub(super) fn objects<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    let list: Option<Vec<Option<Object<T>>>> = Option::deserialize(deserializer)?;
    Ok(list.unwrap_or_default().into_iter().map(Object::or_default).collect())
}

/// A list of strings.
pub(super) fn strings<'de, D>(deserializer: D) -> Result<Vec<String>, D::Error>
where
    D: Deserializer<'de>,
{
    let list: Option<Vec<Option<String>>> = Option::deserialize(deserializer)?;
    Ok(list.unwrap_or_default().into_iter().map(Option::unwrap_or_default).collect())
}

/// A map of strings.
pub(super) fn string_map<'de, D>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error>
where
    D: Deserializer<'de>,
{
    let map: Option<BTreeMap<String, Option<String>>> = Option::deserialize(deserializer)?;
    Ok(map.unwrap_or_default().into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect())
}

/// A map of sub-messages.
pub(super) fn object_map<'de, D, T>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    let map: Option<BTreeMap<String, Option<Object<T>>>> = Option::deserialize(deserializer)?;
    Ok(map.unwrap_or_default().into_iter().map(|(key, value)| (key, Object::or_default(value))).collect())
}

/// A message that is read from a JSON object and from nothing else.
pub(crate) struct Object<T>(pub(crate) T);

impl<T: Default> Object<T> {
    fn or_default(object: Option<Self>) -> T {
        object.map(|object| object.0).unwrap_or_default()
    }
}

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
        }

        deserializer.deserialize_map(AsMap(PhantomData))
    }
}

/// A `bytes` field: in JSON one value, embedded as it is.
pub(crate) mod raw {
    use bytes::Bytes;
    use serde::de::{Deserialize, Deserializer};
    use serde::ser::{Error, Serialize, Serializer};
    use serde_json::value::RawValue;

    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        let value = parse(bytes).map_err(S::Error::custom)?;
        if !value.get().contains('\n') {
            return value.serialize(serializer);
        }
        // Newlines separate messages. Inside valid JSON they are whitespace: a string has them escaped.
        RawValue::from_string(value.get().replace('\n', ""))
            .expect("JSON without its newlines is still JSON")
            .serialize(serializer)
    }

    /// Copies the value out of the frame: a publication kept in a channel's history must not keep the whole
    /// frame alive, which can be a thousand times its size.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let value = <&RawValue>::deserialize(deserializer)?;
        Ok(Bytes::copy_from_slice(value.get().as_bytes()))
    }

    /// The one JSON value that `bytes` hold, without the whitespace around it.
    pub(crate) fn parse(bytes: &[u8]) -> serde_json::Result<&RawValue> {
        serde_json::from_slice(bytes)
    }
}
