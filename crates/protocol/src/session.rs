mod heartbeat;
#[cfg(test)]
mod tests;
mod unidirectional;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_core::outbox::Batch;
use tidegate_core::protocol::{Action, Protocol, Push, Session};
use tidegate_core::request::{Connected, Request, Response, Subscribed};
use tidegate_core::transport::Peer;
use tidegate_core::{Channel, ClientError, Health, Refusal, SlimQueue, Subscription, filter};

use crate::code::Disconnect;
use crate::message::{self, Command, Reply};
use crate::subscription::{ChannelSubscription, recovered, write_tracked};
use crate::{Encoding, convert};
use heartbeat::Heartbeat;
pub(crate) use unidirectional::bare;

/// The Centrifuge client protocol, in both encodings.
#[derive(Debug)]
pub struct Centrifuge {
    options: Arc<Options>,
}

/// What a [`Centrifuge`] session is bound by.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a client may take to send its connect command. 10 s: a slow phone's handshake and more.
    pub stale_close_delay: Duration,
    /// How long the server waits for a client to close after its connect command was refused. 5 s.
    pub linger: Duration,
    /// What the server calls itself in the connect reply.
    pub version: String,
    /// What a subscription's tags filter may be.
    pub filters: filter::Limits,
    /// How the connection of a client that only reads is closed when its connect request is refused with an
    /// error, by the error's code: it takes no error replies. Where none is given, 3005 tells that its token
    /// has expired, and 3004 anything else.
    pub unidirectional_disconnects: BTreeMap<u32, tidegate_core::Disconnect>,
    /// Whether a client that only reads from a WebSocket is told by a push, too, why it is closed. True: then
    /// all such clients read the same.
    pub unidirectional_websocket_push: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            stale_close_delay: Duration::from_secs(10),
            linger: Duration::from_secs(5),
            version: concat!("Tidegate ", env!("CARGO_PKG_VERSION")).to_owned(),
            filters: filter::Limits::default(),
            unidirectional_disconnects: BTreeMap::new(),
            unidirectional_websocket_push: true,
        }
    }
}

impl Centrifuge {
    /// The protocol within these bounds.
    pub fn new(options: Options) -> Self {
        Self { options: Arc::new(options) }
    }
}

impl Default for Centrifuge {
    fn default() -> Self {
        Self::new(Options::default())
    }
}

impl Protocol for Centrifuge {
    fn names(&self) -> &[&'static str] {
        &["centrifuge-json", "centrifuge-protobuf"]
    }

    /// Serves everybody: the protocol needs no name.
    fn accepts(&self, _: &Peer) -> bool {
        true
    }

    fn session(&self, peer: &Peer, now: Instant) -> Box<dyn Session> {
        Box::new(CentrifugeSession::new(self.options.clone(), peer, now))
    }
}

/// Whether this peer speaks Protobuf, and not JSON: it says so by the subprotocol, or by the URL.
pub fn is_protobuf(peer: &Peer) -> bool {
    // What only a body says counts for streams.
    let by_url = peer.protocol.is_empty() || peer.transport == "websocket";
    peer.protocol.ends_with("-protobuf")
        || (by_url && (asks(peer, "cf_protocol", "protobuf") || asks(peer, "format", "protobuf")))
}

/// Whether the URL that a peer connects to has this parameter with this value.
fn asks(peer: &Peer, key: &str, value: &str) -> bool {
    peer.query.split('&').any(|pair| pair.split_once('=') == Some((key, value)))
}

/// The state of one connection.
#[derive(Debug)]
struct CentrifugeSession {
    options: Arc<Options>,
    encoding: Encoding,
    /// The client only reads: it says what it wants when it connects, and nothing later.
    unidirectional: bool,
    /// Pings go by the transport's own.
    native_ping: bool,
    /// Pings are messages.
    message_ping: bool,
    /// The transport has no close code: a push says why before it closes.
    disconnect_push: bool,
    /// The client wants to be told of gaps and of the node's health.
    notices: bool,
    state: State,
    /// What is left of the frame that is being worked on.
    frame: Option<Bytes>,
    /// What to do before the next command.
    actions: SlimQueue<Action>,
}

