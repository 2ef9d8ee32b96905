//! A journal that writes when somebody waits for it, or when a test says so.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::task::Poll;

use async_trait::async_trait;

use crate::broker::BrokerError;
use crate::journal::{Journal, Ledger, Record, Room, Written};

#[derive(Default)]
pub(super) struct Paper(Arc<Inner>);

#[derive(Default)]
struct Inner {
    ledger: OnceLock<Weak<dyn Ledger>>,
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    waiting: VecDeque<(u64, Record)>,
    next: u64,
    /// Those up to this number are decided; the last that was not written.
    decided: u64,
    failed: Vec<u64>,
    /// Waiting does not write.
    held: bool,
}

impl Paper {
    /// Writes nothing until [`Paper::write`] or [`Paper::fail`] is called.
    pub(super) fn held() -> Self {
        let paper = Self::default();
        paper.0.desk.lock().unwrap().held = true;
        paper
    }

    pub(super) fn same(&self) -> Self {
        Self(self.0.clone())
    }

    /// Writes up to `count` records.
    pub(super) fn write(&self, count: usize) {
        self.0.decide(count, true);
    }

    /// Fails, and forgets all that waits.
    pub(super) fn fail(&self) {
        self.0.decide(usize::MAX, false);
    }
}

impl Inner {
    fn decide(&self, count: usize, write: bool) {
        let ledger = self.ledger.get().and_then(Weak::upgrade).expect("started, and in use");
        for _ in 0..count {
            let Some((number, record)) = self.desk.lock().unwrap().waiting.pop_front() else { return };
            if write {
                ledger.commit(&record);
            } else {
                ledger.abort(&record);
            }
            let mut desk = self.desk.lock().unwrap();
            desk.decided = number;
            if !write {
                desk.failed.push(number);
            }
        }
    }
}

#[async_trait]
impl Journal for Paper {
    fn start(&self, ledger: Weak<dyn Ledger>) {
        assert!(self.0.ledger.set(ledger).is_ok(), "started once");
    }

    async fn room(&self, _: usize) -> Result<Room, BrokerError> {
        Ok(Box::new(()))
    }

    fn submit(&self, record: Record, _: Option<Room>) -> Result<Written, BrokerError> {
        let mut desk = self.0.desk.lock().unwrap();
        desk.next += 1;
        let number = desk.next;
        desk.waiting.push_back((number, record));
        let inner = self.0.clone();
        Ok(Box::pin(std::future::poll_fn(move |_| {
            if !inner.desk.lock().unwrap().held {
                inner.decide(usize::MAX, true);
            }
            let desk = inner.desk.lock().unwrap();
            if desk.decided < number {
                // Of another thread's, on its way.
                return Poll::Pending;
            }
            Poll::Ready(match desk.failed.contains(&number) {
                true => Err(BrokerError::Unavailable("no paper".into())),
                false => Ok(()),
            })
        })))
    }

    fn ready(&self) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn close(&self) {}
}
