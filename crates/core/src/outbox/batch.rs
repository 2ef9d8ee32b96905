use std::io::IoSlice;
use std::ops::Range;

use bytes::Bytes;

use super::Lane;
use super::copies::{Copies, Like, Part, Written};
use crate::log::{Cause, Run};
use crate::{Disconnect, Position};

/// How a transport marks where a message begins and ends.
#[derive(Clone, Copy, Debug)]
pub struct Framing {
    /// Writes what stands before a message of this many bytes, and returns its length.
    pub header: fn(usize, &mut [u8; HEADER]) -> usize,
    /// What stands behind every message.
    pub suffix: &'static [u8],
}

/// The longest header of a message, in bytes: a WebSocket server's is at most 10 (RFC 6455 §5.2).
pub const HEADER: usize = 10;

impl Framing {
    /// Messages as they are, one after the other.
    pub const NONE: Framing = Framing { header: |_, _| 0, suffix: b"" };
    /// A line feed behind each message.
    pub const LINES: Framing = Framing { header: |_, _| 0, suffix: b"\n" };

    /// Whether both mark messages the same. False says nothing.
    pub(super) fn is_same(&self, other: &Framing) -> bool {
        let suffix = std::ptr::eq(self.suffix, other.suffix) || self.suffix == other.suffix;
        suffix && std::ptr::fn_addr_eq(self.header, other.header)
    }
}

/// Messages on their way into one write.
///
/// Small messages are copied together; large ones, and much that was written for another connection before, are
/// kept as slices among them. A thread needs one of these, for it is empty between two connections' turns.
#[derive(Debug)]
pub struct Batch {
    framing: Framing,
    buffer: Vec<u8>,
    /// What is not copied, each with the place in `buffer` that it stands before.
    slices: Vec<(usize, Slice)>,
    /// Bytes in all.
    len: usize,
    /// Where each step ends, in bytes from the start.
    ends: Vec<u32>,
    /// Whose the steps are, in order.
    spans: Vec<Span>,
    /// The steps that may get lost, in order.
    loose: Vec<u32>,
    /// Why the connection cannot go on.
    closing: Option<Disconnect>,
    copies: Copies,
}

/// What a batch has without a copy.
#[derive(Debug)]
enum Slice {
    /// A message, or a part of one.
    Shared(Bytes),
    /// What was made for another batch.
    Made(Part),
}

/// Consecutive steps of a batch that belong together: what to do with those that the socket took, and
/// with those it did not.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) what: What,
    /// The first step's index.
    pub(super) first: usize,
}

#[derive(Debug)]
pub(super) enum What {
    /// The end of a message that was cut before.
    Rest,
    /// A message of the control lane; one that had to wait until a lane was read up to a place, with that.
    Control(super::Message, Option<(Lane, u64)>),
    /// Entries of a lane; `to_head`: the last of them is the log's last; `silent`: some were not wanted; `made`: like
    /// others may be written, from which place in the buffer on.
    Run { lane: Lane, run: Run, to_head: bool, silent: bool, made: Option<(Like, usize)> },
    /// A lane's gap notice, of so many publications, and where it goes on.
    Gap { lane: Lane, to: Position, publications: u64, cause: Cause },
    /// A publication that a lane has read from what its log's window has trimmed, and where it goes on;
    /// `written`: it was wanted.
    Kept { lane: Lane, to: Position, written: bool },
}

/// Messages up to this many bytes are copied into the batch; larger ones are shared: an extra slice of a
/// vectored write costs about as much as copying this.
const COPIED: usize = 4096;

