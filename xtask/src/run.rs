use std::os::unix::process::CommandExt as _;

use crate::error::Error;
use crate::step;
use crate::workspace::Workspace;

/// `cargo xtask run [-- arguments]`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Further arguments of `tidegate serve --dev`
    #[arg(last = true)]
    arguments: Vec<String>,
}

impl Args {
    /// Becomes the server: signals reach it directly, and its exit code is the command's.
    ///
    /// # Errors
    /// When cargo does not start; whatever comes after is no longer this program's.
    pub(crate) fn run(self, workspace: &Workspace) -> Result<(), Error> {
        let mut server = workspace.cargo(["run", "-p", "tidegate-server", "--bin", "tidegate", "--"]);
        server.args(["serve", "--dev"]).args(self.arguments);
        Err(step::not_started(&server)(server.exec()))
    }
}
