//! What can be wrong with rules.

use regex::Regex;

/// A value that the rules cannot go by. Secrets and keys are not repeated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError {
    /// It makes no sense, or not together with others.
    #[error("{key} is {found}; expected {expected}")]
    BadValue {
        /// The full key.
        key: String,
        /// What came.
        found: String,
        /// What would have been right.
        expected: String,
    },
    /// There is no TLS with it.
    #[error(transparent)]
    Tls(#[from] crate::http::TlsError),
    /// It is known, but not implemented, and may not be ignored.
    #[error("{key} is {found}, which this version does not implement; expected {expected}")]
    Unsupported {
        /// The full key.
        key: String,
        /// What came.
        found: String,
        /// What is implemented.
        expected: String,
    },
}

/// The regular expression that is the value of `key`.
pub(crate) fn expression(key: &str, text: &str) -> Result<Regex, RulesError> {
    Regex::new(text).map_err(|_| RulesError::BadValue {
        key: key.to_owned(),
        found: format!("{text:?}"),
        expected: "a regular expression, without look-around and back-references".to_owned(),
    })
}
