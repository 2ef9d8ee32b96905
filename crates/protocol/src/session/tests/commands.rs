//! Commands, their order, and what is no command.

use tidegate_core::request::{History, PresenceStats, StreamPosition};
use tidegate_core::{Disconnect, Publication};

use super::*;

const BAD: &str = "close 3501 bad request";

#[test]
fn connect_comes_first() {
    for first in [
        r#"{}"#,
        r#"{"id":1}"#,
        r#"{"connect":{}}"#,
        r#"{"id":0,"connect":{}}"#,
        r#"{"id":1,"ping":{}}"#,
        r#"{"send":{"data":1}}"#,
        r#"{"id":1,"subscribe":{"channel":"news"}}"#,
        r#"{"id":1,"publish":{"channel":"news","data":1}}"#,
        r#"{"id":1,"rpc":{"data":1}}"#,
        r#"{"id":1,"refresh":{"token":"t"}}"#,
    ] {
        // What follows in the frame is not looked at, and nothing is afterwards.
        let frame: &'static str = format!("{first}\n{CONNECT}").leak();
        check("", &[(Receive(frame), BAD), (Receive(CONNECT), ""), (After(60_000), "")]);
    }
}

#[test]
fn a_second_connect_closes() {
    check_open(&[(Receive(r#"{"id":2,"connect":{}}"#), BAD)]);
    check(
        "",
        &[
            (Receive("{\"id\":1,\"connect\":{}}\n{\"id\":2,\"connect\":{}}"), "connect"),
            (connected(), &format!("{CONNECTED}; {BAD}")),
        ],
    );
}

#[test]
fn what_is_no_command_closes() {
    let json: [&[u8]; 16] = [
        b"",
        b"\n",
        b"\n\n",
        b" ",
        b"null",
        b"1",
        b"[]",
        b"\"a\"",
        b"{",
        b"{}}",
        b"{\"id\":1",
        b"{\"id\":\"1\",\"connect\":{}}",
        b"{\"id\":-1,\"connect\":{}}",
        b"{\"id\":1.5,\"connect\":{}}",
        b"{\"id\":1,\"connect\":[]}",
        b"\xff",
    ];
    for frame in json {
        check("", &[(Raw(Encoding::Json, frame), BAD), (After(60_000), "")]);
    }
    let protobuf: [&[u8]; 5] =
        [b"", b"\x05\x08", b"\x02\x08\x80", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"{}"];
    for frame in protobuf {
        let mut bench = Bench::new(Encoding::Protobuf, "");
        assert_eq!(bench.take(&Raw(Encoding::Protobuf, frame)).as_deref(), Some(BAD), "{frame:?}");
    }
}

#[test]
fn an_open_session_closes_for_what_is_no_command() {
    for command in [
        r#"{"id":2}"#,
        r#"{"id":2,"ping":{}}"#,
        r#"{"id":2,"unheard_of":{}}"#,
        r#"{"id":2,"subscribe":{}}"#,
        r#"{"id":2,"subscribe":{"channel":""}}"#,
        r#"{"id":2,"subscribe":{"channel":"news","delta":"xdelta"}}"#,
        r#"{"id":2,"unsubscribe":{}}"#,
        r#"{"id":2,"publish":{"data":1}}"#,
        r#"{"id":2,"presence":{}}"#,
        r#"{"id":2,"presence_stats":{}}"#,
        r#"{"id":2,"history":{}}"#,
        r#"{"id":2,"refresh":{}}"#,
        r#"{"id":2,"sub_refresh":{}}"#,
        r#"{"id":2,"sub_refresh":{"token":"t"}}"#,
    ] {
        check_open(&[(Receive(command), BAD), (After(600_000), "")]);
    }
    // A blank line behind a command: one ends it, a second is an empty command.
    let opening = [(Receive(CONNECT), "connect"), (connected(), CONNECTED)];
    let one = (Raw(Encoding::Json, b"{\"id\":2,\"rpc\":{\"data\":1}}\n"), "rpc  1");
    let two = (Raw(Encoding::Json, b"{\"id\":2,\"rpc\":{\"data\":1}}\n\n"), "rpc  1");
    let answer = Answer(Ok(Response::Rpc("2".into())));
    let reply = r#"< {"id":2,"rpc":{"data":2}}"#;
    check("", &[&opening[..], &[one, (answer.clone(), reply)]].concat());
    check("", &[&opening[..], &[two, (answer, &format!("{reply}; {BAD}"))]].concat());
}

#[test]
fn commands_are_done_strictly_in_order() {
    let frame = concat!(
        r#"{"id":1,"connect":{"token":"t"}}"#,
        "\n",
        r#"{"id":2,"subscribe":{"channel":"a"}}"#,
        "\n",
        r#"{"id":3,"publish":{"channel":"a","data":{"x":1}}}"#,
        "\n",
        r#"{"id":4,"unsubscribe":{"channel":"a"}}"#,
    );
    check(
        "",
        &[
            (Receive(frame), "connect t"),
            // However slow authentication is.
            (After(3_600_000), ""),
            (connected(), &format!("{CONNECTED}; subscribe a")),
            (After(1), ""),
            (subscribed(), r#"< {"id":2,"subscribe":{}}; publish a {"x":1}"#),
            (Answer(Ok(Response::Published)), r#"< {"id":3,"publish":{}} after a; unsubscribe a"#),
            (Answer(Ok(Response::Unsubscribed)), r#"< {"id":4,"unsubscribe":{}}"#),
            // Nobody asked.
            (Answer(Ok(Response::Unsubscribed)), ""),
        ],
    );
}

#[test]
fn a_session_takes_no_frame_while_it_is_busy() {
    for encoding in BOTH {
        let mut bench = Bench::new(encoding, "");
        assert!(!bench.session.busy());
        bench.take(&Receive("{\"id\":1,\"connect\":{}}\n{\"id\":2,\"rpc\":{\"data\":1}}"));
        assert!(bench.session.busy(), "connecting");
        bench.take(&connected());
        assert!(bench.session.busy(), "the rpc");
        bench.take(&Answer(Ok(Response::Rpc("1".into()))));
        assert!(!bench.session.busy());
    }
}

#[test]
fn replies_are_as_sdks_expect_them() {
    let publication = Publication { data: "1".into(), offset: 2, ..Default::default() };
    let top = StreamPosition { offset: 2, epoch: "e".into() };
    let history = History { publications: vec![publication], top };
    let second = Duration::from_secs(1);
    for (command, request, answer, reply) in [
        (r#""subscribe":{"channel":"a"}"#, "subscribe a", subscribed(), r#""subscribe":{}"#),
        (r#""subscribe":{"channel":"a","delta":"fossil"}"#, "subscribe a", subscribed(), r#""subscribe":{}"#),
        (
            r#""unsubscribe":{"channel":"a"}"#,
            "unsubscribe a",
            Answer(Ok(Response::Unsubscribed)),
            r#""unsubscribe":{}"#,
        ),
        (
            r#""presence":{"channel":"a"}"#,
            "presence a",
            Answer(Ok(Response::Presence(Default::default()))),
            r#""presence":{"presence":{}}"#,
        ),
        (
            r#""presence_stats":{"channel":"a"}"#,
            "presence_stats a",
            Answer(Ok(Response::PresenceStats(PresenceStats { clients: 2, users: 0 }))),
            r#""presence_stats":{"num_clients":2,"num_users":0}"#,
        ),
        (
            r#""history":{"channel":"a"}"#,
            "history a Some(0)",
            Answer(Ok(Response::History(History::default()))),
            r#""history":{"publications":[],"epoch":"","offset":0}"#,
        ),
        (
            r#""history":{"channel":"a","limit":5}"#,
            "history a Some(5)",
            Answer(Ok(Response::History(history))),
            r#""history":{"publications":[{"data":1,"offset":2}],"epoch":"e","offset":2}"#,
        ),
        (
            r#""history":{"channel":"a","limit":-1}"#,
            "history a None",
            refused(ClientError::NOT_AVAILABLE),
            r#""error":{"code":108,"message":"not available"}"#,
        ),
        (
            r#""rpc":{"method":"m","data":{"a":"b"}}"#,
            r#"rpc m {"a":"b"}"#,
            Answer(Ok(Response::Rpc("[]".into()))),
            r#""rpc":{"data":[]}"#,
        ),
        (r#""rpc":{}"#, "rpc", Answer(Ok(Response::Rpc(Bytes::new()))), r#""rpc":{}"#),
        (
            r#""refresh":{"token":"t"}"#,
            "refresh t",
            Answer(Ok(Response::Refreshed { ttl: Some(second) })),
            r#""refresh":{"expires":true,"ttl":1}"#,
        ),
        (
            r#""sub_refresh":{"channel":"a","token":"t"}"#,
            "sub_refresh a t",
            Answer(Ok(Response::SubRefreshed { ttl: None })),
            r#""sub_refresh":{}"#,
        ),
        // Whether a token is needed is for the server to say.
        (
            r#""sub_refresh":{"channel":"a"}"#,
            "sub_refresh a",
            refused(ClientError::BAD_REQUEST),
            r#""error":{"code":107,"message":"bad request"}"#,
        ),
        (
            r#""rpc":{}"#,
            "rpc",
            refused(ClientError::INTERNAL),
            r#""error":{"code":100,"message":"internal server error","temporary":true}"#,
        ),
    ] {
        let command: &'static str = format!(r#"{{"id":7,{command}}}"#).leak();
        let mut bench = Bench::open(Encoding::Json, "");
        assert_eq!(bench.take(&Receive(command)).unwrap().trim_end(), request);
        let reply = format!(r#"< {{"id":7,{reply}}}"#);
        check_open(&[(Receive(command), &show_as(request)), (answer, &reply)]);
    }
}

/// A request without method and data is shown with the spaces between them.
fn show_as(request: &str) -> String {
    match request {
        "rpc" => "rpc  ".into(),
        "sub_refresh a" => "sub_refresh a ".into(),
        other => other.into(),
    }
}

#[test]
fn a_publish_reply_follows_its_channel_and_a_refusal_does_too() {
    let publish = r#"{"id":2,"publish":{"channel":"news","data":1}}"#;
    check_open(&[
        (Receive(publish), "publish news 1"),
        (Answer(Ok(Response::Published)), r#"< {"id":2,"publish":{}} after news"#),
        (Receive(publish), "publish news 1"),
        (
            refused(ClientError::PERMISSION_DENIED),
            r#"< {"id":2,"error":{"code":103,"message":"permission denied"}} after news"#,
        ),
    ]);
}

#[test]
fn whether_nothing_may_be_published_is_the_channel_s_to_say() {
    check_open(&[
        (Receive(r#"{"id":2,"publish":{"channel":"a"}}"#), "publish a "),
        (Answer(Ok(Response::Published)), r#"< {"id":2,"publish":{}} after a"#),
    ]);
}

#[test]
fn channels_of_a_connect_request_are_checked() {
    check("", &[(Receive(r#"{"id":1,"connect":{"subs":{"":{}}}}"#), "connect")]);
    check("", &[(Receive(r#"{"id":1,"connect":{"subs":{"a":{"delta":"xdelta"}}}}"#), BAD)]);
    check("", &[(Receive(r#"{"id":1,"connect":{"subs":{"a":{"delta":"fossil"}}}}"#), "connect")]);
}

#[test]
fn send_is_not_replied_to() {
    check_open(&[
        (Receive(r#"{"send":{"data":{"a":1}}}"#), r#"message {"a":1}"#),
        (Answer(Ok(Response::Sent)), ""),
        (Receive(r#"{"id":9,"send":{"data":1}}"#), "message 1"),
        (Answer(Ok(Response::Sent)), ""),
        (Receive(r#"{"send":{"data":1}}"#), "message 1"),
        (Answer(Err(Disconnect::new(3508, "not available").into())), "close 3508 not available"),
    ]);
}

#[test]
fn a_refused_connect_is_answered_and_nothing_else_is() {
    let more = "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"rpc\":{}}";
    check(
        "",
        &[
            (Receive(more), "connect"),
            (
                refused(ClientError::TOKEN_EXPIRED),
                r#"< {"id":1,"error":{"code":109,"message":"token expired"}}; linger 5s"#,
            ),
            (Receive(r#"{"id":3,"rpc":{}}"#), ""),
            (Receive(r#"{}"#), ""),
            (After(60_000), ""),
        ],
    );
    check(
        "",
        &[
            (Receive(more), "connect"),
            (Answer(Err(Disconnect::new(3500, "invalid token").into())), "close 3500 invalid token"),
            (Receive(r#"{"id":3,"rpc":{}}"#), ""),
        ],
    );
}

#[test]
fn a_payload_that_is_not_json_closes_a_json_session() {
    let cases = [
        (r#"{"id":2,"rpc":{}}"#, Response::Rpc(Bytes::from_static(b"\x00\xff"))),
        (r#"{"id":2,"rpc":{}}"#, Response::Rpc("1}, {\"push\":{}".into())),
        (
            r#"{"id":2,"subscribe":{"channel":"a"}}"#,
            Response::Subscribed(Box::new(Subscribed { data: "x".into(), ..Default::default() })),
        ),
    ];
    for (command, response) in cases {
        let mut json = Bench::open(Encoding::Json, "");
        json.take(&Receive(command));
        let answer = Answer(Ok(response.clone()));
        assert_eq!(json.take(&answer).unwrap(), "close 3506 inappropriate protocol", "{response:?}");
        assert_eq!(json.take(&Receive(command)).unwrap(), "");
        let mut protobuf = Bench::open(Encoding::Protobuf, "");
        protobuf.take(&Receive(command));
        protobuf.session.answer(Ok(response), protobuf.now);
        assert!(matches!(protobuf.session.next(protobuf.now), Some(Action::Send(..))));
    }
    let connected = Connected { data: "x".into(), ..Default::default() };
    let mut json = Bench::new(Encoding::Json, "");
    json.take(&Receive(CONNECT));
    let answer = Answer(Ok(Response::Connected(Box::new(connected))));
    assert_eq!(json.take(&answer).unwrap(), "close 3506 inappropriate protocol");
    assert_eq!(json.session.deadline(), None);
}
