//! How far subscriptions, and a connection's together, may be behind.

use std::sync::Arc;

use super::{Bench, WIDE, check, window};
use crate::outbox::Limits;
use crate::{CloseConnection, EndSubscription, Lag, SkipToLatest, SkipToOldest};

#[test]
fn a_subscription_is_bounded_in_entries_and_in_bytes() {
    let ended = |beyond, script| check(EndSubscription { beyond }, WIDE, script, "<a behind>");
    let reads = |beyond, script, expected| check(EndSubscription { beyond }, WIDE, script, expected);
    ended(Lag { entries: 3, bytes: 1 << 20 }, "sub a; pub a 4; drain");
    reads(Lag { entries: 3, bytes: 1 << 20 }, "sub a; pub a 3; drain", "a1 a2 a3");
    ended(Lag::bytes(2000), "sub a; pub a 2 1000; drain");
    reads(Lag::bytes(4000), "sub a; pub a 2 1000; drain", "a1 a2");
    let beyond = Lag { entries: 2, bytes: 1 << 20 };
    check(SkipToLatest { beyond }, WIDE, "sub a; pub a 3; drain", "a-2 a3");
}

#[test]
fn a_join_that_is_lost_is_a_loss_to_who_may_lose_nothing() {
    let beyond = Lag::bytes(1 << 20);
    let script = "sub a; join a 3; pub a; drain";
    check(EndSubscription { beyond }, window(2), script, "<a behind>");
    check(CloseConnection::slow(beyond), window(2), script, "<close 3008>");
    check(EndSubscription { beyond }, WIDE, script, "a1");
    check(EndSubscription { beyond }, window(2), "sub a; join a 3; stalled; judge 1; stalled", "<a behind>");
    // Who may skip skips it, and no publication for its sake.
    check(SkipToOldest, window(2), "sub a; join a 3; pub a 2; drain", "a1 a2");
    check(SkipToLatest { beyond }, window(2), "sub a; join a 3; pub a 2; drain", "a1 a2");
}

/// Plays `script` on a connection that may be ten entries behind in all.
#[track_caller]
fn crowded(script: &str, expected: &str) {
    let behind = Lag { entries: 10, bytes: 1 << 20 };
    let mut bench = Bench::new(Arc::new(SkipToOldest), WIDE, Limits { behind, ..Limits::default() });
    for step in script.split(';') {
        bench.step(&step.split_whitespace().collect::<Vec<_>>());
    }
    assert_eq!(bench.said(), expected, "{script}");
}

#[test]
fn a_connection_is_bounded_over_all_its_subscriptions() {
    // Alone, nobody is too far behind; together they are, and who is behind most is judged.
    let stalled = "write 0; judge; stalled";
    crowded(
        &format!("policy end; sub a; sub b; sub c; pub a 6; pub b 2; pub c 2; {stalled}; drain"),
        "a1 a2 a3 a4 a5 a6 b1 b2 c1 c2",
    );
    crowded(
        &format!("policy end; sub a; sub b; sub c; pub a 7; pub b 2; pub c 2; {stalled}; drain"),
        "<a behind> b1 b2 c1 c2",
    );
    // Whatever the policy, and no more of them than it takes.
    crowded(
        &format!("policy end; sub a; sub b; pub b 8; pub a 9; {stalled}; drain"),
        "<a behind> b1 b2 b3 b4 b5 b6 b7 b8",
    );
    crowded(&format!("policy close; sub a; sub b; pub a 9; pub b 2; {stalled}"), "<close 3008>");
    crowded(&format!("policy close; sub a; policy end; sub b; pub a 2; pub b 9; {stalled}"), "<b behind>");
    // Who has not more than its share stays, even if the one that has does not go.
    crowded(
        &format!("policy oldest; sub a; policy end; sub b; pub a 10; pub b 1; {stalled}; drain"),
        "a-9 a10 b1",
    );
    // Those that skip do so at the next reading.
    crowded("policy oldest; sub a; policy end; sub b; pub b 1; pub a 10; write 0; drain", "b1 a-9 a10");
}

#[test]
fn a_connection_that_has_caught_up_is_not_crowded() {
    let round = "pub a 9; pub b 1; drain;";
    let expected = |round: usize| {
        (9 * round + 1..=9 * round + 9).map(|i| format!("a{i}")).collect::<Vec<_>>().join(" ")
            + &format!(" b{}", round + 1)
    };
    crowded(
        &format!("policy end; sub a; sub b; {} pub a 9; leave a; pub b 10; drain", round.repeat(3)),
        &format!(
            "{} {} {} {}",
            expected(0),
            expected(1),
            expected(2),
            (4..=13).map(|i| format!("b{i}")).collect::<Vec<_>>().join(" ")
        ),
    );
}
