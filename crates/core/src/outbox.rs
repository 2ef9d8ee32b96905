mod batch;
mod control;
mod copies;
mod crowd;
mod handle;
mod lanes;
mod losses;
mod rare;
mod stall;
#[cfg(all(test, not(loom)))]
mod tests;
mod tracks;
mod turn;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::call::{Call, Inquiry};
use crate::log::{Behind, End, Log};
use crate::{Backpressure, Disconnect, Health, Lag, Position, SlimQueue, Subscription, Verdict};

pub use batch::{Batch, Framing, HEADER};
use batch::{Span, What};
use control::Message;
use crowd::Crowd;
use handle::Open;
pub use handle::{CALLS, Closed, Handle, INQUIRIES, NotTaken};
pub(crate) use handle::{Shared, Wake};
pub use lanes::Lane;
use lanes::{Attached, Lanes};
pub use losses::Loss;
use rare::Rare;
pub use stall::{Due, Stall};

/// Everything that a connection is to write: its control lane, and a lane for each subscription.
///
/// Whoever writes pulls: [`poll_fill`](Outbox::poll_fill) fills a batch, the control lane first and then
/// the ready lanes in turn; the batch is offered to the socket; [`unread`](Outbox::unread) says how much of
/// it was taken. What was not taken is read again, from the channels' logs: nothing is kept here but the
/// rest of the one message that was cut.
///
/// ```
/// use std::{sync::Arc, task::Context, time::Instant};
/// use tidegate_core::{*, outbox::*};
///
/// struct Plain;
/// impl Subscription for Plain {
///     fn write(&mut self, entry: &Entry, _: bool, out: &mut Batch) {
///         if let Some(publication) = entry.publication() { out.message(&publication.data) }
///     }
///     fn gap(&mut self, gap: &Gap, out: &mut Batch) {
///         out.message(&format!("missed {}", gap.publications()).into())
///     }
/// }
///
/// let log = Log::new("news".into(), Window::default(), Fanout::new(), Budget::new(0));
/// let mut outbox = Outbox::new(Limits::default());
/// let lane = outbox.subscribe(&log, Box::new(Plain), Arc::new(SkipToOldest)).unwrap();
/// log.append(Kind::Publication(Publication::new("hello")), Instant::now()).unwrap();
///
/// let mut batch = Batch::new();
/// batch.begin(Framing::LINES);
/// let mut cx = Context::from_waker(std::task::Waker::noop());
/// assert!(outbox.poll_fill(&mut cx, 65536, &mut batch).is_ready());
/// assert_eq!(batch.contiguous(), Some(&b"hello\n"[..]));
/// let taken = batch.len(); // what a socket took
/// outbox.unread(&mut batch, taken);
/// # outbox.detach(lane);
/// ```
pub struct Outbox {
    shared: Arc<Shared>,
    limits: Arc<Limits>,
    lanes: Lanes,
    /// What goes before the control lane: the latest state of something.
    first: Option<Box<Message>>,
    control: SlimQueue<Message>,
    control_bytes: usize,
    /// Calls stay with the handle.
    calls_held: bool,
    rare: Option<Box<Rare>>,
    crowd: Crowd,
}

/// Steps in one batch, written or not, after which no other lane has its turn.
const STEPS: usize = 1024;

/// The bounds of an outbox.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Control messages waiting, in bytes. 64 KiB ≈ 500 replies; over it, [`Outbox::full`] says that no
    /// more commands should be read.
    pub control: usize,
    /// What a lane may write before it is another's turn, in bytes. 16 KiB: a quarter of a write.
    pub quantum: usize,
    /// How far behind all subscriptions together may be. 16,384 entries and 4 MiB: what four channels may
    /// hold in entries, and four subscriptions may be behind in bytes, by default; at 1 Mbit/s half a minute.
    pub behind: Lag,
}

impl Default for Limits {
    fn default() -> Self {
        Self { control: 64 * 1024, quantum: 16 * 1024, behind: Lag { entries: 16_384, bytes: 4 << 20 } }
    }
}

/// What [`Outbox::poll_fill`] found.
#[derive(Debug)]
pub enum Fill {
    /// The batch was filled. It is empty where subscriptions wanted nothing of what they read.
    Batch,
    /// Something has happened that the connection must act on; the batch is empty.
    Event(Event),
}

/// What a connection must act on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// End at once.
    Abort,
    /// Close, for this reason: somebody asks for it.
    Close(Disconnect),
    /// Close, for this reason, and write nothing more of what was published: a policy says so, or there is something that
    /// cannot be told.
    Cut(Disconnect),
    /// Tell the client of the node's health.
    Health(Health),
    /// Do what the application asks.
    Call(Call),
    /// Say how the connection is. It needs no room to write.
    Inquiry(Inquiry),
    /// A subscription has ended. Its lane is gone already; the client is to be told.
    Ended(Lane, End),
}

