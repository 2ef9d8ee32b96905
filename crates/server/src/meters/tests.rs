use std::collections::BTreeSet;

use super::table::{CLOSE_CODES, ERROR_CODES, Kind, Labels, TABLE, UNSUBSCRIBE_CODES, label};

/// <https://prometheus.io/docs/practices/naming/>: a prefix, the unit at the end, `_total` for what only grows.
#[test]
fn names_follow_the_conventions() {
    let mut names = BTreeSet::new();
    for noun in TABLE {
        let name = noun.name;
        assert!(names.insert(name), "{name} stands twice in the table");
        assert!(name.starts_with("tidegate_"), "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        assert_eq!(name.ends_with("_total"), matches!(noun.kind, Kind::Counter), "{name}");
        assert_eq!(name.ends_with("_seconds"), matches!(noun.kind, Kind::Histogram(_)), "{name}");
        assert!(noun.help.ends_with('.') && noun.help.len() > 10, "{name}: {}", noun.help);
        if let Kind::Histogram(buckets) = noun.kind {
            assert!(buckets.is_sorted() && buckets.len() <= 12, "{name}: each bucket is a series");
        }
    }
}

#[test]
fn a_code_outside_the_tables_is_custom() {
    for codes in [CLOSE_CODES, UNSUBSCRIBE_CODES, ERROR_CODES] {
        let labels: BTreeSet<_> = (0..=u32::from(u16::MAX) + 1).map(|code| label(code, codes)).collect();
        assert_eq!(labels.len(), codes.len() + 1);
    }
    assert_eq!(label(4000, CLOSE_CODES), "custom");
    assert_eq!(label(3008, CLOSE_CODES), "3008");
}

#[test]
fn the_tables_have_the_protocols_codes() {
    use tidegate_protocol::Disconnect as Wire;
    for known in [Wire::SHUTDOWN, Wire::SLOW, Wire::NO_PONG, Wire::BAD_REQUEST, Wire::NOT_AVAILABLE] {
        assert!(CLOSE_CODES.iter().any(|code| u32::from(*code) == known.code()), "{known}");
    }
}

#[test]
fn the_causes_of_admission_are_in_the_table() {
    use tidegate_core::NotAdmitted::{Closed, Descriptors, Full, Memory, NetworkFull, Rate};
    let refused = TABLE.iter().find(|noun| noun.name == "tidegate_refused_total").unwrap();
    let Labels::Of("cause", causes) = refused.labels else { panic!("{refused:?}") };
    for cause in [Closed, Descriptors, Full, Memory, NetworkFull, Rate] {
        assert!(causes.contains(&cause.cause()), "{cause:?}");
    }
}

/// Series are memory of the server and of Prometheus, for every node.
#[test]
fn there_are_few_series() {
    let series = |labels: Labels| match labels {
        Labels::None => 1,
        Labels::Of(_, values) => values.len(),
        Labels::By([first, second]) => first.1.len() * second.1.len(),
        Labels::Code(codes) => codes.len() + 1,
        // Versions: one.
        Labels::Fixed => 1,
    };
    let of = |kind: Kind| match kind {
        Kind::Histogram(buckets) => buckets.len() + 3,
        _ => 1,
    };
    let total: usize = TABLE.iter().map(|noun| series(noun.labels) * of(noun.kind)).sum();
    assert!(total < 300, "{total}");
}
