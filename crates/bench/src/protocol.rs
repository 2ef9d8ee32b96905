//! What a client says and hears, whatever the server.

mod json;
mod protobuf;

use std::fmt;
use std::ops::Range;

use tidegate_protocol::{Command, Encoding, Push, Reply, message};

use crate::websocket::Outgoing;

/// A client's half of one connection. It touches no socket.
pub trait Protocol {
    /// The WebSocket subprotocol to ask for.
    fn subprotocol(&self) -> Option<&'static str> {
        None
    }

    /// Messages are text.
    fn text(&self) -> bool {
        false
    }

    /// Frames are only pieces: messages may go over their ends.
    fn pieces(&self) -> bool {
        false
    }

    /// Says who connects. [`Heard::Connected`] is the answer.
    fn connect(&mut self, who: &Who<'_>, out: &mut Outgoing);

    /// Subscribes. [`Heard::Subscribed`] is the answer, once for each channel.
    fn subscribe(&mut self, channels: &[String], out: &mut Outgoing);

    /// Publishes.
    fn publish(&mut self, channel: &str, payload: &[u8], out: &mut Outgoing);

    /// Reads a frame, or what there is of a stream, answers pings, and returns how many bytes were read: all of
    /// them, unless the protocol's messages go over [pieces](Self::pieces).
    ///
    /// # Errors
    /// What is wrong with the bytes.
    fn receive(
        &mut self,
        bytes: &[u8],
        out: &mut Outgoing,
        hear: &mut dyn FnMut(Heard<'_>),
    ) -> Result<usize, String>;

    /// Reads whole messages of a QUIC stream that belongs to the subscription of command `id`.
    ///
    /// # Errors
    /// What is wrong with the bytes, or that there is no such subscription.
    fn receive_own(&mut self, id: u64, bytes: &[u8], hear: &mut dyn FnMut(Heard<'_>)) -> Result<(), String> {
        let _ = (bytes, hear);
        Err(format!("a stream for command {id}, in a protocol that has no such streams"))
    }
}

/// What was heard from a server.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// It knows who connected.
    Connected,
    /// One subscription is there.
    Subscribed,
    /// One publication was taken.
    Published,
    /// A publication: its payload, and whatever follows it in the message.
    Payload(&'a [u8]),
    /// It refused something, or says goodbye.
    Refused(String),
}

/// Who connects.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// Different for each connection of a run.
    pub name: &'a str,
    /// The token to connect with.
    pub token: Option<&'a str>,
}

/// A protocol by name.
#[derive(Clone, Copy)]
pub struct Dialect {
    /// For reports.
    pub name: &'static str,
    /// Begins a connection.
    pub begin: fn() -> Box<dyn Protocol>,
}

impl Dialect {
    /// The Centrifuge protocol in JSON.
    pub const JSON: Self = Self { name: "json", begin: || Box::<json::Json>::default() };
    /// The Centrifuge protocol in Protobuf.
    pub const PROTOBUF: Self = Self { name: "protobuf", begin: || Box::<protobuf::Protobuf>::default() };
}

impl fmt::Debug for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dialect").field(&self.name).finish()
    }
}

/// Ids of commands, in turn.
#[derive(Debug, Default)]
struct Ids {
    last: u32,
    /// Those of subscriptions.
    subscribed: Range<u32>,
}

impl Ids {
    fn next(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    /// Ids of so many subscriptions. A connection subscribes once.
    fn subscribe(&mut self, count: usize) -> Range<u32> {
        let first = self.last + 1;
        self.last += count as u32;
        self.subscribed = first..self.last + 1;
        self.subscribed.clone()
    }

    /// That this is a subscription's.
    #[inline]
    fn check(&self, id: u64) -> Result<(), String> {
        match u32::try_from(id) {
            Ok(id) if self.subscribed.contains(&id) => Ok(()),
            _ => Err(format!("a stream for command {id}, which did not subscribe")),
        }
    }
}

fn connect(id: u32, who: &Who<'_>) -> Command {
    let token = who.token.unwrap_or_default().into();
    let connect = message::ConnectRequest { name: "tidegate-bench".into(), token, ..Default::default() };
    Command { id, connect: Some(connect.into()), ..Default::default() }
}

fn subscribe(id: u32, channel: &str) -> Command {
    let subscribe = message::SubscribeRequest { channel: channel.into(), ..Default::default() };
    Command { id, subscribe: Some(subscribe.into()), ..Default::default() }
}

/// What a reply means that is no publication; `pong` is set when the server wants its pings answered.
fn heard(reply: Reply, pong: &mut bool) -> Option<Heard<'static>> {
    if let Some(error) = reply.error {
        return Some(Heard::Refused(format!("error {}: {}", error.code, error.message)));
    }
    if let Some(connected) = reply.connect {
        *pong = connected.pong;
        return Some(Heard::Connected);
    }
    if reply.subscribe.is_some() {
        return Some(Heard::Subscribed);
    }
    if reply.publish.is_some() {
        return Some(Heard::Published);
    }
    pushed(*reply.push?)
}

/// Answers a ping, or says what messages mean that are no publications; `pong` is whether the server wants its
/// pings answered.
#[cold]
fn other(
    encoding: Encoding,
    messages: &[u8],
    pong: &mut bool,
    out: &mut Outgoing,
    hear: &mut dyn FnMut(Heard<'_>),
) -> Result<(), String> {
    let ping = encoding.ping();
    if messages == ping {
        if *pong {
            out.message(&[&ping]);
        }
        return Ok(());
    }
    for reply in encoding.replies(messages) {
        let reply = reply.map_err(|error| error.to_string())?;
        heard(reply, pong).into_iter().for_each(&mut *hear);
    }
    Ok(())
}

/// What messages mean that stand on a subscription's own stream and are no publication.
#[cold]
fn heard_there(encoding: Encoding, messages: &[u8], hear: &mut dyn FnMut(Heard<'_>)) -> Result<(), String> {
    for push in encoding.pushes(messages) {
        pushed(push.map_err(|error| error.to_string())?).into_iter().for_each(&mut *hear);
    }
    Ok(())
}

fn pushed(push: Push) -> Option<Heard<'static>> {
    if let Some(end) = push.disconnect {
        return Some(Heard::Refused(format!("disconnect {}: {}", end.code, end.reason)));
    }
    let end = push.unsubscribe?;
    Some(Heard::Refused(format!("unsubscribed from {} with {}: {}", push.channel, end.code, end.reason)))
}

#[cfg(test)]
mod tests;
