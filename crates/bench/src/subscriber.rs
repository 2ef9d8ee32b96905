//! Who hears publications, and checks each of them.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::task::{JoinHandle, spawn_local};

use crate::connection::{Connection, Ended};
use crate::crew::Worker;
use crate::payload;
use crate::protocol::Heard;
use crate::tally::{Tally, Wrong};

/// What one subscriber got. It has one channel.
pub(crate) struct Subscriber {
    channel: u32,
    /// One for each publisher.
    tallies: Box<[Tally]>,
}

impl Subscriber {
    pub(crate) fn new(channel: u32, publishers: usize) -> Self {
        Self { channel, tallies: vec![Tally::default(); publishers].into() }
    }

    /// Reads until the server goes away.
    pub(crate) fn begin(self, mut connection: Connection, worker: &Rc<Worker>) -> Rc<RefCell<Self>> {
        let subscriber = Rc::new(RefCell::new(self));
        let (own, worker) = (subscriber.clone(), worker.clone());
        spawn_local(async move {
            let Ended(why) = loop {
                let mut hear = |heard: Heard<'_>| own.borrow_mut().hear(heard, &worker);
                if let Err(ended) = connection.turn(&worker, &mut hear).await {
                    break ended;
                }
            };
            worker.shared.wrong(&worker.shared.ended, format!("a subscriber: {why}"));
        });
        subscriber
    }

    /// What was wrong, given how many each publisher published in the channel.
    pub(crate) fn wrong(&self, published: impl Fn(usize, u32) -> u64) -> Wrong {
        let mut wrong = Wrong::default();
        for (publisher, tally) in self.tallies.iter().enumerate() {
            wrong += tally.wrong(published(publisher, self.channel));
        }
        wrong
    }

    #[inline]
    fn hear(&mut self, heard: Heard<'_>, worker: &Worker) {
        let Heard::Payload(bytes) = heard else { return hear_other(heard, worker) };
        let shared = &worker.shared;
        let Some(stamp) = payload::read(bytes, shared.size) else {
            return shared.wrong(&shared.corrupt, "a payload that is not whole");
        };
        match self.tallies.get_mut(usize::from(stamp.publisher)) {
            Some(tally) if stamp.channel == self.channel => {
                tally.note(stamp.sequence);
                worker.received(stamp.sent);
            }
            _ => shared.wrong(&shared.misplaced, "a publication of another channel or publisher"),
        }
    }
}

/// Keeps a connection open that expects nothing, and answers its pings.
pub(crate) fn hold(mut connection: Connection, worker: &Rc<Worker>) -> JoinHandle<()> {
    let worker = worker.clone();
    spawn_local(async move {
        let Ended(why) = loop {
            let mut hear = |heard: Heard<'_>| hear_other(heard, &worker);
            if let Err(ended) = connection.turn(&worker, &mut hear).await {
                break ended;
            }
        };
        worker.shared.wrong(&worker.shared.ended, format!("a connection: {why}"));
    })
}

/// Hears what is no publication to check.
#[cold]
pub(crate) fn hear_other(heard: Heard<'_>, worker: &Worker) {
    let shared = &worker.shared;
    match heard {
        Heard::Published => {
            shared.accepted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        Heard::Refused(why) => shared.wrong(&shared.refused, why),
        Heard::Payload(_) => shared.wrong(&shared.misplaced, "a publication that nobody subscribed to"),
        Heard::Connected | Heard::Subscribed => {}
    }
}
