//! Messages out of a stream of bytes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use quinn::RecvStream;
use tidegate_protocol::Encoding;
use tokio::io::{AsyncRead, ReadBuf};

use crate::Why;
use crate::machine::own;

/// Bytes that are read at once. 16 KiB.
const READ: usize = 16 << 10;

/// A stream that is read, and what of it is no whole message yet.
pub(super) struct Reading {
    stream: RecvStream,
    buffer: BytesMut,
    /// How much of the buffer has been looked at and has no whole message.
    looked: usize,
}

/// What a stream has.
#[derive(Debug)]
pub(super) enum Step {
    /// Whole messages.
    Messages(Bytes),
    /// It has ended, or was given up by the server.
    End,
    /// A message that is larger than is taken.
    TooLarge(Why),
}

impl Reading {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { stream, buffer: BytesMut::new(), looked: 0 }
    }

    /// The id that the stream begins with; `None` if it ends before.
    pub(super) fn poll_id(&mut self, cx: &mut Context<'_>) -> Poll<Option<u32>> {
        loop {
            if let Some((id, length)) = uvarint(&self.buffer) {
                self.buffer.advance(length);
                return Poll::Ready(u32::try_from(id).ok());
            }
            if self.buffer.len() >= LONGEST || !ready!(self.poll_read(cx)) {
                return Poll::Ready(None);
            }
        }
    }

    /// All whole messages that are there.
    pub(super) fn poll_messages(
        &mut self,
        cx: &mut Context<'_>,
        encoding: Encoding,
        limit: usize,
    ) -> Poll<Step> {
        loop {
            let whole = whole(encoding, &self.buffer, self.looked);
            self.looked = if whole > 0 { 0 } else { self.buffer.len() };
            if whole > 0 {
                return Poll::Ready(Step::Messages(self.buffer.split_to(whole).freeze()));
            }
            if self.buffer.len() > limit {
                let what = format!("a message of more than {limit} bytes came");
                return Poll::Ready(Step::TooLarge(Why::new(own::MESSAGE_SIZE_LIMIT, what)));
            }
            if !ready!(self.poll_read(cx)) {
                return Poll::Ready(Step::End);
            }
        }
    }

    /// Reads what there is; false at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut space = [0; READ];
        let mut space = ReadBuf::new(&mut space);
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut space));
        self.buffer.extend_from_slice(space.filled());
        Poll::Ready(read.is_ok() && !space.filled().is_empty())
    }
}

/// The bytes of the longest number of 64 bits.
const LONGEST: usize = 10;

/// The number at the beginning, and how many bytes it takes.
fn uvarint(bytes: &[u8]) -> Option<(u64, usize)> {
    let length = bytes.iter().take(LONGEST).position(|byte| byte & 0x80 == 0)? + 1;
    let digits = bytes[..length].iter().rev();
    Some((digits.fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f)), length))
}

/// How many bytes of the beginning are whole messages. Of those `looked` at nothing is.
fn whole(encoding: Encoding, bytes: &[u8], looked: usize) -> usize {
    match encoding {
        Encoding::Json => {
            let last = bytes[looked..].iter().rposition(|byte| *byte == b'\n');
            last.map_or(0, |last| looked + last + 1)
        }
        Encoding::Protobuf => {
            let mut whole = 0;
            while let Some((length, prefix)) = uvarint(&bytes[whole..]) {
                let end =
                    usize::try_from(length).ok().and_then(|length| (whole + prefix).checked_add(length));
                match end {
                    Some(end) if end <= bytes.len() => whole = end,
                    _ => break,
                }
            }
            whole
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_when_they_are_whole() {
        assert_eq!(uvarint(&[]), None);
        assert_eq!(uvarint(&[0x80]), None);
        assert_eq!(uvarint(&[5, 9]), Some((5, 1)));
        assert_eq!(uvarint(&[0xac, 0x02]), Some((300, 2)));
        assert_eq!(uvarint(&[0x80; 20]), None);
    }

    #[test]
    fn only_whole_messages_are_taken() {
        let check =
            |encoding, bytes: &[u8], expected| assert_eq!(whole(encoding, bytes, 0), expected, "{bytes:?}");
        check(Encoding::Json, b"{\"a\":1}", 0);
        check(Encoding::Json, b"{}\n{\"a", 3);
        check(Encoding::Json, b"{}\n{}\n", 6);
        check(Encoding::Protobuf, &[], 0);
        check(Encoding::Protobuf, &[2, 7], 0);
        check(Encoding::Protobuf, &[0, 2, 7, 7, 3, 1], 4);
        check(Encoding::Protobuf, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], 0);
    }
}
