//! Durations as Go writes them: `25s`, `1m30s`, `720h0m0s`, `100ms`.

use std::time::Duration;

/// Reads a duration; `None` if it is not one, is negative, or is longer than 584 years.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (nanos, tail) = component(rest)?;
        total = total.checked_add(nanos)?;
        rest = tail;
    }
    Some(Duration::from_nanos(total))
}

/// Writes a duration the way Go does, so that equal durations are equal texts.
pub(super) fn format(duration: Duration) -> String {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    if seconds == 0 && nanos != 0 {
        return match nanos {
            1_000_000.. => decimal(u64::from(nanos), 1_000_000, "ms"),
            1_000.. => decimal(u64::from(nanos), 1_000, "µs"),
            _ => format!("{nanos}ns"),
        };
    }
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let last = decimal((seconds % 60) * NANOS_PER_SECOND + u64::from(nanos), NANOS_PER_SECOND, "s");
    match (hours, minutes) {
        (0, 0) => last,
        (0, _) => format!("{minutes}m{last}"),
        _ => format!("{hours}h{minutes}m{last}"),
    }
}

/// The first `number + unit` of `text` in nanoseconds, and what follows it.
fn component(text: &str) -> Option<(u64, &str)> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (unit, rest) = UNITS
        .iter()
        .find_map(|(name, nanos)| Some((*nanos, rest.strip_prefix(name)?)))
        .filter(|(_, rest)| {
            // What follows a unit is another number, or nothing.
            rest.starts_with(|c: char| c.is_ascii_digit() || c == '.') || rest.is_empty()
        })?;
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanos = whole.checked_mul(unit)?;
    let mut scale = unit;
    for digit in fraction.bytes() {
        scale /= 10;
        nanos = nanos.checked_add(u64::from(digit - b'0') * scale)?;
    }
    Some((nanos, rest))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn decimal(nanos: u64, unit: u64, name: &str) -> String {
    let (whole, fraction) = (nanos / unit, nanos % unit);
    if fraction == 0 {
        return format!("{whole}{name}");
    }
    let width = unit.ilog10() as usize;
    let fraction = format!("{fraction:0width$}");
    format!("{whole}.{}{name}", fraction.trim_end_matches('0'))
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;

// Longer names first: `ms` before `m`.
const UNITS: &[(&str, u64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", NANOS_PER_SECOND),
    ("m", 60 * NANOS_PER_SECOND),
    ("h", 3600 * NANOS_PER_SECOND),
];
