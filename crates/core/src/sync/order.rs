//! The order in which locks are taken, as ARCHITECTURE.md has it, and what keeps it in debug builds.

#[cfg(all(test, not(loom)))]
mod tests;

/// A lock's place in the order.
#[cfg_attr(
    any(not(debug_assertions), loom),
    expect(dead_code, reason = "the order is kept in debug builds, and not under loom")
)]
pub(crate) trait Place {
    /// Held locks of a smaller number are no obstacle, others are.
    const NUMBER: u8;
    /// What it is called when the order is broken.
    const NAME: &'static str;
}

macro_rules! places {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $name;

        impl Place for $name {
            const NUMBER: u8 = $number;
            const NAME: &'static str = stringify!($name);
        }
    )*};
}

places! {
    /// What became of the first publication with an idempotency key.
    KeyCell = 1;
    /// A shard's map of streams.
    StreamMap = 2;
    /// A stream.
    Stream = 3;
    /// Whose turn it is to append to a channel's logs.
    Turn = 4;
    /// A shard's map of logs.
    LogMap = 5;
    /// A log. Nothing is taken under it.
    Log = 6;
    /// Any other: taken under nothing of the router's, and nothing is taken under it.
    Leaf = 7;
}

/// Says that the thread holds a lock, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Held {
    #[cfg(all(debug_assertions, not(loom)))]
    number: u8,
}

// Loom runs all its threads on one of the system's: what they hold could not be told apart.
#[cfg(all(debug_assertions, not(loom)))]
mod keeping {
    use std::cell::RefCell;

    use super::{Held, Leaf, LogMap, Place};

    thread_local! {
        /// What the thread holds, by number and name.
        static HELD: RefCell<Vec<(u8, &'static str)>> = const { RefCell::new(Vec::new()) };
    }

    impl Held {
        /// Notes that a lock is taken.
        ///
        /// # Panics
        /// If one is held that may not be.
        #[track_caller]
        pub(crate) fn take<P: Place>() -> Self {
            // A thread that ends has no list any more.
            let wrong = HELD.try_with(|held| {
                let mut held = held.borrow_mut();
                let wrong = held.iter().copied().find(|(number, _)| !allows(*number, P::NUMBER));
                if wrong.is_none() {
                    held.push((P::NUMBER, P::NAME));
                }
                wrong
            });
            if let Ok(Some((_, name))) = wrong {
                panic!("lock order: {} is taken while {name} is held; see ARCHITECTURE.md", P::NAME);
            }
            Self { number: P::NUMBER }
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            let _ = HELD.try_with(|held| {
                let mut held = held.borrow_mut();
                if let Some(at) = held.iter().rposition(|(number, _)| *number == self.number) {
                    held.remove(at);
                }
            });
        }
    }

    /// Whether a lock may be taken while another is held.
    fn allows(held: u8, taken: u8) -> bool {
        held < taken && !(held >= LogMap::NUMBER && taken == Leaf::NUMBER)
    }
}

#[cfg(not(all(debug_assertions, not(loom))))]
impl Held {
    pub(crate) fn take<P: Place>() -> Self {
        Self {}
    }
}
