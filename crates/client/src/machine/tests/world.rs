//! A machine under the test's control, which reads and says what happens in words.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_protocol::{Command, Encoding};
use tokio::sync::oneshot;

use crate::machine::{Action, Answer, Backoff, Config, Lost, Machine, SubId, SubOptions};
use crate::{CallError, ClientEvent, Event, Position, TokenError, Why};

pub(super) struct World {
    pub(super) machine: Machine,
    pub(super) now: Instant,
    encoding: Encoding,
}

pub(super) const SUB: SubId = SubId(1);

pub(super) fn config() -> Config {
    let backoff = Backoff { min: Duration::from_millis(500), max: Duration::from_secs(20) };
    Config {
        encoding: Encoding::Json,
        token: String::new(),
        token_source: false,
        data: Bytes::new(),
        name: String::new(),
        version: String::new(),
        headers: Default::default(),
        timeout: Duration::from_secs(5),
        max_ping_delay: Duration::from_secs(10),
        reconnect: backoff,
        resubscribe: backoff,
        message_size_limit: 1 << 20,
        notices: true,
        notices_by_data: false,
    }
}

impl World {
    pub(super) fn new(config: Config) -> Self {
        let encoding = config.encoding;
        let mut world = Self { machine: Machine::new(config, 7), now: Instant::now(), encoding };
        world.machine.start(world.now);
        world
    }

    /// A machine whose connect command (the first, unless subscriptions came before) was answered.
    pub(super) fn connected(config: Config) -> Self {
        let mut world = Self::new(config);
        world.open();
        world.hear(r#"{"id":1,"connect":{"client":"c","ping":25,"pong":true}}"#);
        world.skip();
        world
    }

    /// Connected, and subscribed to "news" from offset 10 of epoch e on.
    pub(super) fn subscribed(config: Config, options: SubOptions) -> Self {
        let mut world = Self::connected(config);
        world.subscribe(SUB, options);
        world.expect(&["sub 1: subscribing 0", r#"send {"id":2,"subscribe":{"channel":"news"}}"#]);
        world.hear(r#"{"id":2,"subscribe":{"recoverable":true,"positioned":true,"epoch":"e","offset":10}}"#);
        world.expect(&["sub 1: subscribed at 10:e"]);
        world
    }

    pub(super) fn subscribe(&mut self, id: SubId, options: SubOptions) {
        self.machine.subscribe(id, "news".to_owned(), options, self.now);
    }

    /// Lets a transport be opened.
    pub(super) fn open(&mut self) {
        self.machine.opened(self.now);
    }

    /// Lets the transport be lost, and the next be opened after the pause.
    pub(super) fn reopen(&mut self) {
        self.machine.lost(Lost::Failed("reset".to_owned()), self.now);
        self.wait();
        self.open();
    }

    /// Lets a frame come.
    pub(super) fn hear(&mut self, frame: impl AsRef<[u8]>) {
        for reply in self.encoding.replies(frame.as_ref()) {
            self.machine.received(reply.expect("a message"), self.now);
        }
    }

    pub(super) fn close(&mut self, code: u32) {
        self.machine.lost(Lost::Closed(Why::new(code, "closed")), self.now);
    }

    pub(super) fn token(&mut self, token: Result<&str, TokenError>) {
        self.machine.token(token.map(str::to_owned), self.now);
    }

    pub(super) fn sub_token(&mut self, token: Result<&str, TokenError>) {
        self.machine.sub_token(SUB, token.map(str::to_owned), self.now);
    }

    pub(super) fn call(&mut self) -> oneshot::Receiver<Result<tidegate_protocol::Reply, CallError>> {
        let (answer, answered) = Answer::new();
        let rpc = tidegate_protocol::message::RpcRequest { method: "m".to_owned(), data: "1".into() };
        self.machine.call(Box::new(Command { rpc: Some(rpc), ..Default::default() }), answer, self.now);
        answered
    }

    /// Lets the time pass until something is due. How long that was.
    pub(super) fn wait(&mut self) -> Duration {
        let until = self.machine.deadline().expect("a deadline");
        let waited = until.saturating_duration_since(self.now);
        self.pass(waited);
        waited
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.machine.elapsed(self.now);
    }

    /// What follows from all of it, in words.
    pub(super) fn told(&mut self) -> Vec<String> {
        let told = std::iter::from_fn(|| self.machine.action());
        told.filter(|action| !matches!(action, Action::Live(..) | Action::Dead(..))).map(word).collect()
    }

    #[track_caller]
    pub(super) fn expect(&mut self, expected: &[&str]) {
        assert_eq!(self.told(), expected);
    }

    pub(super) fn skip(&mut self) {
        while self.machine.action().is_some() {}
    }
}

fn word(action: Action) -> String {
    match action {
        Action::Open => "open".to_owned(),
        Action::Close => "close".to_owned(),
        Action::Send(command) => {
            let command = Encoding::Json.encode_command(&command).expect("JSON");
            format!("send {}", str::from_utf8(&command).expect("UTF-8"))
        }
        Action::Pong => "pong".to_owned(),
        Action::Token => "token?".to_owned(),
        Action::SubToken(id) => format!("sub {}: token?", id.0),
        Action::Client(event) => client_word(&event),
        Action::Live(id, command) => format!("sub {}: live by {command}", id.0),
        Action::Dead(command) => format!("dead by {command}"),
        Action::Sub(id, event) => format!("sub {}: {}", id.0, event_word(&event)),
    }
}

fn client_word(event: &ClientEvent) -> String {
    match event {
        ClientEvent::Connecting(why) => format!("connecting {}", why.code),
        ClientEvent::Connected(connected) => format!("connected {}", connected.client),
        ClientEvent::Disconnected(why) => format!("disconnected {}", why.code),
        ClientEvent::Trouble(trouble) => format!("trouble: {trouble}"),
        ClientEvent::Message(data) => format!("message {}", text(data)),
        ClientEvent::Channel { channel, event } => format!("{channel}: {}", event_word(event)),
        other => format!("{other:?}"),
    }
}

fn event_word(event: &Event) -> String {
    match event {
        Event::Subscribing(why) => format!("subscribing {}", why.code),
        Event::Subscribed(subscribed) => {
            let recovered = if subscribed.recovered { ", recovered" } else { "" };
            match &subscribed.position {
                Some(position) => format!("subscribed at {position}{recovered}"),
                None => "subscribed".to_owned(),
            }
        }
        Event::Publication(publication) => format!("{} at {}", text(&publication.data), publication.offset),
        Event::Join(info) => format!("join {}", info.client),
        Event::Leave(info) => format!("leave {}", info.client),
        Event::Gap(gap) => format!("gap {:?} {:?}", gap.missed, gap.cause),
        Event::Unsubscribed(why) => format!("unsubscribed {}", why.code),
    }
}

fn text(data: &Bytes) -> &str {
    str::from_utf8(data).expect("UTF-8")
}

pub(super) fn since(offset: u64) -> SubOptions {
    SubOptions { since: Some(Position::new(offset, "e")), ..Default::default() }
}
