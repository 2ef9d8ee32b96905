use std::path::PathBuf;

use clap::ValueEnum as _;
use serde::Deserialize;

use crate::counts::Counts;
use crate::error::Error;
use crate::sdk::Suite;
use crate::workspace::Workspace;
use crate::{attack, bench, loom, setup, step};

/// `cargo xtask test [SUITE…] [-- arguments]`
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Only these tests with the SDKs; without any, everything
    suites: Vec<Suite>,
    /// Arguments for the suite's runner, such as a filter
    #[arg(last = true)]
    arguments: Vec<String>,
}

impl Args {
    /// Runs the tests, all of them whatever fails, and prints the totals of the SDKs' as the last line.
    ///
    /// # Errors
    /// [`Error::Tests`] when anything failed.
    pub(crate) fn run(self, workspace: &Workspace) -> Result<(), Error> {
        let mut content = true;
        let mut keep = |done: Result<(), Error>| {
            if let Err(error) = done {
                eprintln!("error: {error}");
                content = false;
            }
        };
        if self.suites.is_empty() {
            keep(step::run(&mut workspace.cargo(["test", "--workspace"])));
            keep(loom::Args::short().run(workspace));
        }
        let mut total = Counts::default();
        match server(workspace, "dev") {
            Ok(server) => {
                if self.suites.is_empty() {
                    keep(setup::faketime());
                    keep(attack::quick(workspace, &server));
                    keep(bench::tiny(workspace, &server));
                }
                for suite in self.chosen() {
                    match suite.run(workspace, &server, &self.arguments) {
                        Ok(counts) => total += counts,
                        Err(error) => {
                            keep(Err(error));
                            total.failed += 1;
                        }
                    }
                }
            }
            Err(error) => keep(Err(error)),
        }
        println!("{} passed, {} failed", total.passed, total.failed);
        if content && total.failed == 0 { Ok(()) } else { Err(Error::Tests) }
    }

    fn chosen(&self) -> &[Suite] {
        if self.suites.is_empty() { Suite::value_variants() } else { &self.suites }
    }
}

/// Builds the server under test, unless `TIDEGATE_BIN` names one, and returns its path.
///
/// # Errors
/// When the build fails.
pub(crate) fn server(workspace: &Workspace, profile: &str) -> Result<PathBuf, Error> {
    if std::env::var_os("TIDEGATE_BIN").is_none() {
        // The examples stand beside it, where the suites look for them.
        step::run(&mut workspace.cargo(["build", "-p", "minimal", "--profile", profile]))?;
    }
    binary(workspace, profile)
}

/// The same without the examples.
///
/// # Errors
/// When the build fails.
pub(crate) fn binary(workspace: &Workspace, profile: &str) -> Result<PathBuf, Error> {
    if let Some(given) = std::env::var_os("TIDEGATE_BIN") {
        return Ok(given.into());
    }
    let mut build =
        workspace.cargo(["build", "-p", "tidegate-server", "--bin", "tidegate", "--profile", profile]);
    build.arg("--message-format=json-render-diagnostics");
    let messages = step::timed("cargo build --bin tidegate", || step::output(&mut build))?;
    let built = messages.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    for line in built {
        let message: Built = serde_json::from_slice(line)?;
        if let Some(executable) = message.executable {
            return Ok(executable);
        }
    }
    Err(Error::NoBinary)
}

/// The one field of cargo's messages that matters here; only executables have it.
#[derive(Deserialize)]
struct Built {
    executable: Option<PathBuf>,
}
