use std::fmt;
use std::str::FromStr;

/// A place in a channel's stream: everything up to `offset` was seen.
///
/// Written as `OFFSET:EPOCH`, which [`FromStr`] reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Position {
    /// The offset of the last publication seen; 0 before the first.
    pub offset: u64,
    /// The life of the stream that the offset belongs to. Empty fits any.
    pub epoch: String,
}

impl Position {
    /// A place in a stream.
    pub fn new(offset: u64, epoch: impl Into<String>) -> Self {
        Self { offset, epoch: epoch.into() }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.offset, self.epoch)
    }
}

/// A text that is no [`Position`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("position is {0:?}; expected OFFSET:EPOCH, such as 42:mdXp")]
pub struct ParsePositionError(String);

impl FromStr for Position {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (offset, epoch) = text.split_once(':').unwrap_or((text, ""));
        let offset = offset.parse().map_err(|_| ParsePositionError(text.to_owned()))?;
        Ok(Self::new(offset, epoch))
    }
}
