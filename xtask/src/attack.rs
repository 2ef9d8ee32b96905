use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::step;
use crate::test;
use crate::workspace::Workspace;

/// `cargo xtask attack`, `soak` and `durability`: the real binary over real sockets, by `tests/attacks`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Build the server without optimization: quicker to build, and its latencies say nothing
    #[arg(long)]
    debug: bool,
    /// What the attacks take, such as `--list`, `--only NAME` or `--quick`; and soaks, such as `--minutes 10`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Args {
    /// Builds the server and runs the attacks, or the soak, that `command` names.
    ///
    /// # Errors
    /// When the server did not hold.
    pub(crate) fn run(self, workspace: &Workspace, command: &str) -> Result<(), Error> {
        let profile = if self.debug { "dev" } else { "release" };
        let server = test::server(workspace, profile)?;
        run(workspace, &server, profile, command, &self.arguments)
    }
}

/// The short forms: counts and memory, no latencies; ten kills.
///
/// # Errors
/// When the server did not hold.
pub(crate) fn quick(workspace: &Workspace, server: &Path) -> Result<(), Error> {
    run(workspace, server, "dev", "attack", &["--quick".to_owned()])?;
    run(workspace, server, "dev", "durability", &["--rounds".to_owned(), "10".to_owned()])
}

fn run(
    workspace: &Workspace,
    server: &Path,
    profile: &str,
    command: &str,
    arguments: &[String],
) -> Result<(), Error> {
    step::run(&mut workspace.cargo(["build", "-p", "attacks", "--bins", "--profile", profile]))?;
    let folder: PathBuf = workspace.target.join(if profile == "dev" { "debug" } else { profile });
    let mut attacks = std::process::Command::new(folder.join("attacks"));
    attacks.arg(command).args(arguments).env("TIDEGATE_BIN", server);
    step::run(&mut attacks)
}
