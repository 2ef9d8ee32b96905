//! Permits: never more than the cap at any instant, and each comes back once.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::{Admission, Caps, NotAdmitted};

/// Where connections stand that were let in.
struct Room {
    admission: Arc<Admission>,
    inside: AtomicUsize,
    cap: usize,
}

impl Room {
    fn new(cap: usize) -> Arc<Self> {
        let caps = Caps { total: Some(cap), per_network: Some(cap), ..Caps::default() };
        Arc::new(Self { admission: Admission::new(caps), inside: AtomicUsize::new(0), cap })
    }

    /// Comes, looks around, and goes.
    fn visit(&self) -> Result<(), NotAdmitted> {
        let permit = self.admission.admit(Some(IpAddr::from([10, 0, 0, 1])), Instant::now())?;
        // Counted after the permit was given, and before it is given back: never more than there are permits.
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(inside <= self.cap, "{inside} are in a room for {}", self.cap);
        assert!(self.admission.live() <= self.cap);
        self.inside.fetch_sub(1, Ordering::SeqCst);
        drop(permit);
        Ok(())
    }

    fn is_empty(&self) {
        assert_eq!(self.admission.live(), 0, "a permit did not come back");
        assert!(self.admission.most() <= self.cap);
    }
}

/// Two come and go at once, and one goes through the same door after them.
#[test]
fn loom_two_come_and_one_may_stay() {
    loom::model(|| {
        let room = Room::new(1);
        let other = thread::spawn({
            let room = room.clone();
            move || room.visit()
        });
        let mine = room.visit();
        let theirs = other.join().expect("no panic");
        assert!(mine.is_ok() || theirs.is_ok(), "a free place was given to nobody");
        room.visit().expect("all places are free");
        room.is_empty();
    });
}

/// Permits are dropped by other threads than took them, while newcomers come.
#[test]
fn loom_leaving_against_coming() {
    loom::model(|| {
        let room = Room::new(2);
        let permit = room.admission.admit(Some(IpAddr::from([10, 0, 0, 1])), Instant::now());
        let permit = permit.expect("it is empty");
        let leaver = thread::spawn(move || drop(permit));
        let comer = thread::spawn({
            let room = room.clone();
            move || room.visit()
        });
        let _ = room.visit();
        leaver.join().expect("no panic");
        let _ = comer.join().expect("no panic");
        room.is_empty();
    });
}

/// The caps change, and the door closes, while somebody comes.
#[test]
fn loom_closing_and_limiting_against_coming() {
    loom::model(|| {
        let room = Room::new(2);
        let comer = thread::spawn({
            let room = room.clone();
            move || room.visit()
        });
        let warden = thread::spawn({
            let room = room.clone();
            move || {
                room.admission.limit(Caps { total: Some(1), ..Caps::default() });
                room.admission.close();
            }
        });
        let _ = room.visit();
        let _ = comer.join().expect("no panic");
        warden.join().expect("no panic");
        assert_eq!(room.visit(), Err(NotAdmitted::Closed));
        room.is_empty();
    });
}
