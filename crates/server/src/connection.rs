mod connecting;
mod contained;
mod ending;
mod life;
mod prolonging;
mod questions;
mod reading;
mod requests;
mod subscribing;
mod subscriptions;
mod times;
mod tracks;
mod turn;
mod work;
mod writing;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tidegate_core::outbox::{Event, Outbox, Stall};
use tidegate_core::protocol::{Action, Push, Session};
use tidegate_core::registry::Registration;
use tidegate_core::request::Request;
use tidegate_core::transport::{Connection, Peer};
use tidegate_core::{Client, Disconnect, Health, Permit, SlimQueue};

use crate::app::App;
use crate::ranks::Newcomer;
use crate::roster::{Roster, Seat};
use crate::time::now;
use crate::wheel::Timer;
use crate::workers::Served;
use contained::{Panic, caught};
use prolonging::Life;
use reading::{Ahead, Rate};
use subscriptions::Subscriptions;
use times::Times;
pub(crate) use turn::Floods;
use turn::Turn;
use work::{Asked, Chore, Errand, Waiting, Work};

/// Serves one connection until it is gone: reads and does requests, writes what its outbox holds, and keeps
/// its deadlines. To be spawned on the runtime of `worker`.
pub(crate) fn serve<C: Connection>(
    app: Arc<App>,
    worker: Served,
    io: C,
    peer: Peer,
    permit: Permit,
) -> impl Future<Output = ()> + Send {
    app.meters.accepted(peer.transport);
    let driver = Driver::new(app, worker, io, peer, permit);
    if driver.app.is_draining() {
        // It has taken its seat too late for the drain to see it.
        let _ = driver.outbox.handle().close(ABORTED);
    }
    Serving::Open(driver)
}

/// A connection's task. The connection stands in it, and not behind a pointer that each delivery would follow.
#[expect(clippy::large_enum_variant, reason = "nearly all are open nearly all of their time")]
enum Serving<C> {
    Open(Driver<C>),
    /// Boxed, so that an open connection does not keep room for it.
    Leaving(Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl<C: Connection> Future for Serving<C> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if let Serving::Open(driver) = this {
            let why = ready!(driver.poll_contained(cx));
            let nothing = Serving::Leaving(Box::pin(async {}));
            if let Serving::Open(driver) = std::mem::replace(this, nothing) {
                *this = Serving::Leaving(Box::pin(async move { driver.leave(&why).await }));
            }
        }
        match this {
            Serving::Open(_) => Poll::Pending,
            Serving::Leaving(leaving) => leaving.as_mut().poll(cx),
        }
    }
}

/// A connection and everything that belongs to it. In the order that it is written in: what every delivery
/// touches stands together at the front.
#[repr(C)]
struct Driver<C> {
    app: Arc<App>,
    seat: Seat,
    /// When the timer was set to ring.
    armed: Option<Instant>,
    /// That it comes, until its connect request has been granted.
    coming: Option<Box<Coming>>,
    /// Nothing is being done, asked or held, and the session has nothing to do until something comes: only
    /// the socket and the outbox need to be looked at. What a delivery does not need is not touched.
    resting: bool,
    /// Its last turn was over before it had done all there was.
    floods: bool,
    /// The peer broke a rule of the transport: what it sends is not looked at any more.
    deaf: bool,
    /// The application was told that the client has connected.
    announced: bool,
    /// The connect reply has been written.
    welcomed: bool,
    /// What the work being done is for.
    errand: Errand,
    /// Something of the connection's own has panicked: it is being closed.
    panicked: bool,
    /// The node's health, as the client knows it.
    health: Health,
    times: Times,
    phase: Phase,
    outbox: Outbox,
    /// Since when the socket has taken nothing, or too little.
    stalled: Option<Box<Stall>>,
    /// Since when a message is being sent that is not whole yet.
    unfinished: Option<Box<Instant>>,
    /// What has come while a request was being done.
    ahead: Option<Box<Ahead>>,
    /// The request being done, a step at a time.
    work: Option<Work>,
    /// What the application asks for next; the rest waits with the outbox.
    call: Option<Box<Asked>>,
    /// What is to be told to others, in order, while the client goes on.
    chores: SlimQueue<Chore>,
    io: C,
    session: Box<dyn Session>,
    /// What waits before the work can be another.
    held: Option<Box<Waiting>>,
    client: Option<Arc<Client>>,
    registration: Option<Registration>,
    subscriptions: Subscriptions,
    timer: Timer,
    /// Control frames of the transport, where there were any.
    control: Option<Box<Rate>>,
    /// That it expires, or is to be kept up; `None` as long as nothing of it is.
    life: Option<Box<Life>>,
    _permit: Permit,
}

