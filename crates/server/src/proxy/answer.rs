//! What a backend answers.

use std::borrow::Cow;

use serde::Deserialize;
use tidegate_core::{ClientError, Disconnect, Refusal};

/// The body of an answer: one of the three.
#[derive(Deserialize)]
pub(super) struct Answer<R> {
    result: Option<R>,
    error: Option<Error>,
    disconnect: Option<Close>,
}

/// An error, as a backend and the configuration write it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Error {
    code: u32,
    message: String,
    temporary: bool,
}

/// A disconnect, as a backend and the configuration write it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Close {
    code: u32,
    reason: String,
}

impl<R> Answer<R> {
    /// The result, or what the backend wants the client to be told.
    ///
    /// # Errors
    /// What was expected, where it is none of the three.
    pub(super) fn judge(self) -> Result<Result<R, Refusal>, &'static str> {
        if let Some(close) = self.disconnect {
            return close.refusal().map(Err);
        }
        if let Some(error) = self.error {
            return error.refusal().map(Err);
        }
        self.result.map(Ok).ok_or("expected a result, an error or a disconnect")
    }
}

impl Error {
    /// # Errors
    /// The code is no error's.
    pub(super) fn refusal(self) -> Result<Refusal, &'static str> {
        if !(100..=113).contains(&self.code) && !(400..=1999).contains(&self.code) {
            return Err("expected an error code from 400 to 1999, or one of the protocol's own");
        }
        Ok(ClientError { code: self.code, message: self.message.into(), temporary: self.temporary }.into())
    }
}

impl Close {
    /// # Errors
    /// The code is no disconnect's.
    pub(super) fn refusal(self) -> Result<Refusal, &'static str> {
        let code = u16::try_from(self.code).ok();
        let own = |code: &u16| (3000..=3014).contains(code) || (3500..=3509).contains(code);
        let code = code.filter(|code| own(code) || (4000..=4999).contains(code));
        let code =
            code.ok_or("expected a disconnect code from 4000 to 4999, or one of the protocol's own")?;
        Ok(Disconnect { code, reason: reason(self.reason) }.into())
    }
}

/// A reason that a close frame holds. SDKs reconnect when it is empty, whatever the code says.
fn reason(mut text: String) -> Cow<'static, str> {
    let mut end = text.len().min(REASON_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    if text.is_empty() { Cow::Borrowed("disconnected by the application") } else { Cow::Owned(text) }
}

/// Longest reason (RFC 6455 §5.5: 125 bytes with the code).
const REASON_BYTES: usize = 123;
