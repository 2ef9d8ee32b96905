//! How far a folder was written when it was last heard of.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use crate::Fsync;
use crate::frame::checksum;

/// What is known of the last run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The file that was written last, and how much of it was acknowledged.
    pub(crate) segment: u64,
    pub(crate) len: u64,
    /// It ended in good order.
    pub(crate) closed: bool,
    /// Everything acknowledged had reached the disk, not only the kernel.
    pub(crate) synced: bool,
    /// Which start of the machine that was; 0 for unknown.
    pub(crate) boot: u64,
}

impl Mark {
    /// Whether what the kernel held of acknowledged writes may be gone.
    pub(crate) fn may_have_lost(&self, boot: u64) -> bool {
        !self.closed && !self.synced && (boot == 0 || boot != self.boot)
    }

    fn encode(&self) -> [u8; COPY] {
        let mut bytes = [0; COPY];
        bytes[0..8].copy_from_slice(&self.segment.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.len.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.boot.to_le_bytes());
        bytes[24] = u8::from(self.closed);
        bytes[25] = u8::from(self.synced);
        let sum = checksum(SALT, &bytes[..28]);
        bytes[28..32].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..COPY)?;
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let sum = u32::from_le_bytes(bytes[28..32].try_into().expect("four bytes"));
        (sum == checksum(SALT, &bytes[..28])).then(|| Self {
            segment: number(0),
            len: number(8),
            boot: number(16),
            closed: bytes[24] != 0,
            synced: bytes[25] != 0,
        })
    }
}

/// The file of the mark.
#[derive(Debug)]
pub(crate) struct MarkFile {
    file: File,
    mark: Mark,
}

impl MarkFile {
    /// The mark of the last run, if there was one and it can be read.
    pub(crate) fn read(folder: &Path) -> io::Result<Option<Mark>> {
        match fs::read(folder.join(NAME)) {
            Ok(bytes) => Ok(bytes.chunks(COPY).find_map(Mark::decode)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts another mark in place.
    #[cfg(test)]
    pub(crate) fn forge(folder: &Path, mark: Mark) {
        fs::write(folder.join(NAME), mark.encode()).unwrap();
    }

    pub(crate) fn open(folder: &Path, segment: u64, fsync: Fsync) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(folder.join(NAME))?;
        let synced = matches!(fsync, Fsync::Each);
        let mut opened = Self { file, mark: Mark { segment, len: 0, closed: false, synced, boot: boot() } };
        opened.write(segment, 0)?;
        // Before anything is acknowledged: or a power failure could bring the last run's "closed" back.
        opened.file.sync_all()?;
        Ok(opened)
    }

    /// Notes that `len` bytes of `segment` are acknowledged.
    pub(crate) fn write(&mut self, segment: u64, len: u64) -> io::Result<()> {
        (self.mark.segment, self.mark.len) = (segment, len);
        let copy = self.mark.encode();
        let mut both = [0; 2 * COPY];
        both[..COPY].copy_from_slice(&copy);
        both[COPY..].copy_from_slice(&copy);
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&both)
    }

    /// Notes that the run ends in good order.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.mark.closed = true;
        self.write(self.mark.segment, self.mark.len)?;
        self.file.sync_all()
    }
}

/// Which start of the machine this is; 0 where the system does not tell.
pub(crate) fn boot() -> u64 {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.bytes()
        .filter(u8::is_ascii_hexdigit)
        .take(16)
        .fold(0, |number, digit| number << 4 | u64::from(char::from(digit).to_digit(16).unwrap_or_default()))
}

const NAME: &str = "mark";
const COPY: usize = 32;
const SALT: u32 = 0x6d61_726b;
