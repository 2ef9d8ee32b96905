use tidegate_protocol::{Command, Encoding};

use super::{Heard, Ids, Protocol, Who};
use crate::payload;
use crate::websocket::Outgoing;

/// Commands and replies are lines. Of a push nothing is parsed: its payload is looked for where the one before
/// it stood, then anywhere.
#[derive(Debug, Default)]
pub(super) struct Json {
    ids: Ids,
    /// The server wants its pings answered.
    pong: bool,
    /// Where the payload stood in the last push.
    place: usize,
}

impl Json {
    #[inline]
    fn payload<'a>(&mut self, line: &'a [u8]) -> Option<&'a [u8]> {
        let guess = line.get(self.place..).filter(|rest| rest.starts_with(payload::MAGIC));
        if guess.is_some() && self.place > 0 {
            return guess;
        }
        self.place = memchr::memmem::find(line, payload::MAGIC)?;
        Some(&line[self.place..])
    }
}

impl Protocol for Json {
    fn text(&self) -> bool {
        true
    }

    fn connect(&mut self, who: &Who<'_>, out: &mut Outgoing) {
        let command = super::connect(self.ids.next(), who);
        out.message(&[&line(&command)]);
    }

    fn subscribe(&mut self, channels: &[String], out: &mut Outgoing) {
        let ids = self.ids.subscribe(channels.len());
        let lines: Vec<_> =
            ids.zip(channels).map(|(id, channel)| line(&super::subscribe(id, channel))).collect();
        out.message(&[&lines.join(&b'\n')]);
    }

    fn publish(&mut self, channel: &str, payload: &[u8], out: &mut Outgoing) {
        let head = format!(r#"{{"id":{},"publish":{{"channel":"{channel}","data":"#, self.ids.next());
        out.message(&[head.as_bytes(), payload, b"}}"]);
    }

    fn receive(
        &mut self,
        bytes: &[u8],
        out: &mut Outgoing,
        hear: &mut dyn FnMut(Heard<'_>),
    ) -> Result<usize, String> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let line = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            if line.starts_with(PUSH)
                && let Some(payload) = self.payload(line)
            {
                hear(Heard::Payload(payload));
            } else if line.starts_with(REPLY) && line.ends_with(PUBLISHED) {
                hear(Heard::Published);
            } else if !line.is_empty() {
                super::other(Encoding::Json, line, &mut self.pong, out, hear)?;
            }
        }
        Ok(bytes.len())
    }

    fn receive_own(&mut self, id: u64, bytes: &[u8], hear: &mut dyn FnMut(Heard<'_>)) -> Result<(), String> {
        self.ids.check(id)?;
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let line = &rest[..end];
            rest = &rest[end + 1..];
            match self.payload(line).filter(|_| line.starts_with(PUB)) {
                Some(payload) => hear(Heard::Payload(payload)),
                None => super::heard_there(Encoding::Json, line, hear)?,
            }
        }
        Ok(())
    }
}

fn line(command: &Command) -> Vec<u8> {
    Encoding::Json.encode_command(command).expect("it holds no payload").into()
}

const PUSH: &[u8] = br#"{"push":"#;
/// A push without its reply and its channel.
const PUB: &[u8] = br#"{"pub":"#;
const REPLY: &[u8] = br#"{"id":"#;
/// The end of a reply that says that a publication was taken.
const PUBLISHED: &[u8] = br#""publish":{}}"#;
