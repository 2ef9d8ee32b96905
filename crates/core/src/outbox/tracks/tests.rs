use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::log::Log;
use crate::outbox::{Batch, Event, Fill, Framing, Lane, Limits, Outbox};
use crate::transport::Track;
use crate::{
    Backpressure, Budget, CloseConnection, EndSubscription, Entry, Fanout, Gap, Kind, Lag, Publication,
    SkipToOldest, Subscription, Window,
};

struct Plain;

impl Subscription for Plain {
    fn write(&mut self, entry: &Entry, _: bool, out: &mut Batch) {
        if let Some(publication) = entry.publication() {
            out.message(&publication.data);
        }
    }

    fn gap(&mut self, gap: &Gap, out: &mut Batch) {
        out.message(&format!("missed {}", gap.publications()).into());
    }
}

/// An outbox, and channels of which some have tracks.
struct Desk {
    outbox: Outbox,
    logs: Vec<Arc<Log>>,
    lanes: Vec<Lane>,
    batch: Batch,
    now: Instant,
}

impl Desk {
    fn new(channels: usize, policy: impl Backpressure + Clone + 'static) -> Self {
        let mut outbox = Outbox::new(Limits::default());
        let (fanout, budget) = (Fanout::new(), Budget::new(0));
        let mut logs = Vec::new();
        let mut lanes = Vec::new();
        for i in 0..channels {
            let log =
                Log::new(format!("c{i}").as_str().into(), Window::default(), fanout.clone(), budget.clone());
            let lane = outbox.reserve(&log).unwrap();
            let mut first = Batch::new();
            first.put(&Bytes::from(format!("<{i}>")));
            outbox.lay_track(lane, Track(i as u32), &first);
            outbox.attach(lane, Box::new(Plain), Arc::new(policy.clone()));
            logs.push(log);
            lanes.push(lane);
        }
        Self { outbox, logs, lanes, batch: Batch::new(), now: Instant::now() }
    }

    fn publish(&self, channel: usize, data: &str) {
        self.logs[channel].append(Kind::Publication(Publication::new(data.to_owned())), self.now).unwrap();
    }

    /// What the way of everything takes; nothing is one of the tracks'.
    fn main(&mut self) -> Option<String> {
        self.batch.begin(Framing::LINES);
        match self.outbox.poll_fill(&mut Context::from_waker(Waker::noop()), 65536, &mut self.batch) {
            Poll::Pending => None,
            Poll::Ready(Fill::Event(event)) => Some(match event {
                Event::Ended(lane, _) => {
                    format!("ended {}", self.lanes.iter().position(|of| *of == lane).unwrap())
                }
                Event::Close(why) | Event::Cut(why) => format!("close {}", why.code),
                other => format!("{other:?}"),
            }),
            Poll::Ready(Fill::Batch) => {
                let all = text(&self.batch);
                let taken = self.batch.len();
                self.outbox.unread(&mut self.batch, taken);
                Some(all)
            }
        }
    }

    /// Offers one batch to its track, which takes at most `room` bytes: the track, and what it took.
    fn track(&mut self, room: usize) -> Option<(u32, String)> {
        self.batch.begin(Framing::LINES);
        let (lane, track) = self.outbox.fill_track(65536, &mut self.batch)?;
        let mut all = text(&self.batch);
        all.truncate(room);
        self.outbox.unread_track(lane, &mut self.batch, all.len(), self.now, 1 << 20);
        Some((track.0, all))
    }

    fn free(&mut self, channel: usize) {
        let lane = self.lanes[channel];
        self.outbox.track_waker(lane).wake();
        assert_eq!(self.main(), None);
    }
}

/// One entry may be unread.
const ONE: Lag = Lag { entries: 1, bytes: u64::MAX };

fn text(batch: &Batch) -> String {
    String::from_utf8(batch.pieces().flatten().copied().collect()).unwrap()
}

#[test]
fn each_track_is_written_alone_and_begins_with_its_name() {
    let mut desk = Desk::new(2, SkipToOldest);
    assert_eq!(desk.main(), None);
    assert_eq!(desk.track(99), Some((0, "<0>".into())));
    assert_eq!(desk.track(99), Some((1, "<1>".into())));
    assert_eq!(desk.track(99), None);
    assert!(desk.outbox.is_idle());
    desk.publish(1, "a");
    desk.publish(0, "b");
    desk.publish(1, "c");
    assert_eq!(desk.main(), None);
    assert_eq!(desk.track(99), Some((1, "a\nc\n".into())));
    assert_eq!(desk.track(99), Some((0, "b\n".into())));
    assert_eq!(desk.track(99), None);
    assert_eq!(desk.outbox.unread_publications(), 0);
    assert!(desk.outbox.is_idle());
}

