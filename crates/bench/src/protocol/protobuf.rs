use tidegate_protocol::Encoding;

use super::{Heard, Ids, Protocol, Who};
use crate::websocket::Outgoing;

/// Messages after their lengths. Of a push only the way to its payload is read.
#[derive(Debug, Default)]
pub(super) struct Protobuf {
    ids: Ids,
    /// The server wants its pings answered.
    pong: bool,
}

impl Protocol for Protobuf {
    fn subprotocol(&self) -> Option<&'static str> {
        Some("centrifuge-protobuf")
    }

    fn connect(&mut self, who: &Who<'_>, out: &mut Outgoing) {
        let command = super::connect(self.ids.next(), who);
        out.message(&[&Encoding::Protobuf.encode_command(&command).expect(ANYTHING)]);
    }

    fn subscribe(&mut self, channels: &[String], out: &mut Outgoing) {
        let ids = self.ids.subscribe(channels.len());
        let commands: Vec<_> = ids
            .zip(channels)
            .map(|(id, channel)| super::subscribe(id, channel))
            .map(|command| Encoding::Protobuf.encode_command(&command).expect(ANYTHING))
            .collect();
        out.message(&[&commands.concat()]);
    }

    fn publish(&mut self, channel: &str, payload: &[u8], out: &mut Outgoing) {
        let mut request = Small::default();
        request.field(PUBLISH_CHANNEL, channel.len());
        let mut data = Small::default();
        data.field(PUBLISH_DATA, payload.len());
        let length = request.used + channel.len() + data.used + payload.len();
        let mut command = Small::default();
        command.byte(COMMAND_ID);
        command.varint(self.ids.next() as usize);
        command.field(COMMAND_PUBLISH, length);
        let mut frame = Small::default();
        frame.varint(command.used + length);
        out.message(&[
            frame.bytes(),
            command.bytes(),
            request.bytes(),
            channel.as_bytes(),
            data.bytes(),
            payload,
        ]);
    }

    fn receive(
        &mut self,
        bytes: &[u8],
        out: &mut Outgoing,
        hear: &mut dyn FnMut(Heard<'_>),
    ) -> Result<usize, String> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let before = rest;
            let message = varint(&mut rest).and_then(|length| take(&mut rest, length));
            let message = message.ok_or("a frame that ends within a message")?;
            let publication = field(message, PUSH).and_then(|push| field(push, PUB));
            match publication.and_then(|publication| field(publication, DATA)) {
                Some(payload) => hear(Heard::Payload(payload)),
                // With its length, as it came.
                None => {
                    let message = &before[..before.len() - rest.len()];
                    super::other(Encoding::Protobuf, message, &mut self.pong, out, hear)?;
                }
            }
        }
        Ok(bytes.len())
    }

    fn receive_own(&mut self, id: u64, bytes: &[u8], hear: &mut dyn FnMut(Heard<'_>)) -> Result<(), String> {
        self.ids.check(id)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let before = rest;
            let push = varint(&mut rest).and_then(|length| take(&mut rest, length));
            let push = push.ok_or("a stream with half a message")?;
            match field(push, PUB).and_then(|publication| field(publication, DATA)) {
                Some(payload) => hear(Heard::Payload(payload)),
                None => {
                    let message = &before[..before.len() - rest.len()];
                    super::heard_there(Encoding::Protobuf, message, hear)?;
                }
            }
        }
        Ok(())
    }
}

/// The first field with this key in a message, for keys of one byte and fields that have a length.
#[inline]
fn field(message: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = message;
    loop {
        let key = varint(&mut rest)?;
        match key & 7 {
            VARINT => {
                varint(&mut rest)?;
            }
            LENGTH => {
                let length = varint(&mut rest)?;
                let value = take(&mut rest, length)?;
                if key == usize::from(wanted) {
                    return Some(value);
                }
            }
            FIXED_64 => {
                take(&mut rest, 8)?;
            }
            FIXED_32 => {
                take(&mut rest, 4)?;
            }
            _ => return None,
        }
    }
}

#[inline]
fn varint(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for (i, byte) in bytes.iter().enumerate().take(10) {
        value |= usize::from(byte & 0x7f).checked_shl(7 * i as u32)?;
        if byte & 0x80 == 0 {
            *bytes = &bytes[i + 1..];
            return Some(value);
        }
    }
    None
}

#[inline]
fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// A few bytes to write before others.
#[derive(Default)]
struct Small {
    bytes: [u8; 32],
    used: usize,
}

impl Small {
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.used]
    }

    fn byte(&mut self, byte: u8) {
        self.bytes[self.used] = byte;
        self.used += 1;
    }

    fn varint(&mut self, mut value: usize) {
        while value > 0x7f {
            self.byte(0x80 | (value & 0x7f) as u8);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    fn field(&mut self, key: u8, length: usize) {
        self.byte(key);
        self.varint(length);
    }
}

// Keys: the tag, then 0 for a varint or 2 for a length and that many bytes.
const COMMAND_ID: u8 = 1 << 3;
const COMMAND_PUBLISH: u8 = 7 << 3 | 2;
const PUBLISH_CHANNEL: u8 = 1 << 3 | 2;
const PUBLISH_DATA: u8 = 2 << 3 | 2;
const PUSH: u8 = 4 << 3 | 2;
const PUB: u8 = 4 << 3 | 2;
const DATA: u8 = 4 << 3 | 2;

const VARINT: usize = 0;
const FIXED_64: usize = 1;
const LENGTH: usize = 2;
const FIXED_32: usize = 5;

const ANYTHING: &str = "Protobuf carries anything";
