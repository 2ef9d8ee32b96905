use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where the ids of clients and sessions come from.
#[derive(Debug)]
pub(crate) enum Ids {
    /// From the system: nobody can guess them.
    Random,
    /// From a seed and a count: a simulation's are the same each time.
    Seeded(u64, AtomicU64),
}

impl Ids {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        seed.map_or(Self::Random, |seed| Self::Seeded(seed, AtomicU64::new(1)))
    }

    pub(crate) fn next(&self) -> Arc<str> {
        let id = match self {
            Self::Random => uuid::Uuid::new_v4(),
            Self::Seeded(seed, count) => {
                uuid::Uuid::from_u64_pair(*seed, count.fetch_add(1, Ordering::Relaxed))
            }
        };
        id.to_string().into()
    }
}