/// What a write did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Publications that the socket took.
    pub delivered: u64,
    /// Publications whose gap notice it took.
    pub missed: u64,
}

impl Outbox {
    /// An empty outbox. Those of one server may share their limits.
    pub fn new(limits: impl Into<Arc<Limits>>) -> Self {
        Self {
            shared: Arc::default(),
            limits: limits.into(),
            lanes: Lanes::default(),
            first: None,
            control: SlimQueue::new(),
            control_bytes: 0,
            calls_held: false,
            rare: None,
            crowd: Crowd::default(),
        }
    }

    /// What others may hold of this connection.
    pub fn handle(&self) -> Handle {
        Handle(self.shared.clone())
    }

    /// Subscribes to `log` from its head on.
    ///
    /// # Errors
    /// The reason why the log has ended; [`End::Idle`] means that the channel is to be opened again.
    pub fn subscribe(
        &mut self,
        log: &Arc<Log>,
        subscription: Box<dyn Subscription>,
        policy: Arc<dyn Backpressure>,
    ) -> Result<Lane, End> {
        let lane = self.reserve(log)?;
        self.attach(lane, subscription, policy);
        Ok(lane)
    }

    /// Takes a cursor at the head of `log` for a subscription that is still being made: nothing is read
    /// until [`Outbox::attach`], and nothing that is appended meanwhile is lost.
    ///
    /// # Errors
    /// As [`Outbox::subscribe`].
    pub fn reserve(&mut self, log: &Arc<Log>) -> Result<Lane, End> {
        self.lanes.insert(|lane| log.subscribe(Wake::new(self.shared.clone(), lane)))
    }

    /// Gives a reserved lane what makes messages of its entries, and starts reading. Of a lane that has
    /// been detached meanwhile, nothing.
    pub fn attach(&mut self, lane: Lane, subscription: Box<dyn Subscription>, policy: Arc<dyn Backpressure>) {
        if let Some(attached) = self.lanes.get_mut(lane) {
            attached.subscription = subscription;
            attached.cursor.hold_publishers(policy.holds_publishers());
            attached.policy = policy;
            // It parks at once if nothing was appended meanwhile, without a turn.
            if attached.cursor.park() || attached.skip_known() && attached.cursor.park() {
                attached.queued = false;
            } else {
                attached.queued = true;
                self.lanes.ready_last(lane);
            }
        }
    }

    /// Ends a lane: nothing more of it is written but the rest of a cut message. Returns how far behind
    /// it was; detaching twice is detaching once.
    pub fn detach(&mut self, lane: Lane) -> Option<Behind> {
        let mut attached = self.lanes.remove(lane)?;
        let behind = attached.behind();
        self.crowd.forget(&mut attached.lag);
        drop(attached);
        if self.holds_replies() {
            self.release(lane);
        }
        Some(behind)
    }

    /// The log that a lane reads.
    pub fn log(&self, lane: Lane) -> Option<&Arc<Log>> {
        Some(self.lanes.get(lane)?.cursor.log())
    }

    /// How far a lane is behind its log.
    pub fn behind(&self, lane: Lane) -> Option<Behind> {
        Some(self.lanes.get(lane)?.behind())
    }

    /// Leaves calls with the handle, which takes [`CALLS`] of them, until they are asked for again: for a
    /// connection that is still doing the last.
    pub fn hold_calls(&mut self, hold: bool) {
        self.calls_held = hold;
    }

    /// Gives up what is not written: the connection has gone, and only its end is still to be told.
    pub fn discard(&mut self) {
        (self.first, self.control_bytes) = (None, 0);
        self.control.clear();
        if let Some(rare) = &mut self.rare {
            (rare.deferred, rare.rest, rare.tracks) = Default::default();
        }
    }

    /// Whether nothing waits to be written but what subscriptions have yet to read.
    pub fn control_is_empty(&self) -> bool {
        self.first.is_none() && self.control.is_empty() && !self.holds_replies() && !self.has_rest()
    }

    /// Whether no lane is known to have anything to read, and the connection has been told of all that happened.
    pub fn is_idle(&self) -> bool {
        self.control_is_empty() && self.lanes.none_ready() && !self.tracks_wait() && !self.has_events()
    }

