use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use tidegate_core::broker::BrokerError;
use tidegate_core::journal::{Journal, Ledger, Record, Restored, RestoredKey, Room, Written};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::load::{self, Load, Report};
use crate::mark::{self, MarkFile};
use crate::queue::Queue;
use crate::record::Listing;
use crate::rewrite::Rewrite;
use crate::segment::{self, Name, Segment};
use crate::writer::Writer;
use crate::{Fsync, Options};

/// A journal in a folder. Dropping it waits until what was submitted is written.
#[derive(Debug)]
pub struct Disk {
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
    ended: watch::Receiver<()>,
}

/// A journal, and what an earlier run has left in its folder.
#[derive(Debug)]
pub struct Opened {
    /// The journal.
    pub journal: Arc<Disk>,
    /// The streams.
    pub streams: Vec<Restored>,
    /// The idempotency keys.
    pub keys: Vec<RestoredKey>,
    /// What is to be told to an operator.
    pub report: Report,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process writes there.
    #[error("{} is in use by another process; expected a folder of this server's own: stop the other one, or choose another folder", .0.display())]
    InUse(PathBuf),
    /// The system says no.
    #[error("{}: {error}", path.display())]
    Io {
        /// What was to be read or written.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
}

impl Disk {
    /// Reads the folder and begins to write in it. `now` and `wall` are the same moment.
    ///
    /// Blocks for as long as reading takes: about a second for a gigabyte.
    ///
    /// # Errors
    /// [`OpenError`]. Damage is none: it is in the report.
    pub fn open(options: Options, now: Instant, wall: SystemTime) -> Result<Opened, OpenError> {
        let folder = options.path.clone();
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error| OpenError::Io { path, error }
        };
        fs::create_dir_all(&folder).map_err(at(&folder))?;
        let lock = lock(&folder)?;
        let begun = Instant::now();
        let clock = Clock::new(now, wall);
        let mark = MarkFile::read(&folder).map_err(at(&folder))?;
        let files = segment::list(&folder).map_err(at(&folder))?;

        let mut load = Load::new(clock);
        let mut ending = None;
        let mut expected = files.first().map(|(name, _)| name.number);
        for (index, (name, _)) in files.iter().enumerate() {
            if let Some(missing) = expected.filter(|expected| *expected < name.number) {
                load.missing(missing);
            }
            expected = Some(name.number + 1);
            let path = name.path(&folder);
            let data = fs::read(&path).map_err(at(&path))?;
            let is_last = index + 1 == files.len();
            ending = Some(load.file(name, &data, is_last.then_some(mark)));
        }
        let last = files.last().map_or(0, |(name, _)| name.number);
        let marked = mark.map_or(0, |mark| mark.segment);
        if mark.is_some_and(|mark| mark.segment > last && (mark.len > 0 || mark.closed)) {
            load.missing(marked);
        }
        let power_lost = !files.is_empty() && mark.is_none_or(|mark| mark.may_have_lost(mark::boot()));
        let listing = std::mem::take(&mut load.listing);
        let (streams, keys, mut report) = load.finish(power_lost, now, epoch);

        let mut next = last.max(marked) + 1;
        let mut segments = files;
        if report.damaged > 0 || report.renewed > 0 || segments.len() > options.most_files() {
            // Once: what was said of damage is not said again, and new epochs are known at the next start.
            let rewrite =
                Rewrite { folder: &folder, clock: &clock, first: next, most: options.segment_bytes };
            let written = rewrite.run(&streams, &keys).map_err(at(&folder))?;
            retire(&folder, &segments, report.damaged > 0).map_err(at(&folder))?;
            next += written.len() as u64;
            segments = written;
        } else if let (Some((name, len)), Some(load::Ending { end, listed: false })) =
            (segments.last_mut(), ending)
        {
            let path = name.path(&folder);
            *len = seal(&path, name, end, &clock, listing).map_err(at(&path))?;
        }
        report.bytes = segments.iter().map(|(_, len)| len).sum();
        metrics::counter!("tidegate_history_damaged_total").increment(report.damaged as u64);
        report.took = begun.elapsed();

        let name = Name { number: next, salt: salt() };
        let active = Segment::create(&folder, name).map_err(at(&folder))?;
        let mark = MarkFile::open(&folder, next, options.fsync).map_err(at(&folder))?;
        let queue = Arc::new(Queue::new(options.queue_bytes));
        let (end, ended) = watch::channel(());
        let writer =
            Writer::new(options, clock, queue.clone(), segments, active, mark).map_err(at(&folder))?;
        let ending = Ending(queue.clone());
        let thread = std::thread::Builder::new().name("journal".into()).spawn(move || {
            // Dropped last to first: only when nobody writes any more another process may come.
            let (_end, _lock, _ending) = (end, lock, ending);
            writer.run();
        });
        let thread = Mutex::new(Some(thread.map_err(at(&folder))?));
        Ok(Opened { journal: Arc::new(Self { queue, thread, ended }), streams, keys, report })
    }
}

#[async_trait]
impl Journal for Disk {
    fn start(&self, ledger: Weak<dyn Ledger>) {
        self.queue.start(ledger);
    }

    async fn room(&self, bytes: usize) -> Result<Room, BrokerError> {
        self.queue.room(bytes).await
    }

    fn submit(&self, record: Record, room: Option<Room>) -> Result<Written, BrokerError> {
        self.queue.submit(record, room)
    }

    fn ready(&self) -> Result<(), BrokerError> {
        self.queue.ready()
    }

    async fn close(&self) {
        self.queue.close();
        let mut ended = self.ended.clone();
        // An error is what tells of the end.
        while ended.changed().await.is_ok() {}
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.queue.close();
        let thread = self.thread.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic there was reported when it came.
            let _ = thread.join();
        }
    }
}

/// Nobody waits for a thread that is gone, not even where it panicked.
struct Ending(Arc<Queue>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Makes sure that nobody else writes here, as long as the file is open.
fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join("lock");
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = opened.map_err(|error| OpenError::Io { path: path.clone(), error })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(OpenError::Io { path, error }),
    }
}

/// Ends the last run's file with the list of its streams, without what was cut off there.
fn seal(path: &Path, name: &Name, end: u64, clock: &Clock, mut listing: Listing) -> io::Result<u64> {
    let mut record = Vec::new();
    listing.take().write(name.salt, clock, &mut record);
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(end)?;
    let mut file = OpenOptions::new().append(true).open(path)?;
    io::Write::write_all(&mut file, &record)?;
    file.sync_all()?;
    Ok(end + record.len() as u64)
}

/// Removes files; where some are damaged, they are put aside, in place of those of the last time.
fn retire(folder: &Path, files: &[(Name, u64)], damaged: bool) -> io::Result<()> {
    if !damaged {
        return files.iter().try_for_each(|(name, _)| fs::remove_file(name.path(folder)));
    }
    let aside = folder.join("damaged");
    if aside.exists() {
        fs::remove_dir_all(&aside)?;
    }
    fs::create_dir(&aside)?;
    for (name, _) in files {
        fs::rename(name.path(folder), name.path(&aside))?;
    }
    segment::sync_folder(folder)
}

/// Another epoch, which no stream has had.
fn epoch() -> Arc<str> {
    let number = RandomState::new().hash_one(SystemTime::now());
    format!("{number:016x}").into()
}

pub(crate) fn salt() -> u32 {
    RandomState::new().hash_one(SystemTime::now()) as u32
}

impl Fsync {
    pub(crate) fn interval(self) -> Option<std::time::Duration> {
        match self {
            Self::Interval(interval) => Some(interval),
            Self::Each | Self::Never => None,
        }
    }
}
