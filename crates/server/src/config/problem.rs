//! What can be wrong with a configuration.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Everything found wrong with a configuration, one problem a line when displayed; never empty.
#[derive(Debug)]
pub struct ConfigErrors(pub(super) Vec<Problem>);

impl ConfigErrors {
    /// The problems, in the order of the sources: file, environment, flags.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl From<Problem> for ConfigErrors {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

/// One thing wrong with a configuration. `place` is where it stands: `tidegate.toml: client.ping_interval`,
/// `environment: TIDEGATE_LOG_LEVEL` or `flags: --log.level`. Secrets are not repeated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file is missing or may not be read.
    #[error("{}: cannot read the configuration: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The name of the file does not tell its format.
    #[error("{}: unknown format; expected a name ending in .toml, .yaml, .yml or .json", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// The file is not TOML, YAML or JSON.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, from 1; 0 if unknown.
        line: usize,
        /// Column, from 1; 0 if unknown.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// A key nobody knows: a typing error, or a key of another server or version.
    #[error("{place} is not a known key{}", did_you_mean(nearest))]
    UnknownKey {
        /// Where it stands.
        place: String,
        /// The known key it was probably meant to be.
        nearest: Option<String>,
    },
    /// A value of the wrong type or out of range.
    #[error("{place} is {found}; expected {expected}")]
    BadValue {
        /// Where it stands.
        place: String,
        /// What came.
        found: String,
        /// What would have been right.
        expected: String,
    },
    /// A flag that came last, without the value it needs.
    #[error("flags: --{flag} has no value; expected --{flag}=value")]
    MissingValue {
        /// The flag, without dashes.
        flag: String,
    },
    /// A known key that is not implemented and may not be ignored.
    #[error(
        "{place} is {found}, which this version does not implement; ignoring it would mean that {consequence}"
    )]
    Unsupported {
        /// Where it stands.
        place: String,
        /// What came.
        found: String,
        /// What ignoring it would do to security or delivery.
        consequence: &'static str,
    },
}

/// The end of a message about something unknown.
pub(super) fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}
