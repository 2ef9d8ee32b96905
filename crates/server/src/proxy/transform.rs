//! What a status other than 200 means to a client.

use std::collections::BTreeMap;

use serde::Deserialize;
use tidegate_core::Refusal;

use super::answer::{Close, Error};
use crate::rules::RulesError;

/// What clients are told, by the status that a backend answered with.
#[derive(Debug, Default)]
pub(super) struct Transforms(BTreeMap<u16, Refusal>);

/// An element of `http.status_to_code_transforms`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Transform {
    status_code: u16,
    to_error: Option<Error>,
    to_disconnect: Option<Close>,
}

impl Transforms {
    /// # Errors
    /// A table that makes no sense, by its place in the list that is the value of `key`.
    pub(super) fn new(key: &str, tables: &[serde_json::Value]) -> Result<Self, RulesError> {
        let mut transforms = BTreeMap::new();
        for (index, table) in tables.iter().enumerate() {
            let wrong = |expected: &str| RulesError::BadValue {
                key: format!("{key}[{index}]"),
                found: "another table".to_owned(),
                expected: expected.to_owned(),
            };
            let form = "status_code, and to_error (code, message, temporary) or to_disconnect (code, reason)";
            let parsed: Transform = serde_json::from_value(table.clone()).map_err(|_| wrong(form))?;
            let refusal = match (parsed.to_error, parsed.to_disconnect) {
                (Some(error), None) => error.refusal(),
                (None, Some(close)) => close.refusal(),
                _ => return Err(wrong(form)),
            };
            let refusal = refusal.map_err(|said| wrong(said.trim_start_matches("expected ")))?;
            if !(100..=599).contains(&parsed.status_code) || parsed.status_code == 200 {
                return Err(wrong("a status_code from 100 to 599 that is not 200"));
            }
            // The first counts, as in v6.
            transforms.entry(parsed.status_code).or_insert(refusal);
        }
        Ok(Self(transforms))
    }

    pub(super) fn of(&self, status: u16) -> Option<Refusal> {
        self.0.get(&status).cloned()
    }
}
