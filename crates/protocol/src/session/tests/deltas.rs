//! Filters that a client asks for, and publications that come as patches.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tidegate_core::outbox::{Batch, Event, Fill, Framing, Limits, Outbox};
use tidegate_core::request::StreamPosition;
use tidegate_core::{Budget, Disconnect, Fanout, Kind, Log, Publication, SkipToOldest, Window};

use super::*;
use crate::delta::apply;
use crate::message;

const LIMIT: usize = 1 << 20;

fn document(n: u64) -> String {
    format!(r#"{{"n":{n},"note":"{}","żółw":[{n}]}}"#, "🐢 ".repeat(50))
}

fn publication(offset: u64, delta: bool) -> Publication {
    let epoch = (offset > 0).then(|| "e".into());
    Publication { offset, epoch, delta, ..Publication::new(document(offset)) }
}

/// Reads publications as an SDK does that takes patches.
struct Reader {
    encoding: Encoding,
    before: Option<Vec<u8>>,
    /// One letter for each: `w` whole, `p` patch.
    came: String,
}

impl Reader {
    fn new(encoding: Encoding) -> Self {
        Self { encoding, before: None, came: String::new() }
    }

    fn read(&mut self, publication: &message::Publication) -> String {
        let data = match self.encoding {
            Encoding::Json => serde_json::from_slice::<String>(&publication.data).expect("a string").into(),
            Encoding::Protobuf => publication.data.to_vec(),
        };
        self.came.push(if publication.delta { 'p' } else { 'w' });
        let data = match &self.before {
            Some(before) if publication.delta => apply(before, &data, LIMIT).expect("its own patch"),
            _ => data,
        };
        self.before = Some(data.clone());
        String::from_utf8(data).unwrap()
    }
}

/// What a subscription that takes patches writes of `entries`, which must be the documents of their offsets
/// from `from` on; and why it closes.
fn read(reader: &mut Reader, subscribed: &Subscribed, entries: &[Kind], from: u64) -> Option<Disconnect> {
    let mut bench = Bench::open(reader.encoding, "");
    let subscription = bench.session.subscription(&"news".into(), subscribed);
    let log = Log::new("news".into(), Window::default(), Fanout::new(), Budget::new(0));
    let mut outbox = Outbox::new(Limits::default());
    outbox.subscribe(&log, subscription, Arc::new(SkipToOldest)).expect("the log lives");
    for entry in entries {
        log.append(entry.clone(), Instant::now()).expect("it fits");
    }
    let (mut batch, mut next) = (Batch::new(), from);
    batch.begin(if reader.encoding == Encoding::Json { Framing::LINES } else { Framing::NONE });
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(fill) = outbox.poll_fill(&mut cx, 1 << 16, &mut batch) {
        match fill {
            Fill::Event(Event::Cut(why)) => return Some(why),
            Fill::Event(event) => panic!("{event:?}"),
            Fill::Batch => {}
        }
        let bytes = batch.pieces().collect::<Vec<_>>().concat();
        let frame = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        for reply in reader.encoding.replies(frame).take_while(|_| !frame.is_empty()) {
            let publication = reply.unwrap().push.unwrap().publication.unwrap();
            assert_eq!(reader.read(&publication), document(next));
            assert_eq!(publication.offset, next);
            next += 1;
        }
        let taken = batch.len();
        outbox.unread(&mut batch, taken);
    }
    None
}

fn takes_patches() -> Subscribed {
    Subscribed { delta: true, ..Default::default() }
}

#[test]
fn the_first_is_whole_and_all_others_are_patches() {
    for encoding in BOTH {
        let mut reader = Reader::new(encoding);
        let entries: Vec<_> = (1..=5).map(|n| Kind::Publication(publication(n, true))).collect();
        assert_eq!(read(&mut reader, &takes_patches(), &entries, 1), None);
        assert_eq!(reader.came, "wpppp");
    }
}

#[test]
fn what_was_not_published_as_a_delta_is_whole() {
    for encoding in BOTH {
        let mut reader = Reader::new(encoding);
        let entries: Vec<_> = (1..=6).map(|n| Kind::Publication(publication(n, n != 3))).collect();
        assert_eq!(read(&mut reader, &takes_patches(), &entries, 1), None);
        assert_eq!(reader.came, "wpwwpp");
    }
}

#[test]
fn what_the_reply_brought_is_patched_and_patched_on() {
    for encoding in BOTH {
        let publications: Vec<_> = (1..=4).map(|n| publication(n, true)).collect();
        let position = StreamPosition { offset: 0, epoch: "e".into() };
        let subscribed = Subscribed { publications, recovered: true, position, ..takes_patches() };
        let mut reader = Reader::new(encoding);
        let brought = crate::convert::subscribe_result(&subscribed, encoding);
        assert!(brought.delta);
        for (publication, n) in brought.publications.iter().zip(1..) {
            assert_eq!(reader.read(publication), document(n));
            // The first of a stream says which it is, in Protobuf.
            let first = encoding == Encoding::Protobuf && n == 1;
            assert_eq!(publication.epoch, if first { "e" } else { "" });
        }
        // Publications up to the fourth were appended while it was being made.
        let entries: Vec<_> = (2..=7).map(|n| Kind::Publication(publication(n, true))).collect();
        assert_eq!(read(&mut reader, &subscribed, &entries, 5), None);
        assert_eq!(reader.came, "wpppppp");
        // In another life of the stream, the same offset is another publication.
        let mut reader = Reader::new(encoding);
        let other = |n| Publication { epoch: Some("f".into()), ..publication(n, true) };
        let entries: Vec<_> = (4..=5).map(|n| Kind::Publication(other(n))).collect();
        assert_eq!(read(&mut reader, &subscribed, &entries, 4), None);
        assert_eq!(reader.came, "wp");
    }
}

#[test]
fn a_reply_patches_only_so_much() {
    let large =
        |n: u64| Publication { offset: n, ..Publication::new(format!("{:?}{n}", "x".repeat(60_000))) };
    let publications: Vec<_> = (1..=40).map(large).collect();
    let brought = crate::subscription::recovered(&publications, Encoding::Protobuf);
    let mut reader = Reader::new(Encoding::Protobuf);
    for (publication, expected) in brought.iter().zip(&publications) {
        assert_eq!(reader.read(publication).as_bytes(), &expected.data[..]);
    }
    let patches = reader.came.matches('p').count();
    assert!(patches > 5 && patches < 20, "{patches} patches");
}

#[test]
fn what_is_no_text_closes_a_json_client_that_takes_patches() {
    let why = Some(Disconnect::new(3506, "inappropriate protocol"));
    for after in [0, 1] {
        let mut entries: Vec<_> = (1..=after).map(|n| Kind::Publication(publication(n, true))).collect();
        let binary = [document(1).as_bytes(), b"\xff"].concat();
        let binary = Publication { delta: true, ..Publication::new(binary) };
        entries.push(Kind::Publication(binary));
        let mut reader = Reader::new(Encoding::Json);
        assert_eq!(read(&mut reader, &takes_patches(), &entries, 1), why);
    }
}

/// What the session makes of a subscription's `tf`, written in JSON: whether it asks for the subscription.
#[track_caller]
fn check_filter(tf: &str, accepted: bool) {
    for encoding in BOTH {
        let mut bench = Bench::open(encoding, "");
        let command = format!(r#"{{"id":2,"subscribe":{{"channel":"news","tf":{tf}}}}}"#);
        bench.session.receive(frame(encoding, &command), bench.now);
        let expected = match accepted {
            true => "subscribe news",
            false => "refused 107",
        };
        assert_eq!(bench.actions(), expected, "{encoding:?} {tf}");
    }
}

#[test]
fn filters_that_make_no_sense_are_refused() {
    for cmp in ["eq", "neq", "sw", "ew", "ct"] {
        check_filter(&format!(r#"{{"key":"a","cmp":"{cmp}","val":"b"}}"#), true);
        check_filter(&format!(r#"{{"cmp":"{cmp}","val":"b"}}"#), false);
        check_filter(&format!(r#"{{"key":"a","cmp":"{cmp}"}}"#), false);
        check_filter(&format!(r#"{{"key":"a","cmp":"{cmp}","vals":["b"]}}"#), false);
    }
    for cmp in ["in", "nin"] {
        check_filter(&format!(r#"{{"key":"a","cmp":"{cmp}","vals":["b",""]}}"#), true);
        check_filter(&format!(r#"{{"key":"a","cmp":"{cmp}","val":"b"}}"#), false);
        check_filter(&format!(r#"{{"key":"a","cmp":"{cmp}","val":"b","vals":["b"]}}"#), false);
    }
    for cmp in ["ex", "nex"] {
        check_filter(&format!(r#"{{"key":"a","cmp":"{cmp}"}}"#), true);
        check_filter(&format!(r#"{{"key":"a","cmp":"{cmp}","val":"b"}}"#), false);
    }
    for cmp in ["gt", "gte", "lt", "lte"] {
        check_filter(&format!(r#"{{"key":"a","cmp":"{cmp}","val":"-1.5"}}"#), true);
        check_filter(&format!(r#"{{"key":"a","cmp":"{cmp}","val":"1e3"}}"#), false);
    }
    let leaf = r#"{"key":"a","cmp":"ex"}"#;
    for (op, none, one, two) in [
        ("and", false, true, true),
        ("or", false, true, true),
        ("not", false, true, false),
        ("x", false, false, false),
    ] {
        check_filter(&format!(r#"{{"op":"{op}","nodes":[]}}"#), none);
        check_filter(&format!(r#"{{"op":"{op}","nodes":[{leaf}]}}"#), one);
        check_filter(&format!(r#"{{"op":"{op}","nodes":[{leaf},{leaf}]}}"#), two);
        check_filter(&format!(r#"{{"op":"{op}","nodes":[{{}}]}}"#), false);
    }
    check_filter(&format!(r#"{{"key":"a","cmp":"ex","nodes":[{leaf}]}}"#), false);
    check_filter(r#"{"key":"a","cmp":"like","val":"b"}"#, false);
    check_filter("{}", false);
    let deep =
        |depth: usize| format!("{}{leaf}{}", r#"{"op":"not","nodes":["#.repeat(depth), "]}".repeat(depth));
    check_filter(&deep(9), true);
    check_filter(&deep(20), false);
}
