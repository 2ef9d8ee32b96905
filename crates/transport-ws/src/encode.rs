//! Frames from the server to the client (RFC 6455 §5.2): never masked, never fragmented.

#[cfg(test)]
mod tests;

use bytes::{BufMut, Bytes, BytesMut};
use tidegate_core::Disconnect;
use tidegate_core::outbox::{Framing, HEADER};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Every message is a text frame.
pub(crate) const TEXT: Framing = Framing { header: |len, out| header(0x81, len, out), suffix: b"" };
/// Every message is a binary frame.
pub(crate) const BINARY: Framing = Framing { header: |len, out| header(0x82, len, out), suffix: b"" };

const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// What a control frame may hold, in bytes (RFC 6455 §5.5).
pub(crate) const CONTROL_MAX: usize = 125;

fn header(first: u8, len: usize, out: &mut [u8; HEADER]) -> usize {
    out[0] = first;
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short @ 0..=125), _) => {
            out[1] = short;
            2
        }
        (_, Ok(medium)) => {
            out[1] = 126;
            out[2..4].copy_from_slice(&medium.to_be_bytes());
            4
        }
        _ => {
            out[1] = 127;
            out[2..].copy_from_slice(&(len as u64).to_be_bytes());
            10
        }
    }
}

fn control(first: u8, payload: &[u8]) -> BytesMut {
    debug_assert!(payload.len() <= CONTROL_MAX, "a control frame is one byte of length");
    let mut frame = BytesMut::with_capacity(2 + payload.len());
    frame.put_u8(first);
    frame.put_u8(payload.len() as u8);
    frame.put_slice(payload);
    frame
}

/// A ping without a payload.
pub(crate) fn ping() -> Bytes {
    Bytes::from_static(&[PING, 0])
}

/// The answer to a ping with this payload.
pub(crate) fn pong(payload: &[u8]) -> Bytes {
    control(PONG, payload).freeze()
}

/// A close frame with code and reason; one with neither for a code that may not be sent, such as 1005,
/// "no status".
pub(crate) fn close(why: &Disconnect) -> Bytes {
    if !CloseCode::from(why.code).is_allowed() {
        return control(CLOSE, &[]).freeze();
    }
    let mut end = why.reason.len().min(CONTROL_MAX - 2);
    while !why.reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = &why.reason[..end];
    let mut frame = BytesMut::with_capacity(4 + reason.len());
    frame.put_u8(CLOSE);
    frame.put_u8(2 + reason.len() as u8);
    frame.put_u16(why.code);
    frame.put_slice(reason.as_bytes());
    frame.freeze()
}
