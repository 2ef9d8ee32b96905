mod bounds;
mod copies;
mod cuts;
mod keys;
mod others;
mod patches;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Batch, CALLS, Event, Fill, Framing, Lane, Limits, Outbox, Taken};
use crate::call::Call;
use crate::{
    Backpressure, Budget, CloseConnection, Disconnect, EndSubscription, Entry, Fanout, Gap, Health, Kind,
    Lag, LatestPerKey, Log, Publication, SkipToLatest, SkipToOldest, Subscription, Window,
};

/// Plays `script` on an outbox and compares what a client reads, by lines, and what the connection is told,
/// in angle brackets.
///
/// Steps: `sub a [continuous|deaf]` (each lane reads the log of its name), `reserve a` and `attach a KNOWN` (the
/// same in two steps, for a subscriber that has the first so many publications already), `pub a COUNT [SIZE]`, `put a KEY
/// [COUNT] [SIZE]` (the same, with a key), `break a`, `join a [COUNT]` (which nobody writes), `policy oldest|latest|keys|end|close` (of later lanes),
/// `reply TEXT [a]`, `write BYTES` (one batch, of which the socket takes so much), `drain` (all there is),
/// `leave a`, `end a`, `judge SECONDS`, `stalled`, `health`, `well`, `close CODE`,
/// `abort`, `call`, `room BYTES`.
#[track_caller]
fn check(policy: impl Backpressure + 'static, window: Window, script: &str, expected: &str) {
    let limits = Limits { quantum: 100, ..Limits::default() };
    let mut bench = Bench::new(Arc::new(policy), window, limits);
    for step in script.split(';') {
        bench.step(&step.split_whitespace().collect::<Vec<_>>());
    }
    assert_eq!(bench.said(), expected, "{script}");
    let budget = bench.budget.clone();
    drop(bench);
    assert_eq!(budget.used(), 0, "nothing is held when all have left");
}

struct Bench {
    outbox: Outbox,
    batch: Batch,
    budget: Arc<Budget>,
    logs: BTreeMap<String, (Arc<Log>, usize)>,
    lanes: BTreeMap<String, Lane>,
    policy: Arc<dyn Backpressure>,
    window: Window,
    room: usize,
    taken: Taken,
    rings: Arc<Rings>,
    output: Vec<u8>,
}

#[derive(Default)]
struct Rings(AtomicUsize);

impl Wake for Rings {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes `a1`, `a2`, ... and pads what is longer.
struct Plain {
    name: String,
    continuous: bool,
    deaf: bool,
    /// It has so many of the channel's first publications already.
    known: usize,
}

impl Subscription for Plain {
    fn write(&mut self, entry: &Entry, _: bool, out: &mut Batch) {
        if let Some(publication) = entry.publication().filter(|_| !self.deaf) {
            out.message(&publication.data);
        }
    }

    fn gap(&mut self, gap: &Gap, out: &mut Batch) {
        if !self.deaf {
            out.message(&format!("{}-{}", self.name, gap.publications()).into());
        }
    }

    fn has(&self, entry: &Entry) -> bool {
        let number = entry.publication().and_then(|publication| {
            str::from_utf8(&publication.data).ok()?.strip_prefix(&*self.name)?.parse::<usize>().ok()
        });
        number.is_some_and(|number| number <= self.known)
    }

    fn continuous(&self) -> bool {
        self.continuous
    }
}

impl Bench {
    fn new(policy: Arc<dyn Backpressure>, window: Window, limits: Limits) -> Self {
        let mut batch = Batch::new();
        batch.begin(Framing::LINES);
        Self {
            outbox: Outbox::new(limits),
            batch,
            budget: Budget::new(0),
            logs: BTreeMap::new(),
            lanes: BTreeMap::new(),
            policy,
            window,
            room: 1 << 16,
            taken: Taken::default(),
            rings: Arc::default(),
            output: Vec::new(),
        }
    }

