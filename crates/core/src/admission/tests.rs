use std::time::Duration;

use super::*;

fn caps(total: usize, per_network: usize) -> Caps {
    let some = |n: usize| (n > 0).then_some(n);
    Caps { total: some(total), per_network: some(per_network), ..Caps::default() }
}

fn check(caps: Caps, peers: &[&str], expected: &[Result<(), NotAdmitted>]) {
    let (admission, now) = (Admission::new(caps), Instant::now());
    let permits: Vec<_> = peers.iter().map(|ip| admission.admit(Some(ip.parse().unwrap()), now)).collect();
    let got: Vec<_> = permits.iter().map(|p| p.as_ref().map(|_| ()).map_err(|e| *e)).collect();
    assert_eq!(got, expected, "{caps:?} {peers:?}");
    assert_eq!(admission.live(), expected.iter().filter(|e| e.is_ok()).count());
    drop(permits);
    assert_eq!(admission.live(), 0);
    assert!(admission.state.lock().networks.is_empty());
}

#[test]
fn caps_hold() {
    let (full, network) = (Err(NotAdmitted::Full), Err(NotAdmitted::NetworkFull));
    check(caps(2, 0), &["10.0.0.1", "10.0.0.1", "10.0.0.2"], &[Ok(()), Ok(()), full]);
    check(caps(0, 1), &["10.0.0.1", "10.0.0.1", "10.0.0.2"], &[Ok(()), network, Ok(())]);
    check(caps(0, 1), &["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"], &[Ok(()), network, Ok(())]);
    check(caps(0, 1), &["10.0.0.1", "::ffff:10.0.0.1"], &[Ok(()), network]);
    check(caps(0, 0), &["10.0.0.1", "10.0.0.1"], &[Ok(()), Ok(())]);
    let few = Caps { descriptors: Some(1), ..Caps::default() };
    check(few, &["10.0.0.1", "10.0.0.2"], &[Ok(()), Err(NotAdmitted::Descriptors)]);
    let slow = Caps { per_second: Some(1), ..Caps::default() };
    check(slow, &["10.0.0.1", "10.0.0.2"], &[Ok(()), Err(NotAdmitted::Rate)]);
}

#[test]
fn who_is_refused_for_another_reason_takes_no_token() {
    let (now, peer) = (Instant::now(), |n: u8| Some(IpAddr::from([10, 0, 0, n])));
    let admission = Admission::new(Caps { per_network: Some(1), per_second: Some(2), ..Caps::default() });
    let _first = admission.admit(peer(1), now).unwrap();
    assert_eq!(admission.admit(peer(1), now).unwrap_err(), NotAdmitted::NetworkFull);
    let second = admission.admit(peer(2), now).unwrap();
    assert_eq!(admission.admit(peer(3), now).unwrap_err(), NotAdmitted::Rate);
    // A place that comes free is no token.
    drop(second);
    assert_eq!(admission.admit(peer(2), now).unwrap_err(), NotAdmitted::Rate);
    admission.admit(peer(2), now + Duration::from_millis(500)).unwrap();
}

#[test]
fn over_its_memory_a_node_admits_nobody() {
    let now = Instant::now();
    let admission = Admission::new(Caps { memory: Some(10 * NEWCOMER), ..Caps::default() });
    admission.measured(9 * NEWCOMER);
    // Those who come between two measurements are counted with what they are likely to need.
    let _permits = [admission.admit(None, now).unwrap(), admission.admit(None, now).unwrap()];
    assert_eq!(admission.admit(None, now).unwrap_err(), NotAdmitted::Memory);
    admission.measured(10 * NEWCOMER + 1);
    assert_eq!(admission.admit(None, now).unwrap_err(), NotAdmitted::Memory);
    admission.measured(NEWCOMER);
    admission.admit(None, now).unwrap();
}

#[test]
fn a_changed_cap_counts_those_who_are_in() {
    let (now, peer) = (Instant::now(), Some(IpAddr::from([10, 0, 0, 1])));
    let admission = Admission::new(Caps::default());
    let permits = [admission.admit(peer, now).unwrap(), admission.admit(peer, now).unwrap()];
    admission.limit(caps(0, 2));
    assert_eq!(admission.admit(peer, now).unwrap_err(), NotAdmitted::NetworkFull);
    admission.limit(caps(1, 0));
    assert_eq!(admission.admit(peer, now).unwrap_err(), NotAdmitted::Full);
    let slow = Caps { per_second: Some(1), ..Caps::default() };
    admission.limit(slow);
    let _third = admission.admit(peer, now).unwrap();
    assert_eq!(admission.admit(peer, now).unwrap_err(), NotAdmitted::Rate);
    // Saying the same again makes no tokens.
    admission.limit(slow);
    assert_eq!(admission.admit(peer, now).unwrap_err(), NotAdmitted::Rate);
    admission.limit(Caps::default());
    drop(permits);
    admission.admit(peer, now).unwrap();
}

#[test]
fn a_closed_admission_admits_nobody() {
    let (admission, now) = (Admission::new(Caps::default()), Instant::now());
    let permit = admission.admit(None, now).unwrap();
    admission.close();
    assert_eq!(admission.admit(None, now).unwrap_err(), NotAdmitted::Closed);
    drop(permit);
    assert_eq!((admission.live(), admission.most()), (0, 1));
}

/// A permit goes with whoever holds it, a panicking task included.
#[test]
fn a_panic_gives_the_place_back() {
    let (admission, now) = (Admission::new(caps(1, 1)), Instant::now());
    for _ in 0..3 {
        let permit = admission.admit(Some([10, 0, 0, 1].into()), now).expect("the place is free");
        let task = std::thread::spawn(move || {
            let _permit = permit;
            panic!("as the test wants");
        });
        task.join().unwrap_err();
        assert_eq!(admission.live(), 0);
    }
}