/// Where a session stands.
#[derive(Debug)]
enum State {
    /// No connect command has come.
    New { until: Instant },
    /// The connect command is being answered.
    Connecting { id: u32 },
    /// Commands are taken; one may be being answered.
    Open { pending: Option<Pending>, heartbeat: Heartbeat },
    /// Nothing more is taken.
    Over,
}

/// The command being answered.
#[derive(Debug)]
struct Pending {
    id: u32,
    /// The channel of a publish command: its reply follows the publication.
    publish: Option<Channel>,
}

impl CentrifugeSession {
    fn new(options: Arc<Options>, peer: &Peer, now: Instant) -> Self {
        let asks = |key, value| asks(peer, key, value);
        let unidirectional = unidirectional::is(peer);
        let (native_ping, message_ping) = match peer.transport {
            "websocket" if asks("cf_ws_frame_ping_pong", "true") => (true, false),
            // What the client sends is not looked at; but a WebSocket's own pongs tell that it lives.
            "uni_websocket" => (true, true),
            _ => (false, true),
        };
        Self {
            encoding: if is_protobuf(peer) && !unidirectional { Encoding::Protobuf } else { Encoding::Json },
            unidirectional,
            native_ping,
            message_ping,
            disconnect_push: match peer.transport {
                "websocket" => false,
                "uni_websocket" => options.unidirectional_websocket_push,
                _ => true,
            },
            notices: asks("tidegate_notices", "true"),
            state: State::New { until: now + options.stale_close_delay },
            frame: unidirectional::connect_in_query(peer),
            actions: SlimQueue::new(),
            options,
        }
    }

    fn close(&mut self, why: &Disconnect) -> Action {
        self.state = State::Over;
        self.frame = None;
        Action::Close(convert::disconnect(why))
    }

    fn reply(&self, id: u32, response: &Response) -> Reply {
        let Options { version, .. } = &*self.options;
        convert::reply(id, response, version, !self.message_ping, self.encoding)
    }

    fn encode(&self, reply: &Reply) -> Result<Bytes, Disconnect> {
        self.encoding.encode_reply(reply).map_err(|_| Disconnect::INAPPROPRIATE_PROTOCOL)
    }

    /// Takes the next command out of the frame.
    fn command(&mut self) -> Option<Result<Command, Disconnect>> {
        let frame = self.frame.take()?;
        let mut commands = self.encoding.commands(&frame);
        let command = commands.next()?.map_err(Disconnect::from);
        let rest = commands.rest();
        if command.is_ok() && !rest.is_empty() {
            self.frame = Some(frame.slice_ref(rest));
        }
        Some(command)
    }

    /// What to do about a command.
    fn dispatch(&mut self, command: Command) -> Result<Option<Action>, Disconnect> {
        let heartbeat = match &mut self.state {
            State::New { .. } => {
                let Some(connect) = command.connect.filter(|_| command.id > 0) else {
                    return Err(Disconnect::BAD_REQUEST);
                };
                sound(&connect)?;
                self.state = State::Connecting { id: command.id };
                let connect = Box::new(convert::connect_request(*connect));
                return Ok(Some(Action::Request(Request::Connect(connect))));
            }
            State::Open { heartbeat, .. } => heartbeat,
            State::Connecting { .. } | State::Over => return Ok(None),
        };
        if command.id == 0 && command.send.is_none() {
            return if heartbeat.pong() { Ok(None) } else { Err(Disconnect::BAD_REQUEST) };
        }
        let id = command.id;
        let request = match request(command, &self.options.filters) {
            Ok(request) => request,
            Err(Refusal::Error(error)) => Request::Refused(error),
            Err(Refusal::Disconnect(_)) => return Err(Disconnect::BAD_REQUEST),
        };
        if let State::Open { pending, .. } = &mut self.state {
            let publish = match &request {
                Request::Publish { channel, .. } => Some(channel.clone()),
                _ => None,
            };
            *pending = Some(Pending { id, publish });
        }
        Ok(Some(Action::Request(request)))
    }

