//! The bench against a server that does wrong on purpose: whatever is wrong is found.

mod server;

use server::{Fault, Server};
use tidegate_bench::{Options, Report, report::Deliveries};

/// Runs `line` against a server with a fault, in JSON, and returns what was found.
fn run(fault: Fault, line: &str) -> Report {
    let server = Server::start(fault);
    let url = format!("ws://{}/", server.address());
    let words = line.split(' ').chain(["--quiet", "--url", &url]);
    let options = Options::parse(words).expect("the options are good");
    options.measure(None).expect("the server can be put under load")
}

fn fanout(fault: Fault) -> Deliveries {
    let line = "fanout --subscribers 10 --channels 2 --count 100 --in-flight 4 --size 200";
    let Report::Fanout(fanout) = run(fault, line) else { panic!("this is a fanout") };
    assert_eq!((fanout.deliveries.published, fanout.deliveries.expected), (100, 500));
    assert_eq!(fanout.window.publications, 100);
    fanout.deliveries
}

/// Only this is wrong: lost, late, repeated, corrupt, misplaced.
#[track_caller]
fn check(fault: Fault, [lost, late, repeated, corrupt, misplaced]: [u64; 5]) {
    let found = fanout(fault);
    let wrong = [found.lost, found.late, found.repeated, found.corrupt, found.misplaced];
    assert_eq!(wrong, [lost, late, repeated, corrupt, misplaced], "{fault:?}: {found:?}");
    assert_eq!(found.received, 500 - lost + repeated, "{fault:?}: {found:?}");
    assert_eq!(found.are_right(), wrong == [0; 5], "{fault:?}");
}

#[test]
fn what_is_right_is_right() {
    check(Fault::None, [0; 5]);
}

#[test]
fn publishers_and_threads_share_a_count() {
    let line = "fanout --subscribers 12 --channels 3 --count 100 --in-flight 5 --publishers 4 --threads 3";
    let Report::Fanout(fanout) = run(Fault::None, line) else { panic!("this is a fanout") };
    assert_eq!((fanout.deliveries.published, fanout.deliveries.expected), (100, 400));
    assert!(fanout.deliveries.are_right(), "{:?}", fanout.deliveries);
}

// Each fault is done once to each of the ten subscribers.

#[test]
fn what_is_lost_is_found() {
    check(Fault::Lose, [10, 0, 0, 0, 0]);
}

#[test]
fn what_is_late_is_found() {
    check(Fault::Swap, [0, 10, 0, 0, 0]);
}

#[test]
fn what_is_repeated_is_found() {
    check(Fault::Repeat, [0, 0, 10, 0, 0]);
}

#[test]
fn what_is_not_whole_is_found() {
    check(Fault::Corrupt, [10, 0, 0, 10, 0]);
}

#[test]
fn what_belongs_to_another_channel_is_found() {
    check(Fault::Misplace, [10, 0, 0, 0, 10]);
}

#[test]
fn a_connection_that_ends_is_found() {
    let found = fanout(Fault::Close);
    assert_eq!(found.ended, 10);
    assert!(!found.are_right());
    assert!(found.first_fault.is_some_and(|fault| fault.contains("3008: slow")));
}

#[test]
fn a_rate_is_kept_and_its_lag_is_told() {
    let line = "fanout --subscribers 5 --rate 100 --duration 1s --warmup 100ms";
    let Report::Fanout(fanout) = run(Fault::None, line) else { panic!("this is a fanout") };
    assert!(fanout.deliveries.are_right(), "{:?}", fanout.deliveries);
    // The machine may be busy: what is certain is that it is never faster.
    assert!((1..=101).contains(&fanout.window.publications), "{:?}", fanout.window);
    assert!(fanout.window.lag.is_some() && fanout.window.latency.is_some());
}

#[test]
fn idle_connections_are_kept() {
    let line = "idle --connections 50 --channels 3 --own-channels --settle 0s --duration 100ms --threads 2";
    let Report::Idle(idle) = run(Fault::None, line) else { panic!("this is idle") };
    assert_eq!((idle.ended, idle.setup.channels), (0, 150));
}

#[test]
fn everybody_comes_back() {
    let line = "churn --connections 50 --rounds 2 --settle 0s --threads 2";
    let Report::Churn(churn) = run(Fault::None, line) else { panic!("this is churn") };
    let back: Vec<_> = churn.rounds.iter().map(|round| round.back.map(|back| back.count)).collect();
    assert_eq!((back, churn.ended), (vec![Some(50); 3], 0));
}

#[test]
fn stalled_subscribers_are_told_apart() {
    let line =
        "slow --subscribers 5 --stalled 3 --rate 50 --warmup 0s --duration 200ms --stalled-duration 300ms";
    let Report::Slow(slow) = run(Fault::None, line) else { panic!("this is slow") };
    assert!(slow.deliveries.are_right(), "{:?}", slow.deliveries);
    assert_eq!(slow.ends, [("still connected".to_owned(), 3)]);
}

#[test]
fn a_report_is_text_and_json() {
    let report = run(Fault::Lose, "fanout --subscribers 2 --count 20");
    let text = report.to_string();
    assert!(text.contains("WRONG") && text.contains("lost  2"), "{text}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["scenario"], &json["deliveries"]["lost"]), (&"fanout".into(), &2.into()));
}

#[test]
fn what_cannot_be_done_is_said() {
    for (line, said) in [
        ("fanout --size 20", "--size 20; expected at least"),
        ("fanout --channels 3 --subscribers 2", "at least one client for each channel"),
        ("fanout --url http://localhost/", "expected a URL like ws://"),
        ("fanout --transport quic --url ws://localhost/", "expected a URL like quic://"),
        ("fanout --transport websocket --url quic://localhost/", "expected a URL like ws://"),
        ("slow --url quic://localhost/", "expected fanout or idle"),
        ("churn --transport quic", "expected fanout or idle"),
        ("idle --transport quic --sources 2", "--sources"),
        ("fanout --transport quic --publish api", "expected --api-url"),
        ("fanout --transport quic --cert-hash 12", "--cert-hash 12: expected the 64"),
        ("fanout --url wss://localhost/ --ca-file /nowhere.pem", "--ca-file /nowhere.pem"),
        ("fanout --url ws://127.0.0.1:1/", "could not connect"),
        ("idle --server-pid 2147483647", "--server-pid 2147483647"),
    ] {
        let error = Options::parse(line.split(' ')).unwrap().measure(None).unwrap_err().to_string();
        assert!(error.contains(said), "{line}: {error}");
    }
}
