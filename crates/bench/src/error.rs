use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::target::Target;

/// Why a run came to nothing. Wrong deliveries are no error but part of the report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The options do not fit together.
    #[error("{0}")]
    Options(String),
    /// A URL that leads nowhere.
    #[error("{url}: expected a URL like {scheme}://localhost:8000/path; {why}")]
    Url {
        /// As it was given.
        url: String,
        /// What it should begin with.
        scheme: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Whose certificates to trust could not be made out.
    #[error("{0}")]
    Trust(String),
    /// The system refused a connection, or broke it off.
    #[error("{address}: could not connect: {source}")]
    Connect {
        /// The server's.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// There was no QUIC connection.
    #[error("{address}: could not connect over QUIC: {said}")]
    Quic {
        /// The server's, in UDP.
        address: SocketAddr,
        /// What went wrong.
        said: String,
    },
    /// The server wants no WebSocket there.
    #[error("{address}: could not open a WebSocket: {said}")]
    Upgrade {
        /// The server's.
        address: SocketAddr,
        /// What came instead of 101.
        said: String,
    },
    /// The server refused a command.
    #[error("{address}: {what}: {said}")]
    Refused {
        /// The server's.
        address: SocketAddr,
        /// What was asked for.
        what: &'static str,
        /// Its answer.
        said: String,
    },
    /// Nothing came for too long.
    #[error("{address}: {what}: no answer within {within:?}")]
    Late {
        /// The server's.
        address: SocketAddr,
        /// What was asked for.
        what: &'static str,
        /// How long was waited.
        within: Duration,
    },
    /// What is known of the server's process could not be read.
    #[error("--server-pid {pid}: {source}; expected a process of this machine and this user")]
    Process {
        /// As it was given.
        pid: i32,
        /// What `/proc` said.
        source: procfs::ProcError,
    },
    /// A thread or its runtime did not start.
    #[error("could not start a thread: {0}")]
    Thread(#[source] io::Error),
}

impl Error {
    /// For `map_err`: an I/O error on the way to the target.
    pub(crate) fn connect(target: &Target) -> impl Fn(io::Error) -> Self + use<> {
        let address = target.address;
        move |source| Self::Connect { address, source }
    }
}
