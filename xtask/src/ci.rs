use crate::error::Error;
use crate::workspace::Workspace;
use crate::{floors, instructions, step, test};

/// Runs every check, the quick ones first, and stops at the first that fails.
///
/// # Errors
/// Those of the check that failed.
pub(crate) fn run(workspace: &Workspace) -> Result<(), Error> {
    step::run(&mut workspace.cargo(["fmt", "--all", "--check"]))?;
    // A package of its own, outside the workspace.
    step::run(&mut workspace.cargo(["fmt", "--manifest-path", "tests/sdk/rust/Cargo.toml", "--check"]))?;
    step::timed("floors", || floors::run(workspace))?;
    step::run(&mut workspace.cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    let mut documentation = workspace.cargo(["doc", "--workspace", "--no-deps"]);
    step::run(documentation.env("RUSTDOCFLAGS", "-D warnings"))?;
    instructions::check(workspace)?;
    test::Args::default().run(workspace)
}
