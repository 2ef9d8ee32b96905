//! Frames into messages and messages into frames, in either encoding.

mod json;
mod malformed;
mod protobuf;

use std::iter::FusedIterator;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::de::DeserializeOwned;

pub use self::json::{NotJson, is_json};
use self::malformed::Cause;
pub use self::malformed::Malformed;
use crate::message::{Command, ConnectRequest, EmulationRequest, Publication, Push, Reply};

/// How a client and the server write messages to each other; fixed when the connection opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// JSON objects, joined by `\n`.
    Json,
    /// Protobuf messages, each after its length.
    Protobuf,
}

impl Encoding {
    /// The commands of one frame from a client, in order.
    ///
    /// Each is decoded when it is asked for, so that a frame of a million commands costs no more than the
    /// session cares to read. Payloads are copied out of the frame.
    pub fn commands(self, frame: &[u8]) -> Commands<'_> {
        Messages::new(self, frame)
    }

    /// A connect request without a command around it: all that a client says whose transport only reads.
    ///
    /// # Errors
    /// [`Malformed`]
    pub fn connect_request(self, message: &[u8]) -> Result<ConnectRequest, Malformed> {
        match self {
            // Who asks for nothing may say so.
            Self::Json if message.trim_ascii() == b"null" => Ok(ConnectRequest::default()),
            _ => self.single(message),
        }
    }

    /// What a client posts to `/emulation`, with [`data`](EmulationRequest::data) as the frame that it is.
    ///
    /// # Errors
    /// [`Malformed`]
    pub fn emulation_request(self, body: &[u8]) -> Result<EmulationRequest, Malformed> {
        let mut request: EmulationRequest = self.single(body)?;
        if self == Self::Json && request.data.starts_with(b"\"") {
            let frame: String = serde_json::from_slice(&request.data)
                .map_err(|error| Malformed::new(0, Cause::from(error)))?;
            request.data = frame.into();
        }
        Ok(request)
    }

    /// A message that is all there is: in Protobuf, there is no length in front.
    fn single<M: prost::Message + DeserializeOwned + Default>(self, message: &[u8]) -> Result<M, Malformed> {
        let decoded = match self {
            Self::Json => json::decode(message),
            Self::Protobuf => M::decode(message).map_err(Cause::from),
        };
        decoded.map_err(|cause| Malformed::new(0, cause))
    }

    /// The replies and pushes of one frame from a server, in order.
    pub fn replies(self, frame: &[u8]) -> Replies<'_> {
        Messages::new(self, frame)
    }

    /// The pushes of one frame that has nothing else, and no replies around them, in order.
    pub fn pushes(self, frame: &[u8]) -> Pushes<'_> {
        Messages::new(self, frame)
    }

    /// One command, as [`commands`](Self::commands) reads it.
    ///
    /// # Errors
    /// [`NotJson`] if the encoding is JSON and a payload is not.
    pub fn encode_command(self, command: &Command) -> Result<Bytes, NotJson> {
        match self {
            Self::Json => json::encode(command),
            Self::Protobuf => Ok(protobuf::encode(command)),
        }
    }

    /// One reply: in JSON without a newline, in Protobuf with its length in front.
    ///
    /// Several in one frame are joined by `\n` in JSON, and follow each other in Protobuf.
    ///
    /// # Errors
    /// [`NotJson`] if the encoding is JSON and a payload is not. Writing it as it is would let whoever
    /// published it forge messages to this client.
    pub fn encode_reply(self, reply: &Reply) -> Result<Bytes, NotJson> {
        match self {
            Self::Json => json::encode(reply),
            Self::Protobuf => Ok(protobuf::encode(reply)),
        }
    }

    /// One push, in the reply that carries it, without copying it there.
    ///
    /// # Errors
    /// As [`encode_reply`](Self::encode_reply).
    pub fn encode_push(self, push: &Push) -> Result<Bytes, NotJson> {
        match self {
            Self::Json => json::encode_push(push),
            Self::Protobuf => Ok(protobuf::encode_push(push)),
        }
    }

    /// The push of a publication: the same bytes as [`encode_push`](Self::encode_push), in one allocation of
    /// exactly their length.
    ///
    /// # Errors
    /// As [`encode_reply`](Self::encode_reply).
    pub fn publication_push(self, channel: &str, publication: &Publication) -> Result<Bytes, NotJson> {
        match self {
            Self::Json => json::publication_push(channel, publication),
            Self::Protobuf => Ok(protobuf::publication_push(channel, publication)),
        }
    }

    /// The server's ping, which is the empty reply. A client's pong is the same bytes.
    pub fn ping(self) -> Bytes {
        match self {
            Self::Json => Bytes::from_static(b"{}"),
            Self::Protobuf => Bytes::from_static(&[0]),
        }
    }

    /// Whether a client's message is nothing but the answer to a ping.
    pub fn is_pong(self, message: &[u8]) -> bool {
        match self {
            Self::Json => message.trim_ascii_end() == b"{}",
            Self::Protobuf => message == [0],
        }
    }

    /// Whether a client of this encoding can be sent this payload: any in Protobuf, one JSON value in JSON.
    pub fn carries(self, payload: &[u8]) -> bool {
        match self {
            Self::Json => is_json(payload),
            Self::Protobuf => true,
        }
    }
}

/// The commands of a frame. See [`Encoding::commands`].
pub type Commands<'a> = Messages<'a, Command>;

/// The replies of a frame. See [`Encoding::replies`].
pub type Replies<'a> = Messages<'a, Reply>;

/// The pushes of a frame. See [`Encoding::pushes`].
pub type Pushes<'a> = Messages<'a, Push>;

/// The messages of one frame, decoded one at a time. It ends after the first that is [`Malformed`].
#[derive(Debug, Clone)]
pub struct Messages<'a, M> {
    encoding: Encoding,
    rest: &'a [u8],
    /// Messages read so far.
    index: usize,
    failed: bool,
    message: PhantomData<fn() -> M>,
}

impl<'a, M> Messages<'a, M> {
    fn new(encoding: Encoding, frame: &'a [u8]) -> Self {
        Self { encoding, rest: frame, index: 0, failed: false, message: PhantomData }
    }
}

impl<'a, M> Messages<'a, M> {
    /// What has not been read yet. Reading it as a frame of its own goes on from here, unless it is empty.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<M> Iterator for Messages<'_, M>
where
    M: prost::Message + DeserializeOwned + Default,
{
    type Item = Result<M, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let message = if !self.rest.is_empty() {
            match self.encoding {
                Encoding::Json => json::decode(json::split_line(&mut self.rest)),
                Encoding::Protobuf => protobuf::decode(&mut self.rest),
            }
        } else if self.index == 0 {
            Err(Cause::EmptyFrame)
        } else {
            return None;
        };
        let message = message.map_err(|cause| Malformed::new(self.index, cause));
        self.failed = message.is_err();
        self.index += 1;
        Some(message)
    }
}

impl<M> FusedIterator for Messages<'_, M> where M: prost::Message + DeserializeOwned + Default {}

#[cfg(test)]
mod tests;
