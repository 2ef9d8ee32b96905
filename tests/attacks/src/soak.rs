//! Thousands of connections, in rounds.

mod churn;
mod health;
mod reconnect;
mod slow;

use std::time::{Duration, Instant};

use crate::Failure;
use crate::report::Checks;

/// `attacks soak`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Go on with further rounds of everything until so much time is up
    #[arg(long, default_value_t = 0)]
    minutes: u64,
    /// Only scenarios whose name contains one of these: reconnect, slow, churn, health
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How many connections drop at once and come back
    #[arg(long, default_value_t = 5000)]
    connections: usize,
    /// Counts and memory only, no latencies
    #[arg(long)]
    quick: bool,
}

impl Args {
    /// Runs the scenarios, and returns whether the server held in all of them.
    pub(crate) async fn run(self) -> Result<bool, Failure> {
        let until = Instant::now() + Duration::from_secs(60 * self.minutes);
        let mut held = true;
        for round in 1.. {
            for name in ["reconnect", "slow", "churn", "health"] {
                if !self.only.is_empty() && !self.only.iter().any(|only| name.contains(only.as_str())) {
                    continue;
                }
                println!("round {round}: {name}");
                let (begin, checks) = (Instant::now(), Checks::default());
                let done = match name {
                    "reconnect" => reconnect::run(&checks, self.connections).await,
                    "slow" => slow::run(&checks, !self.quick).await,
                    "churn" => churn::run(&checks).await,
                    _ => health::run(&checks).await,
                };
                if let Err(error) = done {
                    checks.check("carried out", "to the end", error, false);
                }
                let checks = checks.take();
                checks.iter().for_each(|check| check.print());
                let good = !checks.is_empty() && checks.iter().all(|check| check.good);
                let verdict = if good { "held" } else { "FAILED" };
                println!("round {round}: {name}: {verdict} after {:.1} s", begin.elapsed().as_secs_f64());
                held &= good;
            }
            if Instant::now() >= until {
                break;
            }
        }
        Ok(held)
    }
}

/// How long a server may take to stop beyond its own time-out.
const STOP: Duration = Duration::from_secs(15);
