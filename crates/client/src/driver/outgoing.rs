use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use tidegate_protocol::{Command, Encoding};

use crate::machine::Lost;
use crate::options::FRAME;
use crate::transport::Transport;

/// Frames on their way out.
pub(super) struct Outgoing {
    encoding: Encoding,
    frames: VecDeque<BytesMut>,
    bytes: usize,
    /// Something was sent that may not have left yet.
    unflushed: bool,
}

impl Outgoing {
    pub(super) fn new(encoding: Encoding) -> Self {
        Self { encoding, frames: VecDeque::new(), bytes: 0, unflushed: false }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn command(&mut self, command: &Command) {
        let bytes = self.encoding.encode_command(command);
        self.add(&bytes.expect("payloads are looked at when they are given"));
    }

    pub(super) fn pong(&mut self) {
        self.add(&self.encoding.ping());
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.encoding);
    }

    /// Takes all that is left.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new(self.encoding))
    }

    fn add(&mut self, message: &Bytes) {
        let separator = usize::from(self.encoding == Encoding::Json);
        let last = self.frames.back_mut().filter(|last| last.len() + separator + message.len() <= FRAME);
        if let Some(frame) = last {
            frame.extend_from_slice(&b"\n"[..separator]);
            frame.extend_from_slice(message);
            self.bytes += separator;
        } else {
            self.frames.push_back(BytesMut::from(&message[..]));
        }
        self.bytes += message.len();
    }

    /// Writes what can be written. Says whether that was anything.
    pub(super) fn poll_write(
        &mut self,
        transport: &mut dyn Transport,
        cx: &mut Context<'_>,
    ) -> Result<bool, Lost> {
        let mut written = false;
        while !self.frames.is_empty() {
            match transport.poll_ready(cx) {
                Poll::Pending => return Ok(written),
                Poll::Ready(ready) => ready?,
            }
            if let Some(frame) = self.frames.pop_front() {
                self.bytes -= frame.len();
                transport.send(frame.freeze())?;
                self.unflushed = true;
                written = true;
            }
        }
        if self.unflushed {
            match transport.poll_flush(cx) {
                Poll::Pending => {}
                Poll::Ready(flushed) => {
                    flushed?;
                    self.unflushed = false;
                }
            }
        }
        Ok(written)
    }
}
