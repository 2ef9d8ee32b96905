use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

/// One shared timer for the deadlines of all connections.
///
/// A timer of the runtime's costs 136 bytes a connection, and a lock each time it is moved; here a deadline is
/// a number and a waker. It wakes late by up to [`TICK`]: no deadline of a connection is finer than that.
#[derive(Debug)]
pub(crate) struct Wheel {
    start: Instant,
    state: Mutex<State>,
}

/// How fine deadlines are.
pub(crate) const TICK: Duration = Duration::from_millis(50);
/// Slots of the wheel: 51.2 s. What is due later goes round once more.
const SLOTS: u64 = 1024;

#[derive(Debug)]
struct State {
    /// The next tick that is not done.
    tick: u64,
    slots: Vec<Vec<Listed>>,
    entries: Vec<Entry>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Entry {
    /// Which of the deadlines listed for this entry counts: the last that was set.
    stamp: u32,
    waker: Option<Waker>,
}

/// A deadline, in the slot where it is looked at. It counts if the entry still has its stamp.
#[derive(Clone, Copy, Debug)]
struct Listed {
    entry: u32,
    stamp: u32,
    due: u64,
}

/// A deadline in a [`Wheel`]. Dropping it disarms it.
#[derive(Debug)]
pub(crate) struct Timer {
    wheel: Arc<Wheel>,
    entry: u32,
}

impl Wheel {
    pub(crate) fn new(start: Instant) -> Arc<Self> {
        let slots = std::iter::repeat_with(Vec::new).take(SLOTS as usize).collect();
        let state = State { tick: 1, slots, entries: Vec::new(), free: Vec::new() };
        Arc::new(Self { start, state: Mutex::new(state) })
    }

    /// Turns the wheel, for ever. One task of the program polls it.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            for waker in self.turn(tokio::time::Instant::now().into_std()) {
                waker.wake();
            }
        }
    }

    /// How many timers there are, set or not.
    pub(crate) fn timers(&self) -> usize {
        let state = self.lock();
        state.entries.len() - state.free.len()
    }

    /// Who is due by `now`.
    fn turn(&self, now: Instant) -> Vec<Waker> {
        let until = self.tick(now);
        let mut due = Vec::new();
        let mut state = self.lock();
        while state.tick <= until {
            let tick = state.tick;
            for listed in std::mem::take(&mut state.slots[(tick % SLOTS) as usize]) {
                let entry = &mut state.entries[listed.entry as usize];
                if entry.stamp != listed.stamp {
                    continue;
                }
                if listed.due > tick {
                    state.list(listed, tick + 1);
                } else {
                    due.extend(entry.waker.take());
                }
            }
            state.tick += 1;
        }
        due
    }

    fn tick(&self, at: Instant) -> u64 {
        (at.saturating_duration_since(self.start).as_millis() / TICK.as_millis()) as u64
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing in here panics half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Lists a deadline where it is looked at next, at `earliest` or later.
    fn list(&mut self, listed: Listed, earliest: u64) {
        let at = listed.due.clamp(earliest, earliest + SLOTS - 2);
        self.slots[(at % SLOTS) as usize].push(listed);
    }
}

impl Timer {
    pub(crate) fn new(wheel: &Arc<Wheel>) -> Self {
        let mut state = wheel.lock();
        let entry = state.free.pop().unwrap_or_else(|| {
            state.entries.push(Entry { stamp: 0, waker: None });
            u32::try_from(state.entries.len() - 1).expect("fewer connections than 2^32")
        });
        drop(state);
        Self { wheel: wheel.clone(), entry }
    }

    /// Wakes `waker` once, at `at` or up to a tick later, in place of what was set before.
    pub(crate) fn set(&self, at: Instant, waker: &Waker) {
        let mut state = self.wheel.lock();
        let due = self.wheel.tick(at) + 1;
        let earliest = state.tick;
        let entry = &mut state.entries[self.entry as usize];
        entry.stamp = entry.stamp.wrapping_add(1);
        let listed = Listed { entry: self.entry, stamp: entry.stamp, due };
        let replaced = match &entry.waker {
            Some(known) if known.will_wake(waker) => None,
            _ => entry.waker.replace(waker.clone()),
        };
        state.list(listed, earliest);
        drop(state);
        drop(replaced);
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let mut state = self.wheel.lock();
        let entry = &mut state.entries[self.entry as usize];
        entry.stamp = entry.stamp.wrapping_add(1);
        let waker = entry.waker.take();
        state.free.push(self.entry);
        drop(state);
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sets deadlines one after the other, in milliseconds, and asserts when the last of them rings.
    fn check(set: &[u64], rings_between: (u64, u64)) {
        let start = Instant::now();
        let wheel = Wheel::new(start);
        let timer = Timer::new(&wheel);
        let bell = Arc::new(Bell::default());
        for at in set {
            timer.set(start + Duration::from_millis(*at), &bell.clone().into());
        }
        let mut rang = Vec::new();
        for ms in (0..rings_between.1 + 200_000).step_by(10) {
            for waker in wheel.turn(start + Duration::from_millis(ms)) {
                waker.wake();
                rang.push(ms);
            }
        }
        assert_eq!(rang.len(), 1, "{set:?}: {rang:?}");
        assert!((rings_between.0..=rings_between.1).contains(&rang[0]), "{set:?}: {rang:?}");
    }

    #[test]
    fn it_rings_once_and_never_early() {
        check(&[0], (0, 60));
        check(&[10], (10, 110));
        check(&[1000], (1000, 1100));
        check(&[60_000], (60_000, 60_100));
        check(&[51_150], (51_150, 51_260));
        check(&[150_000], (150_000, 150_100));
        check(&[1000, 5000], (5000, 5100));
        check(&[5000, 1000], (1000, 1100));
    }

    #[test]
    fn a_dropped_timer_is_silent_and_its_place_is_used_again() {
        let start = Instant::now();
        let wheel = Wheel::new(start);
        let bell = Arc::new(Bell::default());
        for _ in 0..10 {
            Timer::new(&wheel).set(start + Duration::from_secs(1), &bell.clone().into());
        }
        assert_eq!(wheel.lock().entries.len(), 1);
        assert!(wheel.turn(start + Duration::from_secs(2)).is_empty());
        assert_eq!(Arc::strong_count(&bell), 1);
    }
}
