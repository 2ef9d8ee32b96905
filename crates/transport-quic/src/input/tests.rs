use super::Input;

/// What an input with a limit of ten bytes takes for messages, however the bytes are cut.
#[track_caller]
fn check(binary: bool, bytes: &[u8], expected: &[&[u8]], error: bool) {
    for cut in 1..=bytes.len().max(1) {
        let mut input = Input::new(10);
        input.set_binary(binary);
        let mut messages = Vec::new();
        let mut failed = false;
        for part in bytes.chunks(cut) {
            input.push(part);
            loop {
                match input.next() {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(_) => {
                        failed = true;
                        break;
                    }
                }
            }
            if failed {
                break;
            }
        }
        assert_eq!(messages, expected, "in parts of {cut}");
        assert_eq!(failed, error, "in parts of {cut}");
    }
}

#[test]
fn lines() {
    check(false, b"one\ntwo\n", &[b"one", b"two"], false);
    check(false, b"one\n\nthr", &[b"one", b""], false);
    check(false, b"0123456789\n", &[b"0123456789"], false);
    check(false, b"a\n0123456789a\nb\n", &[b"a"], true);
    check(false, b"0123456789a", &[], true);
}

#[test]
fn lengths() {
    check(true, b"\x03one\x03two", &[b"\x03one", b"\x03two"], false);
    check(true, b"\x00\x01", &[b"\x00"], false);
    check(true, b"\x0a0123456789", &[b"\x0a0123456789"], false);
    check(true, b"\x01a\x0b", &[b"\x01a"], true);
    check(true, b"\x81\x00a", &[b"\x81\x00a"], false);
    check(true, b"\xff\xff\xff\xff\xff\x01", &[], true);
    check(true, b"\xff\xff\xff\xff\x0f", &[], true);
}

#[test]
fn nothing_is_held_between_messages() {
    let mut input = Input::new(100);
    input.push(b"one\n");
    assert!(input.next().unwrap().is_some());
    assert!(input.next().unwrap().is_none());
    assert_eq!(input.buffer.capacity(), 0);
}
