//! Frames of commands, in either encoding.

use bytes::Bytes;
use tidegate_protocol::{Encoding, Publication};

/// Memory that decoding one message may take at once for each byte of its frame. An empty filter node is two
/// bytes of Protobuf and some 150 in memory, in a vector that doubles: with a WebSocket message's 64 KiB at
/// most 20 MB for a moment.
const PER_BYTE: u64 = 320;
/// What it may take besides: a command, and what an error says.
const BESIDES: u64 = 16 * 1024;

pub(crate) fn json(frame: &[u8]) {
    run(Encoding::Json, frame);
}

pub(crate) fn protobuf(frame: &[u8]) {
    run(Encoding::Protobuf, frame);
}

fn run(encoding: Encoding, frame: &[u8]) {
    let bound = PER_BYTE * frame.len() as u64 + BESIDES;
    let mut count = 0;
    let mut commands = encoding.commands(frame);
    loop {
        let mut next = None;
        let before = commands.rest().len();
        let used = allocation_counter::measure(|| next = commands.next()).bytes_max;
        assert!(used <= bound, "{used} B for a frame of {} B", frame.len());
        let Some(Ok(command)) = next else { break };
        assert!(commands.rest().len() < before, "a command took nothing of its frame");
        count += 1;

        // A payload that JSON's parser let through is JSON, so this cannot fail.
        let again = encoding.encode_command(&command).expect("what was read can be written");
        assert!(!(encoding == Encoding::Json && again.contains(&b'\n')), "a line in a line");
        let back: Vec<_> = encoding.commands(&again).collect();
        assert_eq!(back, [Ok(command)], "written and read again");
    }
    assert!(count <= frame.len(), "more commands than bytes");
    replies(encoding, frame);
    payload(encoding, frame);
}

/// The other direction reads with the same code and other messages.
fn replies(encoding: Encoding, frame: &[u8]) {
    for reply in encoding.replies(frame).map_while(Result::ok) {
        let again = encoding.encode_reply(&reply).expect("what was read can be written");
        let back: Vec<_> = encoding.replies(&again).collect();
        assert_eq!(back, [Ok(reply)], "written and read again");
    }
}

/// A payload must not spill into the message around it, whatever it holds.
fn payload(encoding: Encoding, data: &[u8]) {
    let publication = Publication { data: Bytes::copy_from_slice(data), offset: 7, ..Default::default() };
    let Ok(push) = encoding.publication_push("c", &publication) else {
        assert!(!encoding.carries(data), "a payload that could be sent was refused");
        return;
    };
    assert!(encoding.carries(data) || data.is_empty(), "a payload that cannot be sent was sent");
    let back: Vec<_> = encoding.replies(&push).map(|reply| reply.expect("it is ours")).collect();
    let [reply] = &back[..] else { panic!("{} messages of one publication", back.len()) };
    let publication =
        reply.push.as_ref().and_then(|push| push.publication.as_ref()).expect("it is a publication");
    assert_eq!(publication.offset, 7, "the payload changed what stands around it");
}
