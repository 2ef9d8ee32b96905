//! Panics, in the log.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::HashSet;
use std::panic::PanicHookInfo;
use std::sync::{Mutex, PoisonError};

/// Logs each panic of the process from now on, as an error with its place, instead of writing it to the standard
/// error: a log of JSON stays one, and one in a file has the panics, too.
///
/// The first panic of a place has its backtrace with it, if `RUST_BACKTRACE` asks for one. Making one takes
/// milliseconds: those of a fault that a thousand clients meet at once would hold up everybody else.
///
/// For programs, which call it when they have set up their log; the hook is the process's.
///
/// ```
/// tidegate_server::panics::log();
/// # let hook = std::panic::take_hook();
/// ```
pub fn log() {
    let seen = Mutex::new(HashSet::new());
    std::panic::set_hook(Box::new(move |panic| report(panic, &seen)));
}

fn report(panic: &PanicHookInfo<'_>, seen: &Mutex<HashSet<String>>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let text = text(panic.payload());
    let is_new = seen.lock().unwrap_or_else(PoisonError::into_inner).insert(place.clone());
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or_default();
    let backtrace = is_new.then(Backtrace::capture);
    let backtrace = backtrace.filter(|backtrace| backtrace.status() == BacktraceStatus::Captured);
    tracing::error!(
        thread,
        backtrace = backtrace.map(tracing::field::display),
        "panicked at {place}: {text}"
    );
}

/// What was panicked with, as text.
pub(crate) fn text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no text")
}
