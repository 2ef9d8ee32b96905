use bytes::{BufMut, Bytes};
use prost::{Message, decode_length_delimiter, encode_length_delimiter, length_delimiter_len};

use super::malformed::Cause;
use crate::message::{Publication, Push};

/// Takes the first message from a frame that is not empty.
pub(super) fn decode<M: Message + Default>(frame: &mut &[u8]) -> Result<M, Cause> {
    let expected = decode_length_delimiter(&mut *frame)?;
    let Some((message, rest)) = frame.split_at_checked(expected) else {
        return Err(Cause::Truncated { expected, got: frame.len() });
    };
    *frame = rest;
    // From a slice, prost copies payloads. Cut out of a `Bytes` they would keep the whole frame alive for as
    // long as a channel's history keeps one small publication.
    Ok(M::decode(message)?)
}

pub(super) fn encode<M: Message>(message: &M) -> Bytes {
    message.encode_length_delimited_to_vec().into()
}

pub(super) fn encode_push(push: &Push) -> Bytes {
    let length = push.encoded_len();
    let mut frame = reply(field_len(length));
    put_field(&mut frame, REPLY_PUSH, length);
    push.encode(&mut frame).expect(EXACT);
    frame.into()
}

pub(super) fn publication_push(channel: &str, publication: &Publication) -> Bytes {
    let length = publication.encoded_len();
    let channel_len = if channel.is_empty() { 0 } else { field_len(channel.len()) };
    let push_len = channel_len + field_len(length);

    let mut frame = reply(field_len(push_len));
    put_field(&mut frame, REPLY_PUSH, push_len);
    if !channel.is_empty() {
        put_field(&mut frame, PUSH_CHANNEL, channel.len());
        frame.put_slice(channel.as_bytes());
    }
    put_field(&mut frame, PUSH_PUB, length);
    publication.encode(&mut frame).expect(EXACT);
    frame.into()
}

/// A buffer for a reply of `length` bytes, with that length written.
fn reply(length: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(length_delimiter_len(length) + length);
    encode_length_delimiter(length, &mut frame).expect(EXACT);
    frame
}

/// Writes what stands before the `length` bytes of a string or message.
fn put_field(frame: &mut Vec<u8>, key: u8, length: usize) {
    frame.put_u8(key);
    encode_length_delimiter(length, frame).expect(EXACT);
}

/// The length of a string or message of `length` bytes and what stands before it.
fn field_len(length: usize) -> usize {
    1 + length_delimiter_len(length) + length
}

// Keys of fields: the tag, then 2 for "a length and that many bytes".
const REPLY_PUSH: u8 = 4 << 3 | 2;
const PUSH_CHANNEL: u8 = 2 << 3 | 2;
const PUSH_PUB: u8 = 4 << 3 | 2;

const EXACT: &str = "a Vec grows";
