use std::collections::BTreeMap;

use super::{Condition, Decimal, Filter, FilterError, Limits, Order, Test};

fn tag(key: &str, test: Test) -> Condition {
    Condition::Tag { key: key.to_owned(), test }
}

fn is(key: &str, value: &str) -> Condition {
    tag(key, Test::In(vec![value.to_owned()]))
}

fn not(condition: Condition) -> Condition {
    Condition::Not(Box::new(condition))
}

fn compares(order: Order, with: &str) -> Condition {
    tag("n", Test::Compares(order, Decimal::parse(with).expect("a number")))
}

fn filter(condition: Condition) -> Filter {
    Filter::new(condition, &Limits::default()).expect("a filter")
}

/// Whether a filter lets a publication with these tags, `key=value …`, through.
#[track_caller]
fn check(condition: Condition, tags: &str, expected: bool) {
    let tags: BTreeMap<String, String> = tags
        .split_whitespace()
        .map(|tag| tag.split_once('=').expect("key=value"))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let filter = filter(condition);
    assert_eq!(filter.matches(Some(&tags)), expected, "{filter:?} of {tags:?}");
    if tags.is_empty() {
        assert_eq!(filter.matches(None), expected, "{filter:?} without tags");
    }
}

#[test]
fn tests_of_a_tag() {
    let texts = |texts: &[&str]| Test::In(texts.iter().map(|text| (*text).to_owned()).collect());
    check(is("a", "1"), "a=1", true);
    check(is("a", "1"), "a=2", false);
    check(is("a", "1"), "", false);
    check(not(is("a", "1")), "a=1", false);
    check(not(is("a", "1")), "", true);
    check(tag("a", texts(&["z", "b", "y"])), "a=b", true);
    check(tag("a", texts(&["z", "b", "y"])), "a=c", false);
    check(tag("a", texts(&["z", ""])), "", true);
    check(tag("a", Test::Exists), "a=", true);
    check(tag("a", Test::Exists), "b=1", false);
    check(tag("a", Test::StartsWith("ab".into())), "a=abc", true);
    check(tag("a", Test::StartsWith("bc".into())), "a=abc", false);
    check(tag("a", Test::EndsWith("bc".into())), "a=abc", true);
    check(tag("a", Test::EndsWith("ab".into())), "a=abc", false);
    check(tag("a", Test::Contains("b".into())), "a=abc", true);
    check(tag("a", Test::Contains("d".into())), "a=abc", false);
    for test in [Test::StartsWith("x".into()), Test::EndsWith("x".into()), Test::Contains("x".into())] {
        check(tag("a", test), "b=x", false);
    }
}

#[test]
fn numbers_compare_digit_by_digit() {
    for (less, more) in [
        ("1", "2"),
        ("9", "10"),
        ("-10", "-9"),
        ("-1", "0.5"),
        ("1.05", "1.1"),
        ("0.1", "0.11"),
        ("-0.11", "-0.1"),
        ("123456789012345678901234567890", "123456789012345678901234567891"),
        ("0.30000000000000000000000001", "0.30000000000000000000000002"),
    ] {
        check(compares(Order::Above, less), &format!("n={more}"), true);
        check(compares(Order::Above, more), &format!("n={less}"), false);
        check(compares(Order::AtLeast, less), &format!("n={more}"), true);
        check(compares(Order::Below, more), &format!("n={less}"), true);
        check(compares(Order::AtMost, less), &format!("n={more}"), false);
    }
    for (one, other) in [("1", "+01.0"), ("0", "-0.00"), (".5", "0.50"), ("1.", "1")] {
        check(compares(Order::Above, one), &format!("n={other}"), false);
        check(compares(Order::AtLeast, one), &format!("n={other}"), true);
        check(compares(Order::Below, one), &format!("n={other}"), false);
        check(compares(Order::AtMost, one), &format!("n={other}"), true);
        assert_eq!(Decimal::parse(one), Decimal::parse(other));
    }
    for none in ["", "-", ".", "1e3", "NaN", "1.2.3", "0x1", "١"] {
        assert_eq!(Decimal::parse(none), None, "{none}");
        for order in [Order::Above, Order::AtLeast, Order::Below, Order::AtMost] {
            check(compares(order, "0"), &format!("n={none}"), false);
            check(compares(order, "0"), "", false);
        }
    }
}

#[test]
fn conditions_are_joined() {
    let both = || Condition::All(vec![is("a", "1"), is("b", "2")]);
    let one = || Condition::Any(vec![is("a", "1"), is("b", "2")]);
    for (tags, all, any) in
        [("a=1 b=2", true, true), ("a=1", false, true), ("b=2", false, true), ("", false, false)]
    {
        check(both(), tags, all);
        check(one(), tags, any);
        check(not(both()), tags, !all);
        check(not(not(one())), tags, any);
    }
}

