use std::iter;

use bytes::Bytes;

use super::*;
use crate::Disconnect;
use crate::message::{
    ClientInfo, EmulationRequest, FilterNode, PublishRequest, RpcResult, SubscribeRequest, UnsubscribeRequest,
};

/// A frame reads as commands with these ids; `!` stands for where it is malformed.
#[track_caller]
fn check(encoding: Encoding, frame: impl AsRef<[u8]>, expected: &str) {
    let ids: Vec<_> = encoding
        .commands(frame.as_ref())
        .map(|command| command.map_or_else(|_| "!".to_owned(), |command| command.id.to_string()))
        .collect();
    assert_eq!(ids.join(" "), expected);
}

#[test]
fn json_commands_are_joined_by_newlines() {
    let check = |frame: &str, expected| check(Encoding::Json, frame, expected);
    check(r#"{"id":1}"#, "1");
    check("{\"id\":1}\n", "1");
    check("{\"id\":1}\n{\"id\":2}", "1 2");
    check("{\"id\":1}\n{\"id\":2}\n", "1 2");
    check("{}", "0");
    check("{}\n{}\n", "0 0");
    check("{\"id\":1}\r\n{\"id\":2}\r\n", "1 2");
    check("\t {\"id\":1} \n", "1");
    check("", "!");
    check("\n", "!");
    check(" ", "!");
    check("\n{\"id\":1}", "!");
    check("{\"id\":1}\n\n", "1 !");
    check("{\"id\":1}\n\n{\"id\":2}", "1 !");
    check("{\"id\":1}\n{\"id\":2}\n\n", "1 2 !");
}

#[test]
fn a_json_line_is_one_object() {
    let check = |frame: &str, expected| check(Encoding::Json, frame, expected);
    check("{", "!");
    // What stands behind it is not looked at.
    check("{\"id\":1}{\"id\":2}\n{\"id\":3}", "1 3");
    check("{\"id\":1},", "1");
    check("{\"id\":1}oops", "1");
    check("{\"id\":\n1}", "!");
    check("{\"id\":1}\noops\n{\"id\":3}", "1 !");
    check("null", "!");
    check("1", "!");
    check("\"connect\"", "!");
    check("[]", "!");
    check("[1]", "!");
}

#[test]
fn json_is_utf_8_even_where_nobody_looks() {
    check(Encoding::Json, b"{\"id\":1,\"x\":\"\xc3\xa4\"}", "1");
    check(Encoding::Json, b"{\"id\":1,\"x\":\"\xff\"}", "!");
    check(Encoding::Json, b"{\"id\":1,\"x\":\"\xed\xa0\x80\"}", "!");
    check(Encoding::Json, b"{\"id\":1,\"publish\":{\"data\":\"\xc3\"}}", "!");
    check(Encoding::Json, b"\xef\xbb\xbf{\"id\":1}", "!");
}

#[test]
fn protobuf_commands_have_their_length_in_front() {
    let check = |frame: &[u8], expected| check(Encoding::Protobuf, frame, expected);
    check(&[2, 0x08, 1], "1");
    check(&[2, 0x08, 1, 2, 0x08, 2], "1 2");
    check(&[0], "0");
    check(&[0, 0, 2, 0x08, 3], "0 0 3");
    check(&[0x82, 0x00, 0x08, 1], "1");
    check(&[], "!");
    check(&[2, 0x08], "!");
    check(&[2, 0x08, 1, 9], "1 !");
    check(&[2, 0x08, 1, 0x80], "1 !");
    check(&[0xff; 10], "!");
    check(&[0x80; 20], "!");
    check(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], "!");
}

#[test]
fn a_protobuf_command_is_one_message() {
    let check = |frame: &[u8], expected| check(Encoding::Protobuf, frame, expected);
    // Unknown fields are skipped: tag 2, which was once the method, and tag 100.
    check(&[4, 0x10, 5, 0x08, 1], "1");
    check(&[7, 0xa2, 0x06, 2, 1, 2, 0x08, 1], "1");
    // The id as a string, a tag of 0, a field cut short, a string that is not UTF-8.
    check(&[3, 0x0a, 1, 1], "!");
    check(&[2, 0x00, 1], "!");
    check(&[2, 0x22, 9], "!");
    check(&[5, 0x32, 3, 0x0a, 1, 0xff], "!");
}

