//! Frames that went wrong on the way: none may panic, and what is read can be written and read again.

use bytes::Bytes;

use crate::message::{
    ConnectRequest, FilterNode, HistoryRequest, PublishRequest, StreamPosition, SubscribeRequest,
};
use crate::{Command, Encoding, Publication};

const ROUNDS: u64 = 20_000;

#[test]
fn a_mutated_frame_never_panics() {
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        let frame = sound_frame(encoding);
        for seed in 1..=ROUNDS {
            let mutant = mutate(&frame, &mut Random(seed));
            let outcome = std::panic::catch_unwind(|| read_and_write_again(encoding, &mutant));
            assert!(outcome.is_ok(), "{encoding:?}, seed {seed}: {}", mutant.escape_ascii());
        }
    }
}

fn read_and_write_again(encoding: Encoding, frame: &[u8]) {
    for command in encoding.commands(frame).map_while(Result::ok) {
        // A payload that JSON's parser let through is JSON, so this cannot fail.
        let again = encoding.encode_command(&command).unwrap();
        assert!(!(encoding == Encoding::Json && again.contains(&b'\n')));
        let back: Vec<_> = encoding.commands(&again).map(Result::unwrap).collect();
        assert_eq!(back, [command]);
    }
    // The other direction reads with the same code and other messages.
    encoding.replies(frame).for_each(drop);
    // A payload that is taken for JSON must not spill into the message around it.
    let publication = Publication { data: Bytes::copy_from_slice(frame), ..Default::default() };
    if let Ok(push) = encoding.publication_push("c", &publication) {
        assert_eq!(encoding.replies(&push).map(Result::unwrap).count(), 1);
    }
}

fn sound_frame(encoding: Encoding) -> Vec<u8> {
    let data = Bytes::from_static(br#"{"text":"\u00e4\n","n":[1,-2.5e3,null,true]}"#);
    let leaf = FilterNode { key: "k".into(), cmp: "in".into(), vals: vec!["1".into()], ..Default::default() };
    let filter = FilterNode { op: "not".into(), nodes: vec![leaf], ..Default::default() };
    let position = StreamPosition { offset: 300, epoch: "xyz".into() };
    let subscribe =
        SubscribeRequest { channel: "news".into(), recover: true, tf: Some(filter), ..Default::default() };
    let connect = ConnectRequest {
        token: "a.b.c".into(),
        data: data.clone(),
        subs: [("chat:1".to_owned(), subscribe.clone())].into(),
        headers: [("h".to_owned(), "v".to_owned())].into(),
        ..Default::default()
    };
    let history = HistoryRequest { channel: "news".into(), limit: -1, since: Some(position), reverse: true };
    let publish = PublishRequest { channel: "news".into(), data, ..Default::default() };
    let commands = [
        Command { id: 1, connect: Some(connect), ..Default::default() },
        Command { id: 2, subscribe: Some(subscribe), ..Default::default() },
        Command { id: 3, history: Some(history), ..Default::default() },
        Command { id: 4, publish: Some(publish), ..Default::default() },
        Command::default(),
    ];
    let mut frame = Vec::new();
    for command in commands {
        frame.extend_from_slice(&encoding.encode_command(&command).unwrap());
        if encoding == Encoding::Json {
            frame.push(b'\n');
        }
    }
    frame
}

/// Changes a few places, each in one of the ways in which frames go wrong.
fn mutate(frame: &[u8], random: &mut Random) -> Vec<u8> {
    let mut frame = frame.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(frame.len());
        match random.below(6) {
            0 => frame[at] ^= 1 << random.below(8),
            1 => frame[at] = random.next() as u8,
            2 => frame[at] = *random.pick(b"{}[]\",:\n\\\0-0n \x80\xff"),
            3 => drop(frame.remove(at)),
            4 => frame.insert(at, random.next() as u8),
            _ => frame.truncate(at.max(1)),
        }
        if frame.is_empty() {
            break;
        }
    }
    frame
}

/// xorshift64*, so that a seed in a failure's message is all that is needed to see it again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    fn below(&mut self, bound: usize) -> usize {
        self.next() as usize % bound
    }

    fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}
