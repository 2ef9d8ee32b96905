//! The locks and counters of this crate: the standard library's, or loom's under `--cfg loom`, so that the
//! models in `loom_models` run the code that ships.

pub(crate) mod order;

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use order::{Held, Leaf, Place};

#[cfg(loom)]
pub(crate) mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
}
#[cfg(not(loom))]
pub(crate) mod atomic {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
}

#[cfg(loom)]
type Inner<T> = loom::sync::Mutex<T>;
#[cfg(not(loom))]
type Inner<T> = std::sync::Mutex<T>;
#[cfg(loom)]
type InnerGuard<'a, T> = loom::sync::MutexGuard<'a, T>;
#[cfg(not(loom))]
type InnerGuard<'a, T> = std::sync::MutexGuard<'a, T>;

/// A mutex that a panic elsewhere cannot poison: no foreign code runs under any lock of this crate, so
/// what it guards is consistent whenever it is free.
///
/// It has its [`Place`] in the lock order. Debug builds panic where that is not kept.
pub(crate) struct Mutex<T, P = Leaf>(Inner<T>, PhantomData<fn() -> P>);

impl<T, P: Place> Mutex<T, P> {
    pub(crate) fn new(value: T) -> Self {
        Self(Inner::new(value), PhantomData)
    }

    #[track_caller]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        // Before it is waited for: what would be a deadlock once in a million runs panics in each.
        let held = Held::take::<P>();
        let guard = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        MutexGuard { guard, _held: held }
    }
}

impl<T: Default, P: Place> Default for Mutex<T, P> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: fmt::Debug, P> fmt::Debug for Mutex<T, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A [`Mutex`] that is held.
pub(crate) struct MutexGuard<'a, T> {
    guard: InnerGuard<'a, T>,
    _held: Held,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}