#[test]
fn what_was_read_before_a_malformed_command_stands() {
    let mut commands = Encoding::Json.commands(b"{\"id\":1}\n{\"id\":2}\n{\"secret");
    assert_eq!(commands.next().unwrap().unwrap().id, 1);
    assert_eq!(commands.next().unwrap().unwrap().id, 2);
    let malformed = commands.next().unwrap().unwrap_err();
    assert_eq!(malformed.index(), 2);
    assert_eq!(
        malformed.to_string(),
        "message 3 of the frame: expected a JSON object, got its end at byte 8"
    );
    assert_eq!(Disconnect::from(malformed), Disconnect::BAD_REQUEST);
    assert!(commands.next().is_none());
}

#[test]
fn a_malformed_frame_is_described_without_quoting_it() {
    let check = |encoding: Encoding, frame: &[u8], expected: &str| {
        assert_eq!(encoding.commands(frame).next().unwrap().unwrap_err().to_string(), expected);
    };
    let json = Encoding::Json;
    check(json, b"", "message 1 of the frame: expected at least one message, got an empty frame");
    check(json, b"oops", "message 1 of the frame: expected a JSON object, got no JSON at byte 1");
    check(
        json,
        br#"{"id":"secret"}"#,
        "message 1 of the frame: expected a JSON object, got a value of another type at byte 14",
    );
    check(json, b"{\xff", "message 1 of the frame: expected UTF-8, got something else after byte 1");
    let protobuf = Encoding::Protobuf;
    check(protobuf, &[9, 1, 2], "message 1 of the frame: expected a message of 9 bytes, got 2");
}

#[test]
fn a_frame_is_read_only_as_far_as_it_is_asked_for() {
    let mut frame = "{\"id\":1}\n".repeat(1_000_000);
    frame.push_str("oops");
    assert_eq!(Encoding::Json.commands(frame.as_bytes()).take(3).map(Result::unwrap).count(), 3);
    assert_eq!(Encoding::Json.commands(frame.as_bytes()).filter(Result::is_ok).count(), 1_000_000);
}

#[test]
fn payloads_do_not_keep_the_frame_alive() {
    let publish =
        PublishRequest { channel: "c".into(), data: Bytes::from_static(b"1"), ..Default::default() };
    let command = Command { id: 1, publish: Some(publish), ..Default::default() };
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        let frame = encoding.encode_command(&command).unwrap();
        let data = encoding.commands(&frame).next().unwrap().unwrap().publish.unwrap().data;
        assert_eq!(data, "1");
        assert!(!frame.as_ptr_range().contains(&data.as_ptr()));
    }
}

#[test]
fn a_ping_is_the_empty_reply() {
    assert_eq!(Encoding::Json.ping(), "{}");
    assert_eq!(Encoding::Protobuf.ping(), [0].as_slice());
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        assert_eq!(encoding.ping(), encoding.encode_reply(&Reply::default()).unwrap());
        let pong = encoding.ping();
        assert_eq!(encoding.commands(&pong).next().unwrap().unwrap(), Command::default());
    }
}

#[test]
fn protobuf_is_what_others_write() {
    let check = |command: Command, bytes: &[u8]| {
        assert_eq!(Encoding::Protobuf.encode_command(&command).unwrap(), bytes);
        assert_eq!(Encoding::Protobuf.commands(bytes).next().unwrap().unwrap(), command);
    };
    check(Command { id: 1, connect: Some(Box::default()), ..Default::default() }, b"\x04\x08\x01\x22\x00");
    let subscribe =
        SubscribeRequest { channel: "news".into(), recover: true, offset: 300, ..Default::default() };
    check(
        Command { id: 2, subscribe: Some(subscribe.into()), ..Default::default() },
        b"\x0f\x08\x02\x2a\x0b\x0a\x04news\x18\x01\x38\xac\x02",
    );
    let unsubscribe = UnsubscribeRequest { channel: "a".into() };
    check(
        Command { id: 3, unsubscribe: Some(unsubscribe), ..Default::default() },
        b"\x07\x08\x03\x32\x03\x0a\x01a",
    );

    let publication = Publication { data: Bytes::from_static(b"\x00\xff"), score: -1, ..Default::default() };
    let push = Push { channel: "a".into(), publication: Some(publication), ..Default::default() };
    assert_eq!(
        Encoding::Protobuf.encode_push(&push).unwrap(),
        b"\x0d\x22\x0b\x12\x01a\x22\x06\x22\x02\x00\xff\x68\x01".as_slice(),
    );
}

