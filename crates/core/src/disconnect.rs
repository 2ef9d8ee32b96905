use std::borrow::Cow;
use std::fmt;

/// Why a connection is closed, as its client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// The disconnect code. Codes 3000–4999 are the Centrifuge protocol's; a WebSocket closes with the
    /// same number.
    pub code: u16,
    /// A short text, under 124 bytes, which is what a WebSocket's close frame holds (RFC 6455 §5.5).
    pub reason: Cow<'static, str>,
}

impl Disconnect {
    /// A code and its text.
    pub const fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason: Cow::Borrowed(reason) }
    }
}

impl fmt::Display for Disconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.reason)
    }
}
