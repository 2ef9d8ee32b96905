//! Connections that only hold subscriptions.

use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::options::Idle;
use crate::payload;
use crate::process::Cpu;
use crate::progress::Step;
use crate::protocol::Dialect;
use crate::subscriber::hold;
use crate::transport::Socket;
use crate::world::{Channels, World};
use crate::{Error, report};

pub(crate) fn run(options: &Idle, dialect: Option<Dialect>) -> Result<report::Idle, Error> {
    let world = World::new(&options.common, dialect, payload::SMALLEST)?;
    let (shared, server, connections) = (&world.shared, &world.server, options.connections);
    let channels = match options.own_channels {
        true => Channels::Own(options.channels),
        false => Channels::Same(options.channels),
    };
    let (before, begin) = (world.memory(), Instant::now());
    let (server_before, own_before) = (server.cpu(), Cpu::own());
    let step = world.progress.count("connecting", connections as u64);
    let plan = world.plan(connections, channels, Socket::default());
    let connecting = world.crew.ask(move |thread, worker| {
        let plan = plan.clone();
        async move {
            for (_, connection) in plan.open_all(thread, &worker).await? {
                hold(connection, &worker);
            }
            Ok(())
        }
    });
    connecting
        .wait(|| step.at(shared.ready.load(Ordering::Relaxed)))
        .into_iter()
        .collect::<Result<(), Error>>()?;
    drop(step);
    let connecting = begin.elapsed().as_secs_f64();
    let (server_connecting, own_connecting) = (server.cpu() - server_before, Cpu::own() - own_before);
    pass(&world.progress.time("settling", options.settle), options.settle);
    let (after, idle_before, idle_begin) = (world.memory(), server.cpu(), Instant::now());
    pass(&world.progress.time("idling", options.duration), options.duration);
    let idle = server.cpu() - idle_before;
    let seconds = idle_begin.elapsed().as_secs_f64();
    let known = server.is_known();
    let memory = before.zip(after);
    Ok(report::Idle {
        setup: world
            .setup(connections, options.channels * if options.own_channels { connections } else { 1 }),
        connecting,
        server_per_connect: known.then(|| server_connecting.per(connections as u64)),
        own_per_connect: own_connecting.per(connections as u64),
        memory_per_connection: memory
            .map(|(before, after)| (after.anonymous as f64 - before.anonymous as f64) / connections as f64),
        memory: memory.map(<[_; 2]>::from),
        server_idle: known.then(|| Cpu { user: idle.user / seconds, system: idle.system / seconds }),
        ended: shared.ended.load(Ordering::SeqCst),
        first_fault: shared.first_wrong(),
    })
}

/// Lets time pass while nothing happens.
pub(super) fn pass(step: &Step, time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        sleep(left.min(Duration::from_millis(100)));
        step.say(String::new());
    }
}
