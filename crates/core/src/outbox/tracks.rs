//! Lanes with a track of their own: each is written alone, keeps its own cut rest, and stalls alone.

#[cfg(all(test, not(loom)))]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::batch::{Batch, What};
use super::stall::{Due, Stall};
use super::{Lane, Outbox, Taken, Wake};
use crate::log::End;
use crate::reserve_one;
use crate::transport::Track;

/// What lanes with a track have beside what all lanes have. Empty in connections whose transport has none.
#[derive(Default)]
pub(super) struct Tracks {
    /// Sorted by lane.
    all: Vec<(Lane, Box<Laid>)>,
    /// Those that may be written to and have something.
    ready: VecDeque<Lane>,
    /// How many have something that their track has not taken.
    waiting: usize,
}

/// A lane's track.
struct Laid {
    track: Track,
    /// What goes before anything of the lane: how it begins, and then the end of a message that was cut.
    rest: VecDeque<Bytes>,
    /// `rest` is still how the lane begins.
    beginning: bool,
    /// Rings the lane when the track takes something again.
    waker: Option<Waker>,
    /// Since when it takes nothing, or too little.
    stall: Option<Stall>,
    /// Counted in [`Tracks::waiting`].
    waits: bool,
}

/// What rings a lane, as a task's waker.
struct Ring(Wake);

impl std::task::Wake for Ring {
    fn wake(self: Arc<Self>) {
        self.0.clone().wake();
    }
}

impl Tracks {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn find(&self, lane: Lane) -> Result<usize, usize> {
        self.all.binary_search_by_key(&lane, |(of, _)| *of)
    }

    fn get_mut(&mut self, lane: Lane) -> Option<&mut Laid> {
        let at = self.find(lane).ok()?;
        Some(&mut self.all[at].1)
    }

    /// Notes whether a lane has something that its track has not taken.
    fn note(&mut self, lane: Lane) {
        let Ok(at) = self.find(lane) else { return };
        let laid = &mut *self.all[at].1;
        let waits = laid.stall.is_some() || !laid.rest.is_empty();
        let waited = std::mem::replace(&mut laid.waits, waits);
        self.waiting = self.waiting + usize::from(waits) - usize::from(waited);
    }
}

impl Outbox {
    /// Gives a lane that is reserved, and is attached next, a track of its own, which begins with what `first`
    /// holds. It is written by [`Outbox::fill_track`] and not by [`Outbox::poll_fill`].
    pub fn lay_track(&mut self, lane: Lane, track: Track, first: &Batch) {
        let wake = Wake::new(self.shared.clone(), lane);
        let rest = first.part(0, first.len()).into();
        let laid = Laid {
            track,
            rest,
            beginning: true,
            waker: Some(Waker::from(Arc::new(Ring(wake)))),
            stall: None,
            waits: false,
        };
        let tracks = &mut self.rare().tracks;
        match tracks.find(lane) {
            Ok(_) => return,
            Err(at) => {
                reserve_one(&mut tracks.all);
                tracks.all.insert(at, (lane, Box::new(laid)));
            }
        }
        tracks.ready.push_back(lane);
        tracks.note(lane);
    }

