//! The session of the client protocol, in both encodings at once: what the JSON session is fed, the Protobuf
//! session is fed as Protobuf, and both must want the same.
//!
//! An input is steps, each after the byte 0x1e: a letter, and what belongs to it. `j`: a frame in JSON; `p`:
//! one in Protobuf, for its session alone; `a`, `e`, `d`: the request is answered, refused with an error,
//! refused with a disconnect; `t`: time goes by until the deadline; `n`: a native pong.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_core::protocol::{Action, Protocol, Push, Session};
use tidegate_core::request::{
    Connected, History, PresenceStats, Request, Response, StreamPosition, Subscribed,
};
use tidegate_core::transport::Peer;
use tidegate_core::{ClientError, Disconnect, Health, Publication, Refusal};
use tidegate_protocol::{Centrifuge, Encoding};

const SEPARATOR: u8 = 0x1e;
/// Steps looked at, so that an input of separators alone is not slow.
const STEPS: usize = 256;
/// Actions that one step may bring: a frame of pongs brings none, one of bad commands a reply each.
const ACTIONS: usize = 4096;

pub(crate) fn run(data: &[u8]) {
    let native = data.first() == Some(&b'!');
    let mut json = Bench::new(Encoding::Json, native);
    let mut protobuf = Bench::new(Encoding::Protobuf, native);
    // Their clients have said the same so far.
    let mut alike = true;
    for step in data.split(|byte| *byte == SEPARATOR).skip(1).take(STEPS) {
        let Some((letter, rest)) = step.split_first() else { continue };
        match letter {
            b'j' => {
                json.receive(rest);
                match translated(rest) {
                    Some(frame) => protobuf.receive(&frame),
                    None => alike = false,
                }
            }
            b'p' => {
                protobuf.receive(rest);
                alike = false;
            }
            letter => {
                json.take(*letter);
                protobuf.take(*letter);
            }
        }
        let (ours, theirs) = (json.actions(), protobuf.actions());
        if alike {
            assert_eq!(ours, theirs, "the same commands in JSON and in Protobuf");
        }
    }
}

/// A frame of JSON commands in Protobuf; nothing if not all of it is sound.
fn translated(frame: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for command in Encoding::Json.commands(frame) {
        let command = command.ok()?;
        bytes.extend_from_slice(&Encoding::Protobuf.encode_command(&command).ok()?);
    }
    Some(bytes)
}

/// A session, and what must hold for it.
struct Bench {
    encoding: Encoding,
    session: Box<dyn Session>,
    now: Instant,
    /// The request being done.
    asked: Option<Request>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nobody has asked to connect.
    New,
    /// That is being answered.
    Connecting,
    /// It was granted.
    Open,
    /// It was refused with an error, which may still be told.
    Refused,
    /// The session wants to be closed.
    Over,
}

impl Bench {
    fn new(encoding: Encoding, native: bool) -> Self {
        let protocol = match encoding {
            Encoding::Json => "centrifuge-json",
            Encoding::Protobuf => "centrifuge-protobuf",
        };
        let query = if native { "cf_ws_frame_ping_pong=true&tidegate_notices=true" } else { "" };
        let peer = Peer {
            transport: "websocket",
            protocol: protocol.to_owned(),
            query: query.to_owned(),
            ..Default::default()
        };
        let now = Instant::now();
        let session = Centrifuge::default().session(&peer, now);
        assert_eq!(session.binary(), encoding == Encoding::Protobuf);
        Self { encoding, session, now, asked: None, stage: Stage::New }
    }

    /// As a connection does: not before the last frame was worked off.
    fn receive(&mut self, frame: &[u8]) {
        if !self.session.busy() {
            self.session.receive(Bytes::copy_from_slice(frame), self.now);
        }
    }

    fn take(&mut self, letter: u8) {
        match letter {
            b'a' => self.answer(|request| Ok(response(request))),
            b'e' => self.answer(|_| Err(ClientError::PERMISSION_DENIED.into())),
            b'd' => self.answer(|_| Err(Disconnect::new(3500, "invalid token").into())),
            b't' => {
                if let Some(deadline) = self.session.deadline() {
                    self.now = self.now.max(deadline);
                    self.session.expire(self.now);
                    let next = self.session.deadline();
                    assert!(next.is_none_or(|next| next > self.now || self.stage == Stage::New), "due again");
                }
            }
            b'n' => self.session.ponged(self.now),
            _ => {
                // Said at any time, and never a panic.
                let _ = self.session.push(Push::Health(Health::Draining));
                let _ = self.session.push(Push::Message(&Bytes::from_static(b"\"m\"")));
            }
        }
    }

