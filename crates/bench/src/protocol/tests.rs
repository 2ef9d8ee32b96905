use bytes::Bytes;
use tidegate_protocol::message::{self, ConnectResult, Disconnect, PublishResult};
use tidegate_protocol::{Encoding, Publication, Push, Reply};

use super::{Dialect, Heard, Who};
use crate::payload::{self, Stamp};
use crate::websocket::Outgoing;

const BOTH: [(Dialect, Encoding); 2] =
    [(Dialect::JSON, Encoding::Json), (Dialect::PROTOBUF, Encoding::Protobuf)];

const STAMP: Stamp = Stamp { publisher: 1, channel: 2, sequence: 3, sent: 4 };

fn payload(size: usize) -> Bytes {
    let mut payload = payload::blank(size);
    payload::stamp(&mut payload, STAMP);
    payload.into()
}

/// The messages that were sent, without their frames.
fn sent(out: &Outgoing) -> Vec<Vec<u8>> {
    let (mut rest, mut sent) = (&out.bytes[..], Vec::new());
    while !rest.is_empty() {
        let (header, length) = match rest[1] & 0x7f {
            126 => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
            short => (2, usize::from(short)),
        };
        let mask = &rest[header..header + 4];
        let body = &rest[header + 4..header + 4 + length];
        sent.push(body.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect());
        rest = &rest[header + 4 + length..];
    }
    sent
}

#[test]
fn what_is_said_is_what_servers_read() {
    for (dialect, encoding) in BOTH {
        let (mut client, mut out) = ((dialect.begin)(), Outgoing::new(false));
        client.connect(&Who { name: "bench-1", token: Some("secret") }, &mut out);
        client.subscribe(&["a".into(), "b".into()], &mut out);
        for size in [payload::SMALLEST, 128, 200, 20_000] {
            client.publish("a", &payload(size), &mut out);
        }
        let commands: Vec<_> = sent(&out)
            .iter()
            .flat_map(|frame| encoding.commands(frame).map(Result::unwrap).collect::<Vec<_>>())
            .collect();
        let ids: Vec<u32> = commands.iter().map(|command| command.id).collect();
        assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(commands[0].connect.as_ref().unwrap().token, "secret");
        assert_eq!(commands[2].subscribe.as_ref().unwrap().channel, "b");
        for (command, size) in commands[3..].iter().zip([payload::SMALLEST, 128, 200, 20_000]) {
            let publish = command.publish.clone().unwrap();
            assert_eq!((publish.channel, publish.data), ("a".into(), payload(size)), "{dialect:?}");
        }
    }
}

#[test]
fn what_servers_say_is_heard() {
    for (dialect, encoding) in BOTH {
        let push = |offset| {
            let publication = Publication { data: payload(300), offset, ..Default::default() };
            encoding.publication_push("news", &publication).unwrap()
        };
        let reply = |reply: &Reply| encoding.encode_reply(reply).unwrap();
        let frames = [
            reply(&Reply {
                id: 1,
                connect: Some(ConnectResult { ping: 25, pong: true, ..Default::default() }.into()),
                ..Default::default()
            }),
            reply(&Reply { id: 2, subscribe: Some(Box::default()), ..Default::default() }),
            push(0),
            push(7),
            push(8_000_000),
            reply(&Reply { id: 3, publish: Some(PublishResult::default()), ..Default::default() }),
            encoding.ping(),
            reply(&Reply {
                id: 4,
                error: Some(message::Error { code: 103, ..Default::default() }),
                ..Default::default()
            }),
            reply(&Reply::from(Push {
                disconnect: Some(Disconnect { code: 3001, ..Default::default() }),
                ..Default::default()
            })),
        ];
        let separator: &[u8] = if encoding == Encoding::Json { b"\n" } else { b"" };
        let together = frames.join(separator);
        for frames in [frames.to_vec(), vec![together.into()]] {
            let (mut client, mut out) = ((dialect.begin)(), Outgoing::new(false));
            let mut said = Vec::new();
            for frame in &frames {
                let read = client.receive(frame, &mut out, &mut |heard| {
                    said.push(match heard {
                        Heard::Payload(bytes) => {
                            assert_eq!(payload::read(bytes, 300), Some(STAMP));
                            "payload".into()
                        }
                        other => format!("{other:?}"),
                    });
                });
                assert_eq!(read, Ok(frame.len()));
            }
            let expected = ["Connected", "Subscribed", "payload", "payload", "payload", "Published"];
            assert_eq!(said[..6], expected, "{dialect:?}");
            assert!(said[6].contains("103") && said[7].contains("3001"), "{said:?}");
            assert_eq!(sent(&out), [encoding.ping().to_vec()], "a ping is answered");
        }
    }
}

/// A push as it stands on a subscription's stream: without the reply around it.
fn alone(encoding: Encoding, reply: &[u8]) -> Vec<u8> {
    match encoding {
        Encoding::Json => {
            let push = reply.strip_prefix(br#"{"push":"#).and_then(|push| push.strip_suffix(b"}"));
            [push.unwrap(), b"\n"].concat()
        }
        Encoding::Protobuf => {
            // The reply's length, then the field's key and length: of one byte, or of two from 128 bytes on.
            let width = 1 + usize::from(reply[0] >= 0x80);
            reply[width + 1..].to_vec()
        }
    }
}

#[test]
fn streams_of_subscriptions_are_heard() {
    for (dialect, encoding) in BOTH {
        let (mut client, mut out) = ((dialect.begin)(), Outgoing::plain(encoding == Encoding::Json));
        client.connect(&Who { name: "bench-1", token: None }, &mut out);
        client.subscribe(&["a".into(), "b".into()], &mut out);
        let publication = Publication { data: payload(300), offset: 7, ..Default::default() };
        let push = encoding.encode_push(&Push { publication: Some(publication), ..Default::default() });
        let join = encoding.encode_push(&Push { join: Some(message::Join::default()), ..Default::default() });
        let (push, join) = (alone(encoding, &push.unwrap()), alone(encoding, &join.unwrap()));
        let stream = [&push[..], &join, &push].concat();
        for (id, whole) in [(1, false), (2, true), (3, true), (4, false), (1 << 32 | 2, false)] {
            let mut payloads = 0;
            let read = client.receive_own(id, &stream, &mut |heard| {
                assert!(matches!(heard, Heard::Payload(bytes) if payload::read(bytes, 300) == Some(STAMP)));
                payloads += 1;
            });
            assert_eq!((read.is_ok(), payloads), (whole, if whole { 2 } else { 0 }), "{dialect:?}, {id}");
        }
    }
}

#[test]
fn what_is_no_message_is_an_error() {
    for (dialect, frame) in
        [(Dialect::JSON, &b"{\"push\""[..]), (Dialect::PROTOBUF, &[5, 1]), (Dialect::PROTOBUF, &[0x80])]
    {
        let heard = (dialect.begin)().receive(frame, &mut Outgoing::new(false), &mut |_| {});
        assert!(heard.is_err(), "{dialect:?} {frame:?}");
    }
}
