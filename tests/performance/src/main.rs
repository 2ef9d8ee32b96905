//! Measures the server beside its peers, each on one core with the load on another, and writes what came of it.
//!
//! `cargo xtask bench` builds the server and runs this; the server's path stands in `TIDEGATE_BIN`.

mod chart;
mod cores;
mod dialects;
mod distance;
mod machine;
mod page;
mod peers;
mod process;
mod results;
mod suite;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use tidegate_bench::Options;

use crate::cores::Cores;
use crate::page::Page;
use crate::peers::Peer;
use crate::process::Process;
use crate::results::Results;
use crate::suite::{Case, Extent};

/// Why something could not be done, for people.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Parser)]
#[command(name = "performance", about = "Measures the server beside its peers")]
struct Cli {
    /// The server's binary
    #[arg(long, env = "TIDEGATE_BIN")]
    tidegate: PathBuf,
    /// Where PERFORMANCE.md and its charts go
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// Fewer cases, for less time: under two minutes
    #[arg(long)]
    quick: bool,
    /// Counts only, no times: whether it works
    #[arg(long, conflicts_with = "quick")]
    tiny: bool,
    /// Only cases with this in their name, such as idle
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Only servers with this in their name, such as JSON
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// The core for the server
    #[arg(long, value_name = "N", default_value_t = 0)]
    server_core: usize,
    /// The core for the load
    #[arg(long, value_name = "N", default_value_t = 1)]
    load_core: usize,
    /// Times that everything is measured, in turn; medians are reported
    #[arg(long, value_name = "N", default_value_t = 1)]
    rounds: usize,
}

/// As the server's binary has it. With glibc's, two threads are at times given the same arena, and wait for each other
/// at each allocation.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("performance: {failure}");
            ExitCode::FAILURE
        }
    }
}

impl Cli {
    /// Measures everything and writes it down; says whether all deliveries of our own server were right.
    fn run(self) -> Result<bool, Failure> {
        let extent = match (self.quick, self.tiny) {
            (true, _) => Extent::Quick,
            (_, true) => Extent::Tiny,
            _ => Extent::Whole,
        };
        let wanted = |name: &str, part: &Option<String>| {
            part.as_ref().is_none_or(|part| name.to_lowercase().contains(&part.to_lowercase()))
        };
        let mut cases = extent.cases();
        cases.retain(|case| wanted(case.key, &self.only));
        let mut peers = Peer::find(&self.tidegate)?;
        peers.retain(|peer| wanted(&peer.name, &self.server));
        let mut cores = Cores::default();
        if extent != Extent::Tiny {
            if wanted("cores", &self.only) {
                eprintln!("== one channel on every core");
                cores = Cores::measure()?;
            }
            process::pin(self.load_core)?;
        }
        let begin = Instant::now();
        let runs = runs(&cases, &peers);
        let mut results = Results::default();
        for round in 0..self.rounds {
            for (n, (case, peer)) in runs.iter().enumerate() {
                let (done, all) = (round * runs.len() + n + 1, self.rounds * runs.len());
                let (elapsed, key) = (begin.elapsed().as_secs(), case.key);
                eprintln!("== {done}/{all} after {elapsed} s: {}: {key}, {}", peer.name, case.title);
                let folder = tempfile::tempdir()?;
                let start = peer.prepare(folder.path())?;
                let server = Process::start(&start, self.server_core, folder.path())?;
                let pid = server.pid().to_string();
                let words = case.line.split(' ').chain(["--url", &start.url, "--server-pid", &pid]);
                let report = Options::parse(words)?.measure(Some(peer.dialect))?;
                if !report.is_right() {
                    eprintln!("{report}");
                }
                results.add(case, &peer.name, report);
            }
        }
        let page = Page {
            extent,
            peers: &peers,
            cases: &cases,
            results: &results,
            cores: &cores,
            rounds: self.rounds,
        };
        page.write(&self.to)?;
        println!("{} after {:.0} s", self.to.join("PERFORMANCE.md").display(), begin.elapsed().as_secs_f64());
        Ok(peers.iter().filter(|peer| peer.is_ours()).all(|peer| results.are_right(&peer.name)))
    }
}

/// Case by case, so that what is compared is measured at nearly the same time.
fn runs<'a>(cases: &'a [Case], peers: &'a [Peer]) -> Vec<(&'a Case, &'a Peer)> {
    let fits = |case: &Case, peer: &Peer| {
        (!case.history || peer.keeps_history()) && (!case.scaling || peer.is_ours())
    };
    let with = |case| peers.iter().filter(move |peer| fits(case, peer)).map(move |peer| (case, peer));
    cases.iter().flat_map(with).collect()
}