#[test]
fn pushes_are_replies() {
    let publication = Publication { data: Bytes::from_static(b"1"), ..Default::default() };
    let push = Push { channel: "a".into(), publication: Some(publication), ..Default::default() };
    let long = Push { channel: "x".repeat(70_000), ..Default::default() };
    for push in [push, long, Push::default()] {
        for encoding in [Encoding::Json, Encoding::Protobuf] {
            let reply = Reply::from(push.clone());
            assert_eq!(encoding.encode_push(&push).unwrap(), encoding.encode_reply(&reply).unwrap());
        }
    }
}

/// The short way to a publication push comes out where the long one does, whatever the publication.
#[test]
fn a_publication_push_is_the_push_of_a_publication() {
    let data =
        |json: &str| Publication { data: Bytes::copy_from_slice(json.as_bytes()), ..Default::default() };
    let info = ClientInfo {
        user: "\"ü\"\n".into(),
        conn_info: Bytes::from_static(b"{\n}"),
        chan_info: Bytes::from_static(b" 3 "),
        ..Default::default()
    };
    let full = Publication {
        info: Some(info),
        offset: 1,
        tags: [("k\n".to_owned(), "\\".to_owned())].into(),
        delta: true,
        time: 2,
        channel: "c".into(),
        key: "k".into(),
        removed: true,
        score: -3,
        epoch: "e".into(),
        prev_data: Bytes::from_static(b"null"),
        version: 4,
        ..data("{\n\"a\": \"\\n\"\r\n}\n")
    };
    let publications = [
        Publication::default(),
        data("null"),
        data(&format!("\"{}\"", "x".repeat(70_000))),
        Publication { offset: 7, ..data("{}") },
        Publication { info: Some(ClientInfo::default()), ..data("1") },
        full,
    ];
    for (publication, channel) in iter::zip(publications, ["news", "", "a\"b\u{2028}", "\n", "x", "chat:1"]) {
        let push =
            Push { channel: channel.into(), publication: Some(publication.clone()), ..Default::default() };
        for encoding in [Encoding::Json, Encoding::Protobuf] {
            let short = encoding.publication_push(channel, &publication).unwrap();
            assert_eq!(short, encoding.encode_push(&push).unwrap());
            assert!(encoding == Encoding::Protobuf || !short.contains(&b'\n'));
        }
    }
}

#[test]
fn a_publication_push_refuses_what_is_not_json() {
    let check = |publication: Publication| {
        assert_eq!(Encoding::Json.publication_push("c", &publication), Err(NotJson));
        assert!(Encoding::Protobuf.publication_push("c", &publication).is_ok());
    };
    let binary = Bytes::from_static(b"\x00\x01");
    check(Publication { data: binary.clone(), ..Default::default() });
    check(Publication { prev_data: binary.clone(), ..Default::default() });
    let info = ClientInfo { chan_info: binary, ..Default::default() };
    check(Publication { info: Some(info), ..Default::default() });
    assert_eq!(Disconnect::from(NotJson), Disconnect::INAPPROPRIATE_PROTOCOL);
}

#[test]
fn json_is_one_value() {
    let check = |data: &[u8], expected| {
        assert_eq!(is_json(data), expected, "{}", data.escape_ascii());
        assert_eq!(Encoding::Json.carries(data), expected);
        assert!(Encoding::Protobuf.carries(data));
    };
    for json in ["{}", "[1,\n2]", "null", "\"a\"", " -1.5e3 \n", "true", r#""\ud800""#] {
        check(json.as_bytes(), true);
    }
    for other in
        ["", " ", "{", "1 2", "tru", "01", "\"a\nb\"", "\"\u{0}\"", "{}}", "[1,]", "{a:1}", "'a'", "NaN"]
    {
        check(other.as_bytes(), false);
    }
    check(b"\"\xff\"", false);
    check(b"\xef\xbb\xbf1", false);
}

