//! What an attack is, and how it is judged.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};

use crate::Failure;
use crate::healthy::{Crowd, Healthy, Part};
use crate::metrics::Metrics;
use crate::report::{Check, Checks, Outcome, Verdict};
use crate::server::{Launch, Server};

/// One attack.
#[async_trait]
pub(crate) trait Attack: Sync {
    /// Its name, for `--only`.
    fn name(&self) -> &'static str;

    /// What the attacker does.
    fn about(&self) -> &'static str;

    /// Whether `cargo xtask test` runs it, in its short form.
    fn quick(&self) -> bool {
        true
    }

    /// What is wanted of the machine that may not be there: why it cannot run, if so.
    fn missing(&self) -> Option<String> {
        None
    }

    /// What it needs a network of its own for, if it does: the addresses of that.
    fn network(&self) -> Option<&'static [&'static str]> {
        None
    }

    /// How the server under attack differs from others.
    fn prepare(&self, _launch: &mut Launch) {}

    /// Its healthy clients.
    fn crowd(&self) -> Crowd {
        Crowd::default()
    }

    /// By how much the server's memory may grow while it lasts, in KiB.
    fn memory(&self) -> u64 {
        MEMORY
    }

    /// How many panics of the server it brings on purpose.
    fn panics(&self) -> bool {
        false
    }

    /// Whether the server is gone when it ends.
    fn stops(&self) -> bool {
        false
    }

    /// Attacks, and checks what the server does about it.
    ///
    /// # Errors
    /// What kept it from being carried out.
    async fn run(&self, field: &Field) -> Result<(), Failure>;
}

/// What an attack sees of the run that it is part of.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) server: tokio::sync::Mutex<Server>,
    pub(crate) address: SocketAddr,
    pub(crate) healthy: Healthy,
    /// What `/metrics` said before.
    pub(crate) before: Metrics,
    /// Whether there is time for large numbers.
    pub(crate) long: bool,
    pub(crate) seed: u64,
    checks: Checks,
}

impl Field {
    /// How often something is to be done: `long` times, if there is time.
    pub(crate) fn times(&self, quick: usize, long: usize) -> usize {
        if self.long { long } else { quick }
    }

    /// What `/metrics` says.
    pub(crate) async fn metrics(&self) -> Result<Metrics, Failure> {
        self.server.lock().await.metrics().await
    }

    /// By how much a counter has grown since before the attack.
    pub(crate) async fn grown(&self, count: impl Fn(&Metrics) -> u64) -> Result<u64, Failure> {
        Ok(count(&self.metrics().await?) - count(&self.before))
    }

    /// Checks that the server has closed `expected` connections with `code`, waiting for the last of them.
    pub(crate) async fn closes(&self, code: u16, expected: u64, patience: Duration) -> Result<(), Failure> {
        let begin = Instant::now();
        let mut seen = self.grown(|metrics| metrics.closes(code)).await?;
        while seen < expected && begin.elapsed() < patience {
            sleep(Duration::from_millis(50)).await;
            seen = self.grown(|metrics| metrics.closes(code)).await?;
        }
        self.same(format!("closes with {code}, by the metrics"), expected, seen);
        Ok(())
    }
}

impl Deref for Field {
    type Target = Checks;

    fn deref(&self) -> &Checks {
        &self.checks
    }
}

/// Runs `attack` on a server of its own, its attacker on `attackers`, and judges it.
pub(crate) async fn run(attack: &'static dyn Attack, attackers: &Runtime, long: bool, seed: u64) -> Outcome {
    let (begin, mut outcome) = (Instant::now(), Outcome::new(attack.name()));
    if let Some(why) = attack.missing() {
        outcome.verdict = Verdict::Skipped(why);
        return outcome;
    }
    if let Err(error) = contest(attack, attackers, long, seed, &mut outcome).await {
        outcome.wrong(format!("not carried out: {error}"));
    }
    outcome.took = begin.elapsed();
    outcome
}

