use std::str::Utf8Error;

use serde_json::error::Category;

/// A frame does not follow the protocol; its sender is disconnected with 3501.
///
/// The text says which message of the frame and where in it, and repeats nothing of what came, which may be
/// a token or very long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("message {} of the frame: {cause}", .index + 1)]
pub struct Malformed {
    index: usize,
    cause: Cause,
}

impl Malformed {
    pub(super) fn new(index: usize, cause: Cause) -> Self {
        Self { index, cause }
    }

    /// How many messages of the frame were well-formed.
    pub fn index(&self) -> usize {
        self.index
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Cause {
    #[error("expected at least one message, got an empty frame")]
    EmptyFrame,
    #[error("expected UTF-8, got something else after byte {0}")]
    NotUtf8(usize),
    #[error("expected a JSON object, got {what} at byte {column}")]
    Json { what: &'static str, column: usize },
    #[error("expected a message of {expected} bytes, got {got}")]
    Truncated { expected: usize, got: usize },
    #[error("expected a Protobuf message: {0}")]
    Protobuf(prost::DecodeError),
}

impl From<Utf8Error> for Cause {
    fn from(error: Utf8Error) -> Self {
        Self::NotUtf8(error.valid_up_to())
    }
}

impl From<serde_json::Error> for Cause {
    fn from(error: serde_json::Error) -> Self {
        let what = match error.classify() {
            Category::Eof => "its end",
            Category::Data => "a value of another type",
            Category::Syntax | Category::Io => "no JSON",
        };
        Self::Json { what, column: error.column() }
    }
}

impl From<prost::DecodeError> for Cause {
    fn from(error: prost::DecodeError) -> Self {
        Self::Protobuf(error)
    }
}
