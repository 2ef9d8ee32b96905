use std::io;

/// Why there is no TLS with what the configuration names. Private keys are not repeated, nor what may be one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The text is no PEM, and no file of that name can be read.
    #[error("{key} is {found}: {source}; expected a file, PEM, or base64 of PEM")]
    Unreadable {
        /// The full key.
        key: String,
        /// The file's name, where it may be shown.
        found: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// There is PEM, but not of what was expected.
    #[error("{key} has no {expected}")]
    Content {
        /// The full key.
        key: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// It cannot be used: the certificate and the key do not belong together, for example.
    #[error("{key} cannot be used: {reason}")]
    Rejected {
        /// The full key, or the section.
        key: String,
        /// Why not.
        reason: String,
    },
}

impl TlsError {
    pub(super) fn rejected(key: &str, reason: impl std::fmt::Display) -> Self {
        Self::Rejected { key: key.to_owned(), reason: reason.to_string() }
    }
}
