//! Attacks and soaks: the real server over real sockets, beside clients that do nothing wrong.
//!
//! `cargo xtask attack` and `cargo xtask soak` build the server and run this; the server's path stands in
//! `TIDEGATE_BIN`.

mod attack;
mod attacks;
mod durability;
mod healthy;
mod http;
mod metrics;
mod network;
mod process;
mod report;
mod server;
mod soak;
mod socket;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use futures_util::StreamExt as _;
use tokio::runtime::{Builder, Runtime};

use crate::report::Verdict;

/// Why something could not be done, for people.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Parser)]
#[command(name = "attacks", about = "Attacks and soaks of a real server")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Attack servers beside healthy clients
    Attack(Attack),
    /// Four scenarios with thousands of connections, in rounds
    Soak(soak::Args),
    /// Publish under load, kill, start again, and look whether everything is there
    Durability(durability::Args),
}

#[derive(Debug, clap::Args)]
struct Attack {
    /// Only attacks whose name contains one of these
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Name the attacks, and do nothing
    #[arg(long)]
    list: bool,
    /// The short form: counts and memory, no latencies
    #[arg(long)]
    quick: bool,
    /// What random choices begin with
    #[arg(long)]
    seed: Option<u64>,
    /// In a network of its own already
    #[arg(long, hide = true)]
    inside: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let done = runtime.map_err(Failure::from).and_then(|runtime| match cli.command {
        Command::Attack(args) => args.run(&runtime),
        Command::Soak(args) => runtime.block_on(args.run()),
        Command::Durability(args) => runtime.block_on(args.run()),
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Attack {
    /// Runs what is chosen, and returns whether the server held against all of it.
    fn run(self, runtime: &Runtime) -> Result<bool, Failure> {
        let named =
            |name: &str| self.only.is_empty() || self.only.iter().any(|only| name.contains(only.as_str()));
        let chosen: Vec<_> = attacks::ALL
            .iter()
            .copied()
            .filter(|attack| named(attack.name()) && (!self.quick || attack.quick() || !self.only.is_empty()))
            .collect();
        if self.list {
            for attack in chosen {
                println!(
                    "{:<24}{}{}",
                    attack.name(),
                    if attack.quick() { "" } else { "(long) " },
                    attack.about()
                );
            }
            return Ok(true);
        }
        if chosen.is_empty() {
            return Err(format!("no attack is named {:?}; `--list` names them", self.only).into());
        }
        let seed = self.seed.unwrap_or_else(|| std::process::id().into());
        // A thread of their own, which lets everybody else go first.
        let attackers = Builder::new_multi_thread()
            .worker_threads(1)
            .on_thread_start(|| {
                if let Err(error) = process::step_back() {
                    eprintln!("attackers are not nice: {error}");
                }
            })
            .enable_all()
            .build()?;
        if !self.inside {
            println!("seed {seed}");
            report::head();
        }
        let elsewhere = |attack: &&'static dyn attack::Attack| attack.network().is_some() && !self.inside;
        let (apart, here): (Vec<_>, Vec<_>) = chosen.into_iter().partition(elsewhere);
        let (attackers_here, long) = (&attackers, !self.quick);
        let outcomes = futures_util::stream::iter(here)
            .map(|attack| attack::run(attack, attackers_here, long, seed))
            // Where nothing is measured but counts and each server's memory, they need not wait for each other.
            .buffered(if long { 1 } else { TOGETHER });
        let mut held = true;
        runtime.block_on(outcomes.for_each(|outcome| {
            outcome.print();
            held &= outcome.verdict != Verdict::Failed;
            std::future::ready(())
        }));
        for attack in apart {
            if let Some(addresses) = attack.network() {
                held &= network::run(attack.name(), addresses, self.quick, seed)?;
            }
        }
        attackers.shutdown_background();
        if !self.inside {
            println!("{}", if held { "the server held" } else { "the server did not hold" });
        }
        Ok(held)
    }
}

/// Attacks at once in the short form: most of them wait for a time-out most of the time.
const TOGETHER: usize = 4;
