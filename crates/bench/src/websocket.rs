//! WebSocket for a client that reads much and sends little: frames are read where the socket put them.

mod decoder;
mod handshake;

pub(crate) use decoder::{Decoder, Frame};
pub(crate) use handshake::{accepted, request};

/// Bytes on their way to the server, framed.
#[derive(Debug, Default)]
pub struct Outgoing {
    pub(crate) bytes: Vec<u8>,
    /// How much of `bytes` the socket has taken.
    pub(crate) taken: usize,
    text: bool,
    /// Messages stand one behind the other without frames, as on a QUIC stream.
    plain: bool,
    mask: u32,
}

impl Outgoing {
    /// Frames of text, or of bytes.
    pub(crate) fn new(text: bool) -> Self {
        Self { text, ..Self::default() }
    }

    /// No frames: a line feed ends text, and other messages say how long they are.
    pub(crate) fn plain(text: bool) -> Self {
        Self { text, plain: true, ..Self::default() }
    }

    /// Adds one message, which is made of `parts`.
    pub fn message(&mut self, parts: &[&[u8]]) {
        if self.plain {
            parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
            if self.text {
                self.bytes.push(b'\n');
            }
            return;
        }
        self.frame(if self.text { TEXT } else { BINARY }, parts);
    }

    pub(crate) fn pong(&mut self, payload: &[u8]) {
        self.frame(PONG, &[payload]);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets what the socket took. A large buffer is not kept: most connections never send again.
    pub(crate) fn took(&mut self, bytes: usize) {
        self.taken += bytes;
        if self.taken == self.bytes.len() {
            self.taken = 0;
            self.bytes.clear();
            if self.bytes.capacity() > KEPT {
                self.bytes = Vec::new();
            }
        }
    }

    fn frame(&mut self, opcode: u8, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        self.bytes.push(FIN | opcode);
        match length {
            0..126 => self.bytes.push(MASKED | length as u8),
            126..0x1_0000 => {
                self.bytes.push(MASKED | 126);
                self.bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                self.bytes.push(MASKED | 127);
                self.bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        // Masks keep browsers from being made to write what proxies take for requests. Nothing here is
        // anybody else's text, so that another mask each time is enough; and it is never zero.
        self.mask = self.mask.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) | 1;
        let mask = self.mask.to_be_bytes();
        self.bytes.extend_from_slice(&mask);
        let start = self.bytes.len();
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        for chunk in self.bytes[start..].chunks_mut(mask.len()) {
            chunk.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        }
    }
}

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// Bytes that a connection may hold while it is idle.
const KEPT: usize = 4096;

#[cfg(test)]
mod tests;
