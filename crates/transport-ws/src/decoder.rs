//! Frames from the client to the server, checked as RFC 6455 demands of a server.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::io::Cursor;

use bytes::{Buf, Bytes, BytesMut};
use tidegate_core::Disconnect;
use tidegate_core::transport::{ReceiveError, Received};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use crate::encode::{CONTROL_MAX, pong};

/// Makes messages of bytes. It keeps nothing but the fragments of an unfinished message.
#[derive(Debug)]
pub(crate) struct Decoder {
    limit: usize,
    max_fragments: u32,
    /// Boxed, for few clients ever send one.
    unfinished: Option<Box<Unfinished>>,
    /// The last whole message was of text.
    text: bool,
}

/// The fragments of a message so far.
#[derive(Debug)]
struct Unfinished {
    text: bool,
    bytes: Vec<u8>,
    fragments: u32,
}

/// Bytes to decode.
pub(crate) trait Source {
    /// What is left of them.
    fn data(&mut self) -> &mut [u8];
    /// Drops the first `len` bytes.
    fn skip(&mut self, len: usize);
    /// Takes the first `len` bytes.
    fn take(&mut self, len: usize) -> Bytes;
}

/// Parts share the buffer's allocation.
impl Source for BytesMut {
    fn data(&mut self) -> &mut [u8] {
        self
    }

    fn skip(&mut self, len: usize) {
        self.advance(len);
    }

    fn take(&mut self, len: usize) -> Bytes {
        if len == 0 { Bytes::new() } else { self.split_to(len).freeze() }
    }
}

/// Parts are copied: the bytes belong to somebody else.
impl Source for &mut [u8] {
    fn data(&mut self) -> &mut [u8] {
        self
    }

    fn skip(&mut self, len: usize) {
        *self = &mut std::mem::take(self)[len..];
    }

    fn take(&mut self, len: usize) -> Bytes {
        let taken = Bytes::copy_from_slice(&self[..len]);
        self.skip(len);
        taken
    }
}

impl Decoder {
    /// A decoder of messages of at most `limit` bytes in at most `max_fragments` fragments.
    pub(crate) fn new(limit: usize, max_fragments: u32) -> Self {
        Self { limit, max_fragments, unfinished: None, text: false }
    }

    /// The next whole message or control frame; `None` if more bytes are needed.
    ///
    /// # Errors
    /// The first rule that was broken; the decoder is of no use afterwards.
    pub(crate) fn next(&mut self, source: &mut impl Source) -> Result<Option<Received>, ReceiveError> {
        loop {
            let mut cursor = Cursor::new(&*source.data());
            let Ok(parsed) = FrameHeader::parse(&mut cursor) else {
                return Err(opcode(source.data()[0] & 0x0f));
            };
            let Some((header, announced)) = parsed else { return Ok(None) };
            let start = cursor.position() as usize;
            let mask = self.check(&header, announced)?;
            let len = announced as usize;
            if source.data().len() - start < len {
                return Ok(None);
            }
            source.skip(start);
            unmask(&mut source.data()[..len], mask);
            let received = match header.opcode {
                OpCode::Data(data) => self.data(data, header.is_final, len, source)?,
                OpCode::Control(kind) => {
                    let received = control(kind, &source.data()[..len])?;
                    source.skip(len);
                    Some(received)
                }
            };
            if received.is_some() {
                return Ok(received);
            }
        }
    }

    /// Whether the last whole message was of text.
    pub(crate) fn text(&self) -> bool {
        self.text
    }