#[test]
fn depth_does_not_overflow_the_stack() {
    const DEEP: usize = 200_000;
    let nested = format!("{}{}", "[".repeat(DEEP), "]".repeat(DEEP));
    let json = |frame: String, expected| check(Encoding::Json, frame, expected);
    json("[".repeat(DEEP), "!");
    json("{\"id\":".repeat(DEEP), "!");
    json(format!("{{\"id\":1,\"unknown\":{nested}}}"), "1");
    json(format!("{{\"id\":1,\"publish\":{{\"data\":{nested}}}}}"), "1");
    json(format!("{{\"id\":1,\"publish\":{{\"data\":{}", "[".repeat(DEEP)), "!");
    json(format!("{{\"subscribe\":{{\"tf\":{}", "{\"nodes\":[".repeat(DEEP)), "!");
    json(format!("{{\"connect\":{{\"subs\":{}", "{\"a\":".repeat(DEEP)), "!");

    assert!(is_json(nested.as_bytes()));
    assert!(!is_json("[".repeat(DEEP).as_bytes()));
    let rpc = RpcResult { data: Bytes::from(nested) };
    assert!(Encoding::Json.encode_reply(&Reply { rpc: Some(rpc), ..Default::default() }).is_ok());

    // Groups of an unknown field, each in the other: never closed.
    let mut groups = Vec::new();
    prost::encode_length_delimiter(DEEP, &mut groups).unwrap();
    groups.resize(groups.len() + DEEP, 0x13);
    check(Encoding::Protobuf, groups, "!");
}

#[test]
fn filters_nest_as_deeply_as_people_write_them_and_no_deeper() {
    let filter = |depth| {
        let leaf = FilterNode { key: "k".into(), ..Default::default() };
        (0..depth).fold(leaf, |node, _| FilterNode {
            op: "not".into(),
            nodes: vec![node],
            ..Default::default()
        })
    };
    for (depth, fits) in [(40, true), (200, false)] {
        let subscribe = SubscribeRequest { tf: Some(filter(depth)), ..Default::default() };
        let command = Command { id: 1, subscribe: Some(subscribe.into()), ..Default::default() };
        for encoding in [Encoding::Json, Encoding::Protobuf] {
            let frame = encoding.encode_command(&command).unwrap();
            check(encoding, frame, if fits { "1" } else { "!" });
        }
    }
}

#[test]
fn what_is_posted_for_a_stream_is_one_message_with_a_frame_in_it() {
    let json = r#"{"session":"s","node":"n","data":"{\"id\":1}\n{\"id\":2}"}"#;
    let expected = EmulationRequest {
        session: "s".into(),
        node: "n".into(),
        data: Bytes::from_static(b"{\"id\":1}\n{\"id\":2}"),
    };
    assert_eq!(Encoding::Json.emulation_request(json.as_bytes()), Ok(expected.clone()));
    let protobuf = prost::Message::encode_to_vec(&expected);
    assert_eq!(Encoding::Protobuf.emulation_request(&protobuf), Ok(expected.clone()));
    // One command need not be in a string.
    let command = r#"{"session":"s","node":"n","data":{"id":1}}"#;
    let data = Bytes::from_static(b"{\"id\":1}");
    assert_eq!(
        Encoding::Json.emulation_request(command.as_bytes()),
        Ok(EmulationRequest { data, ..expected })
    );
    assert_eq!(Encoding::Json.emulation_request(b"{}"), Ok(EmulationRequest::default()));
    for malformed in ["", "[]", r#"{"session":1}"#, r#"{"data":"x"#] {
        assert!(Encoding::Json.emulation_request(malformed.as_bytes()).is_err(), "{malformed}");
    }
    assert!(Encoding::Protobuf.emulation_request(b"\x0a\x05n").is_err());
}
