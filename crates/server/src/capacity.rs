#[cfg(test)]
mod tests;

use std::num::NonZero;

use tidegate_core::Caps;

use crate::config::{Bound, Config};
use crate::http::{Limits, Trusted};
use crate::memory;

/// What a node takes on, as its configuration and its system say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// The clients.
    pub caps: Caps,
    /// The connections of an HTTP port that are no clients.
    pub http: Limits,
    /// Threads that serve connections; 0: those that do everything else.
    pub workers: usize,
    /// What a person should know of it, one sentence each.
    pub warnings: Vec<String>,
}

/// What the system gives to this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// Descriptors; `None`: nobody knows.
    pub descriptors: Option<usize>,
    /// Bytes of memory; `None`: nobody knows.
    pub memory: Option<usize>,
    /// Cores that it may run on at once; `None`: nobody knows.
    pub cores: Option<usize>,
}

/// Descriptors for everything but connections: standard streams, listeners, the runtime, log and history
/// files, key sets and brokers. 32: a server that does nothing has 15 open.
const RESERVE: usize = 32;
/// Descriptors of a worker: its runtime's, by which it hears of sockets and is woken. 4: tokio has 3 open.
const WORKER: usize = 4;
/// The share of the descriptors that connections have which are no clients: an eighth. Requests are
/// answered in milliseconds; what is left over for clients is what most nodes are there for.
const HTTP_SHARE: usize = 8;
/// The bounds of that share. 16: probes, metrics and a few publishers; 4096: the backlog of a listener.
const HTTP: (usize, usize) = (16, 4096);

impl System {
    /// As the system is now. `descriptors`: the limit that the process has.
    pub fn now(descriptors: Option<u64>) -> Self {
        let descriptors = descriptors.map(|most| usize::try_from(most).unwrap_or(usize::MAX));
        let cores = std::thread::available_parallelism().ok().map(NonZero::get);
        Self { descriptors, memory: memory::available(), cores }
    }
}

impl Capacity {
    /// What a configuration means on a system.
    pub fn of(config: &Config, system: System) -> Self {
        let client = &config.client;
        let mut warnings = Vec::new();
        let workers = match config.node.workers {
            // One would do what the others do beside it.
            Bound::Derived => system.cores.filter(|cores| *cores > 1).unwrap_or(0),
            Bound::Unlimited => 0,
            Bound::At(count) => count.get(),
        };
        let reserve = RESERVE + workers * WORKER;
        let places = system.descriptors.map(|most| most.saturating_sub(reserve).max(2));
        let connections = match config.http_server.connection_limit {
            Bound::Derived => Some(places.map_or(HTTP.1, |places| {
                // Clients have at least half, however few there are.
                (places / HTTP_SHARE).clamp(HTTP.0, HTTP.1).min(places / 2)
            })),
            Bound::Unlimited => None,
            Bound::At(most) => Some(most.get()),
        };
        let per_network = match config.http_server.ip_connection_limit {
            Bound::Derived => connections.map(|most| most.div_ceil(2)),
            Bound::Unlimited => None,
            Bound::At(most) => Some(most.get()),
        };
        // Each has at least half of them, whatever the other was given.
        let descriptors = places.map(|places| places - connections.unwrap_or(usize::MAX).min(places / 2));
        let total = client.connection_limit.map(NonZero::get);
        if let (Some(total), Some(most), Some(given)) = (total, descriptors, system.descriptors)
            && total > most
        {
            warnings.push(format!(
                "client.connection_limit is {total}, but the system gives this process {given} descriptors, \
                 which is enough for {most} clients: raise its limit (ulimit -n, LimitNOFILE)"
            ));
        }
        let memory = match config.node.resident_limit {
            Bound::Derived => system.memory.map(|bytes| bytes / 10 * 9),
            Bound::Unlimited => None,
            Bound::At(bytes) => Some(bytes.get()),
        };
        let caps = Caps {
            total,
            descriptors,
            per_network: client.ip_connection_limit.map(NonZero::get),
            per_second: client.connection_rate_limit.map(NonZero::get),
            memory,
        };
        let trusted = Trusted::new(config.http_server.trusted_proxies.iter().copied());
        let idle_timeout = config.http_server.idle_timeout;
        let http = Limits { connections, per_network, trusted, idle_timeout };
        Self { caps, http, workers, warnings }
    }
}
