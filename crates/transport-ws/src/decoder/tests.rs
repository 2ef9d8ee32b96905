use super::*;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A masked frame of a client.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=65535 => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn text(event: Result<Option<Received>, ReceiveError>) -> Option<String> {
    let short = |bytes: &[u8]| match bytes.len() {
        0..=20 => format!("{:?}", Bytes::copy_from_slice(bytes)).trim_start_matches('b').to_owned(),
        len => format!("{len} bytes"),
    };
    Some(match event {
        Ok(None) => return None,
        Ok(Some(Received::Message(bytes))) => format!("message {}", short(&bytes)),
        Ok(Some(Received::Answer(bytes))) => format!("answer {}", short(&bytes)),
        Ok(Some(Received::Pong)) => "pong".to_owned(),
        Ok(Some(Received::Closed(code))) => format!("closed {code:?}"),
        Err(error) => {
            let close = error.close().expect("the decoder does no I/O");
            format!("error {close}").trim_end().to_owned()
        }
    })
}

/// What comes of the bytes in pieces of `size`, by the rules that connections follow.
fn decode(bytes: &[u8], size: usize) -> (Vec<String>, Decoder) {
    let mut decoder = Decoder::new(70_000, 4);
    let mut buffer = BytesMut::new();
    let mut events = Vec::new();
    for piece in bytes.chunks(size) {
        let mut piece = piece.to_vec();
        if buffer.is_empty() {
            let mut read = &mut piece[..];
            while let Some(event) = text(decoder.next(&mut read)) {
                let over = event.starts_with("error") || event.starts_with("closed");
                events.push(event);
                if over {
                    return (events, decoder);
                }
            }
            buffer.extend_from_slice(read);
            continue;
        }
        buffer.extend_from_slice(&piece);
        while let Some(event) = text(decoder.next(&mut buffer)) {
            let over = event.starts_with("error") || event.starts_with("closed");
            events.push(event);
            if over {
                return (events, decoder);
            }
        }
    }
    (events, decoder)
}

fn check(frames: &[Vec<u8>], expected: &[&str]) {
    let bytes = frames.concat();
    for size in [usize::MAX, 1, 2, 3, 5, 7, 64, 4096].map(|size| size.min(bytes.len())) {
        assert_eq!(
            decode(&bytes, size).0,
            expected,
            "in pieces of {size}: {:?}",
            Bytes::copy_from_slice(&bytes[..bytes.len().min(40)])
        );
    }
}

