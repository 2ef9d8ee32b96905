//! Whatever is not wanted, lost or not taken by the socket: a patch comes only after what it is made against.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::outbox::{Batch, Fill, Framing, Limits, Outbox};
use crate::{Budget, Entry, Fanout, Format, Gap, Kind, Log, Publication, SkipToOldest, Subscription, Window};

/// Writes `whole NEW` or `patch OLD NEW`, of the publications that do not end with `0`, and joins if asked to.
struct Patched {
    joins: bool,
}

impl Subscription for Patched {
    fn write(&mut self, entry: &Entry, contiguous: bool, out: &mut Batch) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        match entry.kind() {
            Kind::Publication(publication) if publication.data.ends_with(b"0") => {}
            Kind::Publication(publication) => {
                let patch = entry.patch(Format::new(1), |new, old| {
                    format!("patch {} {}", text(&old.data), text(&new.data)).into()
                });
                match patch.filter(|_| contiguous) {
                    Some(patch) => out.message(patch),
                    None => out.message(&format!("whole {}", text(&publication.data)).into()),
                }
            }
            Kind::Join(_) if self.joins => out.message(&"join".into()),
            _ => {}
        }
    }

    fn gap(&mut self, _: &Gap, out: &mut Batch) {
        out.message(&"gap".into());
    }
}

/// A client that reads lines, some of which come in pieces.
#[derive(Default)]
struct Client {
    bytes: VecDeque<u8>,
    has: String,
    got: Vec<u64>,
    patches: usize,
}

impl Client {
    fn take(&mut self, bytes: &[u8], seed: u64) {
        self.bytes.extend(bytes);
        while let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            let line = String::from_utf8(line).unwrap();
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["whole", new] => self.has = new.to_owned(),
                ["patch", old, new] => {
                    assert_eq!(self.has, old, "seed {seed}: {line}");
                    self.patches += 1;
                    self.has = new.to_owned();
                }
                _ => continue,
            }
            self.got.push(self.has.parse().unwrap());
        }
    }
}

fn run(seed: u64, joins: bool) -> usize {
    let mut state = seed;
    let mut below = |most: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % most
    };
    let window = Window { entries: 12, ..Window::default() };
    let log = Log::new("news".into(), window, Fanout::new(), Budget::new(0));
    let mut outbox = Outbox::new(Limits::default());
    outbox.subscribe(&log, Box::new(Patched { joins }), Arc::new(SkipToOldest)).expect("the log lives");
    let (mut client, mut batch, mut next) = (Client::default(), Batch::new(), 1);
    let mut cx = Context::from_waker(Waker::noop());
    for turn in 0..300 {
        for _ in 0..below(6) {
            let kind = match below(8) {
                0 => Kind::Join(Arc::default()),
                1 => Kind::Break,
                of => {
                    let data = next.to_string();
                    next += 1;
                    Kind::Publication(Publication { delta: of > 2, ..Publication::new(data) })
                }
            };
            log.append(kind, Instant::now()).expect("it fits");
        }
        batch.begin(Framing::LINES);
        while let Poll::Ready(fill) = outbox.poll_fill(&mut cx, 1 + below(200) as usize, &mut batch) {
            assert!(matches!(fill, Fill::Batch));
            let bytes: Vec<u8> = batch.pieces().flatten().copied().collect();
            // At the end the socket takes everything.
            let taken = if turn == 299 { bytes.len() } else { below(bytes.len() as u64 + 1) as usize };
            client.take(&bytes[..taken], seed);
            outbox.unread(&mut batch, taken);
            if turn < 299 && below(3) == 0 {
                break;
            }
        }
    }
    assert!(client.got.is_sorted_by(|a, b| a < b), "seed {seed}: {:?}", client.got);
    assert_eq!(client.got.last(), (1..next).rfind(|n| n % 10 > 0).as_ref(), "seed {seed}");
    client.patches
}

#[test]
fn a_patch_follows_what_it_is_made_against() {
    let mut patches = 0;
    for seed in 0..60 {
        patches += run(seed, seed % 2 == 0);
    }
    assert!(patches > 6_000, "{patches}");
}
