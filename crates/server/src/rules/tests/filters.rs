use tidegate_core::request::Filter;

use crate::rules::filter::is_valid;

fn leaf(key: &str, cmp: &str, val: &str, vals: &[&str]) -> Filter {
    let vals = vals.iter().map(|val| (*val).to_owned()).collect();
    Filter { key: key.into(), cmp: cmp.into(), val: val.into(), vals, ..Filter::default() }
}

fn node(op: &str, nodes: Vec<Filter>) -> Filter {
    Filter { op: op.into(), nodes, ..Filter::default() }
}

fn ex() -> Filter {
    leaf("a", "ex", "", &[])
}

#[track_caller]
fn check(filter: &Filter, expected: bool) {
    assert_eq!(is_valid(filter), expected, "{filter:?}");
}

#[test]
fn leaves() {
    for cmp in ["eq", "neq", "sw", "ew", "ct", "ex", "nex"] {
        check(&leaf("a", cmp, "b", &[]), true);
        check(&leaf("a", cmp, "", &[]), true);
        check(&leaf("", cmp, "b", &[]), false);
    }
    for cmp in ["in", "nin"] {
        check(&leaf("a", cmp, "", &["b", "c"]), true);
        check(&leaf("a", cmp, "b", &[]), false);
    }
    for cmp in ["gt", "gte", "lt", "lte"] {
        for (val, expected) in [
            ("1", true),
            ("-1.5", true),
            ("+.5", true),
            ("1.", true),
            ("", false),
            ("-", false),
            (".", false),
            ("1e3", false),
            ("NaN", false),
            ("1.2.3", false),
        ] {
            check(&leaf("a", cmp, val, &[]), expected);
        }
    }
    for cmp in ["", "EQ", "like"] {
        check(&leaf("a", cmp, "b", &[]), false);
    }
}

#[test]
fn nodes() {
    for (op, one, two) in
        [("and", true, true), ("or", true, true), ("not", true, false), ("xor", false, false)]
    {
        check(&node(op, vec![]), false);
        check(&node(op, vec![ex()]), one);
        check(&node(op, vec![ex(), ex()]), two);
        check(&node(op, vec![ex(), Filter::default()]), false);
    }
    check(&Filter { nodes: vec![ex()], ..ex() }, false);
}

#[test]
fn bounds() {
    let deep = |depth: usize| (1..depth).fold(ex(), |inner, _| node("not", vec![inner]));
    check(&deep(10), true);
    check(&deep(11), false);
    check(&node("or", vec![ex(); 63]), true);
    check(&node("or", vec![ex(); 64]), false);
    check(&leaf("a", "eq", &"x".repeat(4095), &[]), true);
    check(&leaf("a", "eq", &"x".repeat(4096), &[]), false);
    check(&leaf("a", "in", "", &[""; 5000]), false);
}