/// What an empty batch keeps, in bytes: twice the usual room of a write.
const KEPT: usize = 256 * 1024;

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self {
            framing: Framing::NONE,
            buffer: Vec::new(),
            slices: Vec::new(),
            len: 0,
            ends: Vec::new(),
            spans: Vec::new(),
            loose: Vec::new(),
            closing: None,
            copies: Copies::default(),
        }
    }

    /// Empties the batch for a connection that frames its messages so.
    pub fn begin(&mut self, framing: Framing) {
        self.clear();
        self.framing = framing;
    }

    /// Adds one message.
    pub fn message(&mut self, message: &Bytes) {
        self.joined(b"", message, 0..message.len());
    }

    /// Adds one message that is `head` and then this part of `body`.
    pub fn joined(&mut self, head: &[u8], body: &Bytes, part: Range<usize>) {
        let length = part.len();
        let mut header = [0; HEADER];
        let written = (self.framing.header)(head.len() + length, &mut header);
        self.buffer.extend_from_slice(&header[..written]);
        self.buffer.extend_from_slice(head);
        if length <= COPIED {
            self.buffer.extend_from_slice(&body[part]);
        } else {
            self.slices.push((self.buffer.len(), Slice::Shared(body.slice(part))));
        }
        self.buffer.extend_from_slice(self.framing.suffix);
        self.len += written + head.len() + length + self.framing.suffix.len();
    }

    /// Says that the step which is being made may get lost, where the transport can carry it so.
    pub fn loosely(&mut self) {
        self.loose.push(self.ends.len() as u32);
    }

    /// The steps: from where to where each is, in bytes, and whether it may get lost.
    pub fn steps(&self) -> impl Iterator<Item = (Range<usize>, bool)> {
        let mut loose = self.loose.iter().copied().peekable();
        let mut from = 0;
        self.ends.iter().enumerate().map(move |(i, end)| {
            let step = from..*end as usize;
            from = step.end;
            let is_loose = loose.next_if_eq(&(i as u32)).is_some();
            (step, is_loose)
        })
    }

    /// Says that the connection cannot go on: an entry cannot be told to this client.
    pub fn close(&mut self, why: Disconnect) {
        self.closing.get_or_insert(why);
    }

    /// Why the connection cannot go on, if it cannot.
    pub fn closing(&self) -> Option<&Disconnect> {
        self.closing.as_ref()
    }

    pub(super) fn take_closing(&mut self) -> Option<Disconnect> {
        self.closing.take()
    }

    /// Bytes in the batch.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The whole batch, if it stands in one piece.
    pub fn contiguous(&self) -> Option<&[u8]> {
        match &*self.slices {
            [] => Some(&self.buffer),
            [(_, slice)] if self.buffer.is_empty() => Some(self.bytes(slice)),
            _ => None,
        }
    }

    /// The batch in pieces, as far as they fit into `into`; returns how many were used.
    pub fn slices<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        for (piece, place) in self.pieces().zip(into) {
            *place = IoSlice::new(piece);
            used += 1;
        }
        used
    }

    /// The batch in pieces, none of them empty.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.slices.iter().map(|(at, _)| *at).chain([self.buffer.len()]);
        let starts = std::iter::once(0).chain(self.slices.iter().map(|(at, _)| *at));
        let copied = starts.zip(ends).map(|(from, to)| &self.buffer[from..to]);
        let shared = self.slices.iter().map(|(_, slice)| self.bytes(slice)).chain([&[][..]]);
        copied.zip(shared).flat_map(|(copied, shared)| [copied, shared]).filter(|piece| !piece.is_empty())
    }

    /// Adds what was written before of the entries of `run` from `at` up to `last` for a subscription like this,
    /// until there are `turn` bytes. Returns how many entries, and whether some may not have been wanted. If
    /// nothing was written of the first: up to where that is so.
    pub(super) fn copy(
        &mut self,
        like: Like,
        run: &Run,
        at: u64,
        last: u64,
        turn: usize,
    ) -> Result<(u64, bool), u64> {
        let room = turn.saturating_sub(self.len);
        let found = self.copies.find(like, &self.framing, run, at..last, room)?;
        let before = self.len as u32;
        self.ends.extend(found.ends.iter().map(|end| before + (end - found.start)));
        let (count, silent, part) = (found.ends.len() as u64, found.silent, found.part);
        self.len += part.len();
        let here = self.buffer.len();
        let goes_on = match self.slices.last_mut() {
            Some((place, Slice::Made(last))) if *place == here => last.extend(&part),
            _ => false,
        };
        if !goes_on && part.len() > COPIED {
            self.slices.push((here, Slice::Made(part)));
        } else if !goes_on {
            self.buffer.extend_from_slice(self.copies.bytes(&part));
        }
        Ok((count, silent))
    }

    fn bytes<'a>(&'a self, slice: &'a Slice) -> &'a [u8] {
        match slice {
            Slice::Shared(bytes) => bytes,
            Slice::Made(part) => self.copies.bytes(part),
        }
    }

    /// Adds bytes that are framed already.
    pub fn put(&mut self, bytes: &Bytes) {
        if bytes.len() <= COPIED {
            self.buffer.extend_from_slice(bytes);
        } else {
            self.slices.push((self.buffer.len(), Slice::Shared(bytes.clone())));
        }
        self.len += bytes.len();
    }

    /// What was added since the last step is one step.
    pub(super) fn step(&mut self) {
        self.ends.push(u32::try_from(self.len).expect("a batch is bounded by its room and one message"));
    }

    /// The steps from here on belong to `what`.
    pub(super) fn span(&mut self, what: What) {
        self.span_from(self.ends.len(), what);
    }

    /// The steps from `first` on belong to `what`.
    pub(super) fn span_from(&mut self, first: usize, what: What) {
        self.spans.push(Span { what, first });
    }

    /// Adds a message of the control lane, as a step of its own.
    pub(super) fn control(&mut self, message: super::Message, after: Option<(Lane, u64)>) {
        if message.framed {
            self.put(&message.bytes);
        } else {
            self.message(&message.bytes);
        }
        self.span(What::Control(message, after));
        self.step();
    }

    /// Whether it holds the end of a message that was cut before, and nothing else.
    pub(super) fn is_rest(&self) -> bool {
        matches!(*self.spans, [Span { what: What::Rest, .. }])
    }

    /// Where the next small message is copied to, and how many slices there are: a run that was copied as a whole
    /// may be taken for others.
    pub(super) fn place(&self) -> (usize, usize) {
        (self.buffer.len(), self.slices.len())
    }

    pub(super) fn take_spans(&mut self) -> Vec<Span> {
        std::mem::take(&mut self.spans)
    }

    /// Empties the batch, whose spans these were. What others may copy of it is kept for the next one.
    pub(super) fn finish(&mut self, mut spans: Vec<Span>) {
        let mut following = spans.drain(..).peekable();
        while let Some(Span { what, first }) = following.next() {
            let What::Run { run, silent, made: Some((like, place)), .. } = what else { continue };
            let ends = &self.ends[first..following.peek().map_or(self.ends.len(), |next| next.first)];
            let start = self.start(first);
            let Some(end) = ends.last() else { continue };
            let bytes = &self.buffer[place..place + (end - start) as usize];
            self.copies.keep(like, &self.framing, run, Written { bytes, ends, start, silent });
        }
        drop(following);
        self.spans = spans;
        self.clear();
    }

    pub(super) fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// Where a step begins, in bytes from the start.
    pub(super) fn start(&self, step: usize) -> u32 {
        step.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    /// Of the first `count` entries of `run`, whose steps begin with `first`, the publications of which
    /// nothing was written.
    pub(super) fn unwanted(&self, first: usize, run: &Run, count: u64) -> u64 {
        let unwanted = |i: &u64| {
            let step = first + *i as usize;
            self.ends[step] == self.start(step) && run.entry(run.from() + i).publication().is_some()
        };
        (0..count).filter(unwanted).count() as u64
    }

    /// The bytes from `from` to `to`: a slice of a shared message, or a copy of a small one.
    pub fn part(&self, from: usize, to: usize) -> Vec<Bytes> {
        let mut parts = Vec::new();
        let mut at = 0;
        let mut buffer_at = 0;
        let mut take = |start: usize, len: usize, copy: &dyn Fn(usize, usize) -> Bytes| {
            let (a, b) = (from.max(start), to.min(start + len));
            if a < b {
                parts.push(copy(a - start, b - start));
            }
        };
        for (place, slice) in &self.slices {
            let copied = place - buffer_at;
            take(at, copied, &|a, b| Bytes::copy_from_slice(&self.buffer[buffer_at + a..buffer_at + b]));
            at += copied;
            buffer_at = *place;
            let len = self.bytes(slice).len();
            take(at, len, &|a, b| match slice {
                Slice::Shared(bytes) => bytes.slice(a..b),
                Slice::Made(part) => Bytes::copy_from_slice(&self.copies.bytes(part)[a..b]),
            });
            at += len;
        }
        take(at, self.buffer.len() - buffer_at, &|a, b| {
            Bytes::copy_from_slice(&self.buffer[buffer_at + a..buffer_at + b])
        });
        parts
    }

    /// Empties the batch, keeping its buffer but for what an unusually long one has left behind.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(KEPT);
        self.slices.clear();
        self.ends.clear();
        self.spans.clear();
        self.loose.clear();
        self.closing = None;
        self.len = 0;
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}
