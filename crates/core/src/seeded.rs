use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Hashes under a secret seed: for maps that strangers choose the keys of, and for epochs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seeded(u64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Which of `count` shards, a power of two up to 256, has `key`.
    ///
    /// By bits that a hash map neither picks its bucket nor tags its entries by.
    pub(crate) fn shard(&self, key: impl Hash, count: usize) -> usize {
        (self.hash_one(key) >> 48) as usize & (count - 1)
    }

    /// The `number`th epoch: 11 letters and digits, which do not tell the seed.
    pub(crate) fn epoch(&self, number: usize) -> Arc<str> {
        let mut rest = self.hash_one(("epoch", number));
        let mut text = String::with_capacity(EPOCH_LENGTH);
        for _ in 0..EPOCH_LENGTH {
            text.push(char::from(LETTERS[(rest % 62) as usize]));
            rest /= 62;
        }
        text.into()
    }
}

impl BuildHasher for Seeded {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

/// 62^11 is the first power above 2^64: no bit is lost.
const EPOCH_LENGTH: usize = 11;
const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
