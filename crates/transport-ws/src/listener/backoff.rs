#[cfg(test)]
mod tests;

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;

/// How long to leave a listening socket alone that does not accept.
///
/// When descriptors run out, accepting fails at once, again and again: tried in a loop that is millions of
/// errors a second.
#[derive(Debug)]
pub(super) struct Backoff {
    /// The next pause.
    pause: Duration,
    until: Option<Instant>,
    /// Since when accepting works again, after it has failed.
    works: Option<Instant>,
    /// The error that was logged last, as the system numbers it.
    logged: Option<Option<i32>>,
    /// A descriptor to give up when there are none, so that those who wait can be turned away, rather
    /// than wait for a time-out of their own.
    spare: Option<File>,
}

const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(1);
/// Peers turned away per pause.
const TURNED_AWAY: usize = 64;

impl Backoff {
    pub(super) fn new() -> Self {
        Self { pause: FIRST, until: None, works: None, logged: None, spare: spare() }
    }

    /// Waits for the end of the pause. Cancel safe: a dropped call does not shorten it.
    pub(super) async fn wait(&mut self) {
        if let Some(until) = self.until {
            tokio::time::sleep_until(until).await;
            self.until = None;
        }
    }

    /// Accepting works. It is over when it has for as long as the longest pause: while descriptors come and
    /// go one by one, it fails and works in turn.
    pub(super) fn over(&mut self) {
        if self.spare.is_none() {
            self.spare = spare();
        }
        if self.logged.is_none() {
            return;
        }
        let now = Instant::now();
        if now - *self.works.get_or_insert(now) < LONGEST {
            return;
        }
        self.pause = FIRST;
        self.logged = None;
        tracing::info!("accepting connections again");
    }

    /// Accepting has failed.
    pub(super) async fn failed(&mut self, error: &io::Error, tcp: &TcpListener) {
        self.works = None;
        self.until = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST);
        if self.logged != Some(error.raw_os_error()) {
            self.logged = Some(error.raw_os_error());
            tracing::warn!(%error, "cannot accept connections; trying again every 10 ms to 1 s");
        }
        if out_of_descriptors(error) && self.spare.take().is_some() {
            turn_away(tcp).await;
            self.spare = spare();
        }
    }
}

/// Accepts and drops those who wait, for whom there is one descriptor.
async fn turn_away(tcp: &TcpListener) {
    for _ in 0..TURNED_AWAY {
        match poll_fn(|cx| Poll::Ready(tcp.poll_accept(cx))).await {
            Poll::Ready(Ok((stream, _))) => drop(stream),
            Poll::Ready(Err(_)) | Poll::Pending => return,
        }
    }
}

fn spare() -> Option<File> {
    if cfg!(unix) { File::open("/dev/null").ok() } else { None }
}

/// EMFILE and ENFILE, which have no `ErrorKind` of their own.
fn out_of_descriptors(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}
