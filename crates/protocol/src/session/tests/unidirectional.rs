//! Clients that only read, and clients whose first message stands in a URL.

use tidegate_core::protocol::Push;
use tidegate_core::request::StreamPosition;
use tidegate_core::{Channel, Disconnect, Entry, Kind, Publication};

use super::*;

/// Runs a script against a session on this transport, with this query; what is sent is shown as it is.
#[track_caller]
fn check(transport: &'static str, query: &str, script: &[(Do, &str)]) {
    let mut bench = bench(transport, query, Options { version: "v".into(), ..Default::default() });
    for (i, (step, expected)) in script.iter().enumerate() {
        assert_eq!(bench.take(step), *expected, "{transport}, step {i}: {step:?}");
    }
}

struct Bare(Bench);

fn bench(transport: &'static str, query: &str, options: Options) -> Bare {
    let peer = Peer { transport, query: query.into(), ..Default::default() };
    let now = Instant::now();
    let session = Centrifuge::new(options).session(&peer, now);
    Bare(Bench { encoding: Encoding::Json, session, now })
}

impl Bare {
    fn take(&mut self, step: &Do) -> String {
        let bench = &mut self.0;
        match step {
            Receive(message) => bench.session.receive(Bytes::from_static(message.as_bytes()), bench.now),
            Answer(outcome) => bench.session.answer(outcome.clone(), bench.now),
            After(ms) => {
                bench.now += Duration::from_millis(*ms);
                bench.expire();
            }
            Due => {
                bench.now = bench.session.deadline().expect("a session that waits for something");
                bench.expire();
            }
            NativePong => bench.session.ponged(bench.now),
            Raw(..) => unreachable!("not in these scripts"),
        }
        let actions = std::iter::from_fn(|| bench.session.next(bench.now));
        let shown = actions.map(|action| match action {
            Action::Send(message, None) => format!("< {}", str::from_utf8(&message).expect("JSON")),
            other => show(Encoding::Json, bench.now, other),
        });
        shown.collect::<Vec<_>>().join("; ")
    }
}

const HELLO: &str = r#"< {"connect":{"client":"c1","version":"v","ping":25}}"#;

