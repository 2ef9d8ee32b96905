use std::ops::Range;

use super::batch::{Framing, Span, What};
use crate::log::Run;

/// What a thread has written for the connection before, as far as the next one may be written the same: the
/// subscribers of a channel read the same entries one after the other, and a run of them is copied at once
/// instead of being made anew, message by message.
///
/// A thread keeps the segments of these runs a little longer for it: at most [`RUNS`], each of messages small
/// enough to be copied.
#[derive(Debug, Default)]
pub(super) struct Copies {
    framing: Option<Framing>,
    buffer: Vec<u8>,
    /// Where its steps end.
    ends: Vec<u32>,
    runs: Vec<Copy>,
}

#[derive(Debug)]
struct Copy {
    like: Like,
    run: Run,
    /// Its steps.
    steps: Range<usize>,
    silent: bool,
}

/// What subscriptions have in common that write the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Like {
    pub(super) likeness: u16,
    /// They stop at the same places.
    pub(super) continuous: bool,
}

/// Runs of a batch that are kept. 4: those who read more channels at once mostly do not read the same.
const RUNS: usize = 4;

impl Copies {
    /// The bytes of some entries of `run`, where each ends in them, and whether some may not have been wanted:
    /// as many of `entries` as begin within `room` bytes.
    pub(super) fn find(
        &self,
        like: Like,
        framing: &Framing,
        run: &Run,
        entries: Range<u64>,
        room: usize,
    ) -> Option<(&[u8], impl ExactSizeIterator<Item = u32>, bool)> {
        let copy = self.runs.iter().find(|copy| copy.like == like && copy.holds(run, entries.start))?;
        if !self.framing.as_ref().is_some_and(|of| of.is_same(framing)) {
            return None;
        }
        let first = copy.steps.start + (entries.start - copy.run.from()) as usize;
        let start = if first == 0 { 0 } else { self.ends[first - 1] };
        let most = copy.steps.end.min(first + (entries.end - entries.start) as usize);
        let begun = self.ends[first..most - 1].partition_point(|end| ((end - start) as usize) < room);
        let ends = &self.ends[first..=first + begun];
        let bytes = &self.buffer[start as usize..self.ends[first + begun] as usize];
        Some((bytes, ends.iter().map(move |end| end - start), copy.silent))
    }

    /// Keeps what others may copy of a batch, in place of what was kept before. Its buffers are exchanged for
    /// others.
    pub(super) fn keep(
        &mut self,
        framing: &Framing,
        buffer: &mut Vec<u8>,
        ends: &mut Vec<u32>,
        spans: &mut Vec<Span>,
    ) {
        if !spans.iter().any(|span| matches!(span.what, What::Run { like: Some(_), .. })) {
            return;
        }
        self.runs.clear();
        let mut spans = spans.drain(..).peekable();
        while let Some(Span { what, first }) = spans.next() {
            let end = spans.peek().map_or(ends.len(), |next| next.first);
            if let What::Run { run, silent, like: Some(like), .. } = what
                && self.runs.len() < RUNS
                && first < end
            {
                self.runs.push(Copy { like, run, steps: first..end, silent });
            }
        }
        drop(spans);
        self.framing = Some(*framing);
        std::mem::swap(&mut self.buffer, buffer);
        std::mem::swap(&mut self.ends, ends);
    }
}

impl Copy {
    /// Whether the entry `at` of `run` is among these.
    fn holds(&self, run: &Run, at: u64) -> bool {
        let steps = self.steps.len() as u64;
        self.run.is_beside(run) && (self.run.from()..self.run.from() + steps).contains(&at)
    }
}
