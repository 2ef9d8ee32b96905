//! Asking Tidegate for notices, and reading them.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What Tidegate says in `message` pushes to those who ask for it.
#[derive(Debug, Deserialize)]
pub(super) struct Notice {
    pub(super) tidegate: Told,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Told {
    Gap { channel: String, missed: u64, cause: String },
    Health(String),
}

/// The data of a subscribe command that asks for notices, too. Data that is no object has no place to ask in, and stays
/// as it is.
pub(super) fn asked(data: &Bytes) -> Bytes {
    let object = if data.is_empty() { Ok(Map::new()) } else { serde_json::from_slice::<Map<_, _>>(data) };
    let Ok(mut object) = object else { return data.clone() };
    let tidegate = object.entry("tidegate").or_insert_with(|| json!({}));
    if let Value::Object(wishes) = tidegate {
        wishes.entry("notices").or_insert(Value::Bool(true));
    }
    Value::Object(object).to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_keeps_what_is_in_it() {
        let check = |data: &'static str, expected: &str| assert_eq!(asked(&data.into()), expected);
        check("", r#"{"tidegate":{"notices":true}}"#);
        check(r#"{"a":1}"#, r#"{"a":1,"tidegate":{"notices":true}}"#);
        check(r#"{"tidegate":{"notices":false}}"#, r#"{"tidegate":{"notices":false}}"#);
        check("[1]", "[1]");
        check("binary", "binary");
    }
}