    fn answer(&mut self, outcome: impl FnOnce(&Request) -> Result<Response, Refusal>) {
        let Some(request) = self.asked.take() else { return };
        let outcome = outcome(&request);
        if self.stage == Stage::Connecting {
            self.stage = if outcome.is_ok() { Stage::Open } else { Stage::Refused };
        }
        self.session.answer(outcome, self.now);
    }

    /// What the session wants now, judged and written down alike for both encodings.
    fn actions(&mut self) -> Vec<String> {
        let mut written = Vec::new();
        while let Some(action) = self.session.next(self.now) {
            assert!(written.len() < ACTIONS, "it wants more and more");
            assert_ne!(self.stage, Stage::Over, "after its end it wants {action:?}");
            written.push(match action {
                Action::Request(request) => {
                    assert!(self.asked.is_none(), "a request while another is done");
                    assert!(self.session.busy(), "it takes more while it waits for an answer");
                    let connects = matches!(request, Request::Connect(_));
                    assert_eq!(connects, self.stage == Stage::New, "{request:?} at {:?}", self.stage);
                    if connects {
                        self.stage = Stage::Connecting;
                    }
                    let written = format!("{request:?}");
                    self.asked = Some(request);
                    written
                }
                Action::Send(message, after) => {
                    let allowed = matches!(self.stage, Stage::Open | Stage::Refused);
                    assert!(allowed, "an answer before the connect reply");
                    format!("{} after {after:?}", self.read(&message))
                }
                Action::Ping => {
                    assert_eq!(self.stage, Stage::Open, "a ping");
                    "ping".to_owned()
                }
                Action::Refuse(..) => unreachable!("only clients that cannot ask again are refused so"),
                Action::Close(why) => {
                    assert!((3000..5000).contains(&why.code) && !why.reason.is_empty(), "{why:?}");
                    self.stage = Stage::Over;
                    self.asked = None;
                    format!("close {} {}", why.code, why.reason)
                }
                Action::Linger(until) => {
                    assert!(self.stage == Stage::Refused && until > self.now);
                    self.stage = Stage::Over;
                    "linger".to_owned()
                }
            });
        }
        written
    }

    /// What the client reads: one whole message.
    fn read(&self, message: &[u8]) -> String {
        let mut replies: Vec<_> = self.encoding.replies(message).collect();
        assert_eq!(replies.len(), 1, "{}", message.escape_ascii());
        let reply = replies.remove(0).expect("a client understands what it is sent");
        format!("{reply:?}")
    }
}

/// What a server might answer.
fn response(request: &Request) -> Response {
    let position = StreamPosition { offset: 1, epoch: "xyz".into() };
    let publications = || vec![Publication { offset: 1, ..Publication::new("{\"a\":1}") }];
    match request {
        Request::Connect(_) => Response::Connected(Box::new(Connected {
            client: "c1".into(),
            ping: Duration::from_secs(25),
            pong: Some(Duration::from_secs(8)),
            ..Default::default()
        })),
        Request::Subscribe(subscribe) => Response::Subscribed(Box::new(Subscribed {
            recoverable: subscribe.recoverable,
            recovered: subscribe.recover.is_some(),
            publications: publications(),
            position,
            ..Default::default()
        })),
        Request::Unsubscribe(_) => Response::Unsubscribed,
        Request::Publish { .. } => Response::Published,
        Request::Presence(_) => Response::Presence([].into()),
        Request::PresenceStats(_) => Response::PresenceStats(PresenceStats { clients: 1, users: 1 }),
        Request::History(_) => Response::History(History { publications: publications(), top: position }),
        Request::Rpc { data, .. } => Response::Rpc(data.clone()),
        Request::Refresh { .. } => Response::Refreshed { ttl: None },
        Request::SubRefresh { .. } => Response::SubRefreshed { ttl: Some(Duration::from_secs(60)) },
        _ => Response::Sent,
    }
}
