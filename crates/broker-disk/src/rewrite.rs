//! Everything that is kept, in new files: after damage, and where there are too many files.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tidegate_core::journal::{Restored, RestoredKey, Stored};

use crate::clock::Clock;
use crate::open;
use crate::record::{Entry, Listing};
use crate::segment::{self, Name};

/// Where to write it.
pub(crate) struct Rewrite<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) clock: &'a Clock,
    /// The first file's number.
    pub(crate) first: u64,
    /// Bytes over which another file begins.
    pub(crate) most: u64,
}

/// A file that does not have its name yet.
struct Draft {
    name: Name,
    path: PathBuf,
    file: BufWriter<File>,
    len: u64,
    listing: Listing,
    record: Vec<u8>,
}

impl Rewrite<'_> {
    /// Writes it, and returns the files, which are whole and on the disk then.
    ///
    /// A stream stands in one file. So whenever this is interrupted, the files of before have whole whatever streams
    /// the new ones lack.
    pub(crate) fn run(&self, streams: &[Restored], keys: &[RestoredKey]) -> io::Result<Vec<(Name, u64)>> {
        let mut done = Vec::new();
        let mut draft = self.draft(0)?;
        for stream in streams {
            if draft.len >= self.most {
                done.push(draft.finish(self.clock)?);
                draft = self.draft(done.len() as u64)?;
            }
            draft.stream(stream, self.clock)?;
        }
        for RestoredKey { channel, key, until, position } in keys {
            let epoch = position.epoch.clone();
            draft.write(
                &Entry::Key(channel.clone(), key.clone(), *until, epoch, position.offset),
                self.clock,
            )?;
        }
        done.push(draft.finish(self.clock)?);
        let mut files = Vec::with_capacity(done.len());
        for (name, path, len) in done {
            fs::rename(path, name.path(self.folder))?;
            files.push((name, len));
        }
        segment::sync_folder(self.folder)?;
        Ok(files)
    }

    fn draft(&self, number: u64) -> io::Result<Draft> {
        let path = self.folder.join(format!("rewrite-{number}"));
        Ok(Draft {
            name: Name { number: self.first + number, salt: open::salt() },
            file: BufWriter::new(File::create(&path)?),
            path,
            len: 0,
            listing: Listing::default(),
            record: Vec::new(),
        })
    }
}

impl Draft {
    fn stream(&mut self, stream: &Restored, clock: &Clock) -> io::Result<()> {
        let Restored { channel, state, publications } = stream;
        for (publication, until) in publications {
            let stored = Stored {
                publication: publication.clone(),
                until: *until,
                size: publications.len(),
                forget_at: state.forget_at,
                version_epoch: None,
                key: None,
            };
            self.write(&Entry::Publish(channel.clone(), Box::new(stored)), clock)?;
        }
        // Behind the publications: it says which version is the newest.
        self.write(&Entry::State(channel.clone(), state.clone()), clock)
    }

    fn write(&mut self, entry: &Entry, clock: &Clock) -> io::Result<()> {
        self.record.clear();
        entry.write(self.name.salt, clock, &mut self.record);
        self.listing.note(entry);
        self.len += self.record.len() as u64;
        self.file.write_all(&self.record)
    }

    fn finish(mut self, clock: &Clock) -> io::Result<(Name, PathBuf, u64)> {
        let list = self.listing.take();
        self.write(&list, clock)?;
        self.file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok((self.name, self.path, self.len))
    }
}
