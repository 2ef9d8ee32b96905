//! The files of a folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file of records: `NUMBER-SALT.log`, both in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) number: u64,
    pub(crate) salt: u32,
}

impl Name {
    pub(crate) fn path(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{:016x}-{:08x}.log", self.number, self.salt))
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (number, salt) = name.strip_suffix(".log")?.split_once('-')?;
        Some(Self {
            number: u64::from_str_radix(number, 16).ok()?,
            salt: u32::from_str_radix(salt, 16).ok()?,
        })
    }
}

/// The files of records in `folder`, in order, and their sizes.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<(Name, u64)>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str().and_then(Name::parse) {
            names.push((name, entry.metadata()?.len()));
        }
    }
    names.sort();
    Ok(names)
}

/// A file that is appended to.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) name: Name,
    file: File,
    /// What was written and acknowledged, in bytes.
    pub(crate) len: u64,
    #[cfg(test)]
    faults: Option<std::sync::Arc<crate::faults::Faults>>,
}

impl Segment {
    /// A new file; its place in the folder is on the disk when this returns.
    pub(crate) fn create(folder: &Path, name: Name) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).open(name.path(folder))?;
        sync_folder(folder)?;
        Ok(Self {
            name,
            file,
            len: 0,
            #[cfg(test)]
            faults: crate::faults::of(folder),
        })
    }

    /// Hands `bytes` to the kernel, all or none.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        if let Some(faults) = &self.faults {
            faults.write(&mut self.file, bytes)?;
        }
        self.file.write_all(bytes)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Takes back what a failed write left behind.
    pub(crate) fn cut(&self) -> io::Result<()> {
        self.file.set_len(self.len)?;
        self.file.sync_all()
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        if let Some(faults) = &self.faults {
            faults.sync()?;
        }
        self.file.sync_data()
    }

    /// The same file, for another thread to sync.
    pub(crate) fn share(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

/// Brings the names of a folder onto the disk.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    // Elsewhere a folder cannot be opened, nor need it be synced.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Whether the disk takes anything at all: writes and removes a file of 256 KiB.
pub(crate) fn probe(folder: &Path) -> io::Result<()> {
    #[cfg(test)]
    if let Some(faults) = crate::faults::of(folder) {
        faults.sync()?;
    }
    let path = folder.join("probe");
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&vec![0; 256 << 10])?;
        file.sync_all()
    });
    let removed = fs::remove_file(&path);
    written.and(removed)
}
