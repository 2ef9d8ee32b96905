//! Pushes on a track of their subscription's own: without the reply around them, and without the channel. They
//! are cut out of those that all others read, while these are copied.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use prost::{decode_length_delimiter, encode_length_delimiter, length_delimiter_len};
use tidegate_core::outbox::Batch;

use crate::Encoding;

/// Writes the push in `reply`, without the channel.
pub(crate) fn write(encoding: Encoding, reply: &Bytes, out: &mut Batch) {
    match encoding {
        Encoding::Json => {
            let from = JSON.len() + json_channel(&reply[JSON.len()..]);
            // Without the brace that closes the reply.
            out.joined(b"{", reply, from..reply.len() - 1);
        }
        Encoding::Protobuf => {
            let mut push = &reply[..];
            decode_length_delimiter(&mut push).expect(OURS);
            push = &push[1..];
            decode_length_delimiter(&mut push).expect(OURS);
            if let [CHANNEL, name @ ..] = push {
                push = name;
                let length = decode_length_delimiter(&mut push).expect(OURS);
                push = &push[length..];
            }
            let mut head = [0; 10];
            encode_length_delimiter(push.len(), &mut &mut head[..]).expect("a length is at most ten bytes");
            let head = &head[..length_delimiter_len(push.len())];
            out.joined(head, reply, reply.len() - push.len()..reply.len());
        }
    }
}

/// How many bytes tell the channel at the beginning of a push's members in JSON.
fn json_channel(members: &[u8]) -> usize {
    let Some(name) = members.strip_prefix(JSON_CHANNEL) else { return 0 };
    let mut escaped = false;
    let end = name.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    // The quote, and the comma before the next member: a push has always one.
    JSON_CHANNEL.len() + end.expect(OURS) + 2
}

/// What stands before the members of a push in JSON.
const JSON: &str = r#"{"push":{"#;
const JSON_CHANNEL: &[u8] = br#""channel":""#;
/// The key of the channel in Protobuf: tag 2, "a length and that many bytes".
const CHANNEL: u8 = 2 << 3 | 2;
const OURS: &str = "the reply was encoded here";