    /// Whether any lane has a track.
    pub fn has_tracks(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.tracks.is_empty())
    }

    pub(super) fn is_tracked(&self, lane: Lane) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.tracks.find(lane).is_ok())
    }

    /// Whether a track has not taken all that it was offered.
    pub(super) fn tracks_wait(&self) -> bool {
        let tracks = self.rare.as_ref().map(|rare| &rare.tracks);
        tracks.is_some_and(|tracks| tracks.waiting > 0 || !tracks.ready.is_empty())
    }

    /// Whether something has happened that [`Outbox::poll_fill`] will return.
    pub fn has_events(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.events.is_empty())
    }

    /// Takes ready lanes that have a track out of the others.
    pub(super) fn sift(&mut self) {
        let Self { rare, lanes, .. } = self;
        let Some(tracks) = rare.as_mut().map(|rare| &mut rare.tracks).filter(|tracks| !tracks.is_empty())
        else {
            return;
        };
        for _ in 0..lanes.ready().count() {
            let Some(lane) = lanes.take_ready() else { break };
            if tracks.find(lane).is_ok() {
                tracks.ready.push_back(lane);
            } else {
                lanes.ready_last(lane);
            }
        }
    }

    /// Fills the empty `batch` for the next track that has something and takes something, with up to about
    /// `room` bytes, and says whose it is. `None`: there is none.
    ///
    /// Every batch filled is followed by [`Outbox::unread_track`], also an empty one.
    pub fn fill_track(&mut self, room: usize, batch: &mut Batch) -> Option<(Lane, Track)> {
        self.sift();
        loop {
            let tracks = &mut self.rare.as_mut()?.tracks;
            let lane = tracks.ready.pop_front()?;
            let Some(laid) = tracks.get_mut(lane) else { continue };
            let track = laid.track;
            if !laid.rest.is_empty() {
                batch.span(What::Rest);
                while batch.len() < room
                    && let Some(part) = laid.rest.pop_front()
                {
                    batch.put(&part);
                }
                batch.step();
            }
            let begun = laid.rest.is_empty();
            if begun {
                // What an idle track began with, or was cut, leaves no room behind.
                laid.rest = VecDeque::new();
            }
            if let Some(attached) = self.lanes.get_mut(lane) {
                attached.queued = false;
                if begun && batch.len() < room {
                    let turn = room.min(batch.len() + self.limits.quantum);
                    self.read(lane, turn, batch);
                }
            }
            if !batch.ends().is_empty() {
                return Some((lane, track));
            }
        }
    }

    /// What a lane's track wakes when it takes something again.
    pub fn track_waker(&mut self, lane: Lane) -> Waker {
        let laid = self.rare.as_mut().and_then(|rare| rare.tracks.get_mut(lane));
        laid.and_then(|laid| laid.waker.clone()).unwrap_or_else(|| Waker::noop().clone())
    }

    /// As [`Outbox::unread`], for the batch that [`Outbox::fill_track`] filled, at time `now`. A stall of the
    /// track is over when it has taken all there is, or `enough` bytes.
    pub fn unread_track(
        &mut self,
        lane: Lane,
        batch: &mut Batch,
        taken: usize,
        now: Instant,
        enough: usize,
    ) -> Taken {
        let (offered, only_rest) = (batch.len(), batch.is_rest());
        // What is cut belongs to the track, and not to the way of all others.
        let others = std::mem::take(&mut self.rare().rest);
        let done = self.unread(batch, taken);
        let rare = self.rare.get_or_insert_default();
        let cut = std::mem::replace(&mut rare.rest, others);
        let Some(laid) = rare.tracks.get_mut(lane) else { return done };
        for part in cut.into_iter().rev() {
            laid.rest.push_front(part);
        }
        let blocked = taken < offered;
        laid.stall.take_if(|stall| stall.progress(taken, !blocked, enough, now));
        if blocked {
            laid.stall.get_or_insert_with(|| Stall::new(now));
        }
        let more = !laid.rest.is_empty();
        rare.tracks.note(lane);
        if blocked {
            // Its waker rings it.
            rare.tracks.ready.retain(|ready| *ready != lane);
            self.lanes.unready(lane);
            if let Some(attached) = self.lanes.get_mut(lane) {
                attached.queued = false;
            }
        } else if more {
            rare.tracks.ready.push_back(lane);
        } else if only_rest {
            // Nothing of the lane itself was in the batch, so that nobody has looked what it has.
            self.requeue(lane, true);
        }
        done
    }

    /// Whether a lane's track has taken all that it begins with; only once.
    pub fn has_begun(&mut self, lane: Lane) -> bool {
        let laid = self.rare.as_mut().and_then(|rare| rare.tracks.get_mut(lane));
        laid.is_some_and(|laid| laid.rest.is_empty() && std::mem::take(&mut laid.beginning))
    }

    /// Whether a lane's track takes nothing, or too little.
    pub fn is_track_stalled(&self, lane: Lane) -> bool {
        let Some(tracks) = self.rare.as_ref().map(|rare| &rare.tracks) else { return false };
        tracks.find(lane).is_ok_and(|at| tracks.all[at].1.stall.is_some())
    }

    /// Forgets a lane's track, which is to be closed: whether it has not taken all that it was offered, and so
    /// may stand within a message.
    pub fn lift_track(&mut self, lane: Lane) -> Option<(Track, bool)> {
        let tracks = &mut self.rare.as_mut()?.tracks;
        let at = tracks.find(lane).ok()?;
        let (_, laid) = tracks.all.remove(at);
        tracks.waiting -= usize::from(laid.waits);
        tracks.ready.retain(|ready| *ready != lane);
        Some((laid.track, laid.waits))
    }

    /// Judges the lanes whose tracks take nothing: their policies are asked `every` so often, and after `most`
    /// they end. What comes of it is an event of the next [`Outbox::poll_fill`] or
    /// [`Outbox::poll_stalled`].
    pub fn judge_tracks(&mut self, now: Instant, every: Duration, most: Duration) {
        let Some(tracks) = self.rare.as_mut().map(|rare| &mut rare.tracks).filter(|all| all.waiting > 0)
        else {
            return;
        };
        let mut due = Vec::new();
        for (lane, laid) in &mut tracks.all {
            let Some(stall) = &mut laid.stall else { continue };
            due.push((*lane, stall.due(now, every, most)));
        }
        for (lane, due) in due {
            let Some(attached) = self.lanes.get(lane) else { continue };
            match due {
                Due::End(_) => self.end(lane, End::Behind(attached.behind())),
                Due::Judgement(stalled) if !self.judge_lane(lane, stalled) => return,
                Due::Judgement(_) | Due::Nothing => {}
            }
        }
    }

    /// When to call [`Outbox::judge_tracks`].
    pub fn tracks_deadline(&self, every: Duration, most: Duration) -> Option<Instant> {
        let tracks = self.rare.as_ref().map(|rare| &rare.tracks).filter(|tracks| tracks.waiting > 0)?;
        let stalls = tracks.all.iter().filter_map(|(_, laid)| laid.stall);
        stalls.map(|stall| stall.deadline(every, most)).min()
    }
}
