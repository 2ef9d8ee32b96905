mod connecting;
mod life;
mod questions;
mod requests;
mod subscribing;
mod subscriptions;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tidegate_core::call::Call;
use tidegate_core::outbox::{Batch, Event, Fill, Limits, Outbox};
use tidegate_core::protocol::{Action, Push, Session};
use tidegate_core::registry::Registration;
use tidegate_core::request::Request;
use tidegate_core::transport::{Connection, Peer, Received};
use tidegate_core::{Client, Disconnect, Health, Permit};

use crate::app::App;
use crate::roster::Seat;
use crate::time::now;
use crate::wheel::Timer;
use requests::Step;
use subscriptions::Subscriptions;

/// Serves one connection until it is gone: reads and does requests, writes what its outbox holds, and keeps
/// its deadlines.
///
/// Not an `async fn`: its arguments would be kept beside the driver they went into.
pub(crate) fn serve<C: Connection>(
    app: Arc<App>,
    io: C,
    peer: Peer,
    permit: Permit,
) -> impl Future<Output = ()> + Send {
    app.meters.accepted(peer.transport);
    let mut driver = Driver::new(app, io, peer, permit);
    if driver.app.is_draining() {
        // It has taken its seat too late for the drain to see it.
        let _ = driver.outbox.handle().close(ABORTED);
    }
    async move {
        let why = poll_fn(|cx| driver.poll(cx)).await;
        // Boxed, so that an open connection does not keep room for it.
        Box::pin(driver.leave(&why)).await;
    }
}

/// A connection and everything that belongs to it.
struct Driver<C> {
    app: Arc<App>,
    io: C,
    outbox: Outbox,
    session: Box<dyn Session>,
    /// Kept until the connect request has been answered.
    peer: Option<Box<Peer>>,
    client: Option<Arc<Client>>,
    registration: Option<Registration>,
    /// The application was told that the client has connected.
    announced: bool,
    subscriptions: Subscriptions,
    /// A request that waits until the replies before it are on their way.
    held: Option<Request>,
    /// The request being done, a step at a time.
    work: Option<Pin<Box<dyn Future<Output = Step> + Send>>>,
    /// What is to be told to others, in order, while the client goes on.
    chores: VecDeque<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// What the application asked for while a request was being done.
    calls: VecDeque<Call>,
    timer: Timer,
    /// When the timer was set to ring.
    armed: Option<Instant>,
    /// The peer broke a rule of the transport: what it sends is not looked at any more.
    deaf: bool,
    /// Since when the socket has taken nothing.
    stalled: Option<Stall>,
    /// When the connection expires, if it is not refreshed.
    expires: Option<Instant>,
    /// When presence is told again, and expired subscriptions are looked for.
    upkeep: Option<Instant>,
    phase: Phase,
    _seat: Seat,
    _permit: Permit,
}

#[derive(Clone, Copy)]
struct Stall {
    since: Instant,
    judged: Instant,
}

/// How a connection lives, and ends.
enum Phase {
    /// It reads and writes.
    Live,
    /// The connect request was refused: it writes, and waits for the client to close.
    Linger(Instant),
    /// It takes no more requests, and is written to until everything is read.
    Draining(Disconnect),
    /// Its last words are being written.
    Closing(Disconnect, Instant),
    /// They are out; the client may close now.
    Waiting(Disconnect, Instant),
}

/// Bytes of one write, and of one read: what a send buffer takes well, and what a cache keeps warm.
const ROOM: usize = 64 * 1024;
/// Reads and writes of one turn: then others have theirs. The runtime's own budget does not count them.
const TURN: usize = 4;

thread_local! {
    /// What a thread fills and writes: no connection holds one.
    static BATCH: RefCell<Batch> = RefCell::new(Batch::new());
}

const CLOSED: Disconnect = Disconnect::new(3000, "connection closed");
const SHUTDOWN: u16 = 3001;
const ABORTED: Disconnect = Disconnect::new(3001, "shutdown");
const SLOW: Disconnect = Disconnect::new(3008, "slow");
const WRITE_ERROR: Disconnect = Disconnect::new(3009, "write error");
const EXPIRED: Disconnect = Disconnect::new(3005, "connection expired");

