//! What is measured.

/// One row of figures: a load, which each server is put under in turn.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// What it is called by `--only`, and in the results.
    pub(crate) key: &'static str,
    /// For people.
    pub(crate) title: String,
    /// What `tidegate bench` takes.
    pub(crate) line: String,
    /// Only for servers that keep history.
    pub(crate) history: bool,
    /// For our own only: how it scales.
    pub(crate) scaling: bool,
    /// Where it stands in the chart over publications in flight.
    pub(crate) in_flight: Option<u64>,
}

/// How long the whole thing takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Under ten minutes.
    Whole,
    /// Under two minutes.
    Quick,
    /// Some seconds, and it counts only: whether it works, in a build that is not optimized.
    Tiny,
}

impl Extent {
    /// The cases, in their order.
    pub(crate) fn cases(self) -> Vec<Case> {
        match self {
            Self::Whole => whole(),
            Self::Quick => quick(),
            Self::Tiny => tiny(),
        }
    }
}

fn whole() -> Vec<Case> {
    let time = "--warmup 1s --duration 4s";
    let mut cases: Vec<Case> = [1, 8, 32, 128, 512].map(|n| in_flight(n, time)).into();
    cases.extend([
        case("many", "100 channels × 10, 320 in flight", format!("fanout {MANY} {time}")),
        case("big", "1 channel × 200, 16 KiB, 8 in flight", format!("fanout {BIG} {time}")),
        history(format!("fanout -s 1000 --in-flight 32 --prefix kept:bench- {time}")),
        case("rate", "1 channel × 1,000, 50 per second", format!("fanout -s 1000 --rate 50 {time}")),
        case("idle", "10,000 connections", "idle -n 10000 --sources 32 --settle 3s --duration 5s".into()),
        case("churn", "5,000 connections", "churn -n 5000 --rounds 2 --sources 32 --settle 1s".into()),
        case("slow", "500 subscribers, 4 KiB, 100 per second", format!("slow {SLOW}")),
    ]);
    let time = "--warmup 500ms --duration 2s";
    for subscribers in [100, 1_000, 10_000] {
        // Many addresses: ports that are used again within a minute, by a case after another, make connections that do
        // not live.
        let line = format!("fanout -s {subscribers} --in-flight 32 --sources 32 {time}");
        cases.push(scaling("subscribers", subscribers, line));
    }
    for channels in [1, 10, 100, 1_000, 10_000] {
        // About one in each channel: few ever have two to read.
        let line = format!("fanout -s 10000 -c {channels} --in-flight {channels} --sources 32 {time}");
        cases.push(scaling("channels", channels, line));
    }
    // One subscriber in each: the same is done for each delivery, however many channels there are.
    for (key, channels, in_flight) in [1, 10, 100, 1_000, 10_000]
        .map(|n| ("own", n, 1))
        .into_iter()
        .chain([100, 1_000, 10_000].map(|n| ("own-64", n, 64)))
    {
        let line = format!("fanout -s {channels} -c {channels} --in-flight {in_flight} --sources 32 {time}");
        cases.push(scaling(key, channels, line));
    }
    cases
}

fn quick() -> Vec<Case> {
    let time = "--warmup 300ms --duration 2s";
    vec![
        in_flight(1, time),
        in_flight(32, time),
        case("many", "100 channels × 10, 320 in flight", format!("fanout {MANY} {time}")),
        case("idle", "3,000 connections", "idle -n 3000 --settle 1s --duration 1s".into()),
        case("churn", "1,000 connections", "churn -n 1000 --rounds 1 --settle 500ms".into()),
    ]
}

fn tiny() -> Vec<Case> {
    vec![
        Case {
            in_flight: Some(4),
            ..case("flight-4", "4 in flight", "fanout -s 50 --in-flight 4 --count 100".into())
        },
        Case {
            in_flight: Some(8),
            ..case("flight-8", "8 in flight", "fanout -s 50 --in-flight 8 --count 100".into())
        },
        case("many", "10 channels × 5", "fanout -s 50 -c 10 --in-flight 40 --count 400".into()),
        history("fanout -s 10 --count 50 --prefix kept:bench-".into()),
        case("idle", "50 connections", "idle -n 50 --settle 0s --duration 100ms".into()),
        case("churn", "50 connections", "churn -n 50 --rounds 1 --settle 0s".into()),
        scaling("subscribers", 20, "fanout -s 20 --count 50".into()),
    ]
}

fn case(key: &'static str, title: &str, line: String) -> Case {
    Case { key, title: title.into(), line, history: false, scaling: false, in_flight: None }
}

fn in_flight(n: u64, time: &str) -> Case {
    let key = match n {
        1 => "flight-1",
        8 => "flight-8",
        32 => "flight-32",
        128 => "flight-128",
        _ => "flight-512",
    };
    let case = case(
        key,
        &format!("1 channel × 1,000, {n} in flight"),
        format!("fanout -s 1000 --in-flight {n} {time}"),
    );
    Case { in_flight: Some(n), ..case }
}

fn history(line: String) -> Case {
    let case = case("history", "1 channel × 1,000, 32 in flight, history of 100", line);
    Case { history: true, ..case }
}

fn scaling(key: &'static str, value: usize, line: String) -> Case {
    Case { scaling: true, ..case(key, &value.to_string(), line) }
}

const MANY: &str = "-s 1000 -c 100 --in-flight 320";
const SLOW: &str =
    "-s 500 --size 4096 --rate 100 --stalled 20 --warmup 1s --duration 4s --stalled-duration 10s";
const BIG: &str = "-s 200 --size 16384 --in-flight 8";

#[cfg(test)]
mod tests {
    use tidegate_bench::Options;

    use super::Extent;

    #[test]
    fn every_line_is_a_command() {
        for extent in [Extent::Whole, Extent::Quick, Extent::Tiny] {
            for case in extent.cases() {
                assert!(Options::parse(case.line.split(' ')).is_ok(), "{}", case.line);
            }
        }
    }
}
