use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_core::outbox::Handle;

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
    roster: Arc<Roster>,
    index: u32,
}

impl Roster {
    pub(crate) fn enter(self: &Arc<Self>, handle: Handle) -> Seat {
        let mut seats = self.lock();
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
        Seat { roster: self.clone(), index }
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

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.roster.lock();
        let handle = seats.handles[self.index as usize].take();
        seats.free.push(self.index);
        drop(seats);
        drop(handle);
    }
}
