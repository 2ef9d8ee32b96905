//! What a session does, step by step, in both encodings. Scripts are written in JSON; the Protobuf session is
//! fed the same commands and its messages are read back.

mod commands;
mod deltas;
mod encodings;
mod heartbeats;
mod pushes;
mod unidirectional;

use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_core::protocol::{Action, Protocol, Session};
use tidegate_core::request::{Connected, Request, Response, Subscribed};
use tidegate_core::transport::Peer;
use tidegate_core::{ClientError, Refusal};

use crate::message::{Command, Reply};
use crate::{Centrifuge, Encoding, Options};

const BOTH: [Encoding; 2] = [Encoding::Json, Encoding::Protobuf];

/// What happens to a session.
#[derive(Clone, Debug)]
enum Do {
    /// The client sends a frame of these commands, written in JSON.
    Receive(&'static str),
    /// The client sends this frame as it is; only the session of its encoding is asked.
    Raw(Encoding, &'static [u8]),
    /// The request was done.
    Answer(Result<Response, Refusal>),
    /// So many milliseconds go by.
    After(u64),
    /// Time goes by until the session's deadline.
    Due,
    /// The transport's own pong comes.
    NativePong,
}
use Do::{After, Answer, Due, NativePong, Raw, Receive};

/// Runs a script against a session of each encoding: after each step, the actions are as written, joined by
/// `; `.
#[track_caller]
fn check(query: &str, script: &[(Do, &str)]) {
    for encoding in BOTH {
        let mut bench = Bench::new(encoding, query);
        for (i, (step, expected)) in script.iter().enumerate() {
            let Some(actions) = bench.take(step) else { break };
            assert_eq!(actions, *expected, "{encoding:?}, step {i}: {step:?}");
        }
    }
}

/// [`check`], for a session that is open already.
#[track_caller]
fn check_open(script: &[(Do, &str)]) {
    let opening = [(Receive(CONNECT), "connect"), (connected(), CONNECTED)];
    check("", &[&opening, script].concat());
}

const CONNECT: &str = r#"{"id":1,"connect":{}}"#;
const CONNECTED: &str = r#"< {"id":1,"connect":{"client":"c1","version":"v","ping":25,"pong":true}}"#;

/// The connect request was granted: a ping every 25 s, to be answered within 8 s.
fn connected() -> Do {
    Answer(Ok(Response::Connected(Box::new(Connected {
        client: "c1".into(),
        ping: Duration::from_secs(25),
        pong: Some(Duration::from_secs(8)),
        ..Default::default()
    }))))
}

fn subscribed() -> Do {
    Answer(Ok(Response::Subscribed(Box::default())))
}

fn refused(error: ClientError) -> Do {
    Answer(Err(error.into()))
}

/// A session under test, and its time.
struct Bench {
    encoding: Encoding,
    session: Box<dyn Session>,
    now: Instant,
}

impl Bench {
    fn new(encoding: Encoding, query: &str) -> Self {
        let protocol = match encoding {
            Encoding::Json => "centrifuge-json",
            Encoding::Protobuf => "centrifuge-protobuf",
        };
        let peer = Peer {
            transport: "websocket",
            protocol: protocol.into(),
            query: query.into(),
            ..Default::default()
        };
        Self::of(encoding, &peer)
    }

    fn of(encoding: Encoding, peer: &Peer) -> Self {
        let now = Instant::now();
        let options = Options { version: "v".into(), ..Default::default() };
        Self { encoding, session: Centrifuge::new(options).session(peer, now), now }
    }

    /// A session whose connect command was granted.
    fn open(encoding: Encoding, query: &str) -> Self {
        let mut bench = Self::new(encoding, query);
        bench.take(&Receive(CONNECT));
        bench.take(&connected());
        bench
    }

    /// Takes a step, and says what the session wants then; `None` where the step is not for this encoding.
    fn take(&mut self, step: &Do) -> Option<String> {
        match step {
            Receive(commands) => self.session.receive(frame(self.encoding, commands), self.now),
            Raw(encoding, _) if *encoding != self.encoding => return None,
            Raw(_, bytes) => self.session.receive(Bytes::from_static(bytes), self.now),
            Answer(outcome) => self.session.answer(outcome.clone(), self.now),
            After(ms) => {
                self.now += Duration::from_millis(*ms);
                self.expire();
            }
            Due => {
                self.now = self.session.deadline().expect("a session that waits for something");
                self.expire();
            }
            NativePong => self.session.ponged(self.now),
        }
        Some(self.actions())
    }

    fn expire(&mut self) {
        if self.session.deadline().is_some_and(|at| at <= self.now) {
            self.session.expire(self.now);
        }
    }

    fn actions(&mut self) -> String {
        let actions = std::iter::from_fn(|| self.session.next(self.now));
        let actions: Vec<_> = actions.map(|action| show(self.encoding, self.now, action)).collect();
        actions.join("; ")
    }
}

/// A frame of commands that are written in JSON.
fn frame(encoding: Encoding, commands: &str) -> Bytes {
    if encoding == Encoding::Json {
        return Bytes::copy_from_slice(commands.as_bytes());
    }
    let commands = Encoding::Json.commands(commands.as_bytes()).map(|c| c.expect("a readable script"));
    commands.flat_map(|c: Command| encoding.encode_command(&c).expect("any payload")).collect()
}

/// A message of the server's, as JSON.
fn text(encoding: Encoding, message: &[u8]) -> String {
    let mut replies = encoding.replies(message).map(|reply| {
        let reply: Reply = reply.expect("a readable reply");
        let json = Encoding::Json.encode_reply(&reply).expect("a JSON payload");
        String::from_utf8(json.into()).expect("JSON is UTF-8")
    });
    let reply = replies.next().expect("a message");
    assert!(replies.next().is_none(), "one message at a time");
    reply
}

fn show(encoding: Encoding, now: Instant, action: Action) -> String {
    match action {
        Action::Request(request) => show_request(request),
        Action::Send(message, None) => format!("< {}", text(encoding, &message)),
        Action::Send(message, Some(channel)) => format!("< {} after {channel}", text(encoding, &message)),
        Action::Ping => "native ping".into(),
        Action::Close(why) => format!("close {why}"),
        Action::Refuse(code, why) => format!("refuse {code}: {why}"),
        Action::Linger(until) => format!("linger {:?}", until - now),
    }
}

fn show_request(request: Request) -> String {
    let data = |data: Bytes| String::from_utf8(data.into()).expect("a JSON payload");
    match request {
        Request::Connect(connect) => format!("connect {}", connect.token).trim_end().into(),
        Request::Subscribe(subscribe) => format!("subscribe {}", subscribe.channel),
        Request::Unsubscribe(channel) => format!("unsubscribe {channel}"),
        Request::Publish { channel, data: bytes, key: None } => format!("publish {channel} {}", data(bytes)),
        Request::Publish { channel, data: bytes, key: Some(key) } => {
            format!("publish {channel} {} as {key}", data(bytes))
        }
        Request::Presence(channel) => format!("presence {channel}"),
        Request::PresenceStats(channel) => format!("presence_stats {channel}"),
        Request::History(history) => format!("history {} {:?}", history.channel, history.limit),
        Request::Rpc { method, data: bytes } => format!("rpc {method} {}", data(bytes)),
        Request::Refused(error) => format!("refused {}", error.code),
        Request::Send(bytes) => format!("message {}", data(bytes)),
        Request::Refresh { token } => format!("refresh {token}"),
        Request::SubRefresh { channel, token } => format!("sub_refresh {channel} {token}"),
        other => format!("{other:?}"),
    }
}
