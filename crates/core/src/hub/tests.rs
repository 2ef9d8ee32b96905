use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::Hub;
use crate::broker::PublishOptions;
use crate::reader::{Event, Reader};
use crate::router::Interest;
use crate::{Budget, ExactRouter, Fanout, Kind, MemoryBroker, Publication, Refused, Window};

/// A hub with workers, whose channels have such windows.
fn hub(workers: usize, windows: impl Fn() -> Window + Send + Sync + 'static) -> Hub {
    let (fanout, budget) = (Fanout::for_workers(workers), Budget::new(0));
    let router = ExactRouter::new(Box::new(move |_| windows()), fanout.clone(), budget.clone());
    Hub::new(router, Arc::new(MemoryBroker::new(7)), fanout, budget)
}

fn reader(hub: &Hub, worker: usize) -> Reader {
    let interest = Interest { worker, ..Interest::channel("news".into()) };
    Reader::new(&hub.open_for(&interest).expect("a log")).expect("it has not ended")
}

fn read(reader: &mut Reader) -> Vec<String> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut read = Vec::new();
    while let Poll::Ready(Event::Entry(entry)) = reader.poll_next(&mut cx) {
        let Kind::Publication(publication) = entry.kind() else { continue };
        read.push(String::from_utf8(publication.data.to_vec()).unwrap());
    }
    read
}

fn publish(hub: &Hub, data: String) -> bool {
    let (channel, options) = ("news".into(), PublishOptions::default());
    let publishing = hub.publish(&channel, Publication::new(data), &options, Instant::now());
    let Poll::Ready(published) = pin!(publishing).poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("nothing is waited for in memory")
    };
    published.is_ok()
}

/// Whoever serves a subscriber, it reads in the order in which all read.
#[test]
fn subscribers_of_all_workers_read_in_one_order() {
    let (publishers, each) = (4, 3_000);
    let wide =
        || Window { entries: 1 << 20, bytes: 1 << 30, age: Duration::from_secs(3600), ..Window::default() };
    let hub = hub(3, wide);
    let mut readers = [0, 1, 2].map(|worker| reader(&hub, worker));
    let begin = Barrier::new(publishers);
    std::thread::scope(|scope| {
        for publisher in 0..publishers {
            let (hub, begin) = (&hub, &begin);
            scope.spawn(move || {
                begin.wait();
                (0..each).for_each(|n| assert!(publish(hub, format!("{publisher} {n}"))));
            });
        }
    });
    let [first, second, third] = readers.each_mut().map(read);
    assert_eq!(first.len(), publishers * each);
    assert!(first == second && second == third, "one has read in another order");
}

/// Where a new log has a smaller window than an old one, a publication between their bounds goes to nobody.
#[test]
fn what_one_log_refuses_no_other_gets() {
    let bytes = Arc::new(std::sync::atomic::AtomicUsize::new(1 << 16));
    let windows = {
        let bytes = bytes.clone();
        move || Window { bytes: bytes.load(std::sync::atomic::Ordering::Relaxed), ..Window::default() }
    };
    let hub = hub(2, windows);
    let mut old = reader(&hub, 0);
    bytes.store(1 << 12, std::sync::atomic::Ordering::Relaxed);
    let mut new = reader(&hub, 1);
    assert!(!publish(&hub, "x".repeat(1 << 13)));
    assert!(publish(&hub, "y".into()));
    assert_eq!([read(&mut old), read(&mut new)], [["y"], ["y"]]);
    let _: Refused = hub.open(&"news".into()).unwrap().takes(1 << 20).unwrap_err();
}