    fn step(&mut self, step: &[&str]) {
        let number =
            |at: usize, default: usize| step.get(at).map_or(default, |n| n.parse().expect("a number"));
        let lane = |bench: &Self, name: &str| *bench.lanes.get(name).expect("a lane of this name");
        match step[0] {
            "sub" => {
                let log = self.log(step[1]).0.clone();
                let word = step.get(2).copied().unwrap_or_default();
                let (continuous, deaf) = (word == "continuous", word == "deaf");
                let subscription = Plain { name: step[1].into(), continuous, deaf, known: 0 };
                match self.outbox.subscribe(&log, Box::new(subscription), self.policy.clone()) {
                    Ok(lane) => drop(self.lanes.insert(step[1].into(), lane)),
                    Err(end) => self.say(&format!("{end:?}")),
                }
            }
            "reserve" => {
                let log = self.log(step[1]).0.clone();
                let lane = self.outbox.reserve(&log).expect("the log goes on");
                self.lanes.insert(step[1].into(), lane);
            }
            "attach" => {
                let (name, known) = (step[1].into(), number(2, 0));
                let subscription = Plain { name, continuous: false, deaf: false, known };
                self.outbox.attach(lane(self, step[1]), Box::new(subscription), self.policy.clone());
            }
            "pub" => self.publish(step[1], None, number(2, 1), number(3, 0)),
            "put" => self.publish(step[1], Some(step[2].into()), number(3, 1), number(4, 0)),
            "policy" => {
                let beyond = Lag::bytes(1 << 20);
                self.policy = match step[1] {
                    "oldest" => Arc::new(SkipToOldest),
                    "latest" => Arc::new(SkipToLatest { beyond }),
                    "keys" => Arc::new(LatestPerKey { beyond }),
                    "end" => Arc::new(EndSubscription { beyond }),
                    "close" => Arc::new(CloseConnection::slow(beyond)),
                    other => panic!("no policy {other}"),
                };
            }
            "break" => drop(self.log(step[1]).0.append(Kind::Break, Instant::now())),
            "join" => {
                for _ in 0..number(2, 1) {
                    drop(self.log(step[1]).0.append(Kind::Join(Arc::default()), Instant::now()));
                }
            }
            "reply" => {
                let after = step.get(2).map(|name| lane(self, name));
                self.outbox.reply(Bytes::copy_from_slice(step[1].as_bytes()), after);
            }
            "write" => drop(self.write(number(1, 0))),
            "drain" => while self.write(usize::MAX) {},
            "leave" => drop(self.outbox.detach(lane(self, step[1]))),
            "end" => self.log(step[1]).0.end(crate::End::Deleted),
            "judge" => self.outbox.judge(Duration::from_secs(number(1, 1) as u64)),
            "stalled" => {
                let waker = Waker::from(self.rings.clone());
                while let Poll::Ready(event) = self.outbox.poll_stalled(&mut Context::from_waker(&waker)) {
                    self.event(&event);
                }
            }
            "health" => drop(self.outbox.handle().health(Health::Degraded)),
            "well" => drop(self.outbox.handle().health(Health::Serving)),
            "close" => drop(self.outbox.handle().close(Disconnect::new(number(1, 0) as u16, ""))),
            "abort" => drop(self.outbox.handle().abort()),
            "call" => drop(self.outbox.handle().call(Call::Message(Bytes::new()))),
            "room" => self.room = number(1, 0),
            other => panic!("no step {other}"),
        }
    }

    fn publish(&mut self, channel: &str, key: Option<Arc<str>>, count: usize, size: usize) {
        for _ in 0..count {
            let (log, published) = self.log(channel);
            *published += 1;
            let mut data = format!("{channel}{published}");
            data.extend(std::iter::repeat_n('.', size.saturating_sub(data.len())));
            let publication = Publication { key: key.clone(), ..Publication::new(data) };
            log.append(Kind::Publication(publication), Instant::now()).expect("it fits");
        }
    }

    fn log(&mut self, name: &str) -> (&Arc<Log>, &mut usize) {
        let (log, published) = self
            .logs
            .entry(name.into())
            .or_insert_with(|| (Log::new(name.into(), self.window, Fanout::new(), self.budget.clone()), 0));
        (log, published)
    }

