use super::*;
use crate::sync::Mutex;

/// Takes two locks, one under the other, and compares whether that is in order.
#[track_caller]
fn check<A: Place, B: Place>(expected: bool) {
    let (a, b) = (Mutex::<_, A>::new(()), Mutex::<_, B>::new(()));
    let taken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _a = a.lock();
        let _b = b.lock();
    }));
    assert_eq!(taken.is_ok(), expected, "{} under {}", B::NAME, A::NAME);
    // Nothing is left of either.
    drop(Mutex::<_, KeyCell>::new(()).lock());
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "the order is kept in debug builds")]
fn locks_are_taken_in_their_order_only() {
    check::<KeyCell, StreamMap>(true);
    check::<KeyCell, Stream>(true);
    check::<StreamMap, Stream>(true);
    check::<Stream, LogMap>(true);
    check::<Stream, Turn>(true);
    check::<Turn, LogMap>(true);
    check::<Turn, Leaf>(true);
    check::<Log, Turn>(false);
    check::<Turn, Turn>(false);
    check::<LogMap, Log>(true);
    check::<Stream, Leaf>(true);
    check::<Stream, StreamMap>(false);
    check::<Stream, KeyCell>(false);
    check::<Stream, Stream>(false);
    check::<Log, LogMap>(false);
    check::<Log, Log>(false);
    check::<LogMap, Leaf>(false);
    check::<Log, Leaf>(false);
    check::<Leaf, Leaf>(false);
    check::<Leaf, Log>(false);
}