async fn contest(
    attack: &'static dyn Attack,
    attackers: &Runtime,
    long: bool,
    seed: u64,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let mut launch = Launch::new();
    attack.prepare(&mut launch);
    let server = Server::start(&launch).await?;
    let (address, process, folder) = (server.address, server.process, server.folder().to_owned());
    outcome.log = Some(folder.join("log"));
    let healthy = Healthy::gather(address, attack.crowd()).await?;
    // The first publications meet cold caches, in the server and here.
    healthy.after(if long { 20 } else { 3 }).await;
    let before = server.metrics().await?;
    let descriptors = process.descriptors();
    outcome.resident_before = process.resident();
    process.forget_peak();
    if long {
        // Counted from here.
        healthy.enter(Part::During);
        healthy.enter(Part::Before);
        sleep(QUIET).await;
    }
    healthy.enter(Part::During);
    let quiet = healthy.published();
    let field = Arc::new(Field {
        server: server.into(),
        address,
        healthy,
        before: before.clone(),
        long,
        seed,
        checks: Checks::default(),
    });
    let attacking = attackers.spawn({
        let field = field.clone();
        async move { attack.run(&field).await.map_err(|error| error.to_string()) }
    });
    let attacked = timeout(LONGEST, attacking).await;
    let field = Arc::try_unwrap(field).map_err(|_| "the attack goes on")?;
    match attacked {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => outcome.wrong(format!("not carried out: {error}")),
        Ok(Err(error)) => outcome.wrong(format!("the attack itself failed: {error}")),
        Err(_) => outcome.wrong(format!("not over after {LONGEST:?}")),
    }
    if long && !attack.stops() {
        // Enough publications for a p99, also beside what takes no time.
        let seen = field.healthy.published() - quiet;
        field.healthy.after(50u64.saturating_sub(seen)).await;
    }
    outcome.resident_peak = process.peak();
    outcome.latency =
        long.then(|| (field.healthy.latency(Part::Before, 0.99), field.healthy.latency(Part::During, 0.99)));
    outcome.checks.append(&mut field.checks.take());
    let mut server = field.server.into_inner();
    if !attack.stops() {
        outcome.gauges = back(&server, &before, descriptors).await?;
        outcome.resident_after = process.resident();
        let series = server.metrics().await?.len();
        outcome.checks.push(Check {
            what: "metric series".into(),
            expected: format!("at most {SERIES} more than {}", before.len()),
            seen: series.to_string(),
            good: series <= before.len() + SERIES,
        });
    }
    for trouble in summary(field.healthy.finish().await) {
        outcome.wrong(format!("healthy clients: {trouble}"));
    }
    if !attack.stops() {
        if server.is_alive() {
            server.terminate().await?;
        } else {
            outcome.wrong("the server is gone".to_owned());
        }
    }
    match server.ended(STOP).await {
        Ok(Some(0)) => {}
        Ok(other) => outcome.wrong(format!("stopping: expected exit code 0, got {other:?}")),
        Err(error) => outcome.wrong(format!("stopping: {error}")),
    }
    if !attack.panics() {
        for line in server.log().lines().filter(|line| line.contains("panicked at")) {
            outcome.wrong(format!("the server panicked: {line}"));
        }
    }
    outcome.judge(attack.memory());
    if outcome.verdict == Verdict::Held {
        server.clean();
    }
    Ok(())
}

/// Waits until the gauges, and the descriptors, are what they were, and returns how long it took.
async fn back(
    server: &Server,
    before: &Metrics,
    descriptors: usize,
) -> Result<Result<Duration, String>, Failure> {
    let begin = Instant::now();
    let expected = before.gauges();
    loop {
        let gauges = server.metrics().await?.gauges();
        let open = server.process.descriptors();
        // The connection that asks is one of them, or was when it was counted before.
        let differ = gauges != expected || open > descriptors + 2;
        if !differ {
            return Ok(Ok(begin.elapsed()));
        }
        if begin.elapsed() > BACK {
            let wrong: BTreeMap<_, _> =
                gauges.iter().filter(|(name, value)| expected[*name] != **value).collect();
            return Ok(Err(format!("{wrong:?}, {open} descriptors; before {expected:?}, {descriptors}")));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// A few of many complaints.
fn summary(mut troubles: Vec<String>) -> Vec<String> {
    let more = troubles.len().saturating_sub(3);
    troubles.truncate(3);
    if more > 0 {
        troubles.push(format!("and {more} more"));
    }
    troubles
}

/// KiB by which memory may grow unless an attack says otherwise: half of what all windows may hold, and far
/// less than any attack sends.
const MEMORY: u64 = 16 << 10;
/// Series that new labels may bring: a code or a cause each.
const SERIES: usize = 12;
/// How long gauges may take to come back.
const BACK: Duration = Duration::from_secs(10);
/// How long is measured before an attack.
const QUIET: Duration = Duration::from_secs(5);
/// The longest that an attack may last.
const LONGEST: Duration = Duration::from_secs(180);
/// How long the server may take to stop: its own time-out and a little.
const STOP: Duration = Duration::from_secs(15);
