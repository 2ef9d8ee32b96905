//! Which encoding a session speaks, and its bytes.

use super::*;

#[track_caller]
fn check_encoding(protocol: &str, query: &str, expected: Encoding) {
    let peer =
        Peer { transport: "websocket", protocol: protocol.into(), query: query.into(), ..Default::default() };
    let mut bench = Bench::of(expected, &peer);
    assert_eq!(bench.session.binary(), expected == Encoding::Protobuf, "{protocol:?} {query:?}");
    assert_eq!(bench.take(&Receive(CONNECT)).unwrap(), "connect");
    assert_eq!(bench.take(&connected()).unwrap(), CONNECTED);
}

#[test]
fn the_subprotocol_chooses_and_so_does_the_query() {
    use Encoding::{Json, Protobuf};
    check_encoding("", "", Json);
    check_encoding("centrifuge-json", "", Json);
    check_encoding("centrifuge-protobuf", "", Protobuf);
    check_encoding("", "cf_protocol=protobuf", Protobuf);
    check_encoding("", "format=protobuf", Protobuf);
    check_encoding("", "x=1&format=protobuf&y", Protobuf);
    check_encoding("", "format=json", Json);
    check_encoding("", "cf_protocol=protobuf2", Json);
    check_encoding("", "xformat=protobuf", Json);
    check_encoding("centrifuge-json", "cf_protocol=protobuf", Protobuf);
    check_encoding("centrifuge-json", "format=protobuf", Protobuf);
    check_encoding("centrifuge-protobuf", "format=json", Protobuf);
}

#[test]
fn the_protocol_serves_everybody() {
    let protocol = Centrifuge::default();
    assert!(protocol.accepts(&Peer::default()));
    assert_eq!(protocol.names(), ["centrifuge-json", "centrifuge-protobuf"]);
}

/// The bytes that a session sends after `command` was answered.
#[track_caller]
fn check_bytes(encoding: Encoding, command: &'static str, response: Response, expected: &[u8]) {
    let mut bench = Bench::open(encoding, "");
    bench.session.receive(frame(encoding, command), bench.now);
    bench.session.next(bench.now).expect("a request");
    bench.session.answer(Ok(response), bench.now);
    let Some(Action::Send(message, _)) = bench.session.next(bench.now) else { panic!("a reply") };
    assert_eq!(message, expected);
}

#[test]
fn replies_have_these_bytes() {
    let unsubscribe = r#"{"id":2,"unsubscribe":{"channel":"a"}}"#;
    let rpc = r#"{"id":300,"rpc":{}}"#;
    check_bytes(Encoding::Json, unsubscribe, Response::Unsubscribed, br#"{"id":2,"unsubscribe":{}}"#);
    check_bytes(Encoding::Protobuf, unsubscribe, Response::Unsubscribed, b"\x04\x08\x02\x3a\x00");
    check_bytes(
        Encoding::Json,
        rpc,
        Response::Rpc("{ \"a\":\n1}".into()),
        br#"{"id":300,"rpc":{"data":{ "a":1}}}"#,
    );
    check_bytes(Encoding::Protobuf, rpc, Response::Rpc("\0".into()), b"\x08\x08\xac\x02\x6a\x03\x0a\x01\x00");
}

#[test]
fn a_ping_has_these_bytes() {
    for (encoding, bytes) in [(Encoding::Json, &b"{}"[..]), (Encoding::Protobuf, b"\0")] {
        let mut bench = Bench::open(encoding, "");
        bench.now = bench.session.deadline().unwrap();
        bench.session.expire(bench.now);
        let Some(Action::Send(message, None)) = bench.session.follow_up() else { panic!("a ping") };
        assert_eq!(message, bytes);
        // The pong is the same.
        assert_eq!(bench.take(&Raw(encoding, bytes)).unwrap(), "");
        assert_eq!(bench.take(&Raw(encoding, bytes)).unwrap(), "close 3501 bad request");
    }
}
