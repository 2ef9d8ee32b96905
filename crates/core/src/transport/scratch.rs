use std::cell::Cell;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// The thread's buffer to read into, for transports whose idle connections hold none. It goes back when this is
/// dropped.
///
/// While it is taken, whoever else takes one on the thread, such as a stream that polls another connection, gets
/// a buffer of its own.
pub struct Scratch(Box<[u8]>);

impl Scratch {
    /// Its length, in bytes. 16 KiB: several of an SDK's frames, and small beside a thread's stack.
    pub const LEN: usize = 16 * 1024;

    /// Takes it.
    pub fn take() -> Self {
        Self(SCRATCH.take().unwrap_or_else(|| vec![0; Self::LEN].into()))
    }
}

thread_local! {
    static SCRATCH: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

impl Drop for Scratch {
    fn drop(&mut self) {
        SCRATCH.set(Some(std::mem::take(&mut self.0)));
    }
}

impl Deref for Scratch {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scratch")
    }
}
