//! What waits to be written.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;

use tidegate_core::broker::BrokerError;
use tidegate_core::journal::{Change, Ledger, Record, Room, Written};
use tokio::sync::{Semaphore, oneshot};

/// What the broker's side and the thread that writes share.
pub(crate) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    room: Arc<Semaphore>,
    bytes: usize,
    ledger: OnceLock<Weak<dyn Ledger>>,
}

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    closing: bool,
    /// Why nothing can be written.
    failed: Option<Arc<str>>,
}

/// A record, and who waits for it.
pub(crate) struct Item {
    pub(crate) record: Record,
    pub(crate) done: oneshot::Sender<Result<(), BrokerError>>,
    pub(crate) room: Option<Room>,
}

impl Queue {
    pub(crate) fn new(bytes: usize) -> Self {
        let bytes = bytes.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            room: Arc::new(Semaphore::new(bytes)),
            bytes,
            ledger: OnceLock::new(),
        }
    }

    pub(crate) fn start(&self, ledger: Weak<dyn Ledger>) {
        let _ = self.ledger.set(ledger);
    }

    /// The broker, unless it is gone.
    pub(crate) fn ledger(&self) -> Option<Arc<dyn Ledger>> {
        self.ledger.get()?.upgrade()
    }

    pub(crate) async fn room(&self, bytes: usize) -> Result<Room, BrokerError> {
        self.ready()?;
        // One that is larger than the queue has it for itself.
        let bytes = bytes.min(self.bytes) as u32;
        let permit = self.room.clone().acquire_many_owned(bytes).await;
        Ok(Box::new(permit.expect("nobody closes it")))
    }

    pub(crate) fn submit(&self, record: Record, room: Option<Room>) -> Result<Written, BrokerError> {
        let mut state = self.state();
        state.ready()?;
        let (done, answer) = oneshot::channel();
        let was_empty = state.items.is_empty();
        state.items.push_back(Item { record, done, room });
        drop(state);
        if was_empty {
            self.wake.notify_one();
        }
        Ok(Box::pin(async move { answer.await.unwrap_or_else(|_| Err(gone())) }))
    }

    pub(crate) fn ready(&self) -> Result<(), BrokerError> {
        self.state().ready()
    }

    /// Bytes that wait, by the room they have taken.
    pub(crate) fn waiting(&self) -> usize {
        self.bytes - self.room.available_permits().min(self.bytes)
    }

    /// Takes nothing more.
    pub(crate) fn close(&self) {
        self.state().closing = true;
        self.wake.notify_one();
    }

    /// Nobody writes any more, whatever the reason.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.closing = true;
        let items = std::mem::take(&mut state.items);
        drop(state);
        drop(items);
    }

    /// All that waits, as soon as there is something, or after `patience`; and whether nothing more will come.
    pub(crate) fn take(&self, patience: Option<Duration>) -> (VecDeque<Item>, bool) {
        let mut state = self.state();
        if state.items.is_empty() && !state.closing {
            state = match patience {
                Some(patience) => {
                    let waited = self.wake.wait_timeout(state, patience);
                    waited.unwrap_or_else(std::sync::PoisonError::into_inner).0
                }
                None => self.wake.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner),
            };
        }
        (std::mem::take(&mut state.items), state.closing)
    }

    /// Refuses records from now on, and gives those that wait.
    pub(crate) fn fail(&self, why: Arc<str>) -> VecDeque<Item> {
        let mut state = self.state();
        state.failed = Some(why);
        std::mem::take(&mut state.items)
    }

    /// Takes records again.
    pub(crate) fn recover(&self) {
        self.state().failed = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

impl State {
    fn ready(&self) -> Result<(), BrokerError> {
        match &self.failed {
            Some(why) => Err(BrokerError::Unavailable(why.to_string())),
            None if self.closing => Err(gone()),
            None => Ok(()),
        }
    }
}

impl Item {
    /// Whether it only waits for what came before.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self.record.change, Change::Nothing)
    }
}

fn gone() -> BrokerError {
    BrokerError::Unavailable("the history's journal is closed".into())
}