    fn connected(&mut self, connected: &Connected, now: Instant) {
        let interval = (!connected.ping.is_zero()).then_some(connected.ping);
        let heartbeat = Heartbeat::new(interval, connected.pong, &connected.client, now);
        self.state = State::Open { pending: None, heartbeat };
    }
}

impl Session for CentrifugeSession {
    fn binary(&self) -> bool {
        self.encoding == Encoding::Protobuf
    }

    fn receive(&mut self, message: Bytes, _: Instant) {
        if self.listens() {
            self.frame = Some(message);
        }
    }

    fn receive_ahead(&mut self, message: &Bytes) -> bool {
        if !self.listens() {
            return true;
        }
        let State::Open { heartbeat, .. } = &mut self.state else { return false };
        // One that nobody asked for is judged in its turn.
        self.encoding.is_pong(message) && heartbeat.pong()
    }

    fn probe(&mut self, now: Instant) {
        if let State::Open { heartbeat, .. } = &mut self.state {
            heartbeat.probe(now);
        }
    }

    fn next(&mut self, _: Instant) -> Option<Action> {
        if let Some(action) = self.follow_up() {
            return Some(action);
        }
        loop {
            if matches!(
                self.state,
                State::Connecting { .. } | State::Open { pending: Some(_), .. } | State::Over
            ) {
                return None;
            }
            let done = if self.unidirectional {
                let frame = self.frame.take()?;
                self.connect(&frame)
            } else {
                self.command()?.and_then(|command| self.dispatch(command))
            };
            match done {
                Ok(None) => {}
                Ok(Some(action)) => return Some(action),
                Err(why) => return Some(self.close(&why)),
            }
        }
    }

