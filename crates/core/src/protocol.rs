//! What a wire protocol is to the server: a state machine that turns messages into requests, and answers
//! into messages. It does no I/O and reads no clock.

use std::time::Instant;

use bytes::Bytes;

use crate::outbox::Batch;
use crate::request::{Request, Response, Subscribed};
use crate::transport::Peer;
use crate::{Channel, Disconnect, Health, Publication, Refusal, Subscription};

/// A wire protocol. Several may stand on one port; the first that accepts a peer serves it.
pub trait Protocol: Send + Sync + 'static {
    /// The names that a transport may choose it by: WebSocket subprotocols, ALPN names.
    fn names(&self) -> &[&'static str];

    /// Whether it serves this peer.
    fn accepts(&self, peer: &Peer) -> bool;

    /// A session for a peer that connected at `now`.
    fn session(&self, peer: &Peer, now: Instant) -> Box<dyn Session>;
}

/// The state of one connection's protocol.
///
/// The connection feeds it what comes ([`receive`](Session::receive), [`answer`](Session::answer),
/// [`expire`](Session::expire)), and then asks it for the [`next`](Session::next) action until there is none.
pub trait Session: Send {
    /// Whether messages are binary: a WebSocket then uses binary frames.
    fn binary(&self) -> bool;

    /// Takes a message. It is looked at when the next action is asked for.
    fn receive(&mut self, message: Bytes, now: Instant);

    /// Takes a message that came while a request is being done, if it may go ahead of that, as the answer to
    /// a ping may. False: it has to wait for its turn.
    fn receive_ahead(&mut self, message: &Bytes) -> bool {
        let _ = message;
        false
    }

    /// Pings the client now, to find out whether it is still there.
    fn probe(&mut self, now: Instant) {
        let _ = now;
    }

    /// What to do next; `None` until something else comes. While a request is being done there is none.
    fn next(&mut self, now: Instant) -> Option<Action>;

    /// What follows from what was answered or was due, as [`Session::next`] would return it; never a new
    /// request.
    fn follow_up(&mut self) -> Option<Action>;

    /// Takes the outcome of the request that was being done, by time `now`.
    fn answer(&mut self, outcome: Result<Response, Refusal>, now: Instant);

    /// When to call [`Session::expire`]; `None` for never.
    fn deadline(&self) -> Option<Instant>;

    /// Something may be due.
    fn expire(&mut self, now: Instant);

    /// The peer has answered a native ping.
    fn ponged(&mut self, now: Instant);

    /// What makes messages of a channel's entries, for a subscription that stands from now on.
    fn subscription(&mut self, channel: &Channel, subscribed: &Subscribed) -> Box<dyn Subscription>;

    /// The name that the client has given the request being done, by which a [track](crate::transport::Track)
    /// for what it asks for may be named; `None` where there is none.
    fn request_name(&self) -> Option<u64> {
        None
    }

    /// Writes what a subscription with a track begins with: the publications that were recovered, which its
    /// reply then does not have.
    fn recovered(&mut self, channel: &Channel, subscribed: &Subscribed, out: &mut Batch) {
        let _ = (channel, subscribed, out);
    }

    /// The message that tells the client of something that it did not ask for; `None` where the protocol
    /// has none or the client does not want it.
    fn push(&mut self, push: Push<'_>) -> Option<Bytes>;

    /// Whether a request is being done, or messages wait: nothing more should be read.
    fn busy(&self) -> bool;
}

/// What a session wants of its connection.
#[derive(Debug)]
pub enum Action {
    /// Do this, and say what came of it.
    Request(Request),
    /// Send this. With a channel, not before what that channel's log holds now.
    Send(Bytes, Option<Channel>),
    /// Send a native ping.
    Ping,
    /// Close, for this reason.
    Close(Disconnect),
    /// Close, for this reason, as the connect request was refused with the error of this code.
    Refuse(u32, Disconnect),
    /// Send what there is, then wait for the client to close, and drop the connection at this time.
    Linger(Instant),
}

/// What a client is told without having asked.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Push<'a> {
    /// The server has ended a subscription.
    Unsubscribe(&'a Channel, &'a Disconnect),
    /// The server has made a subscription.
    Subscribe(&'a Channel, &'a Subscribed),
    /// A publication that was recovered for a subscription which the server has made.
    Publication(&'a Channel, &'a Publication),
    /// The server closes the connection.
    Disconnect(&'a Disconnect),
    /// The connection's life has changed; for ever, if there is no duration.
    Refresh(Option<std::time::Duration>),
    /// A message that belongs to no channel.
    Message(&'a Bytes),
    /// The node's health.
    Health(Health),
}