/// What a connection has that comes.
struct Coming {
    turn: Newcomer,
    /// Kept until it asks to connect.
    peer: Option<Box<Peer>>,
}

/// How a connection lives, and ends. Reasons are boxed: most of its time it has none.
enum Phase {
    /// It reads and writes.
    Live,
    /// The connect request was refused: it writes, and waits for the client to close.
    Linger(Instant),
    /// It takes no more requests, and is written to until everything is read.
    Draining(Box<Disconnect>),
    /// It takes nothing more, and is written to until everything is read, or for so long.
    Parting(Box<Disconnect>, Instant),
    /// Its last words are being written.
    Closing(Box<Disconnect>, Instant),
    /// They are out; the client may close now.
    Waiting(Box<Disconnect>, Instant),
}

/// What is to be told to others before more requests are taken: a client that joins and leaves without end
/// waits for those whom it tells.
const CHORES: usize = 32;

const CLOSED: Disconnect = Disconnect::new(3000, "connection closed");
const SHUTDOWN: u16 = 3001;
const ABORTED: Disconnect = Disconnect::new(3001, "shutdown");
const WRITE_ERROR: Disconnect = Disconnect::new(3009, "write error");
const EXPIRED: Disconnect = Disconnect::new(3005, "connection expired");
const INTERNAL: Disconnect = Disconnect::new(3004, "internal server error");

impl<C: Connection> Driver<C> {
    fn new(app: Arc<App>, worker: Served, mut io: C, peer: Peer, permit: Permit) -> Self {
        let now = now();
        let protocol = app.protocols.iter().find(|protocol| protocol.accepts(&peer));
        let session = protocol.expect("a server has a protocol for everybody").session(&peer, now);
        io.set_binary(session.binary());
        let outbox = Outbox::new(app.outbox.load_full());
        Self {
            coming: Some(Box::new(Coming {
                turn: Newcomer::new(worker.worker()),
                peer: Some(Box::new(peer)),
            })),
            seat: Roster::enter(worker, outbox.handle()),
            outbox,
            session,
            io,
            client: None,
            registration: None,
            announced: false,
            errand: Errand::Request,
            welcomed: false,
            health: Health::Serving,
            panicked: false,
            subscriptions: Subscriptions::default(),
            held: None,
            times: Times::new(app.started, now),
            work: None,
            chores: SlimQueue::new(),
            call: None,
            timer: Timer::new(&app.wheel),
            armed: None,
            resting: false,
            floods: false,
            deaf: false,
            ahead: None,
            unfinished: None,
            control: None,
            stalled: None,
            life: None,
            phase: Phase::Live,
            _permit: permit,
            app,
        }
    }