    /// One batch, of which the socket takes `taken` bytes at most; whether there was anything to do.
    fn write(&mut self, taken: usize) -> bool {
        let waker = Waker::from(self.rings.clone());
        let mut cx = Context::from_waker(&waker);
        match self.outbox.poll_fill(&mut cx, self.room, &mut self.batch) {
            Poll::Pending => return false,
            Poll::Ready(Fill::Event(event)) => self.event(&event),
            Poll::Ready(Fill::Batch) => {
                let whole: Vec<u8> = self.batch.pieces().collect::<Vec<_>>().concat();
                assert_eq!(whole.len(), self.batch.len());
                let taken = taken.min(whole.len());
                self.output.extend_from_slice(&whole[..taken]);
                let done = self.outbox.unread(&mut self.batch, taken);
                self.taken.delivered += done.delivered;
                self.taken.missed += done.missed;
            }
        }
        true
    }

    fn event(&mut self, event: &Event) {
        let text = match event {
            Event::Abort => "abort".into(),
            Event::Close(why) | Event::Cut(why) => format!("close {}", why.code),
            Event::Health(health) => format!("{health:?}").to_lowercase(),
            Event::Call(_) => "call".into(),
            Event::Inquiry(_) => "inquiry".into(),
            Event::Ended(lane, end) => {
                let (name, _) = self.lanes.iter().find(|(_, l)| *l == lane).expect("a lane of this test");
                let why = format!("{end:?}");
                format!("{name} {}", why.split('(').next().unwrap_or_default().to_lowercase())
            }
        };
        self.say(&text);
    }

    fn say(&mut self, text: &str) {
        self.output.extend_from_slice(format!("<{text}>\n").as_bytes());
    }

