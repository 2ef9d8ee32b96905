//! Everybody goes at once, without a word, and comes back at once.

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};

use super::idle::pass;
use crate::connection::Connection;
use crate::crew::{self, Worker};
use crate::options::{Churn, Drop};
use crate::payload;
use crate::process::Cpu;
use crate::protocol::Dialect;
use crate::report::{Latency, Round};
use crate::subscriber::hold;
use crate::transport::Socket;
use crate::world::{Channels, Plan, World};
use crate::{Error, report};

pub(crate) fn run(options: &Churn, dialect: Option<Dialect>) -> Result<report::Churn, Error> {
    let world = World::new(&options.common, dialect, payload::SMALLEST)?;
    let before = world.memory();
    let mut rounds = Vec::new();
    for number in 0..=options.rounds {
        rounds.push(round(&world, options, number)?);
    }
    world.crew.ask(|_, worker| async move { drop_all(&worker).await }).wait(|| ());
    pass(&world.progress.time("settling", options.settle), options.settle);
    Ok(report::Churn {
        setup: world.setup(options.connections, options.channels),
        drop: match options.drop {
            Drop::Reset => "reset",
            Drop::Fin => "fin",
        },
        rounds,
        memory: before.zip(world.memory()).map(<[_; 2]>::from),
        ended: world.shared.ended.load(Ordering::SeqCst),
        first_fault: world.shared.first_wrong(),
    })
}

/// Drops all connections, of which the first round has none, and opens them again.
fn round(world: &World, options: &Churn, number: usize) -> Result<Round, Error> {
    let connections = options.connections as u64;
    let socket = Socket { reset: options.drop == Drop::Reset, ..Socket::default() };
    let mut plan = world.plan(options.connections, Channels::OneOf(options.channels), socket);
    // Nobody comes back under its old name, nor, with several sources, from the address that it had.
    plan = plan.numbered_from(number * options.connections);
    if number > 0 {
        plan.connecting = options.returning.unwrap_or(options.connections).div_ceil(world.crew.threads());
    }
    let (shared, server) = (&world.shared, &world.server);
    let what = if number == 0 { "connecting".to_owned() } else { format!("return {number}") };
    let step = world.progress.count(&what, connections);
    shared.ready.store(0, Ordering::SeqCst);
    let (begin, server_before, own_before) = (Instant::now(), server.cpu(), Cpu::own());
    world.crew.ask(|_, worker| async move { drop_all(&worker).await }).wait(|| ());
    let common = Arc::new(Returning {
        plan,
        begin,
        back: Mutex::new(crew::latencies()),
        failures: AtomicU64::new(0),
        patience: options.common.timeout,
    });
    let returning = common.clone();
    let returning = world.crew.ask(move |thread, worker| {
        let returning = returning.clone();
        async move { returning.all_of(thread, worker).await }
    });
    let ready = || step.at(shared.ready.load(Ordering::Relaxed));
    returning.wait(ready).into_iter().collect::<Result<(), Error>>()?;
    let all_back = begin.elapsed().as_secs_f64();
    let (server_all, own_all) = (server.cpu() - server_before, Cpu::own() - own_before);
    drop(step);
    pass(&world.progress.time("settling", options.settle), options.settle);
    Ok(Round {
        all_back,
        back: Latency::of(&common.back.lock().unwrap_or_else(PoisonError::into_inner)),
        failures: common.failures.load(Ordering::SeqCst),
        server_per_connect: server.is_known().then(|| server_all.per(connections)),
        own_per_connect: own_all.per(connections),
        memory: world.memory(),
    })
}

/// A round, for the threads.
struct Returning {
    plan: Plan,
    begin: Instant,
    back: Mutex<hdrhistogram::Histogram<u64>>,
    failures: AtomicU64,
    /// How long is tried again.
    patience: Duration,
}

impl Returning {
    async fn all_of(&self, thread: usize, worker: Rc<Worker>) -> Result<(), Error> {
        let open = |number| self.insist(number, &worker);
        let mut opening =
            stream::iter(self.plan.share(thread)).map(open).buffer_unordered(self.plan.connecting);
        while let Some(connection) = opening.next().await {
            let task = hold(connection?, &worker);
            worker.held.borrow_mut().push(task);
        }
        Ok(())
    }

    /// Opens one, and again if that fails.
    async fn insist(&self, number: usize, worker: &Worker) -> Result<Connection, Error> {
        loop {
            match self.plan.open(number, worker).await {
                Ok(connection) => {
                    let after = self.begin.elapsed().as_nanos() as u64;
                    self.back.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(after);
                    return Ok(connection);
                }
                Err(error) if self.begin.elapsed() > self.patience => return Err(error),
                Err(error) => {
                    worker.shared.wrong(&self.failures, error);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Drops all that a thread holds.
async fn drop_all(worker: &Worker) {
    let held = worker.held.take();
    held.iter().for_each(|task| task.abort());
    for task in held {
        // It ends as it was told to.
        drop(task.await);
    }
}

/// Before a connection that failed is tried again.
const PAUSE: Duration = Duration::from_millis(50);
