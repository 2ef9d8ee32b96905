//! What holds however threads interleave.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::*;
use crate::request::HistoryRequest;

const THREADS: u64 = 4;

/// A small generator, so that a failure can be repeated from its seed as far as threads can be.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % sides
    }
}

/// Publishes, reads, removes and sweeps from four threads while time passes; `step` milliseconds per act.
fn storm(seed: u64, step: u64, subscribed: bool) -> Arc<Recorder> {
    let Bench { broker, recorder, start, .. } = Bench::new();
    let clock = AtomicU64::new(0);
    let channels = [Channel::from("c"), Channel::from("d")];
    if subscribed {
        channels.iter().for_each(|channel| block_on(broker.subscribe(channel)).unwrap());
    }
    let options = PublishOptions {
        history: HistoryBounds {
            size: 10,
            ttl: Duration::from_millis(50),
            meta_ttl: Duration::from_millis(100),
        },
        ..PublishOptions::default()
    };
    let act = |dice: &mut Dice| {
        let now = start + Duration::from_millis(clock.fetch_add(step, Ordering::Relaxed));
        let channel = &channels[dice.roll(2) as usize];
        match dice.roll(16) {
            0 => block_on(broker.remove_history(channel)).unwrap(),
            1 | 2 => block_on(broker.sweep(now)),
            3 => thread::yield_now(),
            4 => {
                let refused = block_on(broker.publish(channel, Publication::new("12345678"), &options, now));
                assert!(matches!(refused, Err(BrokerError::Refused(_))));
            }
            5..8 => {
                let request =
                    HistoryRequest { channel: channel.clone(), limit: None, since: None, reverse: false };
                let history = block_on(broker.history(&request, &options.history, now)).unwrap();
                let offsets: Vec<u64> = history.publications.iter().map(|p| p.offset).collect();
                let first = history.top.offset + 1 - offsets.len() as u64;
                assert_eq!(offsets, (first..=history.top.offset).collect::<Vec<_>>(), "seed {seed}");
            }
            _ => drop(block_on(broker.publish(channel, Publication::new("x"), &options, now)).unwrap()),
        }
    };
    thread::scope(|scope| {
        for number in 0..THREADS {
            let act = &act;
            scope.spawn(move || {
                let mut dice = Dice(seed * THREADS + number);
                (0..500).for_each(|_| act(&mut dice));
            });
        }
    });
    block_on(broker.sweep(start + Duration::from_secs(3600)));
    let held = broker.figures();
    assert_eq!((held.publications, held.bytes), (0, 0), "seed {seed}");
    assert_eq!(held.streams, if subscribed { 2 } else { 0 }, "seed {seed}");
    recorder
}

/// What the order of delivery must be: in each epoch from 1 without a hole, and a break between epochs if
/// `broken` says so. Returns how many epochs there were.
fn check_order(recorder: &Recorder, broken: bool, seed: u64) -> usize {
    let mut epochs = 0;
    let mut tops: HashMap<Channel, (Arc<str>, u64)> = HashMap::new();
    let mut was_break: HashMap<Channel, bool> = HashMap::new();
    for (channel, kind) in recorder.0.lock().unwrap().iter() {
        let Kind::Publication(publication) = kind else {
            was_break.insert(channel.clone(), true);
            continue;
        };
        let epoch = publication.epoch.clone().expect("a kept publication has an epoch");
        let after_break = was_break.insert(channel.clone(), false).unwrap_or(false);
        let expected = match tops.get(channel) {
            Some((known, top)) if *known == epoch => top + 1,
            Some(_) => {
                assert!(after_break || !broken, "seed {seed}: another epoch without a break");
                epochs += 1;
                1
            }
            None => 1,
        };
        assert_eq!(publication.offset, expected, "seed {seed}, {channel}, epoch {epoch}");
        tops.insert(channel.clone(), (epoch, publication.offset));
    }
    epochs
}

#[test]
fn offsets_are_contiguous_in_the_order_of_delivery() {
    for seed in 0..10 {
        let recorder = storm(seed, 0, false);
        assert_eq!(check_order(&recorder, true, seed), 0, "seed {seed}: time stood still");
    }
}

#[test]
fn streams_forgotten_under_publishers_begin_anew() {
    let (mut unread, mut read) = (0, 0);
    for seed in 0..10 {
        // Some 80 ms pass between two acts on a channel, and 100 are enough to forget it.
        unread += check_order(&storm(seed, 40, false), false, seed);
        read += check_order(&storm(seed, 40, true), true, seed);
    }
    assert!(unread > 10 && read > 10, "{unread} and {read} epochs");
}

#[test]
fn one_of_many_with_a_key_is_published() {
    for size in [0, 10] {
        let Bench { broker, recorder, start, .. } = Bench::new();
        let history = HistoryBounds { size, ttl: Duration::from_secs(9), meta_ttl: Duration::ZERO };
        let publish = |key: u32| {
            let idempotency_key = Some(key.to_string().into());
            let options = PublishOptions { history, idempotency_key, ..Default::default() };
            block_on(broker.publish(&"c".into(), Publication::new("x"), &options, start)).unwrap()
        };
        let run = || (0..500).map(publish).collect::<Vec<_>>();
        let first = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        for key in 0..500 {
            let results: Vec<_> = first.iter().map(|results| &results[key]).collect();
            assert_eq!(results.iter().filter(|result| !result.suppressed).count(), 1, "key {key}");
            assert!(results.iter().all(|result| result.position == results[0].position), "key {key}");
        }
        assert_eq!(recorder.0.lock().unwrap().len(), 500);
    }
}
