//! What single messages look like in JSON, and that Protobuf says the same.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;
use crate::{Encoding, NotJson};

/// The reply is written as `json`; read back it is the same, and so it is through Protobuf.
#[track_caller]
fn check(reply: Reply, json: &str) {
    assert_eq!(Encoding::Json.encode_reply(&reply).unwrap(), json);
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        let frame = encoding.encode_reply(&reply).unwrap();
        let back: Vec<_> = encoding.replies(&frame).map(Result::unwrap).collect();
        assert_eq!(back, std::slice::from_ref(&reply), "{encoding:?}");
    }
}

/// The line is read as the command; so it is through Protobuf.
#[track_caller]
fn check_command(line: &str, command: Command) {
    assert_eq!(Encoding::Json.commands(line.as_bytes()).next().unwrap().unwrap(), command);
    let frame = Encoding::Protobuf.encode_command(&command).unwrap();
    assert_eq!(Encoding::Protobuf.commands(&frame).next().unwrap().unwrap(), command);
}

/// The line is no command.
#[track_caller]
fn check_refused(line: &str) {
    let mut commands = Encoding::Json.commands(line.as_bytes());
    assert!(commands.next().unwrap().is_err(), "{line}");
    assert!(commands.next().is_none());
}

fn raw(json: &'static str) -> Bytes {
    Bytes::from_static(json.as_bytes())
}

fn tags(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}

