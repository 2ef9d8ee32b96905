use super::{Decoder, Frame, Outgoing, accepted, request};

/// A frame as servers write it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        n @ 0..126 => frame.push(n as u8),
        n @ 126..0x1_0000 => {
            frame.push(126);
            frame.extend((n as u16).to_be_bytes());
        }
        n => {
            frame.push(127);
            frame.extend((n as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// What a decoder makes of bytes that come in these pieces.
fn decode<'a>(pieces: bool, bytes: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<String>, String> {
    let (mut decoder, mut said) = (Decoder::new(pieces), Vec::new());
    for bytes in bytes {
        decoder.feed::<String>(bytes, |frame| {
            said.push(match frame {
                Frame::Data(data) => format!("{} {}", data.len(), data.first().copied().unwrap_or(0) as char),
                Frame::Ping(data) => format!("ping {}", data.len()),
                Frame::Close(code, reason) => format!("close {code} {reason}"),
            });
            Ok(())
        })?;
    }
    Ok(said)
}

#[test]
fn frames_are_found_wherever_reads_cut_them() {
    let wire = [
        frame(0x81, b"a"),
        frame(0x82, &[b'b'; 300]),
        frame(0x01, b"c"),
        frame(0x89, b"?"),
        frame(0x80, b"cc"),
        frame(0x81, b""),
        frame(0x88, b"\x0b\xb9shutdown"),
    ]
    .concat();
    let expected = ["1 a", "300 b", "ping 1", "3 c", "0 \0", "close 3001 shutdown"];
    for cut in 0..=wire.len() {
        assert_eq!(decode(false, [&wire[..cut], &wire[cut..]]).unwrap(), expected, "cut at {cut}");
    }
    assert_eq!(decode(false, wire.chunks(1)).unwrap(), expected);
    let pieces = ["1 a", "300 b", "1 c", "ping 1", "2 c", "0 \0", "close 3001 shutdown"];
    assert_eq!(decode(true, wire.chunks(7)).unwrap(), pieces);
}

#[test]
fn large_frames_are_found() {
    let wire = [frame(0x82, &[b'x'; 70_000]), frame(0x82, &[b'y'; 70_000])].concat();
    assert_eq!(decode(false, wire.chunks(4096)).unwrap(), ["70000 x", "70000 y"]);
}

#[test]
fn what_is_no_websocket_is_an_error() {
    for wire in
        [&[0xc1, 0][..], &[0x81, 0x80, 0, 0, 0, 0], &[0x83, 0], &[0x82, 127, 255, 0, 0, 0, 0, 0, 0, 0]]
    {
        assert!(decode(false, [wire]).is_err(), "{wire:?}");
        assert!(decode(false, wire.chunks(1)).is_err(), "{wire:?} byte by byte");
    }
}

#[test]
fn what_is_sent_is_masked() {
    for length in [5, 125, 126, 65_535, 65_536] {
        let mut out = Outgoing::new(true);
        let payload = vec![b'p'; length - 1];
        out.message(&[b"S", &payload]);
        let header = out.bytes.len() - length;
        assert_eq!(out.bytes[0], 0x81);
        assert_eq!(out.bytes[1] & 0x80, 0x80);
        let mask: Vec<u8> = out.bytes[header - 4..header].to_vec();
        assert_ne!(mask, [0; 4]);
        let plain: Vec<u8> =
            out.bytes[header..].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        assert_eq!(plain[..2], *b"Sp");
        assert!(plain[1..].iter().all(|byte| *byte == b'p'));
    }
}

#[test]
fn a_large_buffer_is_not_kept() {
    let mut out = Outgoing::new(false);
    out.message(&[&[0; 100_000]]);
    out.took(1);
    assert!(!out.is_empty());
    out.took(out.bytes.len() - 1);
    assert!(out.is_empty());
    assert_eq!(out.bytes.capacity(), 0);
}

#[test]
fn a_handshake_is_judged() {
    let (request, accept) = request("localhost:8000", "/ws?x=1", Some("mqtt"));
    assert!(request.starts_with("GET /ws?x=1 HTTP/1.1\r\nHost: localhost:8000\r\n"));
    assert!(request.ends_with("Sec-WebSocket-Protocol: mqtt\r\n\r\n"));
    let good = format!("HTTP/1.1 101 Switching Protocols\r\nsec-websocket-Accept:  {accept}\r\n\r\nrest");
    assert_eq!(accepted(good.as_bytes(), &accept), Ok(Some(good.len() - 4)));
    assert_eq!(accepted(&good.as_bytes()[..40], &accept), Ok(None));
    assert!(accepted(good.as_bytes(), "another").is_err());
    let refused = accepted(b"HTTP/1.1 503 Service Unavailable\r\n\r\n", &accept).unwrap_err();
    assert!(refused.contains("503"), "{refused}");
}
