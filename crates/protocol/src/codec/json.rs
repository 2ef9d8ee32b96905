mod publication;

use bytes::Bytes;
use serde::de::{Deserialize, DeserializeOwned, IgnoredAny};
use serde::ser::Serialize;

pub(super) use self::publication::publication_push;
use super::malformed::Cause;
use crate::message::{Object, Push};

/// A payload is not JSON, and the client can be sent nothing else; it is disconnected with 3506.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a payload that is one JSON value, as the client speaks JSON, got something else")]
#[non_exhaustive]
pub struct NotJson;

/// Whether `data` is exactly one JSON value, with or without whitespace around it.
///
/// Builds nothing, and takes no more stack for a value that is nested deeply.
pub fn is_json(data: &[u8]) -> bool {
    // Skipping a string does not look at its encoding, so that is checked first.
    str::from_utf8(data).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// Takes the first line, without its end, from a frame that is not empty.
pub(super) fn split_line<'a>(frame: &mut &'a [u8]) -> &'a [u8] {
    let whole = *frame;
    let (line, rest) = match memchr::memchr(b'\n', whole) {
        Some(newline) => (&whole[..newline], &whole[newline + 1..]),
        None => (whole, Default::default()),
    };
    *frame = rest;
    line
}

/// The object that a line begins with. What stands behind it is not looked at, as in v6.
pub(super) fn decode<M: DeserializeOwned>(line: &[u8]) -> Result<M, Cause> {
    let mut reader = serde_json::Deserializer::from_str(str::from_utf8(line)?);
    let Object(message) = Object::deserialize(&mut reader)?;
    Ok(message)
}

pub(super) fn encode<M: Serialize>(message: &M) -> Result<Bytes, NotJson> {
    // Keys are strings and memory takes what it is given: a payload is all that can fail.
    serde_json::to_vec(message).map(Bytes::from).map_err(|_| NotJson)
}

pub(super) fn encode_push(push: &Push) -> Result<Bytes, NotJson> {
    #[derive(serde::Serialize)]
    struct Reply<'a> {
        push: &'a Push,
    }

    encode(&Reply { push })
}
