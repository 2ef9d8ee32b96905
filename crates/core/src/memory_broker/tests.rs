mod bench;
mod journaled;
mod paper;
mod threads;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::MemoryBroker;
use super::stream::{Kept, Stream};
use crate::broker::{BrokerError, PublishOptions};
use crate::{Broker, Channel, HistoryBounds, Kind, Publication};

use bench::{Bench, Recorder, block_on};

/// Each line is what is done and, behind `=>`, what comes of it (`Ok(())` where nothing stands); of a broker that
/// publishes in two steps, too.
fn check(script: &str) {
    check_on(Bench::new(), script);
    check_on(Bench::journaled(), script);
}

fn check_on(mut bench: Bench, script: &str) {
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (step, expected) = line.split_once(" =>").unwrap_or((line, "Ok(())"));
        assert_eq!(bench.run(step.trim()).trim(), expected.trim(), "{line}");
    }
}

#[test]
fn publishes_without_history() {
    check(
        "pub x k0 => 0
         got => x:0
         hist k0 => 0
         pub 12345678 k0 => refused
         sweep => 0 streams 0 kept 0 keys 0 present
         join A
         leave A
         got => join:A leave:A",
    );
}

#[test]
fn counts_from_one_and_keeps_the_newest() {
    check(
        "pub p => 1a
         pub q => 2a
         pub r => 3a
         pub s => 4a
         got => p:1a q:2a r:3a s:4a
         hist => 4a q:2a r:3a s:4a
         hist k2 => 4a r:3a s:4a
         pub other #d => 1b
         pub skipped k0 => 0
         hist => 4a q:2a r:3a s:4a
         sweep => 2 streams 4 kept 0 keys 0 present",
    );
}

#[test]
fn pages() {
    check(
        "hist => 0a
         hist >5a => 0a
         hist >0? => wrong epoch
         pub p => 1a
         pub q => 2a
         pub r => 3a
         hist l0 => 3a
         hist l2 => 3a p:1a q:2a
         hist >0 => 3a p:1a q:2a r:3a
         hist >1a => 3a q:2a r:3a
         hist >1a l1 => 3a q:2a
         hist >3 => 3a
         hist >18446744073709551615 => 3a
         hist r => 3a r:3a q:2a p:1a
         hist r l1 => 3a r:3a
         hist r >3a => 3a q:2a p:1a
         hist r >3a l1 => 3a q:2a
         hist r >1 => 3a
         hist r >0 => 3a
         hist r >4 => 3a r:3a q:2a p:1a
         hist r >5 => 3a
         hist r >1? => wrong epoch
         pub s => 4a
         hist >0 => 4a q:2a r:3a s:4a
         hist r >2 => 4a",
    );
}

#[test]
fn removing_and_expiring_keep_offset_and_epoch() {
    check(
        "pub p => 1a
         pub q @5 => 2a
         hist @9 => 2a p:1a q:2a
         hist @14 => 2a p:1a q:2a
         hist r @14 => 2a q:2a p:1a
         sweep @14 => 1 streams 2 kept 0 keys 0 present
         hist @15 => 2a
         pub r @15 => 3a
         hist @15 => 3a r:3a
         sweep @15 => 1 streams 1 kept 0 keys 0 present
         clear
         hist @16 => 3a
         pub s @17 => 4a
         hist @17 => 4a s:4a
         sweep @27 => 1 streams 0 kept 0 keys 0 present
         clear #unknown
         got => p:1a q:2a r:3a s:4a",
    );
}

#[test]
fn a_refused_publication_leaves_no_trace() {
    check(
        "pub 12345678 => refused
         pub p => 1a
         pub q => 2a
         pub r => 3a
         pub 12345678 v9 => refused
         hist => 3a p:1a q:2a r:3a
         pub 12345678 ikey => refused
         pub s v1 ikey => 4a
         pub s v1 ikey => =4a
         got => p:1a q:2a r:3a s:4a
         sweep => 1 streams 3 kept 1 keys 0 present",
    );
}