fn client_info() -> ClientInfo {
    ClientInfo { user: "ada".into(), client: "c1".into(), conn_info: raw(r#"{"a":1}"#), chan_info: raw("2") }
}

#[test]
fn a_connect_reply_is_as_sdks_expect_it() {
    let connect = ConnectResult {
        client: "uuid".into(),
        version: "0.1".into(),
        ping: 25,
        pong: true,
        ..Default::default()
    };
    check(
        Reply { id: 1, connect: Some(connect.into()), ..Default::default() },
        r#"{"id":1,"connect":{"client":"uuid","version":"0.1","ping":25,"pong":true}}"#,
    );
}

#[test]
fn results_without_fields_are_empty_objects() {
    check(
        Reply { id: 2, unsubscribe: Some(UnsubscribeResult {}), ..Default::default() },
        r#"{"id":2,"unsubscribe":{}}"#,
    );
    check(Reply { id: 2, publish: Some(PublishResult {}), ..Default::default() }, r#"{"id":2,"publish":{}}"#);
    check(Reply { id: 2, ping: Some(PingResult {}), ..Default::default() }, r#"{"id":2,"ping":{}}"#);
    check(Reply { id: 2, rpc: Some(RpcResult::default()), ..Default::default() }, r#"{"id":2,"rpc":{}}"#);
    check(
        Reply { id: 2, subscribe: Some(Box::default()), ..Default::default() },
        r#"{"id":2,"subscribe":{}}"#,
    );
    check(
        Reply { id: 2, sub_refresh: Some(SubRefreshResult::default()), ..Default::default() },
        r#"{"id":2,"sub_refresh":{}}"#,
    );
    check(Reply::default(), "{}");
}

#[test]
fn some_zero_values_are_written_all_the_same() {
    check(
        Reply { id: 3, history: Some(Box::default()), ..Default::default() },
        r#"{"id":3,"history":{"publications":[],"epoch":"","offset":0}}"#,
    );
    check(
        Reply { id: 3, presence: Some(PresenceResult::default()), ..Default::default() },
        r#"{"id":3,"presence":{"presence":{}}}"#,
    );
    check(
        Reply { id: 3, presence_stats: Some(PresenceStatsResult::default()), ..Default::default() },
        r#"{"id":3,"presence_stats":{"num_clients":0,"num_users":0}}"#,
    );
    let presence = BTreeMap::from([("c1".to_owned(), ClientInfo::default())]);
    check(
        Reply { id: 3, presence: Some(PresenceResult { presence }), ..Default::default() },
        r#"{"id":3,"presence":{"presence":{"c1":{"user":"","client":""}}}}"#,
    );
}

#[test]
fn an_error_says_temporary_only_when_it_is() {
    use crate::ErrorCode::{Internal, PermissionDenied};
    check(
        Reply::failed(4, PermissionDenied),
        r#"{"id":4,"error":{"code":103,"message":"permission denied"}}"#,
    );
    check(
        Reply::failed(4, Internal),
        r#"{"id":4,"error":{"code":100,"message":"internal server error","temporary":true}}"#,
    );
}

#[test]
fn pushes_have_their_channel_first() {
    let join = Join { info: Some(client_info()) };
    let info = r#"{"user":"ada","client":"c1","conn_info":{"a":1},"chan_info":2}"#;
    check(
        Push { channel: "news".into(), join: Some(join), ..Default::default() }.into(),
        &format!(r#"{{"push":{{"channel":"news","join":{{"info":{info}}}}}}}"#),
    );
    let leave = Leave { info: Some(client_info()) };
    check(
        Push { id: -7, leave: Some(leave), ..Default::default() }.into(),
        &format!(r#"{{"push":{{"id":-7,"leave":{{"info":{info}}}}}}}"#),
    );
    let unsubscribe = (&crate::Unsubscribe::INSUFFICIENT_STATE).into();
    check(
        Push { channel: "news".into(), unsubscribe: Some(unsubscribe), ..Default::default() }.into(),
        r#"{"push":{"channel":"news","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#,
    );
    let disconnect = (&crate::Disconnect::SHUTDOWN).into();
    check(
        Push { disconnect: Some(disconnect), ..Default::default() }.into(),
        r#"{"push":{"disconnect":{"code":3001,"reason":"shutdown","reconnect":true}}}"#,
    );
    let disconnect = (&crate::Disconnect::BAD_REQUEST).into();
    check(
        Push { disconnect: Some(disconnect), ..Default::default() }.into(),
        r#"{"push":{"disconnect":{"code":3501,"reason":"bad request"}}}"#,
    );
    let message = Message { data: raw(r#"{"tidegate":{}}"#) };
    check(
        Push { message: Some(message), ..Default::default() }.into(),
        r#"{"push":{"message":{"data":{"tidegate":{}}}}}"#,
    );
}

#[test]
fn a_publication_has_its_fields_in_the_order_of_their_tags() {
    let publication = Publication {
        data: raw("[1]"),
        info: Some(client_info()),
        offset: u64::MAX,
        tags: tags("a", "b"),
        delta: true,
        time: -1,
        channel: "c".into(),
        key: "k".into(),
        removed: true,
        score: i64::MIN,
        epoch: "e".into(),
        prev_data: raw("0"),
        version: 9,
    };
    let info = r#"{"user":"ada","client":"c1","conn_info":{"a":1},"chan_info":2}"#;
    let json = format!(
        r#"{{"data":[1],"info":{info},"offset":18446744073709551615,"tags":{{"a":"b"}},"delta":true,"time":-1,"channel":"c","key":"k","removed":true,"score":-9223372036854775808,"epoch":"e","prev_data":0,"version":9}}"#
    );
    check(
        Push { channel: "news".into(), publication: Some(publication), ..Default::default() }.into(),
        &format!(r#"{{"push":{{"channel":"news","pub":{json}}}}}"#),
    );
}

#[test]
fn newlines_are_stripped_from_payloads() {
    let rpc = |data| Reply { id: 5, rpc: Some(RpcResult { data }), ..Default::default() };
    let json = Encoding::Json.encode_reply(&rpc(raw("\n{\n  \"a\\n\": [1,\n2]\n}\n"))).unwrap();
    assert_eq!(json, r#"{"id":5,"rpc":{"data":{  "a\n": [1,2]}}}"#);
}

#[test]
fn a_payload_that_is_not_json_is_not_written_as_json() {
    for data in ["oops", "1 2", "{", "\n", r#"1},"error":{"code":1"#, "\"a\nb\""] {
        let reply = Reply { id: 5, rpc: Some(RpcResult { data: raw(data) }), ..Default::default() };
        assert_eq!(Encoding::Json.encode_reply(&reply), Err(NotJson), "{data:?}");
        assert!(Encoding::Protobuf.encode_reply(&reply).is_ok());
    }
    let binary =
        Reply { rpc: Some(RpcResult { data: Bytes::from_static(b"\"\xff\"") }), ..Default::default() };
    assert_eq!(Encoding::Json.encode_reply(&binary), Err(NotJson));
}

#[test]
fn commands_are_read() {
    let connect = ConnectRequest {
        token: "t".into(),
        data: raw(r#"{"x": [ ]}"#),
        name: "js".into(),
        subs: BTreeMap::from([("c".to_owned(), SubscribeRequest { recover: true, ..Default::default() })]),
        headers: tags("h", "v"),
        ..Default::default()
    };
    check_command(
        r#"{"id":1,"connect":{"token":"t","data": {"x": [ ]} ,"name":"js","subs":{"c":{"recover":true}},"headers":{"h":"v"}}}"#,
        Command { id: 1, connect: Some(connect.into()), ..Default::default() },
    );
    let leaf = FilterNode { key: "k".into(), cmp: "in".into(), vals: vec!["1".into()], ..Default::default() };
    let filter = FilterNode { op: "not".into(), nodes: vec![leaf], ..Default::default() };
    let subscribe =
        SubscribeRequest { channel: "c".into(), tf: Some(filter), flag: 1, kind: 2, ..Default::default() };
    check_command(
        r#"{"subscribe":{"channel":"c","flag":1,"type":2,"tf":{"op":"not","nodes":[{"key":"k","cmp":"in","vals":["1"]}]}},"id":2}"#,
        Command { id: 2, subscribe: Some(subscribe.into()), ..Default::default() },
    );
    let since = StreamPosition { offset: 4, epoch: "e".into() };
    let history = HistoryRequest { channel: "c".into(), limit: -1, since: Some(since), reverse: true };
    check_command(
        r#"{"id":3,"history":{"channel":"c","limit":-1,"since":{"offset":4,"epoch":"e"},"reverse":true}}"#,
        Command { id: 3, history: Some(history.into()), ..Default::default() },
    );
    check_command(
        r#"{"send":{"data":"hi"}}"#,
        Command { send: Some(SendRequest { data: raw(r#""hi""#) }), ..Default::default() },
    );
}

#[test]
fn unknown_fields_are_ignored_and_null_is_as_good_as_absent() {
    let subscribe = |subscribe| Command { id: 1, subscribe: Some(Box::new(subscribe)), ..Default::default() };
    check_command(r#"{"id":1,"params":{"deep":[[]]},"subscribe":{"x":"y"}}"#, subscribe(Default::default()));
    check_command(
        r#"{"id":1,"connect":null,"subscribe":{"channel":null,"recover":null,"offset":null,"tf":null,"flag":null}}"#,
        subscribe(Default::default()),
    );
    let filter =
        FilterNode { vals: vec![String::new()], nodes: vec![Default::default()], ..Default::default() };
    check_command(
        r#"{"id":1,"subscribe":{"tf":{"nodes":[null],"vals":[null]}}}"#,
        subscribe(SubscribeRequest { tf: Some(filter), ..Default::default() }),
    );
    check_command(
        r#"{"id":1,"subscribe":{"tf":{"nodes":null,"vals":null}}}"#,
        subscribe(SubscribeRequest { tf: Some(FilterNode::default()), ..Default::default() }),
    );
    let connect = |connect| Command { connect: Some(Box::new(connect)), ..Default::default() };
    check_command(r#"{"id":null,"connect":{"subs":null,"headers":null}}"#, connect(Default::default()));
    let subs = BTreeMap::from([("c".to_owned(), SubscribeRequest::default())]);
    check_command(
        r#"{"connect":{"subs":{"c":null},"headers":{"h":null}}}"#,
        connect(ConnectRequest { subs, headers: tags("h", ""), ..Default::default() }),
    );
}

#[test]
fn a_payload_that_is_null_is_the_payload_null() {
    let publish = PublishRequest { channel: "c".into(), data: raw("null"), ..Default::default() };
    check_command(
        r#"{"id":1,"publish":{"channel":"c","data":null}}"#,
        Command { id: 1, publish: Some(publish), ..Default::default() },
    );
}

#[test]
fn fields_of_another_type_are_refused() {
    check_refused(r#"{"id":"1"}"#);
    check_refused(r#"{"id":-1}"#);
    check_refused(r#"{"id":1.0}"#);
    check_refused(r#"{"id":4294967296}"#);
    check_refused(r#"{"id":1,"subscribe":{"channel":1}}"#);
    check_refused(r#"{"id":1,"subscribe":{"recover":1}}"#);
    check_refused(r#"{"id":1,"subscribe":{"offset":"1"}}"#);
    check_refused(r#"{"id":1,"subscribe":"c"}"#);
    check_refused(r#"{"id":1,"subscribe":true}"#);
    check_refused(r#"{"id":1,"history":{"since":[4,"e"]}}"#);
    check_refused(r#"{"id":1,"connect":{"subs":[]}}"#);
    check_refused(r#"{"id":1,"connect":{"subs":{"c":[]}}}"#);
    check_refused(r#"{"id":1,"connect":{"headers":{"h":1}}}"#);
    check_refused(r#"{"id":1,"subscribe":{"tf":{"nodes":[[]]}}}"#);
    check_refused(r#"{"id":1,"subscribe":{"tf":{"nodes":{}}}}"#);
    // What serde's derive would read by itself: an array of the fields in order.
    check_refused(r#"{"id":1,"subscribe":["c"]}"#);
    check_refused(r#"{"id":1,"ping":[]}"#);
}

#[test]
fn a_field_may_come_only_once() {
    check_refused(r#"{"id":1,"id":2}"#);
    check_refused(r#"{"id":1,"publish":{"data":1,"data":2}}"#);
}
