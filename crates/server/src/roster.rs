use std::sync::{Mutex, MutexGuard, PoisonError};

use tidegate_core::outbox::Handle;

use crate::workers::Served;

/// Every open connection of a server, authenticated or not: those that a drain has to reach.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    seats: Mutex<Seats>,
}

#[derive(Debug, Default)]
struct Seats {
    handles: Vec<Option<Handle>>,
    free: Vec<u32>,
}

/// A connection's place in the [`Roster`]. Dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Seat {
    /// Who serves it.
    worker: Served,
    index: u32,
}

impl Roster {
    pub(crate) fn enter(worker: Served, handle: Handle) -> Seat {
        let mut seats = worker.roster.lock();
        let index = match seats.free.pop() {
            Some(index) => {
                seats.handles[index as usize] = Some(handle);
                index
            }
            None => {
                seats.handles.push(Some(handle));
                u32::try_from(seats.handles.len() - 1).expect("fewer connections than 2^32")
            }
        };
        drop(seats);
        Seat { worker, index }
    }

    /// All that are open now.
    pub(crate) fn handles(&self) -> Vec<Handle> {
        self.lock().handles.iter().flatten().cloned().collect()
    }

    /// How many are open now.
    pub(crate) fn len(&self) -> usize {
        let seats = self.lock();
        seats.handles.len() - seats.free.len()
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        // Nothing in here panics half way through a change.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Who serves it.
    pub(crate) fn worker(&self) -> &Served {
        &self.worker
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.worker.roster.lock();
        let handle = seats.handles[self.index as usize].take();
        seats.free.push(self.index);
        drop(seats);
        drop(handle);
    }
}
