//! The project's developer commands: `cargo xtask --help`.
//!
//! A new command is a file of its own with a `run` (or `Args` with one), a variant of [`Command`] and an
//! arm in [`main`].

mod attack;
mod autobahn;
mod bench;
mod ci;
mod counts;
mod error;
mod floors;
mod fuzz;
mod instructions;
mod loom;
mod run;
mod sdk;
mod setup;
mod sim;
mod step;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::Error;
use crate::workspace::Workspace;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Tidegate's developer commands")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the server and start it in development mode
    Run(run::Args),
    /// Set up what the tests need and run every test
    Test(test::Args),
    /// Everything that must pass on a clean checkout
    Ci,
    /// Run the WebSocket conformance suite against the transport
    Autobahn(autobahn::Args),
    /// Measure the server beside its peers, and write docs/PERFORMANCE.md
    Bench(bench::Args),
    /// Feed a fuzzer's bytes to what reads bytes from outside
    Fuzz(fuzz::Args),
    /// Count the instructions of a delivery, and compare with what they were
    Instructions(instructions::Args),
    /// Explore the interleavings of the models in `crates/core`
    Loom(loom::Args),
    /// Simulate the whole server with faults, seed by seed
    Sim(sim::Args),
    /// Check that imports between crates only go down
    Floors,
    /// Attack the real server beside healthy clients
    Attack(attack::Args),
    /// Thousands of connections that drop, stall and churn, in rounds
    Soak(attack::Args),
    /// Publish under load, kill -9, start again: `--rounds 200`
    Durability(attack::Args),
    /// Install what the tests need, and nothing else
    Setup,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = Workspace::load().and_then(|workspace| match cli.command {
        Command::Run(args) => args.run(&workspace),
        Command::Test(args) => args.run(&workspace),
        Command::Ci => ci::run(&workspace),
        Command::Autobahn(args) => args.run(&workspace),
        Command::Bench(args) => args.run(&workspace),
        Command::Fuzz(args) => args.run(&workspace),
        Command::Instructions(args) => args.run(&workspace),
        Command::Loom(args) => args.run(&workspace),
        Command::Sim(args) => args.run(&workspace),
        Command::Floors => floors::run(&workspace),
        Command::Attack(args) => args.run(&workspace, "attack"),
        Command::Soak(args) => args.run(&workspace, "soak"),
        Command::Durability(args) => args.run(&workspace, "durability"),
        Command::Setup => setup::run(&workspace),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // The totals are said already, and stay the last line.
        Err(Error::Tests) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
