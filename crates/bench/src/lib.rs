//! Puts a server that fans publications out under load, checks every delivery, and says what it cost.
//!
//! The binary `tidegate` has it as `tidegate bench`. Other servers are measured in the same way by giving
//! [`Options::measure`] another [`Dialect`].
//!
//! # How it measures
//! A payload carries its publisher, channel, sequence number and time at places that are known, so that nothing is
//! parsed: a read of many frames costs little more than looking at each. Each thread has one buffer that all its
//! sockets are read into. Nothing is allocated per delivery.
//!
//! Without a rate, publishing follows delivering: at most `--in-flight` publications are not yet delivered to all
//! their subscribers. That needs no acknowledgement of any protocol, so that all are held to the same. It is also how
//! many publications a server may find together and put into one write.
//!
//! The server's CPU time is what the system counts for its process, in steps of 10 ms: windows of some seconds are
//! needed. Over the loopback interface it includes the kernel's work up to the client's socket.

mod connection;
mod crew;
mod error;
mod http;
mod load;
mod options;
mod payload;
mod process;
mod progress;
mod protocol;
mod publisher;
/// What a run found.
pub mod report;
mod scenario;
mod shared;
mod subscriber;
mod tally;
mod target;
mod transport;
mod websocket;
mod window;
mod world;

use std::process::ExitCode;

pub use error::Error;
pub use options::{Churn, Drop, Fanout, Idle, Options, Scenario, Slow};
pub use process::{Cpu, Memory};
pub use protocol::{Dialect, Heard, Protocol, Who};
pub use report::Report;
pub use transport::Transport;
pub use websocket::Outgoing;

impl Options {
    /// The options of a command line, such as `["fanout", "--subscribers", "10"]`.
    ///
    /// # Errors
    /// What is wrong with it, or what `--help` says.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, clap::Error> {
        #[derive(clap::Parser)]
        #[command(name = "bench", no_binary_name = true)]
        struct Line {
            #[command(flatten)]
            options: Options,
        }

        <Line as clap::Parser>::try_parse_from(words).map(|line| line.options)
    }

    /// Puts the server under load; with a `dialect`, the clients speak that.
    ///
    /// # Errors
    /// When the load could not be put on it.
    pub fn measure(&self, dialect: Option<Dialect>) -> Result<Report, Error> {
        if let Some(fault) = self.scenario.fault() {
            return Err(Error::Options(fault));
        }
        Ok(match &self.scenario {
            Scenario::Fanout(options) => Report::Fanout(Box::new(scenario::fanout::run(options, dialect)?)),
            Scenario::Idle(options) => Report::Idle(scenario::idle::run(options, dialect)?),
            Scenario::Slow(options) => Report::Slow(Box::new(scenario::slow::run(options, dialect)?)),
            Scenario::Churn(options) => Report::Churn(scenario::churn::run(options, dialect)?),
        })
    }

    /// Does so for a command line: prints the report, and fails if any delivery was wrong.
    pub fn run(&self) -> ExitCode {
        match self.measure(None) {
            Ok(report) => {
                if self.scenario.common().json {
                    println!("{}", serde_json::to_string_pretty(&report).expect("a report is plain data"));
                } else {
                    print!("{report}");
                }
                if report.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            Err(error) => {
                eprintln!("tidegate: bench: {error}");
                ExitCode::FAILURE
            }
        }
    }
}
