//! Writes `PERFORMANCE.md` and its charts.

mod tables;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::Failure;
use crate::chart::{Bars, Lines, short};
use crate::cores::Cores;
use crate::machine;
use crate::peers::Peer;
use crate::results::{self, Figure, Results};
use crate::suite::{Case, Extent};

/// All that the page tells of.
pub(crate) struct Page<'a> {
    pub(crate) extent: Extent,
    pub(crate) peers: &'a [Peer],
    pub(crate) cases: &'a [Case],
    pub(crate) results: &'a Results,
    pub(crate) cores: &'a Cores,
    pub(crate) rounds: usize,
}

impl Page<'_> {
    /// Writes the page and its charts into `folder`.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Failure> {
        fs::create_dir_all(folder)?;
        for (name, svg) in [
            ("performance-delivery.svg", self.over_in_flight()),
            ("performance-loads.svg", self.loads()),
            ("performance-memory.svg", self.memory()),
        ] {
            fs::write(folder.join(name), svg)?;
        }
        fs::write(folder.join("PERFORMANCE.md"), self.text())?;
        Ok(())
    }

    fn text(&self) -> String {
        let mut text = String::from("# Performance\n\n");
        let command = match self.extent {
            Extent::Whole => "cargo xtask bench",
            Extent::Quick => "cargo xtask bench --quick",
            Extent::Tiny => "cargo xtask bench --tiny",
        };
        let date = machine::date();
        let _ = writeln!(text, "Written by `{command}` on {date}; not by hand.");
        if self.extent == Extent::Tiny {
            text.push_str("\n**This run only shows that the command works: its figures mean nothing.**\n");
        }
        text.push_str("\n| | |\n|---|---|\n");
        for (name, value) in machine::described() {
            let _ = writeln!(text, "| {name} | {value} |");
        }
        for peer in self.peers {
            let _ = writeln!(text, "| {} | {} |", peer.name, peer.version);
        }
        if self.rounds > 1 {
            let _ = writeln!(text, "| Rounds | {}; figures are medians |", self.rounds);
        }
        text.push_str(METHOD);
        text.push_str("\n## A delivery\n\nThe server's CPU time per delivery, in µs:\n\n");
        let fanouts: Vec<&Case> = self.some(|case| case.line.starts_with("fanout") && !case.scaling);
        text.push_str(&self.table(&fanouts, results::cpu_per_delivery));
        text.push_str("\n![CPU time per delivery over publications in flight](performance-delivery.svg)\n");
        text.push_str("\n![CPU time per delivery by load](performance-loads.svg)\n");
        text.push_str(
            "\nThousands of deliveries per second that this makes, on one core each for server and load:\n\n",
        );
        text.push_str(&self.table(&fanouts, results::deliveries));
        text.push_str("\nThe load's own CPU time per delivery, in µs: where it is more than the server's, it is the load that bounds the rate above.\n\n");
        text.push_str(&self.table(&fanouts, results::own_cpu_per_delivery));
        self.latency(&mut text);
        self.connections(&mut text);
        self.slow(&mut text);
        self.scaling(&mut text);
        text.push_str(
            "\n## Over QUIC\n\nWhat raw QUIC costs is in [quic.md](quic.md#figures). What it saves: while a subscription \
             recovered 1.2 MB over 500 kB/s, 10 ms each way and 1 % loss, 141 of 158 live updates of another came before \
             that was through, within 27 ms (median); over one stream none did (2026-11-27; `cargo test -p tidegate-server \
             --test it a_large_snapshot -- --nocapture` measures it).\n",
        );
        text.push_str("\n## The commands\n\nEach with `--url` and `--server-pid`, and with the peer's protocol:\n\n```sh\n");
        for case in self.cases {
            let _ = writeln!(text, "tidegate bench {}", case.line);
        }
        text.push_str("```\n");
        text
    }

    fn latency(&self, text: &mut String) {
        let cases = self.some(|case| case.key == "rate");
        let Some(case) = cases.first() else { return };
        let _ = write!(
            text,
            "\n## Latency\n\n{}, 128 B, in µs. The load is one thread, so that what the last subscriber waits has the \
             reading of all others in it: it is there to compare.\n\n",
            case.title
        );
        let rows: [(&str, Figure); 3] =
            [("p50", results::p50), ("p99", results::p99), ("longest", results::longest)];
        text.push_str(&self.figures(case, &rows));
    }

    fn connections(&self, text: &mut String) {
        for case in self.some(|case| case.key == "idle") {
            let _ = write!(text, "\n## Connections\n\n{} with one subscription each, idle:\n\n", case.title);
            let rows: [(&str, Figure); 3] = [
                ("bytes of the server's memory for each (PSS)", results::bytes_per_connection),
                ("µs of CPU to connect and subscribe", results::cpu_per_connect),
                ("µs of CPU per second, while nothing happens", results::idle_cpu),
            ];
            text.push_str(&self.figures(case, &rows));
            text.push_str("\n![Memory per idle connection](performance-memory.svg)\n");
        }
        for case in self.some(|case| case.key == "churn") {
            let _ = write!(text, "\n{} are reset at once, and come back at once:\n\n", case.title);
            let rows: [(&str, Figure); 2] = [
                ("s until all are back, at most", results::all_back),
                ("µs of CPU for each that comes back", results::cpu_per_return),
            ];
            text.push_str(&self.figures(case, &rows));
        }
    }

    fn slow(&self, text: &mut String) {
        for case in self.some(|case| case.key == "slow") {
            let _ = write!(text, "\n## Slow subscribers\n\n{}, and then 20 that never read:\n\n", case.title);
            let rows: [(&str, Figure); 3] = [
                ("MiB that the server grows by, at most", results::growth),
                ("CPU per delivery, over that without them", results::slower),
                ("p99 of the others, over that without them", results::later),
            ];
            text.push_str(&self.figures(case, &rows));
            text.push_str("\nWhat the stalled ones found when they read at last:\n\n");
            for peer in self.peers {
                if let Some(ends) = self.results.ends(case, &peer.name) {
                    let _ = writeln!(text, "- {}: {ends}", peer.name);
                }
            }
        }
    }

    fn scaling(&self, text: &mut String) {
        if self.cores.rows.is_empty() && !self.cases.iter().any(|case| case.scaling) {
            return;
        }
        text.push_str("\n## How it scales\n");
        for (key, what) in [
            ("subscribers", "subscribers of one channel, 32 in flight"),
            (
                "channels",
                "channels that 10,000 subscribers are spread over, as many in flight as there are channels; with 10,000, each delivery is also a publication of its own",
            ),
            (
                "own",
                "channels with one subscriber each, one publication in flight; each delivery is a publication and a write of its own here",
            ),
            ("own-64", "channels with one subscriber each, 64 in flight"),
        ] {
            let cases = self.some(|case| case.key == key);
            let ours: Vec<&Peer> = self.peers.iter().filter(|peer| peer.is_ours()).collect();
            if cases.is_empty() || ours.is_empty() {
                continue;
            }
            let _ = write!(text, "\nµs of CPU per delivery by the number of {what}:\n\n");
            text.push_str(&tables::of(&cases, &ours, self.results, results::cpu_per_delivery));
            text.push_str("\nHow many of these deliveries came together, in one read of the client's:\n\n");
            text.push_str(&tables::of(&cases, &ours, self.results, results::deliveries_per_read));
        }
        self.cores(text);
    }

    fn cores(&self, text: &mut String) {
        let Some((near, far)) = self.cores.distances.iter().min().zip(self.cores.distances.iter().max())
        else {
            return;
        };
        text.push_str(
            "\nOne channel's fan-out on the in-memory transport, 1,024 subscribers, 64 publications at once while the 64 before are \
             delivered, by so many workers, each of which reads for the clients of its connections, too, in thousands of deliveries \
             per second:\n\n\
             | workers | best round | worst round | more than one worker at best | at worst |\n|--:|--:|--:|--:|--:|\n",
        );
        for row in &self.cores.rows {
            let [best, worst] = [row.best, row.worst].map(|deliveries| short(deliveries / 1e3));
            let added =
                self.cores.added(row).map(|(best, worst)| (format!("{best:+.2}"), format!("{worst:+.2}")));
            let (more, less) = added.unwrap_or(("-".into(), "-".into()));
            let _ = writeln!(text, "| {} | {best} | {worst} | {more} | {less} |", row.threads);
        }
        let [near, far] = [near, far].map(|distance| distance.0.as_nanos());
        let _ = writeln!(
            text,
            "\nA connection stays with its worker, and each worker has a log of the channel; what a publication shares with all of them costs what \
             a cache line takes from core to core. Before and after these rounds that took {near} to {far} ns; under a virtual machine it \
             changes as cores are moved."
        );
    }

    /// Cases down, servers across.
    fn table(&self, cases: &[&Case], figure: Figure) -> String {
        let peers: Vec<&Peer> = self.peers.iter().collect();
        tables::of(cases, &peers, self.results, figure)
    }

    /// Figures of one case down, servers across.
    fn figures(&self, case: &Case, rows: &[(&str, Figure)]) -> String {
        tables::figures(case, rows, self.peers, self.results)
    }

    fn some(&self, wanted: impl Fn(&Case) -> bool) -> Vec<&Case> {
        self.cases.iter().filter(|case| wanted(case)).collect()
    }

    fn over_in_flight(&self) -> String {
        let cases = self.some(|case| case.in_flight.is_some());
        let series = self.peers.iter().map(|peer| {
            let value = |case: &&Case| self.results.get(case, &peer.name, results::cpu_per_delivery);
            (peer.name.clone(), cases.iter().map(value).collect())
        });
        let lines = Lines {
            title: "Server CPU per delivery, µs: 1 channel × 1,000 subscribers, 128 B",
            across: "publications in flight",
            at: cases.iter().filter_map(|case| case.in_flight).map(|n| n as f64).collect(),
            series: series.collect(),
        };
        lines.svg()
    }

    fn loads(&self) -> String {
        let cases = self.some(|case| ["many", "big", "history", "rate"].contains(&case.key));
        self.bars("Server CPU per delivery, µs", &cases, results::cpu_per_delivery)
    }

    fn memory(&self) -> String {
        let cases = self.some(|case| case.key == "idle");
        self.bars("Server memory per idle connection, bytes", &cases, results::bytes_per_connection)
    }

    fn bars(&self, title: &str, cases: &[&Case], figure: Figure) -> String {
        let group = |case: &&Case| {
            let values = self.peers.iter().map(|peer| self.results.get(case, &peer.name, figure)).collect();
            (case.title.clone(), values)
        };
        let series = self.peers.iter().map(|peer| peer.name.clone()).collect();
        Bars { title, groups: cases.iter().map(group).collect(), series }.svg()
    }
}

const METHOD: &str = "
## How it is measured

- Each server is started anew for each case, on one core; the load is one thread on another. Cases are measured for all servers one after the other.
- The load is `tidegate bench`, the same for all: it finds payloads in what sockets bring without parsing the rest, and checks
  each delivery by its sequence number. A figure with † had deliveries that were lost, late or repeated.
- *In flight* is how many publications are at most not yet delivered to all their subscribers. Deliveries are counted where they arrive, so that
  no protocol's acknowledgements matter. It is also how many a server may find together and put into one write:
  with 1, every delivery is a system call of its own. One number of them is one point of a curve.
- CPU is what the system counts for the server's process, of all threads, in user and kernel mode. Over the loopback interface
  that includes the kernel's work up to the client's socket. Memory is PSS, of an idle connection the part of no file, without the kernel's socket buffers.
- Peers do not do the same: NATS and Mosquitto have no history, positions or recovery here (QoS 0), and no client protocol of JSON. All run
  with their defaults but for what it takes to let everybody in; Tidegate has its policies, limits, timers and metrics on.
";
