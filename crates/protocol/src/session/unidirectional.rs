//! Clients that only read. They say what they want in one connect request, without a command around it, and
//! read pushes without a reply around them, in JSON; the first tells that they are connected.

use std::time::Instant;

use bytes::Bytes;
use tidegate_core::protocol::Action;
use tidegate_core::request::{Request, Response};
use tidegate_core::transport::Peer;
use tidegate_core::{ClientError, Refusal};

use super::{CentrifugeSession, State, sound};
use crate::code::Disconnect;
use crate::convert;
use crate::message::Push;

/// Whether the client only reads.
pub(super) fn is(peer: &Peer) -> bool {
    peer.transport.starts_with("uni_")
}

/// The first message, where the transport has it in its URL.
pub(super) fn connect_in_query(peer: &Peer) -> Option<Bytes> {
    if !matches!(peer.transport, "sse" | "uni_sse" | "uni_websocket") {
        return None;
    }
    let mut pairs = form_urlencoded::parse(peer.query.as_bytes());
    let (_, connect) = pairs.find(|(key, _)| key == CONNECT)?;
    match &*connect {
        // Who only reads need not ask for anything.
        "" if is(peer) => Some(Bytes::from_static(b"{}")),
        _ => Some(connect.into_owned().into()),
    }
}

/// A push as such clients read it, of one as all others do: the reply around it is cut off, without a copy.
pub(crate) fn bare(reply: &Bytes) -> Bytes {
    debug_assert!(reply.starts_with(BEFORE), "a push in JSON");
    reply.slice(BEFORE.len()..reply.len() - AFTER)
}

/// The parameter of a URL that has the connect request.
const CONNECT: &str = "cf_connect";
/// What stands around a push.
const BEFORE: &[u8] = br#"{"push":"#;
const AFTER: usize = b"}".len();

impl CentrifugeSession {
    /// Whether what the client sends is looked at.
    pub(super) fn listens(&self) -> bool {
        match self.state {
            State::Over => false,
            // It has said what it may: the rest is as good as silence.
            State::Open { .. } | State::Connecting { .. } => !self.unidirectional,
            State::New { .. } => true,
        }
    }

    /// What to do about a connect request.
    pub(super) fn connect(&mut self, message: &[u8]) -> Result<Option<Action>, Disconnect> {
        let State::New { .. } = self.state else { return Ok(None) };
        let connect = self.encoding.connect_request(message)?;
        sound(&connect)?;
        self.state = State::Connecting { id: 0 };
        let connect = Box::new(convert::connect_request(connect));
        Ok(Some(Action::Request(Request::Connect(connect))))
    }

    /// Takes the outcome of the connect request.
    pub(super) fn answer_connect(&mut self, outcome: Result<Response, Refusal>, now: Instant) {
        let State::Connecting { .. } = self.state else { return };
        let action = match outcome {
            Ok(Response::Connected(connected)) => {
                // Nobody answers a ping that is a message.
                let pong = connected.pong.filter(|_| self.native_ping);
                let connect = convert::connect_push(&connected, &self.options.version);
                let push = Push { connect: Some(connect), ..Default::default() };
                match self.encoding.encode_push(&push) {
                    Ok(push) => {
                        self.connected(&tidegate_core::request::Connected { pong, ..*connected }, now);
                        Action::Send(bare(&push), None)
                    }
                    Err(_) => self.close(&Disconnect::INAPPROPRIATE_PROTOCOL),
                }
            }
            Ok(_) => return,
            Err(Refusal::Disconnect(why)) => {
                self.state = State::Over;
                Action::Close(why)
            }
            Err(Refusal::Error(error)) => {
                self.state = State::Over;
                let given = self.options.unidirectional_disconnects.get(&error.code).cloned();
                let why = given.unwrap_or_else(|| convert::disconnect(&disconnect(&error)));
                Action::Refuse(error.code, why)
            }
        };
        self.actions.push_back(action);
    }
}

/// How a connection is closed that is refused with this error.
fn disconnect(error: &ClientError) -> Disconnect {
    if [ClientError::TOKEN_EXPIRED, ClientError::EXPIRED].iter().any(|expired| expired.code == error.code) {
        Disconnect::EXPIRED
    } else {
        Disconnect::INTERNAL
    }
}
