use super::{checksum, number};

/// Why a patch cannot be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// It is no patch.
    #[error("expected a Fossil delta, found something else at byte {0}")]
    Malformed(usize),
    /// It is for another source.
    #[error("the delta is for another source than this one of {0} bytes")]
    WrongSource(usize),
    /// What it makes is too long.
    #[error("the delta makes {bytes} bytes; expected at most {limit}")]
    TooLong {
        /// What it says that it makes.
        bytes: usize,
        /// The most that is taken.
        limit: usize,
    },
}

/// What `patch` makes of `source`, up to `limit` bytes.
///
/// Takes no more memory than `limit`, whatever the patch says.
///
/// # Errors
/// [`PatchError`]: a patch comes over the network, and may be anything.
pub fn apply(source: &[u8], patch: &[u8], limit: usize) -> Result<Vec<u8>, PatchError> {
    let mut reader = Reader { patch, rest: patch };
    let bytes = reader.number()?;
    reader.mark(b'\n')?;
    if bytes > limit {
        return Err(PatchError::TooLong { bytes, limit });
    }
    let mut out = Vec::new();
    loop {
        let at = reader.malformed();
        let count = reader.number()?;
        match reader.byte()? {
            b'@' => {
                let offset = reader.number()?;
                reader.mark(b',')?;
                let copied = source.get(offset..).and_then(|source| source.get(..count));
                let copied = copied.ok_or(PatchError::WrongSource(source.len()))?;
                extend(&mut out, copied, bytes).ok_or(at)?;
            }
            b':' => extend(&mut out, reader.take(count)?, bytes).ok_or(at)?,
            b';' if out.len() != bytes => return Err(at),
            b';' if count != checksum(&out) as usize => {
                return Err(PatchError::WrongSource(source.len()));
            }
            b';' => return if reader.rest.is_empty() { Ok(out) } else { Err(reader.malformed()) },
            _ => return Err(at),
        }
    }
}

/// Appends, unless the whole would be over `limit`.
fn extend(out: &mut Vec<u8>, bytes: &[u8], limit: usize) -> Option<()> {
    (bytes.len() <= limit - out.len()).then(|| out.extend_from_slice(bytes))
}

struct Reader<'a> {
    patch: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The error that what comes next is no part of a patch.
    fn malformed(&self) -> PatchError {
        PatchError::Malformed(self.patch.len() - self.rest.len())
    }

    fn number(&mut self) -> Result<usize, PatchError> {
        let error = self.malformed();
        number::read(&mut self.rest).ok_or(error)
    }

    fn byte(&mut self) -> Result<u8, PatchError> {
        Ok(self.take(1)?[0])
    }

    fn mark(&mut self, mark: u8) -> Result<(), PatchError> {
        let error = self.malformed();
        if self.byte()? == mark { Ok(()) } else { Err(error) }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], PatchError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(self.malformed())?;
        self.rest = rest;
        Ok(taken)
    }
}