#[test]
fn another_epoch_begins_when_the_stream_is_forgotten() {
    // Nobody is subscribed: the sweep forgets it all.
    check(
        "pub p => 1a
         sweep @99 => 1 streams 0 kept 0 keys 0 present
         sweep @100 => 0 streams 0 kept 0 keys 0 present
         pub q @101 => 1b
         got => p:1a q:1b",
    );
    // Reading keeps it, too.
    check(
        "pub p => 1a
         hist @60 => 1a
         hist @159 >1a => 1a",
    );
    // Subscribers are told, once, before anything of the other epoch, whether a publisher begins it …
    check(
        "subscribe
         pub p => 1a
         sweep @100 => 1 streams 0 kept 0 keys 0 present
         pub 12345678 @101 => refused
         pub q @101 => 1b
         pub r @102 => 2b
         got => p:1a break q:1b r:2b",
    );
    // … or a reader, who is of the other epoch itself.
    check(
        "subscribe
         pub p => 1a
         sweep @200 => 1 streams 0 kept 0 keys 0 present
         hist @201 => 0b
         got => p:1a break
         pub q @202 => 1b
         got => q:1b
         unsubscribe
         sweep @500 => 0 streams 0 kept 0 keys 0 present
         pub r @501 => 1c
         got => r:1c",
    );
}

#[test]
fn remembers_subscribed_channels_only_while_they_are() {
    let bench = Bench::new();
    let channel = Channel::from("c");
    block_on(bench.broker.subscribe(&channel)).unwrap();
    assert_eq!(bench.broker.streams.channels(), 1);
    block_on(bench.broker.sweep(bench.start));
    assert_eq!(bench.broker.streams.channels(), 1);
    block_on(bench.broker.unsubscribe(&channel)).unwrap();
    assert_eq!(bench.broker.streams.channels(), 0);
}

#[test]
fn a_key_publishes_once() {
    check(
        "pub p ix => 1a
         pub q ix => =1a
         pub r iy => 2a
         pub r ix #d => 1b
         pub r ix k0 => =1a
         pub p iz k0 => 0
         pub p iz k0 => =0
         pub p i k0 => 0
         pub p i k0 => 0
         pub s ix @299 => =1a
         pub s ix @300 => 1c
         pub s ix @301 => =1c",
    );
    check(
        "pub p ix t5 => 1a
         pub q ix t5 @4 => =1a
         pub q ix t5 @5 => 2a
         pub q iy t50 @5 => 3a
         sweep @9 => 1 streams 3 kept 2 keys 0 present
         sweep @10 => 1 streams 3 kept 1 keys 0 present
         sweep @55 => 1 streams 0 kept 0 keys 0 present",
    );
}

#[test]
fn only_newer_versions_are_published() {
    check(
        "pub p v5 => 1a
         pub q v5 => =1a
         pub q v4 => =1a
         pub r => 2a
         pub q v5 e => =2a
         pub s v6 => 3a
         pub t v1 eB => 4a
         pub u v1 eB => =4a
         pub u v2 => 5a
         clear
         pub w v2 => =5a
         pub w v2 k0 => 0
         got => p:1a r:2a s:3a t:4a u:5a w:0",
    );
}

#[test]
fn lists_who_is_present() {
    check(
        "who => 0/0
         present ann A
         present ann B @5
         present bob C @5
         who @9 => 3/2 A,B,C
         who @10 => 2/2 B,C
         present ann A @10
         absent B
         absent nobody
         who @11 => 2/2 A,C
         who #d => 0/0
         sweep @15 => 0 streams 0 kept 0 keys 1 present
         who @15 => 1/1 A
         sweep @20 => 0 streams 0 kept 0 keys 0 present
         present ann A @20
         absent A
         sweep @20 => 0 streams 0 kept 0 keys 0 present",
    );
}

#[test]
fn needs_a_start() {
    let broker = MemoryBroker::new(0);
    let result = block_on(broker.publish(
        &"c".into(),
        Publication::new("x"),
        &PublishOptions::default(),
        Instant::now(),
    ));
    assert!(matches!(result, Err(BrokerError::Unavailable(_))), "{result:?}");
}

#[test]
fn epochs_differ_between_streams_and_restarts() {
    let mut seen = std::collections::HashSet::new();
    for seed in 0..4 {
        let seeded = super::Seeded::new(seed);
        for number in 0..1000 {
            assert!(seen.insert(seeded.epoch(number)), "seed {seed}, number {number}");
        }
    }
}

#[test]
fn is_small() {
    // The documentation of `MemoryBroker` tells these.
    assert!(size_of::<Stream>() <= 104, "{}", size_of::<Stream>());
    assert!(size_of::<Kept>() <= 136, "{}", size_of::<Kept>());
    let bench = Bench::new();
    assert_eq!(bench.broker.figures().bytes, 0);
}