#[test]
fn a_connect_request_alone_is_answered_by_a_push_alone() {
    for transport in ["uni_sse", "uni_http_stream", "uni_websocket"] {
        check(
            transport,
            "",
            &[(Receive(r#"{"token":"t"}"#), "connect t"), (connected(), HELLO), (Receive(r#"{"id":1}"#), "")],
        );
    }
}

#[test]
fn the_connect_request_may_stand_in_the_url() {
    let query = "a=b&cf_connect=%7B%22token%22%3A%22t+u%22%7D&c";
    for transport in ["uni_sse", "uni_websocket"] {
        // What comes besides is not looked at.
        check(transport, query, &[(After(0), "connect t u"), (Receive("x"), ""), (connected(), HELLO)]);
    }
    // Of other transports it is not read.
    check("uni_http_stream", query, &[(After(0), "")]);
    check("websocket", query, &[(After(0), "")]);
    let command = "cf_connect=%7B%22id%22%3A1%2C%22connect%22%3A%7B%22token%22%3A%22t%22%7D%7D";
    check("sse", command, &[(After(0), "connect t"), (connected(), CONNECTED)]);
    check("sse", "cf_connect=%7B", &[(After(0), "close 3501 bad request")]);
    check("uni_sse", "cf_connect=%5B%5D", &[(After(0), "close 3501 bad request")]);
    check("uni_sse", "cf_connect=", &[(After(0), "connect")]);
}

#[test]
fn what_is_no_connect_request_closes() {
    for message in ["", "x", "[]", "1", r#"{"token":1}"#] {
        check("uni_http_stream", "", &[(Receive(message), "close 3501 bad request")]);
    }
    for message in ["null", "{}{}"] {
        check("uni_http_stream", "", &[(Receive(message), "connect")]);
    }
    check("uni_http_stream", "", &[(Due, "close 3502 stale")]);
}

#[test]
fn an_error_becomes_a_disconnect() {
    let refused = |error: ClientError| Answer(Err(error.into()));
    for (error, expected) in [
        (ClientError::TOKEN_EXPIRED, "refuse 109: 3005 connection expired"),
        (ClientError::EXPIRED, "refuse 110: 3005 connection expired"),
        (ClientError::UNKNOWN_CHANNEL, "refuse 102: 3004 internal server error"),
    ] {
        check("uni_sse", "", &[(Receive("{}"), "connect"), (refused(error), expected)]);
    }
    let disconnect = Answer(Err(Disconnect::new(3500, "invalid token").into()));
    check("uni_sse", "", &[(Receive("{}"), "connect"), (disconnect, "close 3500 invalid token")]);
    let options = Options {
        unidirectional_disconnects: [(103, Disconnect::new(4903, "not here"))].into(),
        ..Default::default()
    };
    let mut bench = bench("uni_sse", "", options);
    bench.take(&Receive("{}"));
    let refused = bench.take(&refused(ClientError::PERMISSION_DENIED));
    assert_eq!(refused, "refuse 103: 4903 not here");
}

#[test]
fn only_a_websocket_can_answer_a_ping() {
    let opening = [(Receive("{}"), "connect"), (connected(), HELLO)];
    for transport in ["uni_sse", "uni_http_stream"] {
        let pings = [(Due, "< {}"), (Due, "< {}"), (Due, "< {}")];
        check(transport, "", &[&opening[..], &pings].concat());
    }
    let pings = [(Due, "native ping; < {}"), (NativePong, ""), (Due, "native ping; < {}")];
    let dead = [(Due, "close 3012 no pong")];
    check("uni_websocket", "", &[&opening[..], &pings, &dead].concat());
}

#[test]
fn pushes_stand_alone() {
    let mut bench = bench("uni_sse", "tidegate_notices=true", Options::default());
    bench.take(&Receive("{}"));
    bench.take(&connected());
    let session = &mut bench.0.session;
    let mut show =
        |push: Push<'_>| String::from_utf8(session.push(push).expect("a push").into()).expect("JSON");
    let (channel, why) = (Channel::new("a"), Disconnect::new(3001, "shutdown"));
    assert_eq!(show(Push::Disconnect(&why)), r#"{"disconnect":{"code":3001,"reason":"shutdown"}}"#);
    assert_eq!(show(Push::Message(&Bytes::from_static(b"1"))), r#"{"message":{"data":1}}"#);
    assert_eq!(
        show(Push::Unsubscribe(&channel, &Disconnect::new(2000, "x"))),
        r#"{"channel":"a","unsubscribe":{"code":2000,"reason":"x"}}"#
    );
    assert_eq!(
        show(Push::Publication(&channel, &Publication::new("1"))),
        r#"{"channel":"a","pub":{"data":1}}"#
    );
    let position = StreamPosition::default();
    let mut subscription =
        bench.0.session.subscription(&channel, &Subscribed { position, ..Default::default() });
    let mut batch = tidegate_core::outbox::Batch::new();
    let large = format!("\"{}\"", "x".repeat(10_000));
    for data in ["1", &large] {
        batch.begin(tidegate_core::outbox::Framing::NONE);
        let entry = Entry::new(Kind::Publication(Publication::new(Bytes::copy_from_slice(data.as_bytes()))));
        subscription.write(&entry, true, &mut batch);
        let written: Vec<u8> = batch.pieces().flatten().copied().collect();
        let expected = format!(r#"{{"channel":"a","pub":{{"data":{data}}}}}"#);
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }
}

#[test]
fn a_websocket_may_do_without_the_push_that_it_is_closed() {
    let why = Disconnect::new(3001, "shutdown");
    for (transport, push, expected) in [
        ("uni_websocket", true, true),
        ("uni_websocket", false, false),
        ("uni_sse", false, true),
        ("http_stream", false, true),
        ("sse", false, true),
        ("websocket", true, false),
    ] {
        let options = Options { unidirectional_websocket_push: push, ..Default::default() };
        let mut bench = bench(transport, "", options);
        assert_eq!(bench.0.session.push(Push::Disconnect(&why)).is_some(), expected, "{transport} {push}");
    }
}
