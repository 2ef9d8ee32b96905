use crate::error::Error;
use crate::step;
use crate::workspace::Workspace;

/// `cargo xtask sim`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many seeds to run
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Run this one only, and print all of its trace
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
}

impl Args {
    /// Runs simulations of the whole server, in the build that the tests use: what `cargo xtask test` runs 500
    /// seeds of. A failing seed is printed with the end of its trace, and the command that runs it again.
    ///
    /// # Errors
    /// When a seed fails.
    pub(crate) fn run(self, workspace: &Workspace) -> Result<(), Error> {
        let arguments = ["test", "-p", "tidegate-server", "--test", "sim"];
        let mut simulation = workspace.cargo(arguments);
        simulation.args(["--", "--exact", "every_seed_keeps_its_promises", "--nocapture"]);
        match self.seed {
            Some(seed) => simulation.env("TIDEGATE_SIM_SEED", seed.to_string()),
            None => simulation
                .env_remove("TIDEGATE_SIM_SEED")
                .env("TIDEGATE_SIM_SEEDS", self.seeds.to_string())
                .env("TIDEGATE_SIM_FROM", self.from.to_string()),
        };
        step::run(&mut simulation)
    }
}
