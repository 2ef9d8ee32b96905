//! Disks that fail, for tests.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// What goes wrong with the files of one folder.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Half of what is written gets there, and then the disk is full.
    pub(crate) full: AtomicBool,
    pub(crate) unsynced: AtomicBool,
}

impl Faults {
    pub(crate) fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            file.write_all(&bytes[..bytes.len() / 2])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        let failing = self.full.load(Ordering::SeqCst) || self.unsynced.load(Ordering::SeqCst);
        if failing { Err(io::Error::other("injected")) } else { Ok(()) }
    }
}

fn all() -> &'static Mutex<HashMap<PathBuf, Arc<Faults>>> {
    static ALL: OnceLock<Mutex<HashMap<PathBuf, Arc<Faults>>>> = OnceLock::new();
    ALL.get_or_init(Mutex::default)
}

/// Lets the files of `folder` that are opened from now on fail as the result says.
pub(crate) fn inject(folder: &Path) -> Arc<Faults> {
    all().lock().unwrap().entry(folder.to_owned()).or_default().clone()
}

pub(crate) fn of(folder: &Path) -> Option<Arc<Faults>> {
    all().lock().unwrap().get(folder).cloned()
}
