//! A model client: comes, subscribes, publishes, stalls, vanishes, and comes back to recover.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tidegate_server::Bytes;
use tidegate_server::core::memory::{Address, Client as Wire};
use tidegate_server::core::transport::Peer;
use tokio::time::{Instant, sleep, sleep_until};

use crate::dice::Dice;
use crate::plan::{GuestPlan, Temper};
use crate::run::REST;
use crate::session::{Place, Session};
use crate::world::World;

pub(crate) struct Guest {
    world: Arc<World>,
    address: Address,
    number: usize,
    plan: GuestPlan,
    dice: Dice,
    places: BTreeMap<usize, Place>,
    /// The mass drop has been.
    dropped: bool,
}

/// Commands that it does not wait for. Few: what one client brings in one moment must not be more than the smallest
/// window of the plans holds, or who reads at once misses some of it, rightly, and the oracle takes it for a loss.
const COMMANDS: usize = 5;

/// How long before the end of the rest the last of them come: who has only just come still waits for its answer,
/// rightly. Longer than a connect request with all its subscriptions takes, and what came with it in one frame.
const SETTLED: Duration = Duration::from_secs(15);

/// How it treats what the server sends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Reading,
    /// It reads nothing until then.
    Stalled(Instant),
    /// It takes a few bytes now and then until then.
    Nibbling(Instant),
}

/// What came first.
enum Came {
    Message(Bytes),
    End,
    Time,
}

impl Guest {
    pub(crate) fn new(world: Arc<World>, address: Address, number: usize) -> Self {
        let dice = Dice::new(world.plan.seed, 100 + number as u64);
        let plan = world.plan.guests[number].clone();
        Self { world, address, number, plan, dice, places: BTreeMap::new(), dropped: false }
    }

    pub(crate) async fn live(mut self) {
        let first = if self.dice.percent(50) { 0 } else { 1_000 };
        sleep(self.dice.millis(0, first)).await;
        let last = self.world.plan.busy + REST - SETTLED;
        while !self.world.is_over() {
            let Some(terminal) = self.visit().await else { return };
            if self.world.is_resting() && (terminal || self.world.started.elapsed() >= last) {
                return;
            }
            let pause = if self.dice.percent(30) { 0 } else { self.dice.between(1, 600) };
            sleep(Duration::from_millis(pause)).await;
        }
    }

    /// Connects once, and stays as long as it likes. `None`: there is no server any more; else whether it is
    /// not to come back at once.
    async fn visit(&mut self) -> Option<bool> {
        let wire = match self.knock().await? {
            Some(wire) => wire,
            None => return Some(false),
        };
        let mut session = Session::new(self.world.clone(), self.number, wire, self.places.clone());
        if self.prone(Temper::Dropping, 5) {
            session.spoil();
            session.note("vanishes at once");
            return Some(false);
        }
        if self.prone(Temper::Rude, 15) {
            session.be_tardy();
            sleep(self.dice.millis(100, 13_000)).await;
            session.reading = Some(Instant::now());
        }
        session.ask_connect();
        // As SDKs do: everything in one frame.
        for _ in 0..self.dice.index(4) {
            let channel = self.channel();
            let (recover, strict) = (self.dice.percent(80), self.dice.percent(10));
            session.ask_subscribe(channel, recover, strict);
        }
        session.say();
        if self.prone(Temper::Dropping, 5) {
            // The words are under way.
            session.spoil();
            let mut flushed = std::pin::pin!(poll_fn(|cx| session.wire.poll_flush(cx)));
            let _ = poll_fn(|cx| Poll::Ready(flushed.as_mut().poll(cx))).await;
            session.note("vanishes before it is answered");
            return Some(false);
        }
        let terminal = self.stay(&mut session).await;
        session.gone();
        self.places = std::mem::take(&mut session.places);
        Some(terminal)
    }

    /// Knocks, and shakes hands. The inner `None`: it has gone while doing so.
    async fn knock(&mut self) -> Option<Option<Wire>> {
        let query = match (self.plan.protobuf, self.plan.notices) {
            (true, true) => "cf_protocol=protobuf&tidegate_notices=true",
            (true, false) => "cf_protocol=protobuf",
            (false, true) => "tidegate_notices=true",
            (false, false) => "",
        };
        let peer = Peer { query: query.into(), ..Default::default() };
        if !self.dice.percent(15) {
            return Some(Some(self.address.connect_as(peer).ok()?));
        }
        let (wire, handshake) = self.address.connect_slowly_as(peer).ok()?;
        sleep(self.dice.millis(0, 500)).await;
        if self.prone(Temper::Dropping, 40) {
            self.world.note(format_args!("guest {}", self.number), "vanishes in the handshake");
            self.world.state().spoiled = true;
            return Some(None);
        }
        handshake.finish();
        Some(Some(wire))
    }

