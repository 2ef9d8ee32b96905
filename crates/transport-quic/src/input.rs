#[cfg(test)]
mod tests;

use bytes::{Buf, Bytes, BytesMut};
use tidegate_core::Disconnect;
use tidegate_core::transport::ReceiveError;

/// What has come of a byte stream, as messages: lines, or each behind its length. Holds nothing between messages.
#[derive(Debug)]
pub(crate) struct Input {
    buffer: BytesMut,
    /// Bytes at the beginning of `buffer` that hold no line feed.
    looked: usize,
    /// The longest message, in bytes.
    limit: usize,
    binary: bool,
}

const BAD: Disconnect = Disconnect::new(3501, "bad request");

impl Input {
    pub(crate) fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), looked: 0, limit, binary: false }
    }

    pub(crate) fn set_binary(&mut self, binary: bool) {
        self.binary = binary;
    }

    /// Bytes that have come of messages not taken yet.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Takes the next whole message: a line without its end, or a message with its length.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, ReceiveError> {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
            return Ok(None);
        }
        if self.binary { self.next_delimited() } else { self.next_line() }
    }

    fn next_line(&mut self) -> Result<Option<Bytes>, ReceiveError> {
        let end = self.buffer[self.looked..].iter().position(|byte| *byte == b'\n');
        let Some(end) = end.map(|end| self.looked + end) else {
            self.looked = self.buffer.len();
            self.check(self.buffer.len() as u64)?;
            return Ok(None);
        };
        self.check(end as u64)?;
        self.looked = 0;
        let line = self.buffer.split_to(end).freeze();
        self.buffer.advance(1);
        Ok(Some(line))
    }

    fn next_delimited(&mut self) -> Result<Option<Bytes>, ReceiveError> {
        let mut length = 0u64;
        for (i, byte) in self.buffer.iter().enumerate() {
            if i >= LENGTH {
                break;
            }
            length |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                self.check(length)?;
                let whole = i + 1 + length as usize;
                if self.buffer.len() < whole {
                    return Ok(None);
                }
                return Ok(Some(self.buffer.split_to(whole).freeze()));
            }
        }
        if self.buffer.len() < LENGTH {
            return Ok(None);
        }
        Err(ReceiveError::Violation { what: "a length of more than five bytes", close: BAD })
    }

    fn check(&self, bytes: u64) -> Result<(), ReceiveError> {
        if bytes > self.limit as u64 {
            return Err(ReceiveError::TooLarge { bytes, limit: self.limit, close: BAD });
        }
        Ok(())
    }
}

/// The longest length, in bytes: 32 bits.
const LENGTH: usize = 5;