impl<C: Connection> Driver<C> {
    fn new(app: Arc<App>, mut io: C, peer: Peer, permit: Permit) -> Self {
        let now = now();
        let protocol = app.protocols.iter().find(|protocol| protocol.accepts(&peer));
        let session = protocol.expect("a server has a protocol for everybody").session(&peer, now);
        io.set_binary(session.binary());
        let outbox = Outbox::new(Limits::default());
        Self {
            _seat: app.roster.enter(outbox.handle()),
            outbox,
            session,
            io,
            peer: Some(Box::new(peer)),
            client: None,
            registration: None,
            announced: false,
            subscriptions: Subscriptions::default(),
            held: None,
            work: None,
            chores: VecDeque::new(),
            calls: VecDeque::new(),
            timer: Timer::new(&app.wheel),
            armed: None,
            deaf: false,
            stalled: None,
            expires: None,
            upkeep: None,
            phase: Phase::Live,
            _permit: permit,
            app,
        }
    }

    /// Does what can be done; ready when the connection is gone.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Disconnect> {
        match self.poll_turn(cx) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(why)) | Err(why) => Poll::Ready(why),
        }
    }

    /// One turn; an error is the end, too, met on the way.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Result<Poll<Disconnect>, Disconnect> {
        let now = now();
        let (mut reads, mut writes) = (0, 0);
        if self.armed.is_some_and(|at| at <= now) {
            self.armed = None;
        }
        if let Poll::Ready(why) = self.keep_deadlines(now) {
            return Ok(Poll::Ready(why));
        }
        loop {
            // All that is there to be read first: what it brings then leaves in one write.
            let mut idle = true;
            while reads < READS && self.poll_work(cx, now, &mut reads)? {
                idle = false;
            }
            let wrote = writes < TURN && self.poll_write(cx, now)?;
            if wrote {
                writes += 1;
                idle = false;
            }
            if !wrote && let Poll::Ready(why) = self.finish(cx, now) {
                return Ok(Poll::Ready(why));
            }
            if idle {
                break;
            }
            if reads >= READS || writes >= TURN {
                cx.waker().wake_by_ref();
                break;
            }
        }
        self.arm(cx);
        Ok(Poll::Pending)
    }

    /// Does one thing that the client or the application asked for, or reads on; false if there is nothing.
    fn poll_work(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        reads: &mut usize,
    ) -> Result<bool, Disconnect> {
        // No request is begun while there is work: it would take the work's place.
        let free = self.work.is_none();
        let action = match self.phase {
            // Nor while replies wait: one frame may ask for a thousand of them, each larger than a frame.
            Phase::Live if free && !self.outbox.full() => self.session.next(now),
            // Draining: what was begun is answered, nothing new is begun.
            Phase::Live | Phase::Draining(_) => self.session.follow_up(),
            _ => None,
        };
        if let Some(action) = action {
            self.act(action, now);
            return Ok(true);
        }
        if free
            && !self.outbox.holds_replies()
            && let Some(request) = self.held.take()
        {
            self.request(request, now);
            return Ok(true);
        }
        if let Some(chore) = self.chores.front_mut()
            && chore.as_mut().poll(cx).is_ready()
        {
            self.chores.pop_front();
            return Ok(true);
        }
        if let Some(work) = &mut self.work {
            let Poll::Ready(step) = work.as_mut().poll(cx) else { return Ok(false) };
            self.work = None;
            self.step(step, now);
            return Ok(true);
        }
        if let Some(call) = self.calls.pop_front() {
            self.call(call, now);
            return Ok(true);
        }
        self.poll_read(cx, now, reads)
    }

    /// Does what a session wants.
    fn act(&mut self, action: Action, now: Instant) {
        match action {
            // Replies come in the order of requests. Publications may follow each other, as their replies
            // wait for the same lane.
            Action::Request(request)
                if self.outbox.holds_replies() && !matches!(request, Request::Publish { .. }) =>
            {
                self.held = Some(request);
            }
            Action::Request(request) => self.request(request, now),
            Action::Send(message, after) => {
                let lane = after.and_then(|channel| self.subscriptions.lane(&channel));
                self.outbox.reply(message, lane);
            }
            Action::Ping => {
                if let Some(ping) = self.io.ping() {
                    self.outbox.framed(ping);
                }
            }
            Action::Close(why) => self.close(why, now),
            Action::Linger(until) => self.phase = Phase::Linger(until),
        }
    }

    /// Writes until nothing is left or the socket is full; false if there was nothing to do.
    fn poll_write(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, Disconnect> {
        if self.stalled.is_some() {
            match self.io.poll_writable(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Err(self.reason(WRITE_ERROR)),
                Poll::Pending => {
                    let Poll::Ready(event) = self.outbox.poll_stalled(cx) else { return Ok(false) };
                    self.event(event, now)?;
                    return Ok(true);
                }
            }
        }
        BATCH.with_borrow_mut(|batch| {
            batch.begin(self.io.framing());
            match self.outbox.poll_fill(cx, ROOM, batch) {
                Poll::Pending => Ok(false),
                Poll::Ready(Fill::Event(event)) => {
                    self.event(event, now)?;
                    Ok(true)
                }
                Poll::Ready(Fill::Batch) => {
                    let taken = if batch.is_empty() {
                        0
                    } else {
                        match self.io.poll_write(cx, batch) {
                            Poll::Ready(Ok(taken)) => {
                                self.stalled = None;
                                taken
                            }
                            Poll::Ready(Err(_)) => {
                                self.outbox.unread(batch, 0);
                                return Err(self.reason(WRITE_ERROR));
                            }
                            Poll::Pending => {
                                self.stalled.get_or_insert(Stall { since: now, judged: now });
                                0
                            }
                        }
                    };
                    let done = self.outbox.unread(batch, taken);
                    self.app.meters.writes.increment(1);
                    self.app.meters.bytes_out.increment(taken as u64);
                    if done.delivered > 0 {
                        self.app.meters.delivered.increment(done.delivered);
                    }
                    if done.missed > 0 {
                        self.app.meters.missed_gap.increment(done.missed);
                    }
                    Ok(true)
                }
            }
        })
    }

    /// Reads one message, if the session can take one; false if there was nothing to do.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        reads: &mut usize,
    ) -> Result<bool, Disconnect> {
        let taking = matches!(self.phase, Phase::Live)
            && !self.session.busy()
            && self.work.is_none()
            && !self.outbox.full();
        if matches!(self.phase, Phase::Live) && !taking {
            return Ok(false);
        }
        if self.deaf {
            return match self.io.poll_drain(cx) {
                Poll::Pending => Ok(false),
                // Nothing more to read; there are last words to write.
                Poll::Ready(()) if matches!(self.phase, Phase::Closing(..)) => Ok(false),
                Poll::Ready(()) => Err(self.reason(CLOSED)),
            };
        }
        match self.io.poll_receive(cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(received)) => {
                *reads += 1;
                self.receive(received, now)?;
                Ok(true)
            }
            Poll::Ready(Err(error)) => {
                if !matches!(self.phase, Phase::Live | Phase::Linger(_)) {
                    return Err(self.reason(CLOSED));
                }
                match error.close() {
                    Some(why) => {
                        tracing::debug!(client = self.id(), %error, "closing: the peer broke a rule");
                        self.deaf = true;
                        self.close(why.clone(), now);
                        Ok(true)
                    }
                    None => Err(CLOSED),
                }
            }
        }
    }

    fn receive(&mut self, received: Received, now: Instant) -> Result<(), Disconnect> {
        match received {
            Received::Message(message) if matches!(self.phase, Phase::Live) => {
                self.session.receive(message, now);
            }
            // What comes after the end is not looked at.
            Received::Message(_) => {}
            Received::Answer(bytes) => self.outbox.framed(bytes),
            Received::Pong => self.session.ponged(now),
            Received::Closed(code) => {
                if !matches!(self.phase, Phase::Live | Phase::Linger(_)) || code.is_none() {
                    return Err(self.reason(CLOSED));
                }
                // The client closes: answer its close frame (RFC 6455 §5.5.1), and do not wait.
                let why = Disconnect { code: code.unwrap_or(1000), reason: "".into() };
                self.farewell(&why);
                self.phase = Phase::Closing(CLOSED, now + self.app.settings().close_timeout);
            }
        }
        Ok(())
    }

    fn event(&mut self, event: Event, now: Instant) -> Result<(), Disconnect> {
        match event {
            Event::Abort => return Err(self.reason(ABORTED)),
            Event::Close(why) if why.code == SHUTDOWN && matches!(self.phase, Phase::Live) => {
                self.phase = Phase::Draining(why);
            }
            Event::Close(why) => self.close(why, now),
            Event::Health(health) => self.health(health),
            Event::Call(call) => self.calls.push_back(call),
            Event::Ended(lane, end) => self.ended(lane, &end, now),
            _ => {}
        }
        Ok(())
    }

    fn health(&mut self, health: Health) {
        if let Some(message) = self.session.push(Push::Health(health)) {
            self.outbox.reply(message, None);
        }
    }

    /// Begins to close. The first reason stands.
    fn close(&mut self, why: Disconnect, now: Instant) {
        if matches!(self.phase, Phase::Closing(..) | Phase::Waiting(..)) {
            return;
        }
        tracing::debug!(client = self.id(), code = why.code, reason = %why.reason, "closing");
        self.app.meters.missed_end.increment(self.outbox.unread_publications());
        self.subscriptions.detach(&mut self.outbox);
        if let Some(push) = self.session.push(Push::Disconnect(&why)) {
            self.outbox.reply(push, None);
        }
        self.farewell(&why);
        self.phase = Phase::Closing(why, now + self.app.settings().close_timeout);
    }

    fn farewell(&mut self, why: &Disconnect) {
        self.held = None;
        self.work = None;
        self.calls.clear();
        let farewell = self.io.farewell(why);
        if !farewell.is_empty() {
            self.outbox.framed(farewell);
        }
    }

    /// Goes from phase to phase of the end; ready when it is there.
    fn finish(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Disconnect> {
        if let Phase::Draining(why) = &self.phase
            // Nobody waits for the authentication of who has not connected.
            && (self.work.is_none() || self.client.is_none())
            && self.outbox.is_idle()
            // Not yet rung, perhaps: the fan-out may still be on its way to this connection.
            && self.outbox.unread_publications() == 0
        {
            let why = why.clone();
            self.close(why, now);
            cx.waker().wake_by_ref();
        }
        if let Phase::Closing(why, until) = &self.phase
            && self.outbox.control_is_empty()
        {
            match self.io.poll_shutdown(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(why.clone()),
                Poll::Ready(Ok(())) => {
                    self.phase = Phase::Waiting(why.clone(), *until);
                    // To be read until the client closes.
                    cx.waker().wake_by_ref();
                }
            }
        }
        Poll::Pending
    }

    /// Looks at every deadline; ready when there is nothing more to wait for.
    fn keep_deadlines(&mut self, now: Instant) -> Poll<Disconnect> {
        match &self.phase {
            Phase::Linger(until) if *until <= now => return Poll::Ready(CLOSED),
            Phase::Closing(why, until) | Phase::Waiting(why, until) if *until <= now => {
                return Poll::Ready(why.clone());
            }
            Phase::Live if self.session.deadline().is_some_and(|at| at <= now) => self.session.expire(now),
            _ => {}
        }
        if let Some(stall) = &mut self.stalled {
            let settings = self.app.settings();
            if now >= stall.since + settings.stalled_close_delay {
                self.close(SLOW, now);
            } else if now >= stall.judged + settings.write_timeout {
                stall.judged = now;
                let stalled = now - stall.since;
                self.outbox.judge(stalled);
            }
        }
        if self.expires.is_some_and(|at| at <= now) {
            self.expires = None;
            self.close(EXPIRED, now);
        }
        if self.upkeep.is_some_and(|at| at <= now) {
            self.upkeep(now);
        }
        Poll::Pending
    }

    /// Sets the timer to the next deadline, if it would ring too late.
    fn arm(&mut self, cx: &mut Context<'_>) {
        let phase = match &self.phase {
            Phase::Linger(until) | Phase::Closing(_, until) | Phase::Waiting(_, until) => Some(*until),
            Phase::Live => self.session.deadline(),
            Phase::Draining(_) => None,
        };
        let stalled = self.stalled.map(|stall| {
            (stall.judged + self.app.settings().write_timeout)
                .min(stall.since + self.app.settings().stalled_close_delay)
        });
        let next = [phase, stalled, self.expires, self.upkeep].into_iter().flatten().min();
        if let Some(next) = next
            && self.armed.is_none_or(|armed| next < armed)
        {
            self.timer.set(next, cx.waker());
            self.armed = Some(next);
        }
    }

    /// The reason of a connection that is gone: what it was being closed for, if it was.
    fn reason(&self, otherwise: Disconnect) -> Disconnect {
        match &self.phase {
            Phase::Draining(why) | Phase::Closing(why, _) | Phase::Waiting(why, _) => why.clone(),
            Phase::Live | Phase::Linger(_) => otherwise,
        }
    }

    fn id(&self) -> &str {
        self.client.as_ref().map_or("", |client| &client.id)
    }
}

/// Messages taken in one turn: a client that floods has its turn like the others.
const READS: usize = 64;

#[cfg(test)]
mod tests {
    use tidegate_transport_ws::WebSocket;

    use super::Driver;

    /// What an idle connection costs is what its task holds: a number to look at when it grows.
    #[test]
    fn a_connection_is_small() {
        let driver = size_of::<Driver<WebSocket>>();
        println!("driver: {driver} B");
        assert!(driver <= 800, "{driver}");
    }
}
