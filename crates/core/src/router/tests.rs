use std::sync::Arc;
use std::time::Instant;

use super::{ExactRouter, Interest, Router};
use crate::filter::{Condition, Limits, Test};
use crate::reader::{Event, Reader};
use crate::{Budget, Channel, End, Entry, Fanout, Filter, Kind, Log, Publication, Window};

fn router(filters: usize) -> Arc<ExactRouter> {
    ExactRouter::with_filters(Box::new(|_| Window::default()), Fanout::new(), Budget::new(0), filters)
}

/// Publications with the tag `n`.
fn filter(n: &str) -> Filter {
    let test = Test::In(vec![n.to_owned()]);
    Filter::new(Condition::Tag { key: "n".into(), test }, &Limits::default()).expect("a filter")
}

fn publication(n: &str) -> Kind {
    let tags = Some(Arc::new([("n".to_owned(), n.to_owned())].into()));
    Kind::Publication(Publication { tags, ..Publication::new(n.to_owned()) })
}

fn channel() -> Channel {
    "news".into()
}

impl ExactRouter {
    fn reader(&self, filter: Option<Filter>) -> (Arc<Log>, Reader) {
        self.reader_of(0, filter)
    }

    fn reader_of(&self, worker: usize, filter: Option<Filter>) -> (Arc<Log>, Reader) {
        let interest = Interest { channel: channel(), filter, worker };
        let log = self.open(&interest).expect("a log");
        let reader = Reader::new(&log).expect("it has not ended");
        (log, reader)
    }

    /// As the hub does.
    fn deliver(&self, kind: Kind) -> usize {
        let mut logs = Vec::new();
        self.route(&channel(), &kind, &mut logs);
        let entry = Arc::new(Entry::new(kind));
        for log in &logs {
            log.append_entry(entry.clone(), Instant::now()).expect("it fits");
        }
        logs.len()
    }
}

/// What a reader has to read, as text: payloads, `join`, `break`.
fn read(reader: &mut Reader) -> String {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut read = Vec::new();
    while let std::task::Poll::Ready(event) = reader.poll_next(&mut cx) {
        match event {
            Event::Entry(entry) => read.push(match entry.kind() {
                Kind::Publication(publication) => String::from_utf8(publication.data.to_vec()).unwrap(),
                Kind::Join(_) => "join".into(),
                Kind::Leave(_) => "leave".into(),
                Kind::Break => "break".into(),
            }),
            Event::Gap(gap) => read.push(format!("gap of {}", gap.publications())),
            Event::End(end) => {
                read.push(format!("{end:?}"));
                break;
            }
        }
    }
    read.join(" ")
}

#[test]
fn a_filter_has_a_log_of_what_matches() {
    let router = router(8);
    let (_, mut all) = router.reader(None);
    let (one, mut a) = router.reader(Some(filter("a")));
    let (same, mut also_a) = router.reader(Some(filter("a")));
    let (_, mut b) = router.reader(Some(filter("b")));
    assert!(Arc::ptr_eq(&one, &same), "equal filters share a log");
    assert_eq!(router.deliver(publication("a")), 2);
    assert_eq!(router.deliver(publication("c")), 1);
    assert_eq!(router.deliver(Kind::Publication(Publication::new("untagged"))), 1);
    assert_eq!(router.deliver(Kind::Join(Arc::default())), 3);
    assert_eq!(router.deliver(Kind::Break), 3);
    assert_eq!(router.deliver(publication("b")), 2);
    assert_eq!(read(&mut all), "a c untagged join break b");
    assert_eq!(read(&mut a), "a join break");
    assert_eq!(read(&mut also_a), "a join break");
    assert_eq!(read(&mut b), "join break b");
    // Only what matches counts, also as missed.
    assert_eq!(one.figures().head.publications, 1);
}

#[test]
fn what_does_not_match_wakes_nobody() {
    let router = router(8);
    let (log, mut reader) = router.reader(Some(filter("a")));
    assert_eq!(read(&mut reader), "");
    router.deliver(publication("b"));
    let figures = log.figures();
    assert_eq!((figures.subscribers, figures.behind), (1, 0), "it is parked still");
    router.deliver(publication("a"));
    assert_eq!(log.figures().behind, 1);
}

#[test]
fn a_gap_of_a_filtered_log_counts_what_matches() {
    let window = Window { entries: 2, ..Window::default() };
    let router = ExactRouter::new(Box::new(move |_| window), Fanout::new(), Budget::new(0));
    let (_, mut all) = router.reader(None);
    let (_, mut a) = router.reader(Some(filter("a")));
    for _ in 0..5 {
        router.deliver(publication("a"));
        router.deliver(publication("b"));
    }
    assert_eq!(read(&mut all), "gap of 8 a b");
    assert_eq!(read(&mut a), "gap of 3 a a");
}

