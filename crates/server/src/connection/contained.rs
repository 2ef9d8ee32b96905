//! Panics of what others wrote: authenticators, hooks, brokers. They concern one connection.

use std::any::Any;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use crate::panics;

/// What was panicked with, as text.
pub(super) struct Panic(Box<dyn Any + Send>);

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(panics::text(&*self.0))
    }
}

/// Does something that may panic. What it works on is not used any more afterwards, or is whole again.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Panic> {
    catch_unwind(AssertUnwindSafe(work)).map_err(Panic)
}

/// Waits for something that may panic, and says so in the log if it does.
pub(super) async fn contained(client: &str, what: &'static str, work: impl Future<Output = ()>) {
    let mut work = pin!(work);
    poll_fn(|cx| match caught(|| work.as_mut().poll(cx)) {
        Ok(poll) => poll,
        Err(panic) => {
            tracing::error!(client, %panic, "{what} has panicked");
            Poll::Ready(())
        }
    })
    .await;
}
