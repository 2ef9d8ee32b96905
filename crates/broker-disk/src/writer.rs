//! The thread that writes: whatever waits in one go, then the answers.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_core::broker::BrokerError;
use tidegate_core::journal::{Ledger, Record};

use crate::clock::Clock;
use crate::compaction::Retiring;
use crate::mark::MarkFile;
use crate::queue::{Item, Queue};
use crate::record::{Entry, Listing};
use crate::segment::{self, Name, Segment};
use crate::syncer::Syncer;
use crate::{Fsync, Options, open};

/// What the thread that writes owns.
pub(crate) struct Writer {
    pub(crate) folder: PathBuf,
    pub(crate) options: Options,
    pub(crate) clock: Clock,
    pub(crate) queue: Arc<Queue>,
    /// Full files, oldest first.
    pub(crate) full: VecDeque<(Name, u64)>,
    pub(crate) active: Segment,
    pub(crate) retiring: Option<Retiring>,
    /// Files below this number are rewritten as soon as possible: nobody knows what of them is on the disk.
    pub(crate) distrusted: u64,
    /// Cleaning does not begin again below so many bytes: the file that was cleaned last was nearly all kept.
    pub(crate) crowded: Option<u64>,
    listing: Listing,
    mark: MarkFile,
    syncer: Syncer,
    /// When what was written was last given to be synced, and whether more was written since.
    synced: Instant,
    dirty: bool,
    buffer: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(
        mut options: Options,
        clock: Clock,
        queue: Arc<Queue>,
        full: Vec<(Name, u64)>,
        active: Segment,
        mark: MarkFile,
    ) -> io::Result<Self> {
        options.segment_bytes = options.segment_bytes.min(options.limit_bytes / 8).max(SMALLEST_SEGMENT);
        Ok(Self {
            folder: options.path.clone(),
            options,
            clock,
            queue,
            full: full.into(),
            active,
            retiring: None,
            distrusted: 0,
            crowded: None,
            listing: Listing::default(),
            mark,
            syncer: Syncer::start()?,
            synced: Instant::now(),
            dirty: false,
            buffer: Vec::new(),
        })
    }

    pub(crate) fn run(mut self) {
        let mut written = 0;
        loop {
            let (items, closing) = self.queue.take(self.patience());
            if items.is_empty() && closing {
                return self.close();
            }
            if !items.is_empty() {
                written = self.batch(items);
            }
            self.clean(written * 4);
            self.sync_when_due();
            metrics::gauge!("tidegate_history_file_bytes").set(self.bytes() as f64);
            metrics::gauge!("tidegate_history_queue_bytes").set(self.queue.waiting() as f64);
        }
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.active.len + self.full.iter().map(|(_, len)| len).sum::<u64>()
    }

