//! Syncing beside writing, so that publishers do not wait for it.

use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Instant;

/// The thread that syncs.
#[derive(Debug)]
pub(crate) struct Syncer {
    files: Option<SyncSender<File>>,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Mutex<usize>,
    done: Condvar,
    failed: Mutex<Option<io::Error>>,
}

impl Syncer {
    pub(crate) fn start() -> io::Result<Self> {
        let (files, from) = sync_channel(QUEUE);
        let state = Arc::new(State::default());
        let thread = std::thread::Builder::new().name("journal-sync".into()).spawn({
            let state = state.clone();
            move || state.run(&from)
        })?;
        Ok(Self { files: Some(files), state, thread: Some(thread) })
    }

    /// Whether nothing is being synced.
    pub(crate) fn is_idle(&self) -> bool {
        *self.state.waiting() == 0
    }

    /// Has a file synced. Waits only while [`QUEUE`] others are due.
    pub(crate) fn sync(&self, file: File) {
        *self.state.waiting() += 1;
        if let Some(files) = &self.files
            && files.send(file).is_err()
        {
            self.state.done();
        }
    }

    /// Waits until nothing is.
    pub(crate) fn wait(&self) {
        let mut waiting = self.state.waiting();
        while *waiting > 0 {
            waiting = self.state.done.wait(waiting).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// What has gone wrong since the last call.
    pub(crate) fn failed(&self) -> Option<io::Error> {
        self.state.failed.lock().expect("nothing panics under this lock").take()
    }
}

impl Drop for Syncer {
    /// Waits for what is due.
    fn drop(&mut self) {
        self.files = None;
        if let Some(thread) = self.thread.take() {
            // It only syncs: a panic there has nothing to tell here.
            let _ = thread.join();
        }
    }
}

impl State {
    fn waiting(&self) -> MutexGuard<'_, usize> {
        self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn done(&self) {
        *self.waiting() -= 1;
        self.done.notify_all();
    }

    fn run(&self, files: &Receiver<File>) {
        for file in files {
            let begun = Instant::now();
            if let Err(error) = file.sync_data() {
                *self.failed.lock().expect("nothing panics under this lock") = Some(error);
            }
            metrics::histogram!("tidegate_history_sync_seconds").record(begun.elapsed());
            self.done();
        }
    }
}

/// Files that may wait to be synced: the one that is written, and some that are full.
const QUEUE: usize = 4;
