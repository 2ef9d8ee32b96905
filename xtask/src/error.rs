use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// Why a developer command ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A program is not installed, or may not be run.
    #[error("`{command}` did not start: {source}")]
    Start {
        /// The command line.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program ran and was not content.
    #[error("`{command}` failed: {status}")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `cargo metadata` said something unexpected.
    #[error("`cargo metadata` was not understood: {0}")]
    Metadata(#[from] serde_json::Error),
    /// The build succeeded without producing the server.
    #[error("`cargo build` produced no binary named `tidegate`")]
    NoBinary,
    /// Crates depend on what they may not; the text has a line for each.
    #[error("imports only go down (the table is in xtask/src/floors.rs):\n{0}")]
    Floors(String),
    /// Another program's answer was not understood, or it found something.
    #[error("{0}")]
    Found(String),
    /// Some tests failed; their totals are printed already.
    #[error("tests failed")]
    Tests,
}

impl Error {
    /// For `map_err`: names the file an I/O error is about.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
