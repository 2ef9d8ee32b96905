use std::fmt::{self, Display, Formatter};

use super::{Churn, Deliveries, Fanout, Idle, Latency, Published, Report, Setup, Slow, Window};
use crate::process::{Cpu, Memory};

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fanout(fanout) => fanout.fmt(f),
            Self::Idle(idle) => idle.fmt(f),
            Self::Slow(slow) => slow.fmt(f),
            Self::Churn(churn) => churn.fmt(f),
        }
    }
}

impl Display for Fanout {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "fanout: {}, {}", self.setup, self.load)?;
        self.window.fmt(f)?;
        if let Some([before, after]) = &self.memory {
            line(f, "server memory", format_args!("{before} before, {after} after"))?;
        }
        self.deliveries.fmt(f)
    }
}

impl Display for Idle {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "idle: {}", self.setup)?;
        let rate = self.setup.clients as f64 / self.connecting;
        line(f, "connected in", format_args!("{:.2} s, {} per second", self.connecting, number(rate)))?;
        if let Some(cpu) = &self.server_per_connect {
            line(f, "server CPU", format_args!("{} per connection and subscription", us(cpu)))?;
        }
        line(f, "bench CPU", format_args!("{} per connection and subscription", us(&self.own_per_connect)))?;
        if let (Some(bytes), Some([before, after])) = (self.memory_per_connection, &self.memory) {
            let each = number(bytes);
            line(
                f,
                "server memory",
                format_args!("{each} bytes per connection ({before} before, {after} after)"),
            )?;
        }
        if let Some(cpu) = &self.server_idle {
            line(f, "server CPU, idle", format_args!("{} per second", us(cpu)))?;
        }
        if self.ended > 0 {
            line(f, "ended", format_args!("{} by themselves", self.ended))?;
        }
        fault(f, self.first_fault.as_deref())
    }
}

impl Display for Slow {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "slow: {}, {}", self.setup, self.load)?;
        writeln!(f, "without stalled subscribers")?;
        self.without.fmt(f)?;
        writeln!(f, "with {} that never read", self.stalled)?;
        self.with.fmt(f)?;
        if let Some([before, most, after]) = &self.memory {
            line(f, "server memory", format_args!("{before} before, at most {most}, {after} after"))?;
        }
        for (end, count) in &self.ends {
            line(f, "stalled", format_args!("{count} {end}"))?;
        }
        self.deliveries.fmt(f)
    }
}

impl Display for Churn {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "churn: {}, by {}", self.setup, self.drop)?;
        for (number, round) in self.rounds.iter().enumerate() {
            let name = if number == 0 { "first".to_owned() } else { format!("return {number}") };
            write!(f, "{name:>18}  all there after {:.3} s", round.all_back)?;
            if let Some(back) = &round.back {
                write!(f, ", p50 {:.0} ms", back.p50 / 1e3)?;
            }
            if let Some(cpu) = &round.server_per_connect {
                write!(f, ", server {} each", us(cpu))?;
            }
            write!(f, ", bench {} each", us(&round.own_per_connect))?;
            if let Some(memory) = &round.memory {
                write!(f, ", {memory}")?;
            }
            if round.failures > 0 {
                write!(f, ", {} attempts failed", round.failures)?;
            }
            writeln!(f)?;
        }
        if let Some([before, after]) = &self.memory {
            line(f, "server memory", format_args!("{before} before, {after} when all had gone"))?;
        }
        if self.ended > 0 {
            line(f, "ended", format_args!("{} by themselves", self.ended))?;
        }
        fault(f, self.first_fault.as_deref())
    }
}

impl Display for Setup {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { protocol, clients, channels, .. } = self;
        let plural = if *channels == 1 { "" } else { "s" };
        write!(f, "{protocol}, {clients} clients, {channels} channel{plural}")
    }
}

impl Display for Published {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.size)?;
        match (self.rate, self.in_flight) {
            (Some(rate), _) => write!(f, ", {rate} per second")?,
            (None, Some(in_flight)) => write!(f, ", {in_flight} in flight")?,
            (None, None) => {}
        }
        if self.publishers > 1 {
            write!(f, ", {} publishers", self.publishers)?;
        }
        write!(f, "{}", if self.api { ", over the API" } else { "" })
    }
}

