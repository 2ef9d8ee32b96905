use super::*;

fn check(framing: Framing, len: usize, expected: &[u8]) {
    let mut out = [0; HEADER];
    let written = (framing.header)(len, &mut out);
    assert_eq!(&out[..written], expected, "{len} bytes");
}

#[test]
fn lengths_take_the_shortest_form() {
    check(TEXT, 0, &[0x81, 0]);
    check(TEXT, 125, &[0x81, 125]);
    check(BINARY, 125, &[0x82, 125]);
    check(BINARY, 126, &[0x82, 126, 0, 126]);
    check(TEXT, 255, &[0x81, 126, 0, 255]);
    check(TEXT, 256, &[0x81, 126, 1, 0]);
    check(TEXT, 65535, &[0x81, 126, 255, 255]);
    check(TEXT, 65536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    check(BINARY, 1 << 33, &[0x82, 127, 0, 0, 0, 2, 0, 0, 0, 0]);
}

#[test]
fn close_frames_fit() {
    let closed = |code, reason: &str| close(&Disconnect { code, reason: reason.to_owned().into() });
    assert_eq!(&closed(3001, "shutdown")[..], b"\x88\x0a\x0b\xb9shutdown");
    assert_eq!(&closed(1009, "")[..], b"\x88\x02\x03\xf1");
    for unsendable in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
        assert_eq!(&closed(unsendable, "no")[..], b"\x88\x00", "{unsendable}");
    }
    let long = closed(3000, &"x".repeat(200));
    assert_eq!((long.len(), long[1]), (127, 125));
    // 41 characters of three bytes each are 123; with one byte before them the last does not fit.
    let text = format!("x{}", "€".repeat(50));
    let cut = closed(3000, &text);
    assert_eq!(str::from_utf8(&cut[4..]), Ok(&text[..1 + 40 * 3]));
}