#[test]
fn messages_come_whole() {
    check(&[frame(0x81, b"hello")], &[r#"message "hello""#]);
    check(&[frame(0x82, b"\xff\0")], &[r#"message "\xff\0""#]);
    check(&[frame(0x81, b""), frame(0x82, b"")], &[r#"message """#, r#"message """#]);
    check(
        &[frame(0x81, b"a"), frame(0x81, b"b"), frame(0x81, b"c")],
        &[r#"message "a""#, r#"message "b""#, r#"message "c""#],
    );
    for len in [125, 126, 127, 65535, 65536, 70_000] {
        let expected = format!("message {len} bytes");
        check(&[frame(0x81, &vec![b'x'; len])], &[&expected]);
    }
}

#[test]
fn unmasking_is_right_at_every_length_and_place() {
    let plain: Vec<u8> = (0..100).collect();
    for len in 0..plain.len() {
        for start in 0..4 {
            let mut bytes = [vec![0; start], frame(0x82, &plain[..len])].concat();
            let mut source = &mut bytes[start..];
            let received = Decoder::new(100, 1).next(&mut source).expect("a good frame");
            assert_eq!(received, Some(Received::Message(Bytes::copy_from_slice(&plain[..len]))));
            assert!(source.is_empty());
        }
    }
}

#[test]
fn fragments_are_joined() {
    check(&[frame(0x01, b"he"), frame(0x00, b""), frame(0x80, b"llo")], &[r#"message "hello""#]);
    check(&[frame(0x02, b""), frame(0x80, b"")], &[r#"message """#]);
    // A character cut between fragments is whole in the end; control frames may stand between them.
    check(
        &[frame(0x01, b"\xe2\x82"), frame(0x89, b"?"), frame(0x8a, b""), frame(0x80, b"\xac")],
        &[r#"answer "\x8a\x01?""#, "pong", r#"message "\xe2\x82\xac""#],
    );
    check(&[frame(0x01, b"a"), frame(0x80, b"b"), frame(0x81, b"c")], &[r#"message "ab""#, r#"message "c""#]);
    let many = |n: usize| [vec![frame(0x01, b"")], vec![frame(0x00, b""); n - 2], vec![frame(0x80, b"")]];
    check(&many(4).concat(), &[r#"message """#]);
    check(&many(5).concat(), &["error 1008 too many fragments"]);
}

#[test]
fn control_frames_are_answered() {
    check(&[frame(0x89, b"hi")], &[r#"answer "\x8a\x02hi""#]);
    check(&[frame(0x89, b"")], &[r#"answer "\x8a\0""#]);
    check(&[frame(0x89, &[b'x'; 125])], &["answer 127 bytes"]);
    check(&[frame(0x8a, b"unasked")], &["pong"]);
    check(&[frame(0x88, b"")], &["closed Some(1005)"]);
    check(&[frame(0x88, b"\x03\xe8bye \xe2\x82\xac"), frame(0x81, b"late")], &["closed Some(1000)"]);
    for code in [1000_u16, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 3000, 3999, 4000, 4999] {
        let expected = format!("closed Some({code})");
        check(&[frame(0x88, &code.to_be_bytes())], &[&expected]);
    }
}

#[test]
fn violations_close_with_1002() {
    let error = |frames: &[Vec<u8>], rule: &str| check(frames, &[&format!("error 1002 {rule}")]);
    let mut unmasked = frame(0x81, b"x");
    unmasked[1] &= 0x7f;
    error(&[unmasked], "bad MASK");
    for (bit, told) in [(0x40, "RSV1 set"), (0x20, "RSV2 set"), (0x10, "RSV3 set")] {
        error(&[frame(0x81 | bit, b"x")], told);
        error(&[frame(0x89 | bit, b"x")], told);
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        error(&[frame(0x80 | opcode, b"x")], &format!("bad opcode {opcode}"));
    }
    for opcode in [8, 9, 10] {
        error(&[frame(opcode, b"")], "FIN not set on control");
        error(&[frame(0x80 | opcode, &[0; 126])], "len > 125 for control");
    }
    error(&[frame(0x80, b"x")], "continuation after FIN");
    error(&[frame(0x00, b"x")], "continuation after FIN");
    error(&[frame(0x01, b"x"), frame(0x81, b"y")], "data before FIN");
    error(&[frame(0x01, b"x"), frame(0x02, b"y")], "data before FIN");
    error(&[frame(0x88, b"\x03")], "close frame of one byte");
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        error(&[frame(0x88, &code.to_be_bytes())], &format!("bad close code {code}"));
    }
}

#[test]
fn text_is_utf8() {
    let bad: [&[u8]; 5] = [b"\xff", b"\xc0\x80", b"ok\xe2\x82", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"];
    for bytes in bad {
        check(&[frame(0x81, bytes)], &["error 1007 text not UTF-8"]);
        check(&[frame(0x01, &bytes[..1]), frame(0x80, &bytes[1..])], &["error 1007 text not UTF-8"]);
        check(&[frame(0x88, &[b"\x03\xe8", bytes].concat())], &["error 1007 close reason not UTF-8"]);
    }
}

#[test]
fn a_large_message_is_judged_by_what_it_announces() {
    let announced = |first: u8, len: u64| [&[first, 0xff][..], &len.to_be_bytes(), &MASK].concat();
    for len in [70_001, 1 << 32, 1 << 63, u64::MAX] {
        check(&[announced(0x82, len)], &["error 1009"]);
        check(&[frame(0x02, b"some"), announced(0x80, len)], &["error 1009"]);
    }
    check(
        &[frame(0x02, &[0; 35_000]), frame(0x00, &[0; 35_000]), frame(0x80, b"")],
        &["message 70000 bytes"],
    );
    check(&[frame(0x02, &[0; 35_000]), announced(0x00, 35_001)], &["error 1009"]);
    // Control frames have their own limit.
    check(&[frame(0x82, &[0; 70_000]), frame(0x89, b"")], &["message 70000 bytes", r#"answer "\x8a\0""#]);
}

#[test]
fn what_is_unfinished_is_known() {
    assert_eq!(decode(&frame(0x81, b"x"), 99).1.unfinished(), 0);
    assert_eq!(decode(&frame(0x01, b""), 99).1.unfinished(), 1);
    assert_eq!(decode(&[frame(0x01, b"abc"), frame(0x00, b"de")].concat(), 99).1.unfinished(), 5);
}
