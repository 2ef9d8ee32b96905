use std::path::{Path, PathBuf};
use std::process::Command;

use crate::counts::Counts;
use crate::error::Error;
use crate::workspace::Workspace;
use crate::{setup, step};

/// The tests with one ecosystem's real clients, in `tests/sdk`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Suite {
    /// `centrifuge` in Node, and the page in a browser
    Node,
    /// `centrifuge-python`, `cent`, and raw bad input
    Python,
    /// `centrifuge-client`
    Rust,
}

impl Suite {
    /// Sets up what the suite needs and runs it against `server`; `arguments` go to its runner.
    ///
    /// A run that fails without a failed test counts as one, and so does one without any test.
    ///
    /// # Errors
    /// When it could not be set up or started.
    pub(crate) fn run(
        self,
        workspace: &Workspace,
        server: &Path,
        arguments: &[String],
    ) -> Result<Counts, Error> {
        let mut command = match self {
            Self::Node => {
                setup::node(workspace)?;
                setup::chromium()?;
                node(workspace, arguments)?
            }
            Self::Python => {
                setup::python(workspace)?;
                setup::prometheus()?;
                python(workspace, arguments)
            }
            Self::Rust => rust(workspace, arguments),
        };
        command.env("TIDEGATE_BIN", server);
        // The server is here: a proxy for the outside would only be in the way.
        command.env("NO_PROXY", "127.0.0.1,localhost");
        let (succeeded, output) = step::tee(&mut command)?;
        let mut counts = self.count(&output);
        if counts.failed == 0 && (!succeeded || counts.passed == 0) {
            counts.failed = 1;
        }
        Ok(counts)
    }

    fn count(self, output: &str) -> Counts {
        match self {
            Self::Node => Counts::of_node(output),
            Self::Python => Counts::of_pytest(output),
            Self::Rust => Counts::of_cargo(output),
        }
    }
}

fn node(workspace: &Workspace, arguments: &[String]) -> Result<Command, Error> {
    let folder = workspace.sdk().join("node");
    let mut command = Command::new("node");
    command.args(["--test", "--test-reporter=spec", "--test-concurrency=1", "--test-timeout=120000"]);
    command.args(arguments).args(files(&folder, ".test.mjs")?).current_dir(folder);
    Ok(command)
}

fn python(workspace: &Workspace, arguments: &[String]) -> Command {
    let mut command = Command::new(workspace.installed("venv").join("bin/python"));
    command.args(["-m", "pytest", "-p", "no:cacheprovider"]).args(arguments);
    command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(workspace.sdk().join("python"));
    command
}

fn rust(workspace: &Workspace, arguments: &[String]) -> Command {
    let mut command =
        workspace.cargo(["test", "--locked", "--manifest-path", "tests/sdk/rust/Cargo.toml", "--"]);
    command.args(arguments).env("CARGO_TARGET_DIR", workspace.installed("rust"));
    command
}

/// The names of the files of `folder` that end in `ending`, sorted.
fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, Error> {
    let mut names = Vec::new();
    for entry in folder.read_dir().map_err(Error::file(folder))? {
        let name = PathBuf::from(entry.map_err(Error::file(folder))?.file_name());
        if name.to_string_lossy().ends_with(ending) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
