//! A channel whose subscribers speak the protocol, without sockets: for tests, benches and the counting of
//! instructions.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use tidegate_core::outbox::{Batch, Fill, Framing, HEADER, Limits, Outbox};
use tidegate_core::protocol::Protocol as _;
use tidegate_core::request::Subscribed;
use tidegate_core::transport::Peer;
use tidegate_core::{Budget, Channel, Fanout, Kind, Log, Publication, SkipToOldest, Window};
use tidegate_protocol::Centrifuge;

/// What subscribers speak, as a WebSocket's subprotocol names it.
pub(crate) const PROTOCOLS: [&str; 2] = ["centrifuge-json", "centrifuge-protobuf"];

/// The channel and its subscribers.
pub(crate) struct Fan {
    log: Arc<Log>,
    outboxes: Vec<Outbox>,
    batch: Batch,
    publication: Publication,
    now: Instant,
}

impl Fan {
    /// Subscribers of this protocol, with one subscription each; `like` is published to them.
    pub(crate) fn new(
        protocol: &str,
        subscribers: usize,
        subscribed: &Subscribed,
        like: Publication,
    ) -> Self {
        let (now, channel) = (Instant::now(), Channel::from("news"));
        let log = Log::new(channel.clone(), Window::default(), Fanout::new(), Budget::new(0));
        let peer = Peer { transport: "websocket", protocol: protocol.into(), ..Default::default() };
        let outbox = |_| {
            let mut outbox = Outbox::new(Limits::default());
            let mut session = Centrifuge::default().session(&peer, now);
            let subscription = session.subscription(&channel, subscribed);
            outbox.subscribe(&log, subscription, Arc::new(SkipToOldest)).expect("the log lives");
            outbox
        };
        let outboxes = (0..subscribers).map(outbox).collect();
        let mut fan = Self { log, outboxes, batch: Batch::new(), publication: like, now };
        fan.drain(0);
        fan
    }

    /// Publishes so many in a row.
    pub(crate) fn publish(&self, count: usize) {
        for _ in 0..count {
            let kind = Kind::Publication(self.publication.clone());
            self.log.append(kind, self.now).expect("it fits");
        }
    }

    /// Writes all there is for all subscribers from the `first` on, and returns how many bytes that were.
    pub(crate) fn drain(&mut self, first: usize) -> usize {
        let outboxes = &mut self.outboxes[first..];
        outboxes.iter_mut().map(|outbox| drain(outbox, &mut self.batch)).sum()
    }

    /// The same for the first subscriber alone, who encodes for all.
    #[allow(dead_code, reason = "not all who share this file need it")]
    pub(crate) fn drain_first(&mut self) -> usize {
        drain(&mut self.outboxes[0], &mut self.batch)
    }
}

/// A publication of so many bytes of JSON.
pub(crate) fn publication(size: usize) -> Publication {
    Publication::new(Bytes::from(format!("\"{}\"", "x".repeat(size - 2))))
}

fn drain(outbox: &mut Outbox, batch: &mut Batch) -> usize {
    let mut cx = Context::from_waker(Waker::noop());
    let mut written = 0;
    batch.begin(FRAMING);
    while let Poll::Ready(fill) = outbox.poll_fill(&mut cx, 1 << 16, batch) {
        assert!(matches!(fill, Fill::Batch));
        let taken = batch.len();
        outbox.unread(batch, taken);
        written += taken;
    }
    written
}

/// As a WebSocket server's, for messages of up to 64 KiB.
const FRAMING: Framing = Framing { header, suffix: b"" };

fn header(length: usize, into: &mut [u8; HEADER]) -> usize {
    into[0] = 0x81;
    if let Ok(short @ 0..126) = u8::try_from(length) {
        into[1] = short;
        2
    } else {
        into[1] = 126;
        into[2..4].copy_from_slice(&(length as u16).to_be_bytes());
        4
    }
}
