//! What was measured, by case and server.

use tidegate_bench::Report;
use tidegate_bench::report::{Churn, Idle, Latency, Slow, Window};

use crate::suite::Case;

/// All reports of a run, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Results(Vec<Measured>);

#[derive(Debug)]
struct Measured {
    key: &'static str,
    title: String,
    peer: String,
    report: Report,
}

/// A figure of a report; `None` where the report has no such.
pub(crate) type Figure = fn(&Report) -> Option<f64>;

impl Results {
    pub(crate) fn add(&mut self, case: &Case, peer: &str, report: Report) {
        let (key, title) = (case.key, case.title.clone());
        self.0.push(Measured { key, title, peer: peer.to_owned(), report });
    }

    /// The median of a figure over all rounds.
    pub(crate) fn get(&self, case: &Case, peer: &str, figure: Figure) -> Option<f64> {
        let mut values: Vec<f64> =
            self.of(case, peer).filter_map(|measured| figure(&measured.report)).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() {
            0 => None,
            odd if odd % 2 == 1 => Some(values[middle]),
            _ => Some((values[middle - 1] + values[middle]) / 2.0),
        }
    }

    /// What became of stalled subscribers in the last round.
    pub(crate) fn ends(&self, case: &Case, peer: &str) -> Option<String> {
        let Report::Slow(slow) = &self.of(case, peer).last()?.report else { return None };
        let ends: Vec<_> = slow.ends.iter().map(|(end, count)| format!("{count} {end}")).collect();
        Some(ends.join(", "))
    }

    /// Whether a case's deliveries were all right.
    pub(crate) fn is_right(&self, case: &Case, peer: &str) -> bool {
        self.of(case, peer).all(|measured| measured.report.is_right())
    }

    /// Whether all deliveries of a server were right.
    pub(crate) fn are_right(&self, peer: &str) -> bool {
        self.0.iter().filter(|measured| measured.peer == peer).all(|measured| measured.report.is_right())
    }

    fn of(&self, case: &Case, peer: &str) -> impl DoubleEndedIterator<Item = &Measured> {
        self.0.iter().filter(move |measured| {
            measured.key == case.key && measured.title == case.title && measured.peer == peer
        })
    }
}

/// The server's CPU per delivery, in microseconds.
pub(crate) fn cpu_per_delivery(report: &Report) -> Option<f64> {
    window(report)?.server_per_delivery.map(|cpu| cpu.total())
}

/// The bench's.
pub(crate) fn own_cpu_per_delivery(report: &Report) -> Option<f64> {
    window(report).map(|window| window.own_per_delivery.total())
}

/// Thousands of deliveries per second.
pub(crate) fn deliveries(report: &Report) -> Option<f64> {
    window(report).map(|window| window.deliveries_per_second / 1e3)
}

/// How many came together.
pub(crate) fn deliveries_per_read(report: &Report) -> Option<f64> {
    window(report).map(|window| window.deliveries_per_read)
}

/// In microseconds.
pub(crate) fn p50(report: &Report) -> Option<f64> {
    latency(report).map(|latency| latency.p50)
}

/// In microseconds.
pub(crate) fn p99(report: &Report) -> Option<f64> {
    latency(report).map(|latency| latency.p99)
}

/// In microseconds.
pub(crate) fn longest(report: &Report) -> Option<f64> {
    latency(report).map(|latency| latency.max)
}

/// Bytes of the server per idle connection.
pub(crate) fn bytes_per_connection(report: &Report) -> Option<f64> {
    idle(report)?.memory_per_connection
}

/// The server's CPU per connection with its subscription, in microseconds.
pub(crate) fn cpu_per_connect(report: &Report) -> Option<f64> {
    idle(report)?.server_per_connect.map(|cpu| cpu.total())
}

/// The server's CPU while nothing happens, in microseconds per second.
pub(crate) fn idle_cpu(report: &Report) -> Option<f64> {
    idle(report)?.server_idle.map(|cpu| cpu.total())
}

/// The longest of all returns, in seconds.
pub(crate) fn all_back(report: &Report) -> Option<f64> {
    churn(report)?.rounds.iter().skip(1).map(|round| round.all_back).reduce(f64::max)
}

/// The server's CPU per connection that comes back, in microseconds, in the last round.
pub(crate) fn cpu_per_return(report: &Report) -> Option<f64> {
    churn(report)?.rounds.last()?.server_per_connect.map(|cpu| cpu.total())
}

/// By how many MiB the server grew while some were stalled.
pub(crate) fn growth(report: &Report) -> Option<f64> {
    let [before, most, _] = slow(report)?.memory?;
    Some((most.proportional as f64 - before.proportional as f64) / f64::from(1 << 20))
}

/// The server's CPU per delivery with stalled subscribers over that without.
pub(crate) fn slower(report: &Report) -> Option<f64> {
    let slow = slow(report)?;
    let [with, without] = [&slow.with, &slow.without].map(|window| window.server_per_delivery);
    Some(with?.total() / without?.total())
}

/// The others' p99 with stalled subscribers over that without.
pub(crate) fn later(report: &Report) -> Option<f64> {
    let slow = slow(report)?;
    Some(slow.with.latency?.p99 / slow.without.latency?.p99)
}

fn window(report: &Report) -> Option<&Window> {
    match report {
        Report::Fanout(fanout) => Some(&fanout.window),
        _ => None,
    }
}

fn latency(report: &Report) -> Option<Latency> {
    window(report)?.latency
}

fn idle(report: &Report) -> Option<&Idle> {
    match report {
        Report::Idle(idle) => Some(idle),
        _ => None,
    }
}

fn churn(report: &Report) -> Option<&Churn> {
    match report {
        Report::Churn(churn) => Some(churn),
        _ => None,
    }
}

fn slow(report: &Report) -> Option<&Slow> {
    match report {
        Report::Slow(slow) => Some(slow),
        _ => None,
    }
}
