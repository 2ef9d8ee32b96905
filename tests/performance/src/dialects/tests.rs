use tidegate_bench::{Dialect, Heard, Outgoing};

use super::{MQTT, NATS};

/// What a client hears of a stream that is cut anywhere.
#[track_caller]
fn check(dialect: Dialect, stream: &[u8], expected: &[&str]) {
    for cut in 0..=stream.len() {
        let (mut client, mut out) = ((dialect.begin)(), Outgoing::default());
        client.connect(&tidegate_bench::Who { name: "a", token: None }, &mut out);
        client.subscribe(&["c".into(), "d".into()], &mut out);
        let mut said = Vec::new();
        let mut hear = |heard: Heard<'_>| {
            said.push(match heard {
                Heard::Payload(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                other => format!("{other:?}"),
            });
        };
        let read = client.receive(&stream[..cut], &mut out, &mut hear).unwrap();
        let rest = client.receive(&stream[read..], &mut out, &mut hear).unwrap();
        assert_eq!(read + rest, stream.len(), "cut at {cut}");
        assert_eq!(said, expected, "cut at {cut}");
    }
}

#[test]
fn nats() {
    let stream = b"INFO {}\r\nPONG\r\nPING\r\nPONG\r\nMSG c 1 5\r\na\r\nbc\r\nMSG d 2 0\r\n\r\n-ERR 'no'\r\n";
    let heard = ["Connected", "Subscribed", "Subscribed", "a\r\nbc", "", "Refused(\"-ERR 'no'\")"];
    check(NATS, stream, &heard);
}

#[test]
fn mqtt() {
    let long = "x".repeat(200);
    let mut stream = vec![0x20, 2, 0, 0, 0x90, 4, 0, 1, 0, 0, 0x30, 4, 0, 1, b'c', b'!'];
    stream.extend([0x30, 0xcb, 0x01, 0, 1, b'd']);
    stream.extend_from_slice(long.as_bytes());
    check(MQTT, &stream, &["Connected", "Subscribed", "Subscribed", "!", &long]);
}

#[test]
fn what_is_no_packet_is_an_error() {
    let endless = [0x30, 0x80, 0x80, 0x80, 0x80, 1];
    for (dialect, bytes) in
        [(NATS, &b"HELLO\r\n"[..]), (NATS, b"MSG c 1 x\r\n"), (MQTT, &[0xf0, 0]), (MQTT, &endless)]
    {
        let heard = (dialect.begin)().receive(bytes, &mut Outgoing::default(), &mut |_| ());
        assert!(heard.is_err(), "{dialect:?} {bytes:?}");
    }
}
