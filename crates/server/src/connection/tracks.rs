//! Subscriptions with a track of their own, where the transport has such.

use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use tidegate_core::outbox::{Batch, Lane};
use tidegate_core::request::Subscribed;
use tidegate_core::transport::{Connection, Manner, Track, TrackError};
use tidegate_core::{Channel, Disconnect};

use super::writing::{BATCH, ROOM};
use super::{Driver, WRITE_ERROR};

/// A client that stops a track does not want its subscription.
const STOPPED: Disconnect = Disconnect::new(2000, "unsubscribed by the client");

impl<C: Connection> Driver<C> {
    /// A track for the subscription that the client has asked for, and how it begins.
    pub(super) fn open_track(&mut self, subscribed: &Subscribed) -> Option<(Track, Bytes)> {
        let name = self.session.request_name()?;
        let manner = Manner { behind: !subscribed.publications.is_empty(), loose: subscribed.datagrams };
        self.io.open_track(name, manner)
    }

    /// Gives a lane its track, on which what was recovered comes first, and not in the reply. Returns why the
    /// connection is to be closed, if it cannot be told that.
    pub(super) fn lay_track(
        &mut self,
        lane: Lane,
        track: Track,
        head: &Bytes,
        channel: &Channel,
        subscribed: &mut Subscribed,
    ) -> Option<Disconnect> {
        let mut first = Batch::new();
        first.begin(self.io.framing());
        first.put(head);
        self.session.recovered(channel, subscribed, &mut first);
        subscribed.publications = Vec::new();
        self.outbox.lay_track(lane, track, &first);
        first.closing().cloned()
    }

    /// Writes to the tracks that have something and take something, in turn; false if there are none.
    pub(super) fn poll_tracks(&mut self, now: Instant) -> Result<bool, Disconnect> {
        if !self.outbox.has_tracks() {
            return Ok(false);
        }
        let mut stopped = Vec::new();
        let mut offered = 0;
        let mut any = false;
        BATCH.with_borrow_mut(|batch| {
            while offered < ROOM {
                batch.begin(self.io.framing());
                let Some((lane, track)) = self.outbox.fill_track(ROOM - offered, batch) else { break };
                any = true;
                offered += batch.len();
                if self.write_track(lane, track, batch, now)? {
                    stopped.push(lane);
                }
            }
            Ok(())
        })?;
        for lane in stopped {
            self.stopped(lane);
        }
        Ok(any || self.outbox.has_events())
    }

    /// Writes what was filled for a lane; true if its client has stopped the track.
    fn write_track(
        &mut self,
        lane: Lane,
        track: Track,
        batch: &mut Batch,
        now: Instant,
    ) -> Result<bool, Disconnect> {
        let enough = self.app.settings().stalled_min_bytes;
        let (mut taken, mut stopped) = (0, false);
        if !batch.is_empty() {
            // It rings the lane, not the task: so it is known which track takes something again.
            let waker = self.outbox.track_waker(lane);
            match self.io.poll_write_track(&mut Context::from_waker(&waker), track, batch) {
                Poll::Ready(Ok(bytes)) => taken = bytes,
                Poll::Ready(Err(TrackError::Stopped)) => stopped = true,
                Poll::Ready(Err(_)) => {
                    self.outbox.unread_track(lane, batch, 0, now, enough);
                    return Err(self.reason(WRITE_ERROR));
                }
                Poll::Pending if !self.outbox.is_track_stalled(lane) => {
                    tracing::debug!(client = self.id(), subscription = ?lane, "stalled");
                    self.app.meters.stalls.increment(1);
                }
                Poll::Pending => {}
            }
        }
        let done = self.outbox.unread_track(lane, batch, taken, now, enough);
        if self.outbox.has_begun(lane) {
            self.io.hasten_track(track);
        }
        self.count(taken, done);
        Ok(stopped)
    }

    /// The client has stopped a track: it unsubscribes.
    fn stopped(&mut self, lane: Lane) {
        self.resting = false;
        self.outbox.detach(lane);
        self.drop_track(lane);
        let Some(held) = self.subscriptions.remove_lane(lane) else { return };
        tracing::debug!(client = self.id(), channel = %held.channel, subscription = ?lane, "stopped by the client");
        self.tell_unsubscribed(&held.channel, &STOPPED);
        self.forget(Some(held));
    }

    /// Ends a lane's track, if it has one: what it has taken can be read to the end.
    pub(super) fn close_track(&mut self, lane: Lane, code: u16) {
        if let Some((track, cut)) = self.outbox.lift_track(lane) {
            self.io.close_track(track, cut.then_some(code));
        }
    }

    /// Ends a lane's track whose client wants nothing of it any more.
    pub(super) fn drop_track(&mut self, lane: Lane) {
        if let Some((track, _)) = self.outbox.lift_track(lane) {
            self.io.close_track(track, Some(0));
        }
    }

    /// Ends all tracks.
    pub(super) fn close_tracks(&mut self, code: u16) {
        if !self.outbox.has_tracks() {
            return;
        }
        let lanes: Vec<Lane> = self.subscriptions.iter().map(|held| held.lane).collect();
        for lane in lanes {
            self.close_track(lane, code);
        }
    }
}
