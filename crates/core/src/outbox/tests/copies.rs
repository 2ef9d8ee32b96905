//! What is taken from the thread's earlier batches is what would have been written anew.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::outbox::{Batch, Event, Fill, Framing, Limits, Outbox};
use crate::{
    Budget, ClientInfo, Disconnect, Entry, Fanout, Gap, Kind, Log, Publication, SkipToOldest, Subscription,
    Window,
};

/// Writes publications, joins only if it wants them, and cannot tell what begins with an exclamation mark.
struct Reader {
    joins: bool,
    continuous: bool,
    /// Says how it writes.
    open: bool,
    written: Arc<AtomicUsize>,
}

impl Subscription for Reader {
    fn write(&mut self, entry: &Entry, _: bool, out: &mut Batch) {
        self.written.fetch_add(1, Ordering::Relaxed);
        match entry.kind() {
            Kind::Publication(publication) if publication.data.starts_with(b"!") => {
                out.close(Disconnect::new(3501, "cannot be told"));
            }
            Kind::Publication(publication) => out.message(&publication.data),
            Kind::Join(_) if self.joins => out.message(&"joined".into()),
            _ => {}
        }
    }

    fn gap(&mut self, gap: &Gap, out: &mut Batch) {
        out.message(&format!("missed {}", gap.publications()).into());
    }

    fn likeness(&self, _: &Entry) -> Option<u16> {
        self.open.then_some(self.joins.into())
    }

    fn continuous(&self) -> bool {
        self.continuous
    }
}

/// Some connections on one thread, and what each has been written.
struct World {
    logs: Vec<Arc<Log>>,
    outboxes: Vec<Outbox>,
    output: Vec<String>,
    batch: Batch,
    written: Arc<AtomicUsize>,
}

/// Two of each kind, one after the other.
const OUTBOXES: usize = 8;

impl World {
    fn new(open: bool, quantum: usize, entries: usize) -> Self {
        let window = Window { entries, ..Window::default() };
        let logs: Vec<_> =
            ["a", "b"].map(|name| Log::new(name.into(), window, Fanout::new(), Budget::new(0))).into();
        let written = Arc::new(AtomicUsize::new(0));
        let mut outboxes = Vec::new();
        for i in 0..OUTBOXES {
            let mut outbox = Outbox::new(Limits { quantum, ..Limits::default() });
            for log in &logs[..1 + i / 2 % 2] {
                let reader =
                    Reader { joins: i / 2 == 1, continuous: i / 2 == 3, open, written: written.clone() };
                outbox.subscribe(log, Box::new(reader), Arc::new(SkipToOldest)).unwrap();
            }
            outboxes.push(outbox);
        }
        Self { logs, outboxes, output: vec![String::new(); OUTBOXES], batch: Batch::new(), written }
    }

    fn append(&self, log: usize, kind: Kind) {
        self.logs[log].append(kind, Instant::now()).unwrap();
    }

    fn write(&mut self, i: usize, room: usize, part: usize) {
        self.batch.begin(if i / 2 == 2 { Framing::NONE } else { Framing::LINES });
        let mut cx = Context::from_waker(Waker::noop());
        match self.outboxes[i].poll_fill(&mut cx, room, &mut self.batch) {
            Poll::Pending => self.output[i].push('|'),
            Poll::Ready(Fill::Event(event)) => {
                let event = match event {
                    Event::Close(why) | Event::Cut(why) => format!("<close {}>", why.code),
                    Event::Ended(_, end) => format!("<{end:?}>"),
                    other => format!("<{other:?}>"),
                };
                self.output[i].push_str(&event);
            }
            Poll::Ready(Fill::Batch) => {
                let whole: Vec<u8> = self.batch.pieces().collect::<Vec<_>>().concat();
                let taken = if part == 0 { whole.len() } else { whole.len() * part / 8 };
                self.output[i].push_str(std::str::from_utf8(&whole[..taken]).unwrap());
                let done = self.outboxes[i].unread(&mut self.batch, taken);
                self.output[i].push_str(&format!("[{} {}]", done.delivered, done.missed));
            }
        }
    }
}

#[test]
fn a_copy_is_what_would_have_been_written() {
    let (mut copied, mut anew) = (0, 0);
    for seed in 0..300 {
        let dice = Dice(Cell::new(seed));
        // One message in a turn, or so many that they are not copied, but written from where they are.
        let (quantum, entries, middling) = [(64, 20, 0), (8192, 60, 12)][seed as usize % 2];
        let mut worlds = [true, false].map(|open| World::new(open, quantum, entries));
        for n in 0..200 {
            let (log, kind) = (dice.roll(2), dice.roll(40));
            let kind = match kind {
                0 => Kind::Break,
                1 => Kind::Join(Arc::new(ClientInfo::default())),
                2 => Kind::Publication(Publication::new(format!("large{n}").repeat(1000))),
                4.. if kind < 4 + middling => {
                    Kind::Publication(Publication::new(format!("{n},").repeat(400)))
                }
                3 if seed % 10 == 0 => Kind::Publication(Publication::new("!")),
                length => Kind::Publication(Publication::new(format!("{n}{}", ".".repeat(length)))),
            };
            worlds.iter().for_each(|world| world.append(log, kind.clone()));
            if dice.roll(3) == 0 {
                // All in turn, as the subscribers of a busy channel are woken.
                for (world, i) in (0..2).flat_map(|world| (0..OUTBOXES).map(move |i| (world, i))) {
                    worlds[world].write(i, 65536, 0);
                }
            }
            for _ in 0..dice.roll(4) {
                let (i, part) = (dice.roll(OUTBOXES), dice.roll(12).saturating_sub(8) * 2);
                let room = [50, 300, 65536][dice.roll(3)];
                worlds.iter_mut().for_each(|world| world.write(i, room, part));
            }
        }
        for i in 0..OUTBOXES {
            let [open, closed] = &worlds;
            assert_eq!(open.output[i], closed.output[i], "outbox {i} of seed {seed}");
        }
        copied += worlds[0].written.load(Ordering::Relaxed);
        anew += worlds[1].written.load(Ordering::Relaxed);
    }
    println!("{copied} entries written one by one, of {anew}");
    assert!(copied < anew * 3 / 4, "nothing much is copied: {copied} of {anew}");
}

#[test]
fn what_is_written_between_two_turns_stays_between_them() {
    let mut world = World::new(true, 8192, 60);
    let publication = |data: String| Kind::Publication(Publication::new(data));
    for n in 0..10 {
        world.append(0, publication(format!("{n},").repeat(700)));
    }
    world.append(1, publication("between".into()));
    // The first makes, and the second takes what is made, in the same turns.
    (2..4).for_each(|i| world.write(i, 65536, 0));
    assert!(world.output[2].contains("5,\nbetween\n6,"), "{}", world.output[2]);
    assert_eq!(world.output[2], world.output[3]);
}

/// A splitmix generator.
struct Dice(Cell<u64>);

impl Dice {
    fn roll(&self, sides: usize) -> usize {
        self.0.set(self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut z = self.0.get();
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }
}