    /// Lives until the connection ends, by whichever side.
    async fn stay(&mut self, session: &mut Session) -> bool {
        let mut mode = Mode::Reading;
        let mut next = Instant::now() + self.pace();
        let check = self.world.started + self.world.plan.busy + REST - Duration::from_secs(1);
        let mut checked = Instant::now() >= check;
        loop {
            if let Mode::Stalled(until) | Mode::Nibbling(until) = mode
                && (Instant::now() >= until || self.world.is_resting())
            {
                mode = Mode::Reading;
                session.reading = Some(Instant::now());
            }
            match self.come(session, mode, next).await {
                Came::Message(message) => session.hear(&message),
                Came::End => {
                    let code = session.ended();
                    return code.is_none_or(|code| matches!(code, 3500..=3999));
                }
                Came::Time if self.world.is_resting() => {
                    if !checked && Instant::now() >= check {
                        checked = true;
                        session.complete();
                    }
                    next = if checked { Instant::now() + Duration::from_secs(3_600) } else { check };
                }
                Came::Time => {
                    if self.vanishes(session) {
                        return false;
                    }
                    // Pongs stand behind commands: who asks without end is taken for dead.
                    if session.is_connected() && session.waits_for() < COMMANDS {
                        self.act(session, &mut mode);
                    }
                    next = Instant::now() + self.pace();
                    if self.world.plan.rest {
                        next = next.min(self.world.started + self.world.plan.busy);
                        next = next.max(Instant::now() + Duration::from_millis(1));
                    }
                }
            }
        }
    }

    /// Sends what is queued, and reads as `mode` says, until something comes or it is time.
    async fn come(&mut self, session: &mut Session, mode: Mode, next: Instant) -> Came {
        let until = match mode {
            Mode::Reading => next,
            Mode::Stalled(until) => next.min(until),
            Mode::Nibbling(until) => next.min(until).min(Instant::now() + Duration::from_millis(30)),
        };
        let mut timer = std::pin::pin!(sleep_until(until));
        let wire = &mut session.wire;
        let came = poll_fn(|cx| {
            // Refused: the end is to be read next.
            let _ = wire.poll_flush(cx);
            if mode == Mode::Reading
                && let Poll::Ready(message) = wire.poll_recv(cx)
            {
                return Poll::Ready(message.map_or(Came::End, Came::Message));
            }
            timer.as_mut().poll(cx).map(|()| Came::Time)
        });
        let came = came.await;
        if let Mode::Nibbling(_) = mode {
            session.wire.read_bytes(self.dice.index(9));
        }
        came
    }

    /// Whether it goes now, without a word.
    fn vanishes(&mut self, session: &mut Session) -> bool {
        let mass = self.world.plan.mass_drop;
        let mass = mass.is_some_and(|at| self.world.started.elapsed() >= at);
        if mass && !std::mem::replace(&mut self.dropped, true) && self.dice.percent(90) {
            session.spoil();
            session.note("vanishes with the others");
            return true;
        }
        let vanishes = self.prone(Temper::Dropping, 8);
        if vanishes {
            session.spoil();
            session.note("vanishes");
        }
        vanishes
    }

    /// Does one thing, or several in one frame.
    fn act(&mut self, session: &mut Session, mode: &mut Mode) {
        for _ in 0..self.dice.between(1, 3) {
            let channel = self.channel();
            let deed = if self.world.plan.fickle {
                self.dice.pick(&[0, 0, 0, 6, 6, 8])
            } else {
                self.dice.index(20)
            };
            match deed {
                0..=5 => {
                    let (recover, strict) = (self.dice.percent(80), self.dice.percent(10));
                    session.ask_subscribe(channel, recover, strict);
                }
                6 | 7 => session.ask_unsubscribe(channel),
                8..=13 => {
                    let size = self.size();
                    session.ask_publish(channel, size);
                }
                14 => session.ask_history(channel),
                15 => session.ask_presence(channel),
                16 => session.ask_rpc(self.dice.index(800)),
                _ => {}
            }
        }
        session.say();
        let now = Instant::now();
        if self.prone(Temper::Stalling, 15) {
            let most = self.dice.pick(&[200, 2_000, 40_000]);
            *mode = Mode::Stalled(now + self.dice.millis(10, most));
            session.note("stalls");
            session.spoil();
        } else if self.prone(Temper::Nibbling, 15) {
            *mode = Mode::Nibbling(now + self.dice.millis(100, 6_000));
            session.note("nibbles");
            session.spoil();
        } else if self.prone(Temper::Dropping, 3) {
            session.note("says that it is done");
            session.spoil();
            session.reading = Some(now);
            session.wire.close();
        } else if self.prone(Temper::Rude, 15) {
            self.misbehave(session);
        }
    }

    fn misbehave(&mut self, session: &mut Session) {
        session.be_rude();
        match self.dice.index(5) {
            0 => session.wire.queue(b"nonsense"),
            1 => session.wire.queue_raw(&[0, 255, 255, 255]),
            2 => session.wire.queue_raw(&[0, 0, 0, 9, b'{']),
            3 => session.wire.queue(if self.plan.protobuf { &[0] } else { b"{}" }),
            _ => {
                session.reading = None;
                session.wire.refuse();
            }
        }
        session.note("misbehaves");
    }

    fn prone(&mut self, temper: Temper, percent: u64) -> bool {
        self.plan.temper == temper && !self.world.is_resting() && self.dice.percent(percent)
    }

    fn pace(&mut self) -> Duration {
        self.dice.millis(1, self.world.plan.pace)
    }

    fn channel(&mut self) -> usize {
        self.dice.index(self.world.plan.channels.len())
    }

    fn size(&mut self) -> usize {
        self.dice.pick(&[0, 0, 10, 100, 1_000])
    }
}
