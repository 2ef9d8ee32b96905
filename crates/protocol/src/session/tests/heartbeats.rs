//! Pings, pongs, and whoever does not answer.

use super::*;

const BAD: &str = "close 3501 bad request";

#[test]
fn a_client_that_does_not_connect_is_stale() {
    check("", &[(After(9_999), ""), (After(1), "close 3502 stale"), (Receive(CONNECT), "")]);
    check(
        "",
        &[(After(9_999), ""), (Receive(CONNECT), "connect"), (After(60_000), ""), (connected(), CONNECTED)],
    );
}

#[test]
fn a_ping_is_answered_once() {
    check_open(&[(Due, "< {}"), (After(7_999), ""), (Receive("{}"), ""), (Due, "< {}"), (Receive("{}"), "")]);
    // Nobody asked; twice; twice in one frame.
    check_open(&[(Receive("{}"), BAD)]);
    check_open(&[(Due, "< {}"), (Receive("{}"), ""), (Receive("{}"), BAD)]);
    check_open(&[(Due, "< {}"), (Receive("{}\n{}"), BAD)]);
    // Any id-less command but `send` is a pong.
    check_open(&[
        (Due, "< {}"),
        (Receive(r#"{"rpc":{"data":1}}"#), ""),
        (Receive(r#"{"rpc":{"data":1}}"#), BAD),
    ]);
    check_open(&[
        (Due, "< {}"),
        (Receive(r#"{"send":{"data":1}}"#), "message 1"),
        (Answer(Ok(Response::Sent)), ""),
        (Receive("{}"), ""),
    ]);
    // Commands may follow the pong in its frame.
    check_open(&[(Due, "< {}"), (Receive("{}\n{\"id\":2,\"rpc\":{}}"), "rpc  ")]);
}

#[test]
fn only_a_pong_is_a_sign_of_life() {
    check_open(&[(Due, "< {}"), (After(7_999), ""), (After(1), "close 3012 no pong"), (Receive("{}"), "")]);
    check_open(&[
        (Due, "< {}"),
        (After(4_000), ""),
        (Receive(r#"{"id":2,"subscribe":{"channel":"a"}}"#), "subscribe a"),
        (subscribed(), r#"< {"id":2,"subscribe":{}}"#),
        (Receive(r#"{"send":{"data":1}}"#), "message 1"),
        (Answer(Ok(Response::Sent)), ""),
        (NativePong, ""),
        (After(3_999), ""),
        (After(1), "close 3012 no pong"),
    ]);
    // While a request is being done, too.
    check_open(&[
        (Receive(r#"{"id":2,"rpc":{}}"#), "rpc  "),
        (Due, "< {}"),
        (After(8_000), "close 3012 no pong"),
        (Answer(Ok(Response::Rpc("1".into()))), ""),
    ]);
}

#[test]
fn the_first_ping_comes_in_the_second_half_of_an_interval_and_then_one_every_interval() {
    let mut first = Vec::new();
    for client in 0..200 {
        let mut bench = Bench::new(Encoding::Json, "");
        bench.take(&Receive(CONNECT));
        let connected = Connected {
            client: format!("client {client}").into(),
            ping: Duration::from_secs(25),
            ..Default::default()
        };
        let since = bench.now;
        bench.take(&Answer(Ok(Response::Connected(Box::new(connected)))));
        assert_eq!(bench.take(&Due).unwrap(), "< {}");
        first.push(bench.now - since);
        for _ in 0..3 {
            let last = bench.now;
            assert_eq!(bench.take(&Due).unwrap(), "< {}", "no pong is asked for");
            assert_eq!(bench.now - last, Duration::from_secs(25));
        }
    }
    let (least, most) = (first.iter().min().unwrap(), first.iter().max().unwrap());
    assert!(*least >= Duration::from_millis(12_500) && *least < Duration::from_secs(14), "{least:?}");
    assert!(*most <= Duration::from_secs(25) && *most > Duration::from_secs(23), "{most:?}");
}

#[test]
fn a_server_that_does_not_ping_has_no_deadline() {
    let mut bench = Bench::new(Encoding::Json, "");
    bench.take(&Receive(CONNECT));
    let answer =
        Answer(Ok(Response::Connected(Box::new(Connected { client: "c1".into(), ..Default::default() }))));
    assert_eq!(bench.take(&answer).unwrap(), r#"< {"id":1,"connect":{"client":"c1","version":"v"}}"#);
    assert_eq!(bench.session.deadline(), None);
    assert_eq!(bench.take(&Receive("{}")).unwrap(), BAD);
}

#[test]
fn native_pings_take_the_place_of_the_protocols_own() {
    let reply = r#"< {"id":1,"connect":{"client":"c1","version":"v"}}"#;
    let query = "a=b&cf_ws_frame_ping_pong=true";
    let opening = [(Receive(CONNECT), "connect"), (connected(), reply), (NativePong, "")];
    let rest = [
        (Due, "native ping"),
        (After(7_999), ""),
        (NativePong, ""),
        (NativePong, ""),
        (Due, "native ping"),
        (After(8_000), "close 3012 no pong"),
    ];
    check(query, &[&opening[..], &rest].concat());
    for other in ["cf_ws_frame_ping_pong=false", "cf_ws_frame_ping_pong", "xcf_ws_frame_ping_pong=true"] {
        check(other, &[(Receive(CONNECT), "connect"), (connected(), CONNECTED), (Due, "< {}")]);
    }
}

#[test]
fn a_late_ping_does_not_bring_two() {
    let mut bench = Bench::open(Encoding::Json, "");
    // The process was suspended for an hour.
    assert_eq!(bench.take(&After(3_600_000)).unwrap(), "< {}");
    assert_eq!(bench.take(&After(1_000)).unwrap(), "");
    assert_eq!(bench.take(&Receive("{}")).unwrap(), "");
    let last = bench.now;
    assert_eq!(bench.take(&Due).unwrap(), "< {}");
    assert!(bench.now - last >= Duration::from_secs(11));
}
