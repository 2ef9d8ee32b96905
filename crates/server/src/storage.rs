//! The history that outlives the process.

use std::time::{Instant, SystemTime};

use tidegate_broker_disk::{Disk, Fsync, Opened, Options, Report};
use tidegate_server::config::{Fsync as Key, History, Storage};
use tidegate_server::core::MemoryBroker;

use crate::node::Failure;

/// The broker with the history that an earlier run has left; `None` where history is kept in memory alone.
///
/// Before the ports are served: nobody is answered from half a history.
pub(crate) fn open(history: &History) -> Result<Option<MemoryBroker>, Failure> {
    let Some(path) = history.path.as_ref().filter(|_| history.storage == Storage::Disk) else {
        return Ok(None);
    };
    let options = Options {
        fsync: match history.fsync {
            Key::Each => Fsync::Each,
            Key::Interval => Fsync::Interval(history.fsync_interval),
            Key::Never => Fsync::Never,
        },
        limit_bytes: history.disk_limit,
        segment_bytes: history.segment_size,
        queue_bytes: history.queue_limit,
        ..Options::new(path)
    };
    let now = Instant::now();
    let opened =
        Disk::open(options, now, SystemTime::now()).map_err(|error| format!("history.path: {error}"))?;
    let Opened { journal, streams, keys, report } = opened;
    say(&report);
    let seed = uuid::Uuid::new_v4().as_u64_pair().0;
    Ok(Some(MemoryBroker::journaled(seed, journal, streams, keys, now)))
}

fn say(report: &Report) {
    tracing::info!(
        streams = report.streams,
        publications = report.publications,
        bytes = report.bytes,
        took = ?report.took,
        "history read"
    );
    if report.torn_bytes > 0 {
        tracing::warn!(
            bytes = report.torn_bytes,
            "a write to the history was cut off; nobody had been told of it"
        );
    }
    for place in &report.places {
        tracing::error!("damaged history: {place}");
    }
    if report.damaged > 0 {
        tracing::error!(
            places = report.damaged,
            holed = report.holed,
            renewed = report.renewed,
            "the history was damaged: `holed` streams begin behind what was lost, `renewed` ones begin another \
             epoch; the damaged files are in the folder `damaged`"
        );
    }
    if report.power_lost {
        tracing::warn!(
            renewed = report.renewed,
            "the machine stopped before everything was synced: every stream begins another epoch, for nobody knows \
             what is missing"
        );
    }
}
