mod batch;
mod handle;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use crate::call::Call;
use crate::log::{Behind, Cursor, End, Fetched, Gap, Log};
use crate::{Backpressure, Disconnect, Entry, Health, Kind, Position, Subscription, Verdict};

pub use batch::{Batch, Framing, HEADER};
use batch::{Span, What};
pub use handle::{CALLS, Closed, Handle, NotTaken};
pub(crate) use handle::{Shared, Wake};

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
    limits: Limits,
    lanes: Vec<Place>,
    free: Vec<u32>,
    ready: VecDeque<Lane>,
    control: VecDeque<Message>,
    control_bytes: usize,
    /// Replies that wait for a lane to be read up to a place.
    deferred: Vec<(Lane, u64, Message)>,
    /// The end of the message that the socket cut.
    rest: VecDeque<Bytes>,
    events: VecDeque<Event>,
}

/// The bounds of an outbox.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Control messages waiting, in bytes. 64 KiB ≈ 500 replies; over it, [`Outbox::full`] says that no
    /// more commands should be read.
    pub control: usize,
    /// What a lane may write before it is another's turn, in bytes. 16 KiB: a quarter of a write.
    pub quantum: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { control: 64 * 1024, quantum: 16 * 1024 }
    }
}

/// A subscription's path through an outbox. A lane's name is never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lane {
    place: u32,
    generation: u32,
}

impl Lane {
    /// The only lane of a subscriber that has no outbox.
    pub(crate) const fn only() -> Self {
        Self { place: 0, generation: 0 }
    }
}

/// What [`Outbox::poll_fill`] found.
#[derive(Debug)]
pub enum Fill {
    /// The batch holds something to write.
    Batch,
    /// Something has happened that the connection must act on; the batch is empty.
    Event(Event),
}

/// What a connection must act on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// Close, for this reason.
    Close(Disconnect),
    /// Tell the client of the node's health.
    Health(Health),
    /// Do what the application asks.
    Call(Call),
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

/// A message of the control lane.
#[derive(Clone, Debug)]
struct Message {
    bytes: Bytes,
    framed: bool,
}

/// A place for a lane, and how often it was used.
struct Place {
    generation: u32,
    lane: Option<Attached>,
}

struct Attached {
    cursor: Cursor,
    subscription: Box<dyn Subscription>,
    policy: Arc<dyn Backpressure>,
    /// How far the batch being filled has come; between batches, the cursor's own position.
    filled: Position,
    /// The entry at this place has no written predecessor.
    fresh: u64,
    /// Stands in `ready`.
    queued: bool,
}

/// Takes rung lanes over; lets [`Shared`] not know of places.
trait Readiness {
    fn ready(&mut self, rung: &mut Vec<Lane>);
}

struct Ring<'a> {
    lanes: &'a mut [Place],
    ready: &'a mut VecDeque<Lane>,
}

impl Readiness for Ring<'_> {
    fn ready(&mut self, rung: &mut Vec<Lane>) {
        for lane in rung.drain(..) {
            if let Some(attached) = attached(self.lanes, lane)
                && !attached.queued
            {
                attached.queued = true;
                self.ready.push_back(lane);
            }
        }
    }
}

