//! Fan-out while some subscribers never read: what they cost the server, and the others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::connection::{Connection, Ended};
use crate::crew::Worker;
use crate::load::{self, Running};
use crate::options::Slow;
use crate::process::Memory;
use crate::protocol::Dialect;
use crate::transport::Socket;
use crate::world::{Channels, World};
use crate::{Error, report};

pub(crate) fn run(options: &Slow, dialect: Option<Dialect>) -> Result<report::Slow, Error> {
    let load = &options.load;
    if load.count.is_some() {
        return Err(Error::Options("--count: slow measures twice; expected --duration".into()));
    }
    let world = World::new(&options.common, dialect, load.size)?;
    let mut running = Running::connect(&world, load)?;
    running.publish()?;
    running.pass("warming up", load.warmup);
    let without = running.measure("without stalled ones", load.duration, || ());
    let before = world.memory();
    stall(&world, options)?;
    let mut most = before;
    let with = running.measure("with stalled ones", options.stalled_duration, || {
        most = most.zip(world.memory()).map(|(most, now)| Memory {
            resident: most.resident.max(now.resident),
            proportional: most.proportional.max(now.proportional),
            anonymous: most.anonymous.max(now.anonymous),
        });
    });
    let after = world.memory();
    let deliveries = running.finish();
    Ok(report::Slow {
        setup: world.setup(load.subscribers, load.channels),
        load: load::described(load),
        stalled: options.stalled,
        without,
        with,
        deliveries,
        memory: before.zip(most).zip(after).map(|((before, most), after)| [before, most, after]),
        ends: read_at_last(&world),
    })
}

/// Connects those that subscribe, and then never read.
fn stall(world: &World, options: &Slow) -> Result<(), Error> {
    let step = world.progress.time("connecting stalled ones", options.common.timeout);
    let socket = Socket { receive_buffer: options.stalled_buffer, reset: true };
    let plan = world.plan(options.stalled, Channels::OneOf(options.load.channels), socket);
    // Their names follow those of subscribers and publishers.
    let plan = plan.numbered_from(options.load.subscribers + usize::from(options.load.publishers));
    let connecting = world.crew.ask(move |thread, worker| {
        let plan = plan.clone();
        async move {
            let connections = plan.open_all(thread, &worker).await?;
            worker.stalled.borrow_mut().extend(connections.into_iter().map(|(_, connection)| connection));
            Ok(())
        }
    });
    connecting.wait(|| step.say(String::new())).into_iter().collect()
}

/// Reads what there is for the stalled ones, and counts how that ends.
fn read_at_last(world: &World) -> Vec<(String, usize)> {
    let step = world.progress.time("reading stalled ones", QUIET);
    let reading = world.crew.ask(|_, worker| async move {
        let stalled = worker.stalled.take();
        join_all(stalled.into_iter().map(|connection| end_of(connection, &worker))).await
    });
    let mut ends = BTreeMap::new();
    for end in reading.wait(|| step.say(String::new())).into_iter().flatten() {
        *ends.entry(end).or_default() += 1;
    }
    ends.into_iter().collect()
}

/// Reads until a connection ends, or is quiet.
async fn end_of(mut connection: Connection, worker: &Worker) -> String {
    let begin = Instant::now();
    while begin.elapsed() < LONGEST {
        match timeout(QUIET, connection.turn(worker, &mut |_| ())).await {
            Ok(Ok(())) => {}
            Ok(Err(Ended(why))) => return why,
            Err(_) => break,
        }
    }
    "still connected".into()
}

/// For a connection to bring all it has.
const LONGEST: Duration = Duration::from_secs(10);
/// For a connection to bring more.
const QUIET: Duration = Duration::from_secs(1);
