//! What holds between the two steps of publishing with a journal.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::paper::Paper;
use super::*;
use crate::broker::Published;
use crate::request::HistoryRequest;

struct Desk {
    bench: Bench,
    paper: Paper,
    channel: Channel,
}

type Publishing<'a> = Pin<Box<dyn Future<Output = Result<Published, BrokerError>> + Send + 'a>>;

impl Desk {
    fn new() -> Self {
        let paper = Paper::held();
        let journal = Arc::new(paper.same());
        let broker = MemoryBroker::journaled(7, journal, [], [], Instant::now());
        Self { bench: Bench::of(broker), paper, channel: "c".into() }
    }

    /// Begins to publish.
    fn publish<'a>(&'a self, data: &'static str, options: &'a PublishOptions) -> Publishing<'a> {
        let publication =
            Publication { version: options.version_epoch.is_some().into(), ..Publication::new(data) };
        let mut publishing = self.bench.broker.publish(&self.channel, publication, options, self.bench.start);
        assert!(poll(&mut publishing).is_none(), "nothing is written yet");
        publishing
    }

    fn delivered(&self) -> Vec<String> {
        let delivered = std::mem::take(&mut *self.bench.recorder.0.lock().unwrap());
        let text = |(_, kind)| match kind {
            Kind::Publication(publication) => {
                format!("{}@{}", String::from_utf8_lossy(&publication.data), publication.offset)
            }
            kind => format!("{kind:?}"),
        };
        delivered.into_iter().map(text).collect()
    }

    /// The offsets that are shown, and the top.
    fn shown(&self) -> (Vec<u64>, u64) {
        let request =
            HistoryRequest { channel: self.channel.clone(), limit: None, since: None, reverse: false };
        let page =
            block_on(self.bench.broker.history(&request, &options().history, self.bench.start)).unwrap();
        (page.publications.iter().map(|publication| publication.offset).collect(), page.top.offset)
    }
}

fn poll(publishing: &mut Publishing<'_>) -> Option<Result<Published, BrokerError>> {
    match publishing.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

fn offset(publishing: &mut Publishing<'_>) -> u64 {
    poll(publishing).expect("it was written").unwrap().position.offset
}

fn options() -> PublishOptions {
    let day = Duration::from_secs(86400);
    let history = HistoryBounds { size: 10, ttl: day, meta_ttl: day };
    PublishOptions { history, ..PublishOptions::default() }
}

#[test]
fn nobody_sees_what_is_not_written() {
    let (desk, options) = (Desk::new(), options());
    let (mut one, mut two) = (desk.publish("one", &options), desk.publish("two", &options));
    assert_eq!((desk.delivered(), desk.shown()), (vec![], (vec![], 0)));
    desk.paper.write(1);
    assert_eq!((desk.delivered(), desk.shown()), (vec!["one@1".to_owned()], (vec![1], 1)));
    assert_eq!(offset(&mut one), 1);
    assert!(poll(&mut two).is_none());
    desk.paper.write(1);
    assert_eq!((offset(&mut two), desk.delivered()), (2, vec!["two@2".to_owned()]));
}

#[test]
fn what_fails_was_never_there() {
    let (desk, options) = (Desk::new(), options());
    let mut one = desk.publish("one", &options);
    desk.paper.write(1);
    assert_eq!(offset(&mut one), 1);
    let failing = [desk.publish("two", &options), desk.publish("three", &options)];
    desk.paper.fail();
    for mut failed in failing {
        assert!(matches!(poll(&mut failed), Some(Err(BrokerError::Unavailable(_)))));
    }
    let mut next = desk.publish("four", &options);
    desk.paper.write(1);
    assert_eq!(offset(&mut next), 2, "its offset is given again");
    assert_eq!((desk.delivered(), desk.shown()), (vec!["one@1".into(), "four@2".into()], (vec![1, 2], 2)));
}

#[test]
fn who_gives_up_has_published_all_the_same() {
    let (desk, options) = (Desk::new(), options());
    drop(desk.publish("one", &options));
    let mut two = desk.publish("two", &options);
    desk.paper.write(2);
    assert_eq!((offset(&mut two), desk.delivered()), (2, vec!["one@1".into(), "two@2".into()]));
}

#[test]
fn a_key_waits_for_what_becomes_of_its_first() {
    let (desk, options) = (Desk::new(), PublishOptions { idempotency_key: Some("key".into()), ..options() });
    let (mut first, mut second) = (desk.publish("one", &options), desk.publish("two", &options));
    desk.paper.fail();
    assert!(poll(&mut first).expect("decided").is_err());
    // It waited for nothing but the first, which failed with everything else.
    assert!(poll(&mut second).expect("decided").is_err());
    let (mut third, mut fourth) = (desk.publish("three", &options), desk.publish("four", &options));
    desk.paper.write(2);
    assert_eq!((offset(&mut third), offset(&mut fourth)), (1, 1));
    assert_eq!(desk.delivered(), ["three@1"]);
}

#[test]
fn a_version_waits_for_what_becomes_of_a_newer_one() {
    let (desk, options) = (Desk::new(), PublishOptions { version_epoch: Some("life".into()), ..options() });
    let (mut first, mut second) = (desk.publish("one", &options), desk.publish("two", &options));
    desk.paper.write(2);
    let first = poll(&mut first).unwrap().unwrap();
    let second = poll(&mut second).unwrap().unwrap();
    assert!(!first.suppressed && second.suppressed && second.position == first.position);
}

#[test]
fn what_is_being_written_is_not_forgotten() {
    let (desk, options) = (Desk::new(), options());
    let mut one = desk.publish("one", &options);
    let later = desk.bench.start + Duration::from_secs(40 * 86400);
    block_on(desk.bench.broker.sweep(later));
    assert_eq!(desk.bench.broker.figures().streams, 1);
    desk.paper.write(1);
    assert_eq!(offset(&mut one), 1);
    block_on(desk.bench.broker.sweep(later));
    assert_eq!(desk.bench.broker.figures().streams, 0);
}

#[test]
fn removing_leaves_what_is_published_behind_it() {
    let (desk, options) = (Desk::new(), options());
    let mut one = desk.publish("one", &options);
    let channel = desk.channel.clone();
    let mut removing = desk.bench.broker.remove_history(&channel);
    assert!(removing.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let mut two = desk.publish("two", &options);
    desk.paper.write(3);
    assert_eq!((offset(&mut one), offset(&mut two)), (1, 2));
    assert_eq!(desk.shown(), (vec![2], 2));
    drop(removing);
}

#[test]
fn a_log_that_is_smaller_than_it_was_gets_a_break() {
    let (desk, options) = (Desk::new(), options());
    let mut one = desk.publish("one", &options);
    *desk.bench.recorder.1.lock().unwrap() = true;
    desk.paper.write(1);
    assert_eq!(offset(&mut one), 1, "it is kept: whoever recovers gets it");
    assert_eq!((desk.delivered(), desk.shown()), (vec!["Break".to_owned()], (vec![1], 1)));
}
