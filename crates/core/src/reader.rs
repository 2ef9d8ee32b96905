use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::log::{Cursor, End, Fetched, Gap, Log, Run};
use crate::outbox::{Lane, Shared, Wake};
use crate::{Behind, Cause, Entry};

/// A subscriber without a connection: a webhook, a recorder, a test.
///
/// It reads at its own pace, skips to the oldest entry kept when it was too slow, and is told of the gap.
#[derive(Debug)]
pub struct Reader {
    cursor: Cursor,
    shared: Arc<Shared>,
    run: Option<Run>,
}

/// What a [`Reader`] reads.
#[derive(Clone, Debug)]
pub enum Event {
    /// The next entry.
    Entry(Arc<Entry>),
    /// Entries that the reader was too slow for.
    Gap(Gap),
    /// Nothing more will come.
    End(End),
}

impl Reader {
    /// A reader of what is appended to `log` from now on.
    ///
    /// # Errors
    /// The reason why the log has ended.
    pub fn new(log: &Arc<Log>) -> Result<Self, End> {
        let shared = Arc::<Shared>::default();
        let cursor = log.subscribe(Wake::new(shared.clone(), Lane::only()))?;
        Ok(Self { cursor, shared, run: None })
    }

    /// Waits for the next event.
    ///
    /// Cancel safe: a dropped call loses nothing. After [`Event::End`] it returns that again.
    pub async fn next(&mut self) -> Event {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Whether publishers that ask for room wait for this reader; at first they do not.
    pub fn hold_publishers(&mut self, holds: bool) {
        self.cursor.hold_publishers(holds);
    }

    /// How far the reader is behind.
    pub fn behind(&self) -> Behind {
        self.cursor.behind()
    }

    /// [`Reader::next`], for those who poll.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            let at = self.cursor.position();
            if let Some(run) = self.run.take_if(|run| at.sequence < run.to()) {
                let entry = run.entry(at.sequence).clone();
                self.cursor.advance(run.before(at.sequence + 1));
                self.run = Some(run);
                return Poll::Ready(Event::Entry(entry));
            }
            self.run = None;
            match self.cursor.fetch(&at).0 {
                Fetched::Run(run) if run.from() > at.sequence => {
                    let gap = Gap { from: at, to: self.cursor.oldest(), cause: Cause::Trimmed };
                    self.cursor.advance(gap.to);
                    return Poll::Ready(Event::Gap(gap));
                }
                Fetched::Run(run) => self.run = Some(run),
                Fetched::Ended(end) => return Poll::Ready(Event::End(end)),
                Fetched::Head => {
                    // Listening comes before parking: whoever appends after the parking rings.
                    let rung = self.shared.listen(cx);
                    if self.cursor.park() && !rung {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}
