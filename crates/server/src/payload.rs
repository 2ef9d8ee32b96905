//! Payloads and options as tokens and backends write them in JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tidegate_core::call::Overrides;

/// A text that is not base64.
#[derive(Debug)]
pub(crate) struct NotBase64;

/// What is in base64 if there is something, else what is in JSON, as it is written there.
pub(crate) fn either(base64: Option<&str>, json: Option<&RawValue>) -> Result<Option<Bytes>, NotBase64> {
    match base64.filter(|text| !text.is_empty()) {
        Some(text) => STANDARD.decode(text).map(|bytes| Some(bytes.into())).map_err(|_| NotBase64),
        None => Ok(json.map(raw)),
    }
}

/// JSON as it is written.
pub(crate) fn raw(json: &RawValue) -> Bytes {
    Bytes::copy_from_slice(json.get().as_bytes())
}

/// A moment in seconds since 1970 that no arithmetic overflows with; 0 is never.
pub(crate) fn moment(seconds: i64) -> i64 {
    seconds.clamp(0, LAST_SECOND)
}

/// `override`: options of the channel that are different for one subscription.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Override {
    presence: Option<Switch>,
    join_leave: Option<Switch>,
    force_recovery: Option<Switch>,
    force_positioning: Option<Switch>,
    force_push_join_leave: Option<Switch>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Switch {
    value: bool,
}

impl From<Override> for Overrides {
    fn from(from: Override) -> Self {
        let value = |switch: Option<Switch>| switch.map(|switch| switch.value);
        Self {
            presence: value(from.presence),
            join_leave: value(from.join_leave),
            force_recovery: value(from.force_recovery),
            force_positioning: value(from.force_positioning),
            force_push_join_leave: value(from.force_push_join_leave),
        }
    }
}

/// The last second that something may expire at: in 2128.
const LAST_SECOND: i64 = 5_000_000_000;
