//! Many subscribers, and who publishes to them.

use crate::load::{self, Running};
use crate::options::Fanout;
use crate::protocol::Dialect;
use crate::world::World;
use crate::{Error, report};

pub(crate) fn run(options: &Fanout, dialect: Option<Dialect>) -> Result<report::Fanout, Error> {
    let load = &options.load;
    let world = World::new(&options.common, dialect, load.size)?;
    let before = world.memory();
    let mut running = Running::connect(&world, load)?;
    let window = if load.count.is_some() {
        running.measure_all()?
    } else {
        running.publish()?;
        running.pass("warming up", load.warmup);
        running.measure("measuring", load.duration, || ())
    };
    let after = world.memory();
    Ok(report::Fanout {
        setup: world.setup(load.subscribers, load.channels),
        load: load::described(load),
        window,
        deliveries: running.finish(),
        memory: before.zip(after).map(<[_; 2]>::from),
    })
}