    fn follow_up(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn answer(&mut self, outcome: Result<Response, Refusal>, now: Instant) {
        if self.unidirectional {
            return self.answer_connect(outcome, now);
        }
        let (id, publish, connecting) = match &mut self.state {
            State::Connecting { id } => (*id, None, true),
            State::Open { pending, .. } => match pending.take() {
                Some(pending) => (pending.id, pending.publish, false),
                None => return,
            },
            State::New { .. } | State::Over => return,
        };
        let reply = match &outcome {
            Ok(Response::Sent) => return,
            Ok(response) => self.reply(id, response),
            Err(Refusal::Error(error)) => {
                Reply { id, error: Some(convert::error(error)), ..Default::default() }
            }
            Err(Refusal::Disconnect(why)) => {
                self.state = State::Over;
                self.frame = None;
                self.actions.push_back(Action::Close(why.clone()));
                return;
            }
        };
        match self.encode(&reply) {
            // Only a command with an id is replied to.
            Ok(_) if id == 0 => {}
            Ok(message) => self.actions.push_back(Action::Send(message, publish)),
            Err(why) => {
                let close = self.close(&why);
                self.actions.push_back(close);
                return;
            }
        }
        match outcome {
            Ok(Response::Connected(connected)) => self.connected(&connected, now),
            Err(_) if connecting => {
                self.state = State::Over;
                self.frame = None;
                self.actions.push_back(Action::Linger(now + self.options.linger));
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::New { until } => Some(*until),
            State::Open { heartbeat, .. } => heartbeat.deadline(),
            State::Connecting { .. } | State::Over => None,
        }
    }

    fn expire(&mut self, now: Instant) {
        match &mut self.state {
            State::New { until } if *until <= now => {
                let close = self.close(&Disconnect::STALE);
                self.actions.push_back(close);
            }
            State::Open { heartbeat, .. } => match heartbeat.expire(now) {
                heartbeat::Due::Nothing => {}
                heartbeat::Due::Ping => {
                    if self.native_ping {
                        self.actions.push_back(Action::Ping);
                    }
                    if self.message_ping {
                        self.actions.push_back(Action::Send(self.encoding.ping(), None));
                    }
                }
                heartbeat::Due::Dead => {
                    let close = self.close(&Disconnect::NO_PONG);
                    self.actions.push_back(close);
                }
            },
            _ => {}
        }
    }

    fn ponged(&mut self, _: Instant) {
        // A native pong may come unasked (RFC 6455 §5.5.3), and answers only native pings.
        if self.native_ping
            && let State::Open { heartbeat, .. } = &mut self.state
        {
            heartbeat.pong();
        }
    }

    fn subscription(&mut self, channel: &Channel, subscribed: &Subscribed) -> Box<dyn Subscription> {
        let newest = subscribed.publications.last().map_or(0, |publication| publication.offset);
        Box::new(ChannelSubscription {
            channel: channel.clone(),
            encoding: self.encoding,
            floor: newest.max(subscribed.position.offset),
            epoch: subscribed.position.epoch.clone(),
            continuous: subscribed.positioned || subscribed.recoverable,
            join_leave: subscribed.join_leave,
            filter: subscribed.filter.clone(),
            delta: subscribed.delta,
            brought: newest,
            notices: self.notices || subscribed.notices,
            bare: self.unidirectional,
            tracked: subscribed.tracked,
            loose: subscribed.datagrams,
        })
    }

    fn request_name(&self) -> Option<u64> {
        match &self.state {
            State::Open { pending: Some(pending), .. } => Some(pending.id.into()),
            _ => None,
        }
    }

    fn recovered(&mut self, channel: &Channel, subscribed: &Subscribed, out: &mut Batch) {
        let publications = if subscribed.delta {
            recovered(&subscribed.publications, self.encoding)
        } else {
            subscribed.publications.iter().map(convert::publication).collect()
        };
        for publication in publications {
            match self.encoding.publication_push(channel.as_str(), &publication) {
                Ok(push) => write_tracked(self.encoding, &push, out),
                Err(_) => out.close(convert::disconnect(&Disconnect::INAPPROPRIATE_PROTOCOL)),
            }
        }
    }

    fn push(&mut self, push: Push<'_>) -> Option<Bytes> {
        let push = match push {
            Push::Unsubscribe(channel, why) => message::Push {
                channel: channel.to_string(),
                unsubscribe: Some(message::Unsubscribe {
                    code: why.code.into(),
                    reason: why.reason.clone().into_owned(),
                }),
                ..Default::default()
            },
            Push::Subscribe(channel, subscribed) => message::Push {
                channel: channel.to_string(),
                subscribe: Some(message::Subscribe {
                    recoverable: subscribed.recoverable,
                    epoch: subscribed.position.epoch.to_string(),
                    offset: subscribed.position.offset,
                    positioned: subscribed.positioned,
                    data: subscribed.data.clone(),
                }),
                ..Default::default()
            },
            Push::Publication(channel, publication) => {
                let publication = convert::publication(publication);
                let encoded = self.encoding.publication_push(channel.as_str(), &publication).ok()?;
                return Some(if self.unidirectional { bare(&encoded) } else { encoded });
            }
            Push::Disconnect(why) if self.disconnect_push => {
                // Whether to connect again is told by the code alone, as v6 has it.
                message::Push {
                    disconnect: Some(message::Disconnect {
                        code: why.code.into(),
                        reason: why.reason.clone().into_owned(),
                        reconnect: false,
                    }),
                    ..Default::default()
                }
            }
            Push::Refresh(ttl) => {
                let (expires, ttl) = convert::seconds(ttl);
                message::Push { refresh: Some(message::Refresh { expires, ttl }), ..Default::default() }
            }
            Push::Message(data) => convert::message_push(data.clone()),
            Push::Health(health) if self.notices => {
                let health = match health {
                    Health::Serving => "serving",
                    Health::Degraded => "degraded",
                    Health::Draining => "draining",
                };
                convert::message_push(Bytes::from(format!(r#"{{"tidegate":{{"health":"{health}"}}}}"#)))
            }
            _ => return None,
        };
        let encoded = self.encoding.encode_push(&push).ok()?;
        Some(if self.unidirectional { bare(&encoded) } else { encoded })
    }

    fn busy(&self) -> bool {
        self.frame.is_some()
            || matches!(self.state, State::Connecting { .. } | State::Open { pending: Some(_), .. })
    }
}

/// Checks what a connect request says of channels, as a subscribe command is checked.
fn sound(connect: &message::ConnectRequest) -> Result<(), Disconnect> {
    let sound = |sub: &message::SubscribeRequest| takes(&sub.delta);
    if connect.subs.values().all(sound) { Ok(()) } else { Err(Disconnect::BAD_REQUEST) }
}

/// Refuses what is about another kind of channel: a client that wants a map must not take a stream for one.
fn stream(kind: i32) -> Result<(), Refusal> {
    if kind == 0 { Ok(()) } else { Err(ClientError::PERMISSION_DENIED.into()) }
}

/// Whether this is a kind of delta that there is, or none.
fn takes(delta: &str) -> bool {
    matches!(delta, "" | "fossil")
}

/// What a command asks for.
fn request(command: Command, filters: &filter::Limits) -> Result<Request, Refusal> {
    let bad = || Refusal::Disconnect(convert::disconnect(&Disconnect::BAD_REQUEST));
    let channel = |name: String| if name.is_empty() { Err(bad()) } else { Ok(Channel::new(name)) };
    Ok(if command.connect.is_some() || command.ping.is_some() {
        // A second connect, whatever comes with it; the ping of the protocol's first version.
        return Err(bad());
    } else if let Some(subscribe) = command.subscribe {
        if subscribe.channel.is_empty() || !takes(&subscribe.delta) {
            return Err(bad());
        }
        stream(subscribe.kind)?;
        let mut subscribe = subscribe;
        let filter = match subscribe.tf.take() {
            None => None,
            Some(tf) => Some(convert::filter(tf, filters).ok_or(ClientError::BAD_REQUEST)?),
        };
        Request::Subscribe(Box::new(convert::subscribe_request(*subscribe, filter)))
    } else if let Some(unsubscribe) = command.unsubscribe {
        Request::Unsubscribe(channel(unsubscribe.channel)?)
    } else if let Some(publish) = command.publish {
        let channel = channel(publish.channel)?;
        stream(publish.kind)?;
        let key = (!publish.key.is_empty()).then(|| publish.key.into());
        Request::Publish { channel, data: publish.data, key }
    } else if let Some(presence) = command.presence {
        Request::Presence(channel(presence.channel)?)
    } else if let Some(stats) = command.presence_stats {
        Request::PresenceStats(channel(stats.channel)?)
    } else if let Some(history) = command.history {
        if history.channel.is_empty() {
            return Err(bad());
        }
        Request::History(convert::history_request(*history))
    } else if let Some(rpc) = command.rpc {
        Request::Rpc { method: rpc.method, data: rpc.data }
    } else if let Some(send) = command.send {
        Request::Send(send.data)
    } else if let Some(refresh) = command.refresh {
        if refresh.token.is_empty() {
            return Err(bad());
        }
        Request::Refresh { token: refresh.token }
    } else if let Some(refresh) = command.sub_refresh {
        Request::SubRefresh { channel: channel(refresh.channel)?, token: refresh.token }
    } else {
        // An id alone, an unknown command.
        return Err(bad());
    })
}
