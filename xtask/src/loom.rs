use crate::error::Error;
use crate::step;
use crate::workspace::Workspace;

/// `cargo xtask loom`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often loom may interrupt a thread in one execution; each one more costs about ten times as long
    #[arg(long, default_value_t = 5)]
    preemptions: u32,
    /// Only the models whose name contains this
    #[arg(default_value = "loom")]
    filter: String,
}

impl Args {
    /// What `cargo xtask test` can afford.
    pub(crate) fn short() -> Self {
        Self { preemptions: 3, filter: "loom".into() }
    }

    /// Explores the models: tests of `tidegate-core` in modules named `loom_*`.
    ///
    /// # Errors
    /// When a model fails.
    pub(crate) fn run(self, workspace: &Workspace) -> Result<(), Error> {
        let mut models = workspace.cargo(["test", "-p", "tidegate-core", "--release", "--lib", &self.filter]);
        models
            .env("RUSTFLAGS", "--cfg loom")
            .env("LOOM_MAX_PREEMPTIONS", self.preemptions.to_string())
            // Other flags, so that a shared folder would be built anew each time.
            .env("CARGO_TARGET_DIR", workspace.target.join("loom"));
        step::run(&mut models)
    }
}