impl Display for Window {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (rate, all) = (number(self.deliveries_per_second), number(self.deliveries as f64));
        line(f, "deliveries", format_args!("{rate} per second, {all} in {:.1} s", self.seconds))?;
        line(f, "publications", format_args!("{} per second", number(self.publications_per_second)))?;
        if let (Some(cpu), Some(cores)) = (&self.server_per_delivery, self.server_cores) {
            line(f, "server CPU", format_args!("{} per delivery, {cores:.2} cores", us(cpu)))?;
        }
        let own = us(&self.own_per_delivery);
        line(f, "bench CPU", format_args!("{own} per delivery, {:.2} cores", self.own_cores))?;
        let (per_read, bytes) = (self.deliveries_per_read, self.bytes_per_delivery);
        line(f, "per read", format_args!("{per_read:.1} deliveries of {bytes:.0} bytes"))?;
        if let Some(latency) = &self.latency {
            line(f, "latency", latency)?;
        }
        if let Some(lag) = &self.lag {
            line(f, "published late by", lag)?;
        }
        Ok(())
    }
}

impl Display for Deliveries {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let received = number(self.received as f64);
        if self.are_right() {
            return line(f, "checked", format_args!("{received} deliveries: each once, in order"));
        }
        let expected = number(self.expected as f64);
        line(f, "WRONG", format_args!("{received} deliveries of {expected}"))?;
        for (what, count) in [
            ("lost", self.lost),
            ("late", self.late),
            ("repeated", self.repeated),
            ("corrupt", self.corrupt),
            ("misplaced", self.misplaced),
            ("refused", self.refused),
            ("ended", self.ended),
            ("stalls", self.stalls),
        ] {
            if count > 0 {
                line(f, what, number(count as f64))?;
            }
        }
        fault(f, self.first_fault.as_deref())
    }
}

impl Display for Latency {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { p50, p90, p99, p999, max, .. } = *self;
        let [p50, p90, p99, p999, max] = [p50, p90, p99, p999, max].map(time);
        write!(f, "p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p999}, max {max}")
    }
}

impl Display for Memory {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} MiB", self.proportional as f64 / f64::from(1 << 20))
    }
}

fn line(f: &mut Formatter<'_>, name: &str, text: impl Display) -> fmt::Result {
    writeln!(f, "{name:>18}  {text}")
}

fn fault(f: &mut Formatter<'_>, fault: Option<&str>) -> fmt::Result {
    fault.map_or(Ok(()), |fault| line(f, "the first fault", fault))
}

fn us(cpu: &Cpu) -> String {
    let digits = if cpu.total() < 10.0 { 3 } else { 1 };
    format!("{:.digits$} µs ({:.0} % in the kernel)", cpu.total(), share(cpu))
}

fn share(cpu: &Cpu) -> f64 {
    if cpu.total() > 0.0 { 100.0 * cpu.system / cpu.total() } else { 0.0 }
}

fn time(us: f64) -> String {
    match us {
        0.0..1e3 => format!("{us:.0} µs"),
        1e3..1e6 => format!("{:.2} ms", us / 1e3),
        _ => format!("{:.2} s", us / 1e6),
    }
}

/// A whole number with commas.
fn number(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && digit.is_ascii_digit() && (digits.len() - i).is_multiple_of(3) && !grouped.ends_with('-')
        {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::{number, time};

    #[test]
    fn numbers_are_for_people() {
        for (given, said) in
            [(0.4, "0"), (999.0, "999"), (1000.0, "1,000"), (-123456.0, "-123,456"), (1e7, "10,000,000")]
        {
            assert_eq!(number(given), said);
        }
        for (given, said) in [(17.2, "17 µs"), (1234.5, "1.23 ms"), (2.5e6, "2.50 s")] {
            assert_eq!(time(given), said);
        }
    }
}
