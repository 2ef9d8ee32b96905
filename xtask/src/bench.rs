use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::step;
use crate::test;
use crate::workspace::Workspace;

/// `cargo xtask bench`: the server beside its peers, by `tests/performance`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Fewer cases, in under two minutes; what is written goes to target/bench, and not to docs
    #[arg(long)]
    quick: bool,
    /// Only whether the command works: counts, no times, and a build that is not optimized; to target/bench
    #[arg(long, conflicts_with = "quick")]
    tiny: bool,
    /// What the suite takes beside that: `--rounds 3`, `--server-core`, `--load-core`; `--only CASE` and
    /// `--server NAME`, with which nothing goes to docs
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Args {
    /// Builds the server and the suite, measures, and writes `PERFORMANCE.md` with its charts.
    ///
    /// # Errors
    /// When something does not start, or a delivery of our own server was wrong.
    pub(crate) fn run(self, workspace: &Workspace) -> Result<(), Error> {
        if self.tiny {
            return tiny(workspace, &test::binary(workspace, "dev")?);
        }
        // Only the whole thing belongs into the documents.
        let part = |argument: &String| {
            let flag = argument.split('=').next().unwrap_or_default();
            ["--only", "--server", "--quick", "--tiny"].contains(&flag)
        };
        let whole = !self.quick && !self.arguments.iter().any(part);
        let to = if whole { workspace.root.join("docs") } else { scratch(workspace) };
        let quick = self.quick.then(|| "--quick".to_owned());
        let server = test::binary(workspace, "release")?;
        run(workspace, &server, "release", &to, quick.into_iter().chain(self.arguments))
    }
}

/// Whether it works, with a server that is there.
///
/// # Errors
/// When a delivery of our own server was wrong.
pub(crate) fn tiny(workspace: &Workspace, server: &Path) -> Result<(), Error> {
    run(workspace, server, "dev", &scratch(workspace), ["--tiny".to_owned()])
}

fn scratch(workspace: &Workspace) -> PathBuf {
    workspace.target.join("bench")
}

fn run(
    workspace: &Workspace,
    server: &Path,
    profile: &str,
    to: &Path,
    arguments: impl IntoIterator<Item = String>,
) -> Result<(), Error> {
    step::run(&mut workspace.cargo(["build", "-p", "performance", "--profile", profile]))?;
    let folder = workspace.target.join(if profile == "dev" { "debug" } else { profile });
    let mut suite = Command::new(folder.join("performance"));
    suite.arg("--to").arg(to).args(arguments).env("TIDEGATE_BIN", server);
    step::run(&mut suite)
}