    /// The output, with padding left out and lines made spaces.
    fn said(&self) -> String {
        let text = String::from_utf8_lossy(&self.output);
        text.lines().map(|line| line.trim_end_matches('.')).collect::<Vec<_>>().join(" ")
    }
}

fn window(entries: usize) -> Window {
    Window { entries, ..Window::default() }
}

const WIDE: Window =
    Window { entries: 4096, bytes: 2 << 20, age: Duration::from_secs(60), keys: 0, key_bytes: 0 };

#[test]
fn what_a_subscriber_has_already_is_not_missed() {
    let begin = "reserve a; pub a 2;";
    check(SkipToOldest, window(3), &format!("{begin} pub a 1; attach a 2; pub a 3; drain"), "a-1 a4 a5 a6");
    check(SkipToOldest, window(3), &format!("{begin} attach a 2; pub a 4; drain"), "a-1 a4 a5 a6");
    check(SkipToOldest, WIDE, &format!("{begin} attach a 2; pub a 1; drain"), "a3");
    check(SkipToOldest, WIDE, &format!("{begin} attach a 0; drain"), "a1 a2");
    // Nor does it weigh when a policy judges how far behind the subscriber is.
    let beyond = Lag { entries: 2, bytes: 1 << 20 };
    check(EndSubscription { beyond }, WIDE, &format!("{begin} attach a 2; pub a 2; drain"), "a3 a4");
    // What the window trimmed before it could be looked at counts: nobody knows what it was.
    check(SkipToOldest, window(1), &format!("{begin} attach a 2; pub a 1; drain"), "a-2 a3");
}

#[test]
fn an_outbox_with_something_to_tell_is_not_idle() {
    let policy = Arc::new(EndSubscription { beyond: Lag::bytes(0) });
    let mut bench = Bench::new(policy, WIDE, Limits::default());
    bench.step(&["sub", "a"]);
    bench.step(&["pub", "a"]);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        match bench.outbox.poll_fill(&mut cx, 1 << 16, &mut bench.batch) {
            Poll::Ready(Fill::Event(Event::Ended(..))) => break,
            // The lane has ended, and nobody knows.
            Poll::Ready(Fill::Batch) => {
                assert!(!bench.outbox.is_idle());
                bench.outbox.unread(&mut bench.batch, 0);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(bench.outbox.is_idle());
}

#[test]
fn publications_come_in_order() {
    check(SkipToOldest, WIDE, "sub a; pub a 3; drain; pub a; drain", "a1 a2 a3 a4");
    check(SkipToOldest, WIDE, "pub a 2; sub a; pub a; drain", "a3");
    check(SkipToOldest, WIDE, "sub a; pub a 3; leave a; drain; sub a; pub a; drain", "a4");
}

#[test]
fn a_gap_is_told_with_its_number() {
    check(SkipToOldest, window(2), "sub a; pub a 5; drain", "a-3 a4 a5");
    check(SkipToOldest, window(2), "sub a; pub a 2; drain; pub a 3; drain", "a1 a2 a-1 a4 a5");
    check(SkipToOldest, window(2), "sub a; sub b; pub a 4; pub b; drain", "a-2 a3 a4 b1");
    // Not taken, it is counted anew.
    check(SkipToOldest, window(2), "sub a; pub a 3; write 0; pub a 3; drain", "a-4 a5 a6");
    // Cut, it stands.
    check(SkipToOldest, window(2), "sub a; pub a 3; write 1; pub a 3; drain", "a-1 a-3 a5 a6");
}

#[test]
fn policies_judge_at_reading() {
    check(
        SkipToLatest { beyond: Lag::bytes(1 << 20) },
        window(2),
        "sub a; pub a 2; drain; pub a 5; drain",
        "a1 a2 a-4 a7",
    );
    check(SkipToLatest { beyond: Lag::bytes(0) }, WIDE, "sub a; pub a 5; drain; pub a; drain", "a-4 a5 a6");
    check(EndSubscription { beyond: Lag::bytes(0) }, WIDE, "sub a; sub b; pub a; drain", "<a behind>");
    check(
        EndSubscription { beyond: Lag::bytes(1 << 20) },
        window(2),
        "sub a; sub b; pub a 3; pub b; drain; pub b; drain",
        "b1 <a behind> b2",
    );
    check(CloseConnection::slow(Lag::bytes(1 << 20)), window(2), "sub a; pub a 3; drain", "<close 3008>");
    check(CloseConnection::slow(Lag::bytes(1 << 20)), WIDE, "sub a; pub a 3; drain", "a1 a2 a3");
}

#[test]
fn policies_judge_a_stalled_connection_too() {
    check(
        EndSubscription { beyond: Lag::bytes(1 << 20) },
        window(2),
        "sub a; pub a 3; stalled; judge 1; stalled",
        "<a behind>",
    );
    check(
        CloseConnection::slow(Lag::bytes(1 << 20)),
        window(2),
        "sub a; pub a 3; stalled; judge 1; stalled",
        "<close 3008>",
    );
    check(SkipToOldest, window(2), "sub a; pub a 3; stalled; judge 1; stalled; drain", "a-1 a2 a3");
}

#[test]
fn an_ended_log_is_read_to_its_end_first() {
    check(
        SkipToOldest,
        WIDE,
        "sub a; sub b; pub a 2; end a; pub b; drain; sub a",
        "a1 a2 b1 <a deleted> <Deleted>",
    );
    check(SkipToOldest, WIDE, "sub a; drain; end a; drain", "<a deleted>");
    check(SkipToOldest, WIDE, "sub a; pub a; end a; write 0; write 1; drain", "a1 <a deleted>");
}

#[test]
fn a_break_ends_only_who_relies_on_offsets() {
    check(SkipToOldest, WIDE, "sub a continuous; pub a; break a; pub a; drain", "a1 <a discontinuous>");
    check(SkipToOldest, WIDE, "sub a; pub a; break a; pub a; drain", "a1 a2");
    // Nor is anything skipped for who does: a break might be in it.
    check(SkipToOldest, window(2), "sub a continuous; pub a 5; drain", "<a behind>");
    check(SkipToLatest { beyond: Lag::bytes(0) }, WIDE, "sub a continuous; pub a 3; drain", "<a behind>");
    check(SkipToOldest, WIDE, "sub a continuous; break a; drain; drain", "<a discontinuous>");
}

#[test]
fn control_goes_before_data() {
    check(SkipToOldest, WIDE, "sub a; pub a 2; reply x; drain", "x a1 a2");
    check(SkipToOldest, WIDE, "sub a; pub a 2; write 1; reply x; drain", "a1 x a2");
    check(SkipToOldest, WIDE, "sub a; pub a 2; reply x; reply y; write 0; reply z; drain", "x y z a1 a2");
    check(SkipToOldest, WIDE, "reply x; reply y; write 2; drain", "x y");
}

#[test]
fn a_reply_may_follow_its_own_push() {
    check(SkipToOldest, WIDE, "sub a; pub a; reply x a; drain", "a1 x");
    check(SkipToOldest, WIDE, "sub a; reply x a; drain", "x");
    check(SkipToOldest, WIDE, "sub a; pub a 2; reply x a; pub a; reply y; drain", "y a1 a2 a3 x");
    // What the socket did not take is put back as it was.
    check(SkipToOldest, WIDE, "sub a; pub a; reply x a; write 0; drain", "a1 x");
    check(SkipToOldest, WIDE, "sub a; pub a 2; reply x a; write 3; drain", "a1 a2 x");
    check(SkipToOldest, WIDE, "sub a; pub a 2; reply x a; reply y a; write 3; drain", "a1 a2 x y");
    check(SkipToOldest, WIDE, "sub a; pub a 2; reply x a; write 6; drain", "a1 a2 x");
    // A lane that leaves or skips does not keep the reply.
    check(SkipToOldest, WIDE, "sub a; pub a; reply x a; leave a; drain", "x");
    check(SkipToOldest, window(1), "sub a; pub a; reply x a; pub a 2; drain", "a-2 a3 x");
    check(EndSubscription { beyond: Lag::bytes(0) }, WIDE, "sub a; pub a; reply x a; drain", "<a behind> x");
}

#[test]
fn a_cut_message_is_finished_first() {
    check(SkipToOldest, WIDE, "sub a; pub a 2; write 1; leave a; reply x; drain", "a1 x");
    check(SkipToOldest, WIDE, "sub a; pub a 2; write 4; pub a; write 1; reply x; drain", "a1 a2 x a3");
    check(SkipToOldest, WIDE, "sub a; pub a 1 9000; write 5000; write 0; write 10; drain", "a1");
}

#[test]
fn lanes_take_turns_by_bytes() {
    // A turn is 100 bytes here: ten messages of ten.
    check(
        SkipToOldest,
        WIDE,
        "sub a; sub b; pub a 25 9; pub b 2; drain",
        &format!("{} b1 b2 {}", seq(1, 10), seq(11, 25)),
    );
    // A large message is paid for with later turns.
    check(
        SkipToOldest,
        WIDE,
        "sub a; sub b; pub a 2 250; pub b 35 9; drain",
        &format!("a1 {} a2 {}", seq_of("b", 1, 20), seq_of("b", 21, 35)),
    );
}

#[test]
fn a_flood_does_not_starve_a_quiet_lane() {
    let mut bench = Bench::new(Arc::new(SkipToOldest), WIDE, Limits { quantum: 100, ..Limits::default() });
    for step in ["sub a", "sub b", "room 100"] {
        bench.step(&step.split(' ').collect::<Vec<_>>());
    }
    for round in 0..50 {
        bench.step(&["pub", "a", "40", "9"]);
        bench.step(&["pub", "b", "1"]);
        let before = bench.output.len();
        bench.step(&["write", "100"]);
        bench.step(&["write", "100"]);
        let written = String::from_utf8_lossy(&bench.output[before..]).into_owned();
        assert!(written.contains(&format!("b{}\n", round + 1)), "round {round}: {written}");
    }
}

fn seq(from: usize, to: usize) -> String {
    seq_of("a", from, to)
}

fn seq_of(name: &str, from: usize, to: usize) -> String {
    (from..=to).map(|i| format!("{name}{i}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_others_want_comes_before_data_and_closing_before_all() {
    check(SkipToOldest, WIDE, "sub a; pub a; call; health; drain", "<degraded> <call> a1");
    check(SkipToOldest, WIDE, "health; well; health; drain", "<degraded>");
    check(SkipToOldest, WIDE, "health; well; drain", "<serving>");
    check(
        SkipToOldest,
        WIDE,
        "health; call; close 3001; close 3500; drain; close 3501; drain",
        "<close 3001> <degraded> <call>",
    );
    // A stalled connection is told to close, and what it is asked for; health waits.
    check(SkipToOldest, WIDE, "health; call; stalled; well; drain", "<call> <serving>");
    check(SkipToOldest, WIDE, "health; close 3001; abort; stalled", "<abort> <close 3001>");
    check(SkipToOldest, WIDE, "health; close 3001; stalled; drain", "<close 3001> <degraded>");
}

#[test]
fn a_mailbox_is_bounded() {
    check(SkipToOldest, WIDE, &format!("{} drain", "call; ".repeat(CALLS + 9)), &["<call>"; CALLS].join(" "));
    // Also while the connection is busy with what came before.
    let mut bench = Bench::new(Arc::new(SkipToOldest), WIDE, Limits::default());
    let handle = bench.outbox.handle();
    let call = || handle.call(Call::Message(Bytes::new()));
    (0..CALLS).for_each(|_| call().expect("there is room"));
    bench.step(&["write", "1"]);
    call().expect("one was taken");
    assert_eq!(call(), Err(super::NotTaken::Full));
}

#[test]
fn a_handle_outlives_its_connection() {
    let outbox = Outbox::new(Limits::default());
    let handle = outbox.handle();
    assert!(handle.same(&outbox.handle()));
    drop(outbox);
    assert_eq!(handle.close(Disconnect::new(3000, "")), Err(super::Closed));
    assert_eq!(handle.health(Health::Serving), Err(super::Closed));
    assert_eq!(handle.call(Call::Message(Bytes::new())), Err(super::NotTaken::Closed));
}

#[test]
fn many_publications_ring_a_connection_once_and_a_stalled_one_never() {
    let mut bench = Bench::new(Arc::new(SkipToOldest), WIDE, Limits::default());
    let rung = |bench: &Bench| bench.rings.0.swap(0, Ordering::Relaxed);
    bench.step(&["sub", "a"]);
    bench.step(&["drain"]);
    bench.step(&["pub", "a", "32"]);
    assert_eq!(rung(&bench), 1);
    bench.step(&["write", "0"]);
    bench.step(&["pub", "a", "32"]);
    assert_eq!(rung(&bench), 0, "a subscriber that is behind is not touched");
    bench.step(&["drain"]);
    bench.step(&["pub", "a", "1"]);
    assert_eq!(rung(&bench), 1);
}

#[test]
fn a_stale_ring_does_not_reach_the_lanes_next_owner() {
    let mut bench = Bench::new(Arc::new(SkipToOldest), WIDE, Limits::default());
    for step in ["sub a", "drain", "pub a", "leave a", "sub b", "drain"] {
        bench.step(&step.split(' ').collect::<Vec<_>>());
    }
    assert_eq!(bench.said(), "");
    let old = bench.lanes["a"];
    assert_ne!(old, bench.lanes["b"]);
    assert!(bench.outbox.log(old).is_none());
    assert!(bench.outbox.detach(old).is_none(), "detaching twice is detaching once");
    bench.step(&["pub", "b"]);
    bench.step(&["drain"]);
    assert_eq!(bench.said(), "b1");
}

#[test]
fn a_reserved_lane_loses_nothing_and_says_nothing() {
    let mut bench = Bench::new(Arc::new(SkipToOldest), WIDE, Limits::default());
    let log = bench.log("a").0.clone();
    let lane = bench.outbox.reserve(&log).expect("it lives");
    bench.step(&["pub", "a", "2"]);
    bench.step(&["drain"]);
    assert_eq!(bench.said(), "");
    let plain = Plain { name: "a".into(), continuous: false, deaf: false, known: 0 };
    bench.outbox.attach(lane, Box::new(plain), Arc::new(SkipToOldest));
    bench.step(&["drain"]);
    assert_eq!(bench.said(), "a1 a2");
    assert_eq!(log.figures().entries, 0);
}

#[test]
fn what_was_delivered_and_missed_is_counted() {
    let count = |window, script: &str| {
        let mut bench = Bench::new(Arc::new(SkipToOldest), window, Limits::default());
        script.split(';').for_each(|step| bench.step(&step.split_whitespace().collect::<Vec<_>>()));
        (bench.taken.delivered, bench.taken.missed, bench.outbox.unread_publications())
    };
    assert_eq!(count(WIDE, "sub a; pub a 5; drain"), (5, 0, 0));
    assert_eq!(count(WIDE, "sub a; pub a 5; write 7"), (3, 0, 2));
    assert_eq!(count(window(2), "sub a; pub a 5; drain"), (2, 3, 0));
    assert_eq!(count(window(2), "sub a; pub a 5; write 0"), (0, 0, 5));
    // Not wanted is neither.
    assert_eq!(count(WIDE, "sub a deaf; pub a 5000; drain"), (0, 904, 0));
    assert_eq!(count(WIDE, "sub a; pub a; break a; pub a; drain"), (2, 0, 0));
}

/// Writes the publications that begin with `+`, and whether each followed what was written before it.
struct Followed;

impl Subscription for Followed {
    fn write(&mut self, entry: &Entry, contiguous: bool, out: &mut Batch) {
        if let Some(publication) =
            entry.publication().filter(|publication| publication.data.starts_with(b"+"))
        {
            out.message(&format!("{}{contiguous}", String::from_utf8_lossy(&publication.data)).into());
        }
    }

    fn gap(&mut self, _: &Gap, _: &mut Batch) {}
}

/// Publishes the words, reads them through a window of three, and compares which were written.
#[track_caller]
fn follows(words: &str, expected: &str) {
    let log = Log::new("news".into(), window(3), Fanout::new(), Budget::new(0));
    let mut outbox = Outbox::new(Limits::default());
    outbox.subscribe(&log, Box::new(Followed), Arc::new(SkipToOldest)).expect("the log lives");
    for word in words.split(' ') {
        let publication = Publication::new(word.to_owned());
        log.append(Kind::Publication(publication), Instant::now()).expect("it fits");
    }
    let mut batch = Batch::new();
    batch.begin(Framing::LINES);
    let mut cx = Context::from_waker(Waker::noop());
    let mut said = Vec::new();
    while outbox.poll_fill(&mut cx, 1 << 16, &mut batch).is_ready() {
        said.extend(batch.pieces().flatten());
        let taken = batch.len();
        outbox.unread(&mut batch, taken);
    }
    assert_eq!(String::from_utf8_lossy(&said).trim().replace('\n', " "), expected, "{words}");
}

#[test]
fn an_entry_follows_only_what_was_written() {
    follows("+a +b +c", "+afalse +btrue +ctrue");
    follows("+a -b +c", "+afalse +cfalse");
    follows("+a +b +c +d", "+bfalse +ctrue +dtrue");
}

#[test]
fn one_batch_looks_at_a_bounded_number_of_entries() {
    let mut bench = Bench::new(Arc::new(SkipToOldest), WIDE, Limits::default());
    for step in ["sub a deaf", "sub b", "pub a 4000", "pub b", "write 0"] {
        bench.step(&step.split(' ').collect::<Vec<_>>());
    }
    // Nothing was written, but cursors moved; and the other lane had its turn in the same batch.
    let behind = bench.outbox.unread_publications();
    assert!(behind > 2900 && behind < 4000, "{behind}");
    bench.step(&["drain"]);
    assert_eq!(bench.said(), "b1");
    assert_eq!(bench.budget.used(), 0);
}

#[test]
fn the_control_lane_is_bounded_whatever_its_messages_size() {
    let mut outbox = Outbox::new(Limits::default());
    let mut replies = 0;
    while !outbox.full() {
        outbox.reply(Bytes::from_static(b"{}"), None);
        replies += 1;
    }
    assert!(replies < 2000, "{replies}");
}