    /// Bytes of a message of which fragments have come; at least one if there is such a message.
    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished.as_ref().map_or(0, |message| message.bytes.len().max(1))
    }

    /// Judges a frame by its header, before anything of it is kept, and returns its mask.
    fn check(&self, header: &FrameHeader, announced: u64) -> Result<[u8; 4], ReceiveError> {
        let reserved = [(header.rsv1, "RSV1 set"), (header.rsv2, "RSV2 set"), (header.rsv3, "RSV3 set")];
        if let Some((_, told)) = reserved.into_iter().find(|(set, _)| *set) {
            return Err(violation("reserved bit set", told));
        }
        let Some(mask) = header.mask else { return Err(violation("frame not masked", "bad MASK")) };
        match (header.opcode, &self.unfinished) {
            (OpCode::Control(_), _) => {
                if !header.is_final {
                    return Err(violation("fragmented control frame", "FIN not set on control"));
                }
                if announced > CONTROL_MAX as u64 {
                    return Err(violation("control frame over 125 bytes", "len > 125 for control"));
                }
                return Ok(mask);
            }
            (OpCode::Data(Data::Continue), None) => {
                return Err(violation("continuation of nothing", "continuation after FIN"));
            }
            (OpCode::Data(Data::Continue), Some(message)) if message.fragments >= self.max_fragments => {
                return Err(broken(1008, "too many fragments"));
            }
            (OpCode::Data(Data::Text | Data::Binary), Some(_)) => {
                return Err(violation("new message inside a fragmented one", "data before FIN"));
            }
            _ => {}
        }
        let before = self.unfinished.as_ref().map_or(0, |message| message.bytes.len() as u64);
        let bytes = before.saturating_add(announced);
        if bytes > self.limit as u64 {
            // The reason is empty: SDKs know the code.
            let close = Disconnect::new(1009, "");
            return Err(ReceiveError::TooLarge { bytes, limit: self.limit, close });
        }
        Ok(mask)
    }

    /// A data frame of `len` bytes. `None`: more fragments are to come.
    fn data(
        &mut self,
        data: Data,
        last: bool,
        len: usize,
        source: &mut impl Source,
    ) -> Result<Option<Received>, ReceiveError> {
        if let Some(message) = &mut self.unfinished {
            message.bytes.extend_from_slice(&source.data()[..len]);
            message.fragments += 1;
            source.skip(len);
        } else if last {
            return self.whole(data == Data::Text, source.take(len)).map(Some);
        } else {
            let bytes = source.data()[..len].to_vec();
            source.skip(len);
            self.unfinished = Some(Box::new(Unfinished { text: data == Data::Text, bytes, fragments: 1 }));
        }
        match self.unfinished.take_if(|_| last) {
            Some(message) => self.whole(message.text, message.bytes.into()).map(Some),
            None => Ok(None),
        }
    }

    fn whole(&mut self, text: bool, bytes: Bytes) -> Result<Received, ReceiveError> {
        if text && str::from_utf8(&bytes).is_err() {
            return Err(broken(1007, "text not UTF-8"));
        }
        self.text = text;
        Ok(Received::Message(bytes))
    }
}

fn control(kind: Control, payload: &[u8]) -> Result<Received, ReceiveError> {
    match kind {
        Control::Ping => Ok(Received::Answer(pong(payload))),
        Control::Pong => Ok(Received::Pong),
        Control::Close => match payload {
            // It is answered, as one with a code: 1005 stands for none.
            [] => Ok(Received::Closed(Some(1005))),
            [_] => Err(violation("close frame of one byte", "close frame of one byte")),
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                if !CloseCode::from(code).is_allowed() {
                    return Err(violation("invalid close code", format!("bad close code {code}")));
                }
                if str::from_utf8(reason).is_err() {
                    return Err(broken(1007, "close reason not UTF-8"));
                }
                Ok(Received::Closed(Some(code)))
            }
        },
        Control::Reserved(code) => Err(opcode(code)),
    }
}

/// A rule of the protocol that was broken: `told` is the peer, in the words that it hears elsewhere.
fn violation(what: &'static str, told: impl Into<Cow<'static, str>>) -> ReceiveError {
    ReceiveError::Violation { what, close: Disconnect { code: 1002, reason: told.into() } }
}

fn opcode(code: u8) -> ReceiveError {
    violation("unknown opcode", format!("bad opcode {code}"))
}

fn broken(code: u16, what: &'static str) -> ReceiveError {
    ReceiveError::Violation { what, close: Disconnect::new(code, what) }
}

/// Unmasks eight bytes at a time, which the compiler makes wider where it can.
fn unmask(body: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = body.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}