    /// Fills the empty `batch` with up to about `room` bytes: one message may go over it.
    ///
    /// Events come before data. Pending means that there is nothing to do; the waker is registered for
    /// the next thing to come.
    ///
    /// Every batch filled is followed by [`Outbox::unread`]; also an empty one, which needs no write: its
    /// subscriptions wanted nothing of what they read.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize, batch: &mut Batch) -> Poll<Fill> {
        let open = if self.calls_held { Open::NoCalls } else { Open::All };
        if let Some(event) = self.collect(cx, open) {
            return Poll::Ready(Fill::Event(event));
        }
        self.sift();
        self.fill_control(room, batch);
        while batch.len() < room && batch.ends().len() < STEPS {
            let Some(lane) = self.lanes.take_ready() else { break };
            self.fill_lane(lane, room, batch);
        }
        if !batch.ends().is_empty() {
            return Poll::Ready(Fill::Batch);
        }
        match self.next_event() {
            Some(event) => Poll::Ready(Fill::Event(event)),
            None => Poll::Pending,
        }
    }

    /// Fits the batch that was filled last to what the socket took of it, in bytes: cursors move by that,
    /// and what was not taken is read again. The batch is empty afterwards.
    pub fn unread(&mut self, batch: &mut Batch, taken: usize) -> Taken {
        let mut done = taken;
        let steps = batch.ends().partition_point(|end| *end as usize <= taken);
        let mut steps = steps;
        if let Some(end) = batch.ends().get(steps) {
            let start = batch.start(steps) as usize;
            if start < taken {
                // The cut message counts as taken: its rest is the first thing written next.
                done = *end as usize;
                steps += 1;
                self.rare().rest.extend(batch.part(taken, done));
            }
        }
        debug_assert!(done >= taken, "a batch ends with a step");
        let spans = batch.take_spans();
        let count = batch.ends().len();
        let lost = self.lost();
        let mut sum = Taken::default();
        let mut returned = Vec::new();
        for (i, span) in spans.iter().enumerate() {
            let end = spans.get(i + 1).map_or(count, |next| next.first);
            self.settle(span, end, steps, batch, &mut sum, &mut returned);
        }
        if steps < count {
            self.take_back(&spans, steps, returned);
        }
        batch.finish(spans);
        if self.is_idle() {
            self.shrink();
        }
        sum.missed = self.lost() - lost;
        sum
    }

    /// Takes back what was not taken, all but the first `steps`: control messages, and the lanes that are to be read
    /// again.
    fn take_back(&mut self, spans: &[Span], steps: usize, returned: Vec<Lane>) {
        let untaken = spans.iter().rev().filter(|span| span.first >= steps);
        for span in untaken {
            let What::Control(message, after) = &span.what else { continue };
            if message.first {
                self.first.get_or_insert_with(|| Box::new(message.clone()));
                continue;
            }
            self.control_bytes += message.weight();
            match after {
                Some((lane, place)) if self.waits_for(*lane, *place) => {
                    self.rare().deferred.insert(0, (*lane, *place, message.clone()));
                }
                _ => self.control.push_front(message.clone()),
            }
        }
        for lane in returned.into_iter().rev() {
            if let Some(attached) = self.lanes.get_mut(lane) {
                attached.filled = attached.cursor.position();
                attached.debt = 0;
                if !attached.queued {
                    attached.queued = true;
                    self.lanes.ready_first(lane);
                }
            }
        }
    }

    /// Moves what `span`, whose steps end at `end`, belongs to by what was taken of it: `steps` in all.
    fn settle(
        &mut self,
        span: &Span,
        end: usize,
        steps: usize,
        batch: &Batch,
        sum: &mut Taken,
        returned: &mut Vec<Lane>,
    ) {
        let whole = end <= steps;
        match &span.what {
            What::Rest => {
                if !whole {
                    // Nothing at all was taken: `done` covers a message that was cut.
                    let until = batch.ends()[span.first] as usize;
                    self.rare().rest.extend(batch.part(0, until));
                }
            }
            What::Control(..) => {}
            What::Gap { lane, to, publications, cause } => {
                let Some(attached) = self.lanes.get_mut(*lane) else { return };
                if whole {
                    attached.cursor.advance(*to);
                    let policy = attached.policy.name();
                    self.lose(Loss { cause: *cause, policy, publications: *publications });
                    self.requeue(*lane, false);
                } else {
                    returned.push(*lane);
                }
            }
            What::Kept { lane, to, written } => {
                let Some(attached) = self.lanes.get_mut(*lane) else { return };
                if whole {
                    attached.cursor.advance(*to);
                    sum.delivered += u64::from(*written);
                    self.requeue(*lane, false);
                } else {
                    returned.push(*lane);
                }
            }
            What::Run { lane, run, to_head, silent, made: _ } => {
                let Some(attached) = self.lanes.get_mut(*lane) else { return };
                let taken = steps.saturating_sub(span.first).min(end - span.first) as u64;
                if taken > 0 {
                    let to = run.before(run.from() + taken);
                    attached.cursor.advance(to);
                    let publications = to.publications_since(&run.before(run.from()));
                    let unwanted = if *silent { batch.unwanted(span.first, run, taken) } else { 0 };
                    sum.delivered += publications - unwanted;
                }
                if whole {
                    self.requeue(*lane, *to_head);
                } else {
                    returned.push(*lane);
                }
            }
        }
    }

    /// Parks a lane, or gives it another turn, when all that the batch held of it was taken.
    fn requeue(&mut self, lane: Lane, to_head: bool) {
        let Some(attached) = self.lanes.get_mut(lane) else { return };
        if !attached.settled() || attached.queued {
            return;
        }
        if to_head && attached.cursor.park() {
            self.crowd.forget(&mut attached.lag);
        } else {
            attached.queued = true;
            self.lanes.ready_last(lane);
        }
    }

    /// Judges the lanes that have something to read, for a connection that has taken nothing for
    /// `stalled`: policies must not wait for it to read. What comes of it is an event of the next
    /// [`Outbox::poll_stalled`].
    pub fn judge(&mut self, stalled: Duration) {
        let mut lanes: Vec<(u64, Lane)> = self.lanes.ready().map(|lane| (0, lane)).collect();
        for (bytes, lane) in &mut lanes {
            let Some(attached) = self.lanes.get_mut(*lane) else { continue };
            self.crowd.note(&mut attached.lag, &attached.cursor.behind());
            *bytes = attached.lag.bytes;
        }
        // Those furthest behind first: when they have gone, the others may stay.
        lanes.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        for (_, lane) in lanes {
            if !self.judge_lane(lane, stalled) {
                return;
            }
        }
    }

    /// Judges one lane that has taken nothing for `stalled`; false if that ends the connection.
    fn judge_lane(&mut self, lane: Lane, stalled: Duration) -> bool {
        let Some(attached) = self.lanes.get_mut(lane) else { return true };
        let crowded = self.crowd.is_full(&attached.lag, &self.limits.behind);
        let behind = Behind { stalled, crowded, ..attached.behind() };
        match attached.policy.judge(&behind) {
            Verdict::End => self.end(lane, End::Behind(behind)),
            Verdict::Disconnect(why) => {
                self.rare().events.push_back(Event::Cut(why));
                return false;
            }
            // Nothing is skipped for who relies on offsets: its client recovers.
            Verdict::SkipToLatest | Verdict::LatestPerKey if attached.subscription.continuous() => {
                self.end(lane, End::Behind(behind));
            }
            // They skip when they are read: a cursor that stands still costs nothing.
            Verdict::Read | Verdict::SkipToLatest | Verdict::LatestPerKey => {}
        }
        true
    }

    /// What has happened to a connection that cannot write: like [`Outbox::poll_fill`], but health waits until it
    /// writes again, which is then the latest. Calls do not, unless they are [held](Outbox::hold_calls).
    pub fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        match self.collect(cx, if self.calls_held { Open::Closing } else { Open::Calls }) {
            Some(event) => Poll::Ready(event),
            None => Poll::Pending,
        }
    }

    /// Whether a subscription has read everything up to a place of its log, or is none any more.
    pub fn has_read(&self, lane: Lane, to: &Position) -> bool {
        self.lanes.get(lane).is_none_or(|lane| lane.cursor.position().sequence >= to.sequence)
    }

    /// Publications that the subscriptions have yet to read: what a connection that ends now has missed.
    pub fn unread_publications(&self) -> u64 {
        let behind = |lane: &Attached| lane.cursor.log().head().publications_since(&lane.cursor.position());
        self.lanes.iter().map(behind).sum()
    }

    /// Takes rung lanes over, and the next event.
    fn collect(&mut self, cx: &Context<'_>, open: Open) -> Option<Event> {
        if let Some(event) = self.next_event() {
            return Some(event);
        }
        let Self { shared, lanes, .. } = self;
        shared.collect(cx, open, |lane| {
            if let Some(attached) = lanes.get_mut(lane)
                && !std::mem::replace(&mut attached.queued, true)
            {
                lanes.ready_last(lane);
            }
        })
    }

    /// Whether a reply that follows `lane` at `place` has still to wait.
    fn waits_for(&self, lane: Lane, place: u64) -> bool {
        self.lanes.get(lane).is_some_and(|attached| attached.cursor.position().sequence < place)
    }

    /// Ends a lane for `why` and says so.
    fn end(&mut self, lane: Lane, why: End) {
        self.cut(lane);
        self.rare().events.push_back(Event::Ended(lane, why));
    }

    /// Sends replies that waited for a lane which has gone.
    fn release(&mut self, lane: Lane) {
        let Some(rare) = &mut self.rare else { return };
        for (_, _, message) in rare.deferred.extract_if(.., |(of, _, _)| *of == lane) {
            self.control.push_back(message);
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.shared.leave();
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("lanes", &self.lanes.len())
            .field("ready", &self.lanes.ready().count())
            .field("control_bytes", &self.control_bytes)
            .finish_non_exhaustive()
    }
}