#[test]
fn filters_that_say_the_same_are_equal() {
    let texts = |texts: &[&str]| tag("a", Test::In(texts.iter().map(|text| (*text).to_owned()).collect()));
    let (a, b, c) = (|| is("a", "1"), || is("b", "1"), || tag("c", Test::Exists));
    for (one, other) in [
        (texts(&["x", "y"]), texts(&["y", "x", "y"])),
        (a(), Condition::All(vec![a()])),
        (a(), Condition::Any(vec![a(), a()])),
        (a(), not(not(a()))),
        (Condition::All(vec![a(), b()]), Condition::All(vec![b(), a(), b()])),
        (
            Condition::All(vec![a(), b(), c()]),
            Condition::All(vec![c(), Condition::All(vec![b(), Condition::Any(vec![a()])])]),
        ),
        (compares(Order::Above, "1"), compares(Order::Above, "+1.0")),
    ] {
        assert_eq!(filter(one), filter(other));
    }
    for (one, other) in [
        (a(), b()),
        (a(), not(a())),
        (Condition::All(vec![a(), b()]), Condition::Any(vec![a(), b()])),
        (compares(Order::Above, "1"), compares(Order::AtLeast, "1")),
    ] {
        assert_ne!(filter(one), filter(other));
    }
}

#[test]
fn the_canonical_form_means_the_same() {
    // Every filter of a seeded run, judged before and after, over all tags that it can tell apart.
    let mut state = 0x5EED_u64;
    println!("seed {state}");
    let mut below = |most: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % most
    };
    fn any(below: &mut impl FnMut(u64) -> u64, depth: u64) -> Condition {
        let key = ["a", "b", "c"][below(3) as usize];
        match if depth == 0 { below(4) } else { below(7) } {
            0 => is(key, ["1", "2"][below(2) as usize]),
            1 => tag(key, Test::Exists),
            2 => tag(key, Test::In(vec!["2".into(), "".into(), "1".into()])),
            3 => tag(key, Test::Compares(Order::Above, Decimal::parse("1").unwrap())),
            4 => not(any(below, depth - 1)),
            joint => {
                let inside = (0..1 + below(3)).map(|_| any(below, depth - 1)).collect();
                if joint == 5 { Condition::All(inside) } else { Condition::Any(inside) }
            }
        }
    }
    for _ in 0..2000 {
        let condition = any(&mut below, 3);
        let canonical = condition.clone().canonical();
        assert_eq!(canonical.clone().canonical(), canonical);
        for tags in 0..27 {
            let value = |place: u32| [None, Some("1"), Some("2")][(tags / 3_u32.pow(place) % 3) as usize];
            let tags = ["a", "b", "c"].iter().zip(0..).filter_map(|(key, place)| Some((key, value(place)?)));
            let tags = tags.map(|(key, value)| ((*key).to_owned(), value.to_owned())).collect();
            // Texts of `In` are only searched once they are in order.
            let plain = judged(&condition, &tags);
            assert_eq!(canonical.holds(Some(&tags)), plain, "{condition:?} as {canonical:?} of {tags:?}");
        }
    }
    fn judged(condition: &Condition, tags: &BTreeMap<String, String>) -> bool {
        match condition {
            Condition::Tag { key, test: Test::In(texts) } => {
                texts.contains(tags.get(key).unwrap_or(&String::new()))
            }
            Condition::Tag { .. } => condition.holds(Some(tags)),
            Condition::All(inside) => inside.iter().all(|condition| judged(condition, tags)),
            Condition::Any(inside) => inside.iter().any(|condition| judged(condition, tags)),
            Condition::Not(inside) => !judged(inside, tags),
        }
    }
}

#[test]
fn bounds() {
    #[track_caller]
    fn refused(condition: Condition, expected: Option<FilterError>) {
        assert_eq!(Filter::new(condition, &Limits::default()).err(), expected);
    }
    let deep = |depth: usize| (1..depth).fold(is("a", "1"), |inner, _| Condition::All(vec![inner]));
    refused(deep(10), None);
    refused(deep(11), Some(FilterError::TooDeep(10)));
    refused(Condition::Any(vec![is("a", "1"); 63]), None);
    refused(Condition::Any(vec![is("a", "1"); 64]), Some(FilterError::TooManyNodes(64)));
    // A negated comparison is one node.
    refused(Condition::Any(vec![not(is("a", "1")); 63]), None);
    refused(tag("a", Test::Contains("x".repeat(4095))), None);
    refused(tag("a", Test::Contains("x".repeat(4096))), Some(FilterError::TooLong(4096)));
    refused(tag("a", Test::In(vec![String::new(); 5000])), Some(FilterError::TooLong(4096)));
    refused(tag("a", Test::In(vec![])), Some(FilterError::Empty));
    refused(tag("a", Test::StartsWith(String::new())), Some(FilterError::Empty));
    refused(Condition::All(vec![]), Some(FilterError::Empty));
    refused(is("", "1"), Some(FilterError::NoKey));
    refused(tag("", Test::Exists), None);
}
