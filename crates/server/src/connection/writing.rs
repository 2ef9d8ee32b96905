//! What is written, and how long a socket may take for it.

use std::cell::RefCell;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tidegate_core::Disconnect;
use tidegate_core::outbox::{Batch, Due, Fill, Stall, Taken};
use tidegate_core::transport::Connection;

use super::{Driver, WRITE_ERROR};

/// Bytes of one write: what a busy channel brings in one round of its subscribers. Several writes for it cost more.
pub(super) const ROOM: usize = 128 * 1024;

thread_local! {
    /// What a thread fills and writes: no connection holds one.
    pub(super) static BATCH: RefCell<Batch> = RefCell::new(Batch::new());
}

const SLOW: Disconnect = Disconnect::new(3008, "slow");

impl<C: Connection> Driver<C> {
    /// Writes a batch, or takes what others want; false if there was nothing to do.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, Disconnect> {
        // The next call is fetched while a request is being done, so that it comes before the request behind that.
        self.outbox.hold_calls(self.call.is_some() || self.outbox.full());
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
                    self.write(cx, batch, now)?;
                    Ok(true)
                }
            }
        })
    }

    fn write(&mut self, cx: &mut Context<'_>, batch: &mut Batch, now: Instant) -> Result<(), Disconnect> {
        let offered = batch.len();
        let mut taken = 0;
        if offered > 0 {
            match self.io.poll_write(cx, batch) {
                Poll::Ready(Ok(bytes)) => taken = bytes,
                Poll::Ready(Err(_)) => {
                    self.outbox.unread(batch, 0);
                    return Err(self.reason(WRITE_ERROR));
                }
                Poll::Pending if self.stalled.is_none() => {
                    tracing::debug!(client = self.id(), "stalled");
                    self.app.meters.stalls.increment(1);
                    self.stalled = Some(Box::new(Stall::new(now)));
                }
                Poll::Pending => {}
            }
        }
        let done = self.outbox.unread(batch, taken);
        self.progress(taken, taken == offered, now);
        if self.outbox.control_is_empty()
            && let Some(waited) = self.times.control_taken(self.app.started)
        {
            self.app.meters.control_taken(waited);
        }
        self.welcomed |= self.announced && self.outbox.control_is_empty();
        self.count(taken, done);
        Ok(())
    }

    /// Counts a write of so many bytes, and what it did.
    pub(super) fn count(&mut self, taken: usize, done: Taken) {
        let tally = &self.seat.worker().tally;
        tally.writes.add(1);
        tally.bytes_out.add(taken as u64);
        if done.delivered > 0 {
            tally.delivered.add(done.delivered);
        }
        if done.missed > 0 {
            self.app.meters.missed(&self.outbox.take_losses());
        }
    }

    /// Notes what a stalled client has taken: the `whole` batch, or a part.
    fn progress(&mut self, taken: usize, whole: bool, now: Instant) {
        let Some(stall) = &mut self.stalled else { return };
        let enough = self.app.settings().stalled_min_bytes;
        if stall.progress(taken, whole && self.outbox.is_idle(), enough, now) {
            let after = stall.lasted(now);
            self.stalled = None;
            tracing::debug!(client = self.id(), ?after, "resumed");
        }
    }

    /// Lets the policies judge a stalled client, or closes it.
    pub(super) fn judge_stall(&mut self, now: Instant) {
        if self.stalled.is_none() && !self.outbox.has_tracks() {
            return;
        }
        let (every, most) = self.stall_times();
        self.outbox.judge_tracks(now, every, most);
        match self.stalled.as_mut().map(|stall| stall.due(now, every, most)) {
            Some(Due::End(_)) => self.close(SLOW, now),
            Some(Due::Judgement(stalled)) => self.outbox.judge(stalled),
            Some(Due::Nothing) | None => {}
        }
    }

    pub(super) fn stall_deadline(&self) -> Option<Instant> {
        let (every, most) = self.stall_times();
        let stalled = self.stalled.as_ref().map(|stall| stall.deadline(every, most));
        stalled.into_iter().chain(self.outbox.tracks_deadline(every, most)).min()
    }

    /// How often the policies judge who is stalled, and how long a stall may last.
    fn stall_times(&self) -> (Duration, Duration) {
        let settings = self.app.settings();
        // Twice in its time, so that nobody who falls behind meanwhile is judged later than that.
        (settings.write_timeout / 2, settings.stalled_close_delay)
    }
}
