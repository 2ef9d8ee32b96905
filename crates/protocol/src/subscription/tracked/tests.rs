use prost::Message;
use tidegate_core::outbox::{Batch, Framing};

use super::write;
use crate::Encoding;
use crate::message::{ClientInfo, Join, Publication, Push};

/// What a track says for `push`, which everybody else reads in a reply.
fn written(encoding: Encoding, push: &Push) -> Vec<u8> {
    let reply = encoding.encode_push(push).unwrap();
    let mut batch = Batch::new();
    batch.begin(match encoding {
        Encoding::Json => Framing::LINES,
        Encoding::Protobuf => Framing::NONE,
    });
    write(encoding, &reply, &mut batch);
    let bytes: Vec<u8> = batch.pieces().flatten().copied().collect();
    assert_eq!(bytes.len(), batch.len());
    bytes
}

fn check(channel: &str, push: Push) {
    let told = Push { channel: channel.to_owned(), ..push.clone() };
    let json = written(Encoding::Json, &told);
    assert_eq!(String::from_utf8(json).unwrap(), format!("{}\n", serde_json::to_string(&push).unwrap()));
    let protobuf = written(Encoding::Protobuf, &told);
    assert_eq!(Push::decode_length_delimited(&protobuf[..]).unwrap(), push);
    assert_eq!(protobuf, push.encode_length_delimited_to_vec());
}

#[test]
fn the_channel_and_the_reply_are_left_out() {
    let long = "x".repeat(70_000);
    for channel in ["news", "a", r#"a"b\c\"#, "caf\u{e9}:\u{1}", &long] {
        for size in [0, 1, 100, 5000, 70_000] {
            let data = format!("\"{}\"", "y".repeat(size)).into();
            let publication = Publication { data, offset: 7, ..Default::default() };
            check(channel, Push { publication: Some(publication), ..Default::default() });
        }
        let info = Some(ClientInfo { user: "ada".into(), client: "1".into(), ..Default::default() });
        check(channel, Push { join: Some(Join { info }), ..Default::default() });
    }
}

#[test]
fn a_notice_has_no_channel_to_leave_out() {
    let push = crate::convert::message_push("{}".into());
    let json = written(Encoding::Json, &push);
    assert_eq!(json, b"{\"message\":{\"data\":{}}}\n");
    let protobuf = written(Encoding::Protobuf, &push);
    assert_eq!(Push::decode_length_delimited(&protobuf[..]).unwrap(), push);
}