impl Outbox {
    /// An empty outbox.
    pub fn new(limits: Limits) -> Self {
        Self {
            shared: Arc::default(),
            limits,
            lanes: Vec::new(),
            free: Vec::new(),
            ready: VecDeque::new(),
            control: VecDeque::new(),
            control_bytes: 0,
            deferred: Vec::new(),
            rest: VecDeque::new(),
            events: VecDeque::new(),
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
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                if self.lanes.len() == self.lanes.capacity() {
                    // Most connections have one subscription or a few: no room for four at once.
                    self.lanes.reserve_exact(1 + self.lanes.len() / 2);
                }
                self.lanes.push(Place { generation: 0, lane: None });
                (self.lanes.len() - 1) as u32
            }
        };
        let generation = self.lanes[place as usize].generation;
        let lane = Lane { place, generation };
        let cursor = match log.subscribe(Wake::new(self.shared.clone(), lane)) {
            Ok(cursor) => cursor,
            Err(end) => {
                self.free.push(place);
                return Err(end);
            }
        };
        let filled = cursor.position();
        self.lanes[place as usize].lane = Some(Attached {
            cursor,
            subscription: Box::new(Unborn),
            policy: Arc::new(crate::SkipToOldest),
            filled,
            fresh: filled.sequence,
            queued: true,
        });
        Ok(lane)
    }

    /// Gives a reserved lane what makes messages of its entries, and starts reading. Of a lane that has
    /// been detached meanwhile, nothing.
    pub fn attach(&mut self, lane: Lane, subscription: Box<dyn Subscription>, policy: Arc<dyn Backpressure>) {
        if let Some(attached) = attached(&mut self.lanes, lane) {
            attached.subscription = subscription;
            attached.policy = policy;
            // It parks at once if nothing was appended meanwhile, without a turn.
            if attached.cursor.park() {
                attached.queued = false;
            } else {
                attached.queued = true;
                self.ready.push_back(lane);
            }
        }
    }

    /// Ends a lane: nothing more of it is written but the rest of a cut message. Returns how far behind
    /// it was; detaching twice is detaching once.
    pub fn detach(&mut self, lane: Lane) -> Option<Behind> {
        let place = self.lanes.get_mut(lane.place as usize)?;
        if place.generation != lane.generation {
            return None;
        }
        let gone = place.lane.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(lane.place);
        let behind = gone.cursor.behind();
        drop(gone);
        if !self.deferred.is_empty() {
            self.release(lane);
        }
        Some(behind)
    }

    /// The log that a lane reads.
    pub fn log(&self, lane: Lane) -> Option<&Arc<Log>> {
        let place = self.lanes.get(lane.place as usize)?;
        let attached = place.lane.as_ref().filter(|_| place.generation == lane.generation)?;
        Some(attached.cursor.log())
    }

    /// Whether the control lane holds as much as it may: time to stop reading commands.
    pub fn full(&self) -> bool {
        self.control_bytes >= self.limits.control
    }

    /// Adds a message to the control lane, which goes before all subscriptions; with `after`, as soon as
    /// that lane has been read up to what its log holds now.
    pub fn reply(&mut self, message: Bytes, after: Option<Lane>) {
        self.control_bytes += message.len();
        let message = Message { bytes: message, framed: false };
        if let Some(lane) = after
            && let Some(attached) = attached(&mut self.lanes, lane)
        {
            let head = attached.cursor.log().head().sequence;
            if attached.cursor.position().sequence < head {
                self.deferred.push((lane, head, message));
                return;
            }
        }
        self.control.push_back(message);
    }

    /// Adds bytes that the transport has framed itself, such as a pong of its own, to the control lane.
    pub fn framed(&mut self, bytes: Bytes) {
        self.control_bytes += bytes.len();
        self.control.push_back(Message { bytes, framed: true });
    }

    /// Whether nothing waits to be written but what subscriptions have yet to read.
    pub fn control_is_empty(&self) -> bool {
        self.control.is_empty() && self.deferred.is_empty() && self.rest.is_empty()
    }

    /// Whether no lane is known to have anything to read.
    pub fn is_idle(&self) -> bool {
        self.control_is_empty() && self.ready.is_empty()
    }

    /// Fills the empty `batch` with up to about `room` bytes: one message may go over it.
    ///
    /// Events come before data. Pending means that there is nothing to do; the waker is registered for
    /// the next thing to come. Every batch filled is followed by [`Outbox::unread`].
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize, batch: &mut Batch) -> Poll<Fill> {
        let mut ring = Ring { lanes: &mut self.lanes, ready: &mut self.ready };
        if let Some(news) = self.shared.collect(cx, &mut ring) {
            self.events.extend(news.close.map(Event::Close));
            self.events.extend(news.health.map(Event::Health));
            self.events.extend(news.calls.into_iter().map(Event::Call));
        }
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(Fill::Event(event));
        }
        self.fill_control(room, batch);
        while batch.len() < room {
            let Some(lane) = self.ready.pop_front() else { break };
            self.fill_lane(lane, room, batch);
        }
        if !batch.ends().is_empty() {
            return Poll::Ready(Fill::Batch);
        }
        match self.events.pop_front() {
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
            let start = if steps == 0 { 0 } else { batch.ends()[steps - 1] as usize };
            if start < taken {
                // The cut message counts as taken: its rest is the first thing written next.
                done = *end as usize;
                steps += 1;
                self.rest.extend(batch.part(taken, done));
            }
        }
        debug_assert!(done >= taken, "a batch ends with a step");
        let spans = batch.take_spans();
        let count = batch.ends().len();
        let mut sum = Taken::default();
        let mut returned = Vec::new();
        for (i, span) in spans.iter().enumerate() {
            let end = spans.get(i + 1).map_or(count, |next| next.first);
            self.settle(span, end, steps, batch, &mut sum, &mut returned);
        }
        let untaken = spans.iter().rev().filter(|span| span.first >= steps);
        for span in untaken {
            if let What::Control(message) = &span.what {
                self.control_bytes += message.bytes.len();
                self.control.push_front(message.clone());
            }
        }
        for lane in returned.into_iter().rev() {
            if let Some(attached) = attached(&mut self.lanes, lane) {
                attached.filled = attached.cursor.position();
                if !attached.queued {
                    attached.queued = true;
                    self.ready.push_front(lane);
                }
            }
        }
        batch.return_spans(spans);
        batch.clear();
        if self.is_idle() {
            self.shrink();
        }
        sum
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
                    self.rest.extend(batch.part(0, until));
                }
            }
            What::Control(_) => {}
            What::Gap { lane, to, publications } => {
                let Some(attached) = attached(&mut self.lanes, *lane) else { return };
                if whole {
                    attached.cursor.advance(*to);
                    sum.missed += publications;
                    self.requeue(*lane, false);
                } else {
                    returned.push(*lane);
                }
            }
            What::Run { lane, run, to_head } => {
                let Some(attached) = attached(&mut self.lanes, *lane) else { return };
                let taken = steps.saturating_sub(span.first).min(end - span.first) as u64;
                if taken > 0 {
                    let to = run.before(run.from() + taken);
                    sum.delivered += to.publications_since(&run.before(run.from()));
                    attached.cursor.advance(to);
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
        let Some(attached) = attached(&mut self.lanes, lane) else { return };
        let settled = attached.filled == attached.cursor.position();
        if settled && !attached.queued && !(to_head && attached.cursor.park()) {
            attached.queued = true;
            self.ready.push_back(lane);
        }
    }

    /// Judges the lanes that have something to read, for a connection that has taken nothing for
    /// `stalled`: policies must not wait for it to read. What comes of it is an event of the next
    /// [`Outbox::poll_stalled`].
    pub fn judge(&mut self, stalled: Duration) {
        let lanes: Vec<Lane> = self.ready.iter().copied().collect();
        for lane in lanes {
            let Some(attached) = attached(&mut self.lanes, lane) else { continue };
            let behind = Behind { stalled, ..attached.cursor.behind() };
            match attached.policy.judge(&behind) {
                Verdict::End => self.end(lane, End::Behind(behind)),
                Verdict::Disconnect(why) => {
                    self.events.push_back(Event::Close(why));
                    return;
                }
                // They skip when they are read: a cursor that stands still costs nothing.
                Verdict::Read | Verdict::SkipToLatest => {}
            }
        }
    }

    /// What has happened to a connection that cannot write: like [`Outbox::poll_fill`], but only lets
    /// pass what needs no room. Health and calls wait until the connection writes again, the latest
    /// health first.
    pub fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let mut ring = Ring { lanes: &mut self.lanes, ready: &mut self.ready };
        self.shared.listen_stalled(cx, &mut ring);
        if let Some(why) = self.shared.take_close() {
            return Poll::Ready(Event::Close(why));
        }
        let urgent = |event: &Event| matches!(event, Event::Close(_) | Event::Ended(..));
        match self.events.iter().position(urgent) {
            Some(at) => Poll::Ready(self.events.remove(at).expect("its position was just found")),
            None => Poll::Pending,
        }
    }

    /// Publications that the subscriptions have yet to read: what a connection that ends now has missed.
    pub fn unread_publications(&self) -> u64 {
        let behind = |place: &Place| {
            let cursor = &place.lane.as_ref()?.cursor;
            Some(cursor.log().head().publications_since(&cursor.position()))
        };
        self.lanes.iter().filter_map(behind).sum()
    }

    fn fill_control(&mut self, room: usize, batch: &mut Batch) {
        if !self.rest.is_empty() {
            batch.span(What::Rest);
            for part in self.rest.drain(..) {
                batch.put(&part);
            }
            batch.step();
        }
        while batch.len() < room {
            let Some(message) = self.control.pop_front() else { break };
            self.control_bytes -= message.bytes.len();
            batch.control(message);
        }
    }

    /// Lets one lane have its turn.
    fn fill_lane(&mut self, lane: Lane, room: usize, batch: &mut Batch) {
        let quantum = self.limits.quantum;
        let Self { lanes, ready, events, deferred, control_bytes, .. } = self;
        let Some(attached) = attached(lanes, lane) else { return };
        attached.queued = false;
        let turn = (batch.len() + quantum).min(room);
        while batch.len() < turn {
            // Nothing of this lane stands in the batch: its fate can be decided.
            let settled = attached.filled == attached.cursor.position();
            let (fetched, behind, head) = attached.cursor.fetch(&attached.filled);
            let run = match fetched {
                Fetched::Run(run) => run,
                Fetched::Head if !settled || attached.cursor.park() => return,
                Fetched::Head => continue,
                Fetched::Ended(why) if settled => return self.end(lane, why),
                // Not before what the batch holds of it is taken; see `requeue`.
                Fetched::Ended(_) => return,
            };
            let verdict = attached.policy.judge(&behind);
            let skip_to = match verdict {
                Verdict::Read if run.from() == attached.filled.sequence => None,
                Verdict::Read => Some(attached.cursor.oldest()),
                Verdict::SkipToLatest => {
                    Some(attached.cursor.newest()).filter(|to| to.sequence > attached.filled.sequence)
                }
                Verdict::End if settled => return self.end(lane, End::Behind(behind)),
                Verdict::End => return,
                Verdict::Disconnect(why) => {
                    // It is not read any further: what is left is the connection's loss.
                    events.push_back(Event::Close(why));
                    return;
                }
            };
            if let Some(to) = skip_to {
                attached.skip(lane, to, batch);
                continue;
            }
            let first = batch.ends().len();
            let mut at = run.from();
            while at < run.to() && batch.len() < turn {
                let entry = run.entry(at);
                if matches!(entry.kind(), Kind::Break) && attached.subscription.continuous() {
                    break;
                }
                attached.subscription.write(entry, at > attached.fresh, batch);
                batch.step();
                at += 1;
            }
            if at == run.from() {
                if settled {
                    self.end(lane, End::Discontinuous);
                }
                return;
            }
            attached.filled = run.before(at);
            batch.span_from(first, What::Run { lane, run, to_head: at == head });
            if !deferred.is_empty() {
                let due = deferred.extract_if(.., |(of, place, _)| *of == lane && *place <= at);
                for (_, _, message) in due {
                    *control_bytes -= message.bytes.len();
                    batch.control(message);
                }
            }
            if at == head {
                return;
            }
        }
        attached.queued = true;
        ready.push_back(lane);
    }

    /// Ends a lane for `why` and says so.
    fn end(&mut self, lane: Lane, why: End) {
        self.detach(lane);
        self.events.push_back(Event::Ended(lane, why));
    }

    /// Sends replies that waited for a lane which has gone.
    fn release(&mut self, lane: Lane) {
        for (_, _, message) in self.deferred.extract_if(.., |(of, _, _)| *of == lane) {
            self.control.push_back(message);
        }
    }

    /// Gives back what a burst has left behind: an idle connection holds no buffer.
    fn shrink(&mut self) {
        if self.control.capacity() > 0 {
            self.control = VecDeque::new();
        }
        if self.rest.capacity() > 0 {
            self.rest = VecDeque::new();
        }
        if self.deferred.capacity() > 0 {
            self.deferred = Vec::new();
        }
    }
}

impl Attached {
    /// Leaves out what lies before `to`, with a gap notice.
    fn skip(&mut self, lane: Lane, to: Position, batch: &mut Batch) {
        let gap = Gap { from: self.filled, to };
        let first = batch.ends().len();
        if gap.publications() > 0 {
            self.subscription.gap(&gap, batch);
        }
        batch.step();
        batch.span_from(first, What::Gap { lane, to, publications: gap.publications() });
        self.filled = to;
        self.fresh = to.sequence;
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
            .field("lanes", &(self.lanes.len() - self.free.len()))
            .field("ready", &self.ready.len())
            .field("control_bytes", &self.control_bytes)
            .finish_non_exhaustive()
    }
}

/// A subscription that is still being made: its lane is not read.
struct Unborn;

impl Subscription for Unborn {
    fn write(&mut self, _: &Entry, _: bool, _: &mut Batch) {}
    fn gap(&mut self, _: &Gap, _: &mut Batch) {}
}

fn attached(lanes: &mut [Place], lane: Lane) -> Option<&mut Attached> {
    let place = lanes.get_mut(lane.place as usize)?;
    if place.generation == lane.generation { place.lane.as_mut() } else { None }
}