    /// Appends entries; where that fails, it is as if nothing had been asked.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        if self.active.len >= self.options.segment_bytes {
            self.roll()?;
        }
        self.buffer.clear();
        self.buffer.shrink_to(KEPT_BUFFER);
        for entry in entries {
            entry.write(self.active.name.salt, &self.clock, &mut self.buffer);
        }
        self.active.append(&self.buffer)?;
        self.dirty = true;
        Ok(())
    }

    /// The file has these for good.
    pub(crate) fn note(&mut self, entries: &[Entry]) {
        entries.iter().for_each(|entry| self.listing.note(entry));
    }

    /// Waits until what was written is on the disk, unless nobody wants that.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if self.options.fsync != Fsync::Never {
            self.active.sync()?;
        }
        Ok(())
    }

    /// Waits until the files that were given to be synced are.
    pub(crate) fn wait_for_syncs(&self) -> io::Result<()> {
        self.syncer.wait();
        self.syncer.failed().map_or(Ok(()), Err)
    }

    /// Nothing can be written: everybody is told, and what was begun is taken back; then the disk is tried until
    /// it is well.
    pub(crate) fn fail(&mut self, error: &io::Error, items: VecDeque<Item>) {
        let why = format!("the history in {} cannot be written: {error}", self.folder.display());
        tracing::error!("{why}; publishing to channels with history fails until it can");
        metrics::counter!("tidegate_history_failures_total").increment(1);
        self.retiring = None;
        let waiting = self.queue.fail(why.as_str().into());
        let mut answers = Vec::with_capacity(items.len() + waiting.len());
        let ledger = self.queue.ledger();
        for item in items.into_iter().chain(waiting) {
            if let Some(ledger) = &ledger {
                ledger.abort(&item.record);
            }
            drop(item.room);
            answers.push(item.done);
        }
        for done in answers {
            // Dropped: nobody waits any more.
            let _ = done.send(Err(BrokerError::Unavailable(why.clone())));
        }
        while let Err(error) = self.mend() {
            tracing::debug!(%error, "the history cannot be written yet");
            // Whoever closes waits for one attempt, not for a disk.
            if self.queue.take(Some(self.options.retry)).1 {
                return;
            }
        }
        self.queue.recover();
        tracing::info!("the history in {} can be written again", self.folder.display());
    }

    /// Writes what waits, and answers. Returns how many bytes that were.
    fn batch(&mut self, items: VecDeque<Item>) -> u64 {
        let entries: Vec<Entry> =
            items.iter().filter_map(|item| Entry::of(&item.record.channel, &item.record.change)).collect();
        if !entries.is_empty()
            && let Err(error) = self.write(&entries)
        {
            self.fail(&error, items);
            return 0;
        }
        let len = if entries.is_empty() { 0 } else { self.buffer.len() };
        metrics::counter!("tidegate_history_records_total").increment(entries.len() as u64);
        metrics::counter!("tidegate_history_batches_total").increment(1);
        let ledger = self.queue.ledger();
        for item in items {
            if let Some(ledger) = ledger.as_ref().filter(|_| !item.is_nothing()) {
                commit(&**ledger, &item.record);
            }
            drop(item.room);
            let _ = item.done.send(Ok(()));
        }
        len as u64
    }

    fn write(&mut self, entries: &[Entry]) -> io::Result<()> {
        let begun = Instant::now();
        self.append(entries)?;
        metrics::histogram!("tidegate_history_write_seconds").record(begun.elapsed());
        let acknowledged = self.acknowledge();
        match acknowledged {
            Ok(()) => self.note(entries),
            // What was appended must go.
            Err(_) => self.active.len -= self.buffer.len() as u64,
        }
        acknowledged
    }

    /// Makes what was appended fit to be answered.
    fn acknowledge(&mut self) -> io::Result<()> {
        if self.options.fsync == Fsync::Each {
            let begun = Instant::now();
            if let Err(error) = self.active.sync() {
                // What was appended before may not be on the disk either, whatever was said of it.
                self.distrusted = self.active.name.number + 1;
                return Err(error);
            }
            metrics::histogram!("tidegate_history_sync_seconds").record(begun.elapsed());
            self.dirty = false;
        }
        self.mark.write(self.active.name.number, self.active.len)
    }

    /// Ends the file and begins another.
    fn roll(&mut self) -> io::Result<()> {
        self.end()?;
        if self.options.fsync != Fsync::Never {
            self.syncer.sync(self.active.share()?);
        }
        self.begin()
    }

    /// Writes the list of the file's streams.
    fn end(&mut self) -> io::Result<()> {
        let mut record = Vec::new();
        let list = self.listing.take();
        list.write(self.active.name.salt, &self.clock, &mut record);
        self.active.append(&record)
    }

    fn begin(&mut self) -> io::Result<()> {
        let name = Name { number: self.active.name.number + 1, salt: open::salt() };
        let next = match Segment::create(&self.folder, name.clone()) {
            // Of an attempt that failed behind it; empty.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                std::fs::remove_file(name.path(&self.folder))?;
                Segment::create(&self.folder, name)?
            }
            next => next?,
        };
        let ended = std::mem::replace(&mut self.active, next);
        self.full.push_back((ended.name, ended.len));
        self.listing = Listing::default();
        self.mark.write(self.active.name.number, 0)
    }

    /// Makes a disk that failed fit to be written again.
    fn mend(&mut self) -> io::Result<()> {
        segment::probe(&self.folder)?;
        self.active.cut()?;
        // A file whose end was once in doubt is not gone on with.
        self.end()?;
        self.active.sync()?;
        self.begin()
    }

    fn sync_when_due(&mut self) {
        if let Some(error) = self.syncer.failed() {
            // What was answered may be gone with the next power failure, but it is still known here.
            self.distrusted = self.active.name.number + 1;
            return self.fail(&error, VecDeque::new());
        }
        let due = self.options.fsync.interval().is_some_and(|interval| self.synced.elapsed() >= interval);
        if self.dirty && due && self.syncer.is_idle() {
            match self.active.share() {
                Ok(file) => self.syncer.sync(file),
                Err(error) => return self.fail(&error, VecDeque::new()),
            }
            (self.synced, self.dirty) = (Instant::now(), false);
        }
    }

    /// How long to wait for records; `None`: until there are some.
    fn patience(&self) -> Option<Duration> {
        if self.is_due() {
            return Some(Duration::ZERO);
        }
        let interval = self.options.fsync.interval().filter(|_| self.dirty || !self.syncer.is_idle())?;
        Some(interval.saturating_sub(self.synced.elapsed()).max(Duration::from_millis(1)))
    }

    fn close(mut self) {
        // The last words may fail: the next start then takes it for a kill, in which nothing is lost either.
        let closed = self.last_words();
        if let Err(error) = closed {
            tracing::warn!(%error, "the history in {} was not closed in good order", self.folder.display());
        }
    }
}

impl Writer {
    fn last_words(&mut self) -> io::Result<()> {
        self.end()?;
        self.active.sync()?;
        self.wait_for_syncs()?;
        self.mark.write(self.active.name.number, self.active.len)?;
        // Where nobody has synced, nobody knows what would be there after a power failure.
        if self.options.fsync == Fsync::Never { Ok(()) } else { self.mark.close() }
    }
}

/// Lets the broker keep and deliver it. What delivers is the application's router: a panic of its own must not end
/// everybody's history.
fn commit(ledger: &dyn Ledger, record: &Record) {
    if catch_unwind(AssertUnwindSafe(|| ledger.commit(record))).is_err() {
        tracing::error!(channel = %record.channel, "delivering panicked; the publication is kept");
    }
}

/// Less is all headers and lists.
const SMALLEST_SEGMENT: u64 = 64 << 10;

/// What the buffer keeps between batches, in bytes.
const KEPT_BUFFER: usize = 1 << 20;