    /// [`Driver::poll`], whose panics concern this connection only: the client is told, if that does not
    /// panic, too.
    fn poll_contained(&mut self, cx: &mut Context<'_>) -> Poll<Disconnect> {
        match caught(|| self.poll(cx)) {
            Ok(poll) => poll,
            Err(panic) => {
                tracing::error!(client = self.id(), %panic, "a connection has panicked");
                if std::mem::replace(&mut self.panicked, true)
                    || caught(|| self.close(INTERNAL, now())).is_err()
                {
                    return Poll::Ready(self.reason(INTERNAL));
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            }
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
        self.end_flood();
        if self.coming.as_mut().is_some_and(|coming| coming.turn.poll_turn(cx).is_pending()) {
            return Ok(Poll::Pending);
        }
        let now = now();
        let mut turn = Turn::new(&self.seat.worker().floods);
        // The timer is set to the first of all deadlines: before that, none is due.
        if self.armed.is_none_or(|at| at <= now) {
            self.armed = None;
            (self.resting, turn.moved) = (false, true);
            if let Poll::Ready(why) = self.keep_deadlines(now) {
                return Ok(Poll::Ready(why));
            }
        }
        loop {
            // All that is there to be read first: what it brings then leaves in one write.
            let mut idle = true;
            while turn.may_work() && self.poll_work(cx, now, &mut turn)? {
                turn.done += 1;
                idle = false;
            }
            if !self.outbox.control_is_empty() {
                self.times.control_waits(self.app.started, now);
            }
            if turn.may_write() && (self.poll_write(cx, now)? | self.poll_tracks(now)?) {
                turn.writes += 1;
                idle = false;
            }
            turn.moved |= !self.resting || turn.done > 0;
            if !matches!(self.phase, Phase::Live)
                && let Poll::Ready(why) = self.finish(cx, now)
            {
                return Ok(Poll::Ready(why));
            }
            if idle {
                break;
            }
            if !turn.may_work() || !turn.may_write() {
                cx.waker().wake_by_ref();
                if !turn.may_work() {
                    self.floods = true;
                    self.seat.worker().floods.begin();
                }
                break;
            }
            // All was written, and socket and outbox know whom to wake: looking again would find nothing.
            if self.resting && self.outbox.is_idle() {
                break;
            }
        }
        if turn.done > 0 {
            self.app.hub.worked(self.seat.worker().number(), turn.done);
        }
        let stalled = self.stalled.is_some() || self.outbox.has_tracks();
        if turn.moved || stalled || self.unfinished.is_some() {
            self.arm(cx);
        }
        Ok(Poll::Pending)
    }

    /// It does not wait for another turn, because it has one, or has gone.
    fn end_flood(&mut self) {
        if std::mem::take(&mut self.floods) {
            self.seat.worker().floods.end();
        }
    }

    /// Does one thing that the client or the application asked for, or reads on; false if there is nothing.
    fn poll_work(&mut self, cx: &mut Context<'_>, now: Instant, turn: &mut Turn) -> Result<bool, Disconnect> {
        if self.resting {
            let read = self.poll_read(cx, now, turn)?;
            self.resting = !read;
            return Ok(read);
        }
        if self.work.is_none() && !self.is_leaving() && self.begin_waiting(now) {
            return Ok(true);
        }
        // No request is begun while there is work: it would take the work's place.
        let action = match self.phase {
            Phase::Live | Phase::Draining(_) if self.takes_requests() => self.session.next(now),
            Phase::Live | Phase::Draining(_) => self.session.follow_up(),
            _ => None,
        };
        if let Some(action) = action {
            self.act(action, now);
            return Ok(true);
        }
        if let Some(chore) = self.chores.front_mut() {
            match caught(|| chore.as_mut().poll(cx)) {
                Ok(Poll::Pending) => {}
                Ok(Poll::Ready(())) => {
                    self.chores.pop_front();
                    return Ok(true);
                }
                Err(panic) => {
                    tracing::error!(client = self.id(), %panic, "a broker has panicked");
                    self.chores.pop_front();
                    return Ok(true);
                }
            }
        }
        if self.poll_prolonging(cx, now) {
            return Ok(true);
        }
        if let Some(work) = &mut self.work {
            match caught(|| work.as_mut().poll(cx)) {
                Ok(Poll::Pending) => {}
                Ok(Poll::Ready(step)) => {
                    (self.work, self.errand) = (None, Errand::Request);
                    self.step(step, now);
                    return Ok(true);
                }
                Err(panic) => {
                    (self.work, self.errand) = (None, Errand::Request);
                    self.request_panicked(&panic, now);
                    return Ok(true);
                }
            }
        }
        if let Some(waiting) = &mut self.held
            && let Waiting::Work(work) = &mut **waiting
        {
            match caught(|| work.as_mut().poll(cx)) {
                Ok(Poll::Pending) => {}
                Ok(Poll::Ready(step)) => **waiting = Waiting::Step(step),
                Err(panic) => {
                    self.held = None;
                    self.request_panicked(&panic, now);
                    return Ok(true);
                }
            }
        }
        if (self.work.is_none() || self.errand == Errand::Aside)
            && !self.is_leaving()
            && self.call_is_due(now)
            && let Some(asked) = self.call.take()
        {
            self.call(asked.call, now);
            return Ok(true);
        }
        let read = self.poll_read(cx, now, turn)?;
        self.resting = !read && self.has_nothing_to_do();
        Ok(read)
    }

    /// What panicked is not polled again by now.
    fn request_panicked(&mut self, panic: &Panic, now: Instant) {
        tracing::error!(client = self.id(), %panic, "closing: a request has panicked");
        self.close(INTERNAL, now);
    }

    /// Whether it is as [`Driver::resting`] says.
    fn has_nothing_to_do(&self) -> bool {
        let asked = self.work.is_some() || self.call.is_some() || self.held.is_some() || self.ahead.is_some();
        matches!(self.phase, Phase::Live)
            && !asked
            && !self.deaf
            && self.chores.is_empty()
            && !self.is_prolonging()
            && !self.session.busy()
    }

    /// Whether a request may be begun. A call of the application's goes first: a client that always has another
    /// request would keep it away.
    fn takes_requests(&self) -> bool {
        self.work.is_none() && self.call.is_none() && !self.outbox.full() && self.chores.len() < CHORES
    }

    /// Does what a session wants.
    fn act(&mut self, action: Action, now: Instant) {
        match action {
            Action::Request(request) if self.is_to_wait(&request) => {
                self.held = Some(Box::new(Waiting::Request(request)));
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
            Action::Close(why) => self.part(why, now),
            Action::Refuse(code, why) => {
                self.io.refused(code);
                self.close(why, now);
            }
            Action::Linger(until) => self.phase = Phase::Linger(until),
        }
    }

    /// Replies come in the order of requests. Publications to one channel may follow each other, as their
    /// replies wait for the same lane.
    fn is_to_wait(&self, request: &Request) -> bool {
        match request {
            Request::Publish { channel, .. } => {
                self.outbox.holds_replies_beside(self.subscriptions.lane(channel))
            }
            _ => self.outbox.holds_replies(),
        }
    }

    fn event(&mut self, event: Event, now: Instant) -> Result<(), Disconnect> {
        self.resting = false;
        match event {
            Event::Abort => return Err(self.reason(ABORTED)),
            Event::Close(why) if why.code == SHUTDOWN && matches!(self.phase, Phase::Live) => {
                tracing::debug!(client = self.id(), "draining");
                if self.announced {
                    // Closing goes before health among what others want, and nothing follows a close.
                    self.tell_health();
                }
                self.phase = Phase::Draining(Box::new(why));
            }
            Event::Close(why) => self.part(why, now),
            Event::Cut(why) => self.close(why, now),
            Event::Inquiry(inquiry) => inquiry.answer(self.report(now)),
            // Nothing follows the last words.
            Event::Health(_) | Event::Call(_) if self.is_leaving() => {}
            Event::Ended(..) if self.is_closing() => self.app.meters.missed(&self.outbox.take_losses()),
            // Until then the connect reply is to tell it.
            Event::Health(_) if self.announced => self.tell_health(),
            Event::Call(call) => self.call = Some(Box::new(Asked { call, until: None })),
            Event::Ended(lane, end) => self.ended(lane, &end, now),
            _ => {}
        }
        Ok(())
    }

    /// Tells the client of the node's health, if it has changed since: the latest state, whichever it was
    /// rung for.
    fn tell_health(&mut self) {
        let health = self.app.hub.health();
        if std::mem::replace(&mut self.health, health) == health {
            return;
        }
        let Some(message) = self.session.push(Push::Health(health)) else { return };
        if self.welcomed {
            self.outbox.say_first(message);
        } else {
            // Not before the connect reply.
            self.outbox.reply(message, None);
        }
    }

    /// Looks at every deadline; ready when there is nothing more to wait for.
    fn keep_deadlines(&mut self, now: Instant) -> Poll<Disconnect> {
        match &self.phase {
            Phase::Linger(until) if *until <= now => return Poll::Ready(CLOSED),
            Phase::Closing(_, until) | Phase::Waiting(_, until) if *until <= now && self.io.is_taking() => {
                let later = now + self.app.settings().close_timeout;
                if let Phase::Closing(_, until) | Phase::Waiting(_, until) = &mut self.phase {
                    *until = later;
                }
            }
            Phase::Parting(why, until) if *until <= now => {
                let why = (**why).clone();
                self.close(why, now);
            }
            Phase::Closing(why, until) | Phase::Waiting(why, until) if *until <= now => {
                return Poll::Ready((**why).clone());
            }
            Phase::Live if self.session.deadline().is_some_and(|at| at <= now) => self.session.expire(now),
            _ => {}
        }
        self.judge_stall(now);
        if let Poll::Ready(why) = self.judge_reading(now) {
            return Poll::Ready(why);
        }
        if self.expires().is_some_and(|at| at <= now) {
            self.expired(now);
        }
        if self.upkeep_at().is_some_and(|at| at <= now) {
            self.upkeep(now);
        }
        Poll::Pending
    }

    /// Sets the timer to the next deadline, if it would ring too late.
    fn arm(&mut self, cx: &mut Context<'_>) {
        let phase = match &self.phase {
            Phase::Linger(until)
            | Phase::Parting(_, until)
            | Phase::Closing(_, until)
            | Phase::Waiting(_, until) => Some(*until),
            Phase::Live => self.session.deadline(),
            Phase::Draining(_) => None,
        };
        let call = self.call.as_ref().and_then(|asked| asked.until).map(|(until, _)| until);
        let deadlines =
            [phase, call, self.stall_deadline(), self.reading_deadline(), self.expires(), self.upkeep_at()];
        if let Some(next) = deadlines.into_iter().flatten().min()
            && self.armed.is_none_or(|armed| next < armed)
        {
            self.timer.set(next, cx.waker());
            self.armed = Some(next);
        }
    }

    /// The reason of a connection that is gone: what it was being closed for, if it was.
    fn reason(&self, otherwise: Disconnect) -> Disconnect {
        match &self.phase {
            Phase::Draining(why)
            | Phase::Parting(why, _)
            | Phase::Closing(why, _)
            | Phase::Waiting(why, _) => (**why).clone(),
            Phase::Live | Phase::Linger(_) => otherwise,
        }
    }

    fn id(&self) -> &str {
        self.client.as_ref().map_or("", |client| &client.id)
    }
}

#[cfg(test)]
mod tests {
    use tidegate_transport_ws::WebSocket;

    use super::{Driver, Serving};

    /// What an idle connection costs is what its task holds: a number to look at when it grows.
    #[test]
    fn a_connection_is_small() {
        let (driver, task) = (size_of::<Driver<WebSocket>>(), size_of::<Serving<WebSocket>>());
        println!("driver: {driver} B, in its task {task} B");
        assert!(driver <= 512 && task == driver, "{driver}, {task}");
    }
}