#[test]
fn over_the_bound_subscribers_filter_themselves() {
    let router = router(2);
    let (a, _a) = router.reader(Some(filter("a")));
    let (b, read_b) = router.reader(Some(filter("b")));
    let (c, _c) = router.reader(Some(filter("c")));
    assert_eq!((a.filter(), b.filter(), c.filter()), (Some(&filter("a")), Some(&filter("b")), None));
    let (again, _again) = router.reader(Some(filter("a")));
    assert!(Arc::ptr_eq(&a, &again));
    // The last reader frees the place.
    drop(read_b);
    let (d, _d) = router.reader(Some(filter("d")));
    assert_eq!(d.filter(), Some(&filter("d")));
    let router = self::router(0);
    assert_eq!(router.reader(Some(filter("a"))).0.filter(), None);
}

#[test]
fn logs_go_with_their_last_subscriber_and_count_as_one_channel() {
    let router = router(8);
    let figures = || {
        let mut all = Vec::new();
        router.visit(&mut |channel, figures| all.push((channel.to_string(), figures.subscribers)));
        all
    };
    assert!(!router.is_live(&channel()));
    let (_, a) = router.reader(Some(filter("a")));
    let (_, also_a) = router.reader(Some(filter("a")));
    assert_eq!(figures(), [("news".to_owned(), 2)]);
    let (_, all) = router.reader(None);
    let (_, b) = router.reader(Some(filter("b")));
    assert_eq!(figures(), [("news".to_owned(), 4)]);
    drop(a);
    assert_eq!(router.deliver(publication("a")), 2);
    drop(also_a);
    assert_eq!(router.deliver(publication("a")), 1);
    drop(all);
    assert_eq!(router.deliver(publication("a")), 0);
    assert!(router.is_live(&channel()));
    drop(b);
    assert!(!router.is_live(&channel()));
    assert_eq!(figures(), []);
}

#[test]
fn removing_a_channel_ends_all_its_logs() {
    let router = router(8);
    let (_, mut all) = router.reader(None);
    let (_, mut a) = router.reader(Some(filter("a")));
    router.deliver(publication("a"));
    router.remove(&channel(), End::Deleted);
    assert!(!router.is_live(&channel()));
    assert_eq!(read(&mut all), "a Deleted");
    assert_eq!(read(&mut a), "a Deleted");
    // A late clean-up does not take the successor.
    let (_, mut next) = router.reader(Some(filter("a")));
    drop((all, a));
    router.deliver(publication("a"));
    assert_eq!(read(&mut next), "a");
}

#[test]
fn each_worker_has_logs_of_its_own() {
    let router =
        ExactRouter::with_filters(Box::new(|_| Window::default()), Fanout::for_workers(2), Budget::new(0), 2);
    let (log, mut of_one) = router.reader_of(1, None);
    let (other, mut of_none) = router.reader_of(0, None);
    let (same, mut of_one_too) = router.reader_of(1, None);
    assert!(Arc::ptr_eq(&log, &same) && !Arc::ptr_eq(&log, &other));
    assert_eq!((log.worker(), other.worker()), (1, 0));
    assert_eq!(router.deliver(publication("a")), 2);
    let (_, mut filters) = router.reader_of(0, Some(filter("b")));
    let (_, mut filters_there) = router.reader_of(1, Some(filter("b")));
    assert_eq!(router.deliver(publication("b")), 4);
    for all in [&mut of_one, &mut of_none, &mut of_one_too] {
        assert_eq!(read(all), "a b");
    }
    assert_eq!((read(&mut filters), read(&mut filters_there)), ("b".into(), "b".into()));
    // Filters of each worker have a bound, and logs of those who want everything none.
    let (_, _second) = router.reader_of(0, Some(filter("c")));
    let (whole, _over) = router.reader_of(0, Some(filter("d")));
    assert!(Arc::ptr_eq(&whole, &other));
    let mut subscribers = 0;
    router.visit(&mut |_, figures| subscribers += figures.subscribers);
    assert_eq!(subscribers, 7);
    drop((of_one, of_one_too));
    assert_eq!(router.deliver(publication("a")), 1, "one of those who filter wants it no more");
    assert_eq!(read(&mut of_none), "a");
    drop((of_none, _over, _second, filters, filters_there));
    assert!(!router.is_live(&channel()));
}
