use std::task::Waker;

use bytes::Bytes;

use super::*;
use crate::{ClientInfo, Event, Gap, GapCause, Publication, Why};

fn queue(items: usize, overflow: Overflow) -> Queue<Event> {
    Queue::new(Bounds { items, bytes: 1 << 20, overflow })
}

fn publication(offset: u64) -> Event {
    Event::Publication(Publication { offset, data: Bytes::from_static(b"1"), ..Default::default() })
}

fn event(word: &str) -> Event {
    match word {
        "join" => Event::Join(ClientInfo::default()),
        "subscribing" => Event::Subscribing(Why::default()),
        "subscribed" => Event::Subscribed(Default::default()),
        "away" => Event::Gap(Gap { missed: Some(10), joins_and_leaves: 0, cause: GapCause::Away }),
        "unknown" => Event::Gap(Gap { missed: None, joins_and_leaves: 0, cause: GapCause::Away }),
        offset => publication(offset.parse().expect("an offset")),
    }
}

fn word(event: &Event) -> String {
    match event {
        Event::Publication(publication) => publication.offset.to_string(),
        Event::Join(_) => "join".to_owned(),
        Event::Subscribing(_) => "subscribing".to_owned(),
        Event::Subscribed(_) => "subscribed".to_owned(),
        Event::Gap(gap) => {
            let missed = gap.missed.map_or("?".to_owned(), |missed| missed.to_string());
            format!("gap-{missed}-{}-{:?}", gap.joins_and_leaves, gap.cause)
        }
        other => panic!("{other:?}"),
    }
}

fn read(queue: &Queue<Event>) -> Vec<String> {
    let mut cx = Context::from_waker(Waker::noop());
    std::iter::from_fn(|| match queue.poll_next(&mut cx).0 {
        Poll::Ready(event) => event.as_ref().map(word),
        Poll::Pending => None,
    })
    .collect()
}

/// A queue of so many items, into which these words are written, reads like that.
#[track_caller]
fn check(items: usize, written: &str, expected: &str) {
    let queue = queue(items, Overflow::DropOldest);
    for word in written.split_whitespace() {
        queue.push(event(word));
    }
    assert_eq!(read(&queue).join(" "), expected);
}

#[test]
fn the_oldest_go_and_a_gap_says_how_many() {
    check(3, "1 2 3", "1 2 3");
    check(2, "1 2 3 4 5", "gap-3-0-SlowReader 4 5");
    check(2, "subscribed 1 2 3", "subscribed gap-1-0-SlowReader 2 3");
    check(2, "1 join 2 3", "gap-1-1-SlowReader 2 3");
    check(2, "1 2 subscribing subscribed 3 4", "gap-2-0-SlowReader subscribing subscribed 3 4");
}

#[test]
fn gaps_join_when_nothing_stands_between_them() {
    check(2, "1 away 2 3", "gap-11-0-Several 2 3");
    check(2, "1 2 away 3 4", "gap-12-0-Several 3 4");
    check(1, "1 unknown 2", "gap-?-0-Several 2");
    check(2, "away away 1", "gap-20-0-Away 1");
    check(1, "1 away 2 away 3 away 4", "gap-33-0-Several 4");
}

#[test]
fn states_are_bounded_and_the_latest_stays() {
    let queue = queue(2, Overflow::DropOldest);
    for round in 0..1000 {
        queue.push(event("subscribing"));
        queue.push(event("subscribed"));
        queue.push(event("unknown"));
        queue.push(publication(round));
    }
    let read = read(&queue);
    assert!(read.len() <= 2 * (STATES + 2), "{} events", read.len());
    assert!(
        read.ends_with(&["subscribing", "subscribed", "gap-?-0-Away", "999"].map(String::from)),
        "{read:?}"
    );
}

#[test]
fn bytes_are_bounded_but_one_item_always_fits() {
    let queue = Queue::new(Bounds { items: 100, bytes: 1000, overflow: Overflow::DropOldest });
    let large = |offset| {
        Event::Publication(Publication { offset, data: Bytes::from(vec![0; 5000]), ..Default::default() })
    };
    queue.push(large(1));
    assert_eq!(read(&queue).join(" "), "1");
    queue.push(large(1));
    queue.push(large(2));
    assert_eq!(read(&queue).join(" "), "gap-1-0-SlowReader 2");
}

#[test]
fn who_waits_goes_on_when_half_is_read() {
    let queue = queue(4, Overflow::Wait);
    for offset in 1..=4 {
        assert_eq!(queue.push(publication(offset)), Pushed::Taken);
    }
    assert_eq!(queue.push(publication(5)), Pushed::Full);
    let mut cx = Context::from_waker(Waker::noop());
    let freed: Vec<_> = (0..5).map(|_| queue.poll_next(&mut cx).1).collect();
    assert_eq!(freed, [false, false, true, false, false], "once, when half is left");
}

#[test]
fn who_recovers_goes_on_when_all_is_read() {
    let queue = queue(2, Overflow::Recover);
    let pushed: Vec<_> = (1..=3).map(|offset| queue.push(publication(offset))).collect();
    assert_eq!(pushed, [Pushed::Taken, Pushed::Taken, Pushed::Full]);
    let mut cx = Context::from_waker(Waker::noop());
    let freed: Vec<_> = (0..3).map(|_| queue.poll_next(&mut cx).1).collect();
    assert_eq!(freed, [false, false, true]);
}

#[test]
fn a_reader_that_has_left_is_told_nothing() {
    let queue = queue(2, Overflow::Wait);
    queue.push(publication(1));
    queue.leave();
    assert_eq!(queue.push(publication(2)), Pushed::Gone);
}

#[test]
fn what_was_written_is_read_before_the_end() {
    let queue = queue(2, Overflow::DropOldest);
    queue.push(publication(1));
    queue.end();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(queue.poll_next(&mut cx).0, Poll::Ready(Some(_))));
    assert!(matches!(queue.poll_next(&mut cx).0, Poll::Ready(None)));
}