#[test]
fn a_stalled_track_holds_up_nobody_and_keeps_its_own_rest() {
    let mut desk = Desk::new(2, SkipToOldest);
    desk.publish(0, "abcdef");
    desk.publish(0, "ghi");
    assert_eq!(desk.main(), None);
    assert_eq!(desk.track(5), Some((0, "<0>ab".into())));
    assert!(!desk.outbox.is_idle());
    assert_eq!(desk.track(99), Some((1, "<1>".into())));
    // It is offered nothing until it takes something again, whatever is published.
    desk.publish(0, "jkl");
    assert_eq!(desk.main(), None);
    assert_eq!(desk.track(99), None);
    // What everybody reads is not mixed with what the track has left.
    desk.outbox.reply("reply".into(), None);
    assert_eq!(desk.main().as_deref(), Some("reply\n"));
    desk.publish(1, "x");
    assert_eq!(desk.main(), None);
    assert_eq!(desk.track(99), Some((1, "x\n".into())));
    desk.free(0);
    assert_eq!(desk.track(3), Some((0, "cde".into())));
    desk.free(0);
    assert_eq!(desk.track(99), Some((0, "f\nghi\njkl\n".into())));
    assert_eq!(desk.track(99), None);
    assert!(desk.outbox.is_idle());
}

#[test]
fn whatever_a_track_takes_the_client_reads_the_same() {
    for room in 1..40 {
        let mut desk = Desk::new(1, SkipToOldest);
        let mut read = String::new();
        for i in 0..10 {
            desk.publish(0, &format!("message {i}"));
            assert_eq!(desk.main(), None);
            while let Some((_, part)) = desk.track(room) {
                read += &part;
                if part.len() == room {
                    desk.free(0);
                }
            }
        }
        let expected: String = (0..10).map(|i| format!("message {i}\n")).collect();
        assert_eq!(read, format!("<0>{expected}"), "{room} bytes at a time");
        assert!(desk.outbox.is_idle(), "{room} bytes at a time");
    }
}

#[test]
fn a_reply_does_not_wait_for_a_track() {
    let mut desk = Desk::new(1, SkipToOldest);
    desk.publish(0, "own");
    let lane = desk.lanes[0];
    desk.outbox.reply("done".into(), Some(lane));
    assert_eq!(desk.main().as_deref(), Some("done\n"));
    assert_eq!(desk.track(99), Some((0, "<0>own\n".into())));
}

#[test]
fn a_stalled_track_is_judged_and_ends_alone() {
    let mut desk = Desk::new(2, EndSubscription { beyond: ONE });
    let (every, most) = (Duration::from_millis(500), Duration::from_secs(30));
    assert_eq!(desk.track(0), Some((0, String::new())));
    assert_eq!(desk.track(99), Some((1, "<1>".into())));
    assert_eq!(desk.outbox.tracks_deadline(every, most), Some(desk.now + every));
    desk.publish(0, "a");
    let at = desk.now + every;
    desk.outbox.judge_tracks(at, every, most);
    assert_eq!(desk.main(), None);
    desk.publish(0, "b");
    desk.outbox.judge_tracks(at + every, every, most);
    assert_eq!(desk.main().as_deref(), Some("ended 0"));
    let lane = desk.lanes[0];
    assert_eq!(desk.outbox.lift_track(lane), Some((Track(0), true)));
    assert_eq!(desk.outbox.lift_track(lane), None);
    desk.publish(1, "x");
    assert_eq!(desk.main(), None);
    assert_eq!(desk.track(99), Some((1, "x\n".into())));
    assert_eq!(desk.outbox.tracks_deadline(every, most), None);
    assert!(desk.outbox.is_idle());
}

#[test]
fn a_track_that_takes_nothing_for_long_ends_whatever_its_policy() {
    let mut desk = Desk::new(1, SkipToOldest);
    let (every, most) = (Duration::from_millis(500), Duration::from_secs(30));
    desk.publish(0, "a");
    assert_eq!(desk.main(), None);
    assert_eq!(desk.track(1), Some((0, "<".into())));
    desk.outbox.judge_tracks(desk.now + most - Duration::from_millis(1), every, most);
    assert_eq!(desk.main(), None);
    desk.outbox.judge_tracks(desk.now + most, every, most);
    assert_eq!(desk.main().as_deref(), Some("ended 0"));
}

#[test]
fn a_policy_may_close_the_connection_for_a_track() {
    let mut desk = Desk::new(1, CloseConnection::slow(ONE));
    let (every, most) = (Duration::from_millis(500), Duration::from_secs(30));
    assert_eq!(desk.track(0), Some((0, String::new())));
    desk.publish(0, "a");
    desk.publish(0, "b");
    desk.outbox.judge_tracks(desk.now + every, every, most);
    assert_eq!(desk.main().as_deref(), Some("close 3008"));
}

#[test]
fn what_a_track_begins_with_is_over_once() {
    let mut desk = Desk::new(1, SkipToOldest);
    let lane = desk.lanes[0];
    assert_eq!(desk.track(1), Some((0, "<".into())));
    assert!(!desk.outbox.has_begun(lane));
    desk.free(0);
    assert_eq!(desk.track(99), Some((0, "0>".into())));
    assert!(desk.outbox.has_begun(lane));
    assert!(!desk.outbox.has_begun(lane));
}

#[test]
fn connections_without_tracks_hold_nothing_for_them() {
    let mut desk = Desk::new(1, SkipToOldest);
    assert_eq!(desk.track(99), Some((0, "<0>".into())));
    let lane = desk.lanes[0];
    desk.outbox.detach(lane);
    desk.outbox.lift_track(lane);
    desk.outbox.reply("reply".into(), None);
    assert_eq!(desk.main().as_deref(), Some("reply\n"));
    assert!(desk.outbox.rare.is_none());
}
