#[cfg(all(test, not(loom)))]
mod tests;

use std::collections::VecDeque;
use std::ops::Range;

use super::batch::Framing;
use crate::log::Run;

/// What a thread has written before, as far as other connections are written the same: the subscribers of a channel
/// read the same entries one after the other, and a run of them is taken as it is instead of being made anew,
/// message by message.
///
/// A thread keeps the segments of these runs a little longer for it: at most [`MADE`], and [`BYTES`] of messages that
/// are each small enough to be copied.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// The newest first.
    made: VecDeque<Made>,
    /// Bytes of all.
    bytes: usize,
}

/// Entries of one segment, as they were written.
#[derive(Debug)]
struct Made {
    like: Like,
    framing: Framing,
    /// Begins with the first entry that is there.
    run: Run,
    buffer: Vec<u8>,
    /// Where each entry ends.
    ends: Vec<u32>,
    /// Some may not have been wanted.
    silent: bool,
}

/// What subscriptions have in common that write the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Like {
    pub(super) likeness: u16,
    /// They stop at the same places.
    pub(super) continuous: bool,
}

/// What was written of a run.
#[derive(Clone, Copy)]
pub(super) struct Written<'b> {
    pub(super) bytes: &'b [u8],
    /// Where each entry ends, from wherever `start` is counted.
    pub(super) ends: &'b [u32],
    /// Where `bytes` begins.
    pub(super) start: u32,
    /// Some may not have been wanted.
    pub(super) silent: bool,
}

/// Some entries as they were written before.
pub(super) struct Found<'c> {
    pub(super) part: Part,
    /// Where each of them ends, from wherever `start` is counted.
    pub(super) ends: &'c [u32],
    /// Where the first begins.
    pub(super) start: u32,
    /// Some may not have been wanted.
    pub(super) silent: bool,
}

/// Bytes of [`Copies`], valid until something is kept.
#[derive(Debug)]
pub(super) struct Part {
    made: usize,
    bytes: Range<usize>,
}

/// Segments of which something is kept. 16: one who is far behind reads several in a row, and so does the next.
const MADE: usize = 16;
/// Bytes that are kept, but for one segment's.
const BYTES: usize = 512 * 1024;

impl Copies {
    /// Some entries of `run` as they were written before: as many of `entries` as begin within `room` bytes. If the
    /// first is not there: the end of those that are not.
    pub(super) fn find(
        &self,
        like: Like,
        framing: &Framing,
        run: &Run,
        entries: Range<u64>,
        room: usize,
    ) -> Result<Found<'_>, u64> {
        let Some(place) = self.place(like, framing, run) else { return Err(entries.end) };
        let made = &self.made[place];
        if !made.entries().contains(&entries.start) {
            let from = made.run.from();
            return Err(if from > entries.start { from.min(entries.end) } else { entries.end });
        }
        let first = (entries.start - made.run.from()) as usize;
        let start = if first == 0 { 0 } else { made.ends[first - 1] };
        let most = made.ends.len().min(first + (entries.end - entries.start) as usize);
        let begun = made.ends[first..most - 1].partition_point(|end| ((end - start) as usize) < room);
        let ends = &made.ends[first..=first + begun];
        let bytes = start as usize..made.ends[first + begun] as usize;
        Ok(Found { part: Part { made: place, bytes }, ends, start, silent: made.silent })
    }

    /// The bytes themselves.
    pub(super) fn bytes(&self, part: &Part) -> &[u8] {
        &self.made[part.made].buffer[part.bytes.clone()]
    }

    /// Keeps what was written of the entries with which `run` begins.
    pub(super) fn keep(&mut self, like: Like, framing: &Framing, run: Run, written: Written<'_>) {
        let place = self.place(like, framing, &run).unwrap_or_else(|| {
            let (mut buffer, mut ends) = Default::default();
            if self.made.len() >= MADE {
                let oldest = self.made.pop_back().expect("there are many");
                self.bytes -= oldest.buffer.len();
                (buffer, ends) = (oldest.buffer, oldest.ends);
                buffer.clear();
                ends.clear();
            }
            let (framing, run) = (*framing, run.clone());
            self.made.push_front(Made { like, framing, run, buffer, ends, silent: false });
            0
        });
        let made = &mut self.made[place];
        self.bytes -= made.buffer.len();
        made.add(run, written);
        made.silent |= written.silent;
        self.bytes += made.buffer.len();
        while self.bytes > BYTES && self.made.len() > 1 {
            self.bytes -= self.made.pop_back().map_or(0, |oldest| oldest.buffer.len());
        }
    }

    fn place(&self, like: Like, framing: &Framing, run: &Run) -> Option<usize> {
        let is_it =
            |made: &Made| made.run.is_beside(run) && made.like == like && made.framing.is_same(framing);
        self.made.iter().position(is_it)
    }
}

impl Made {
    fn entries(&self) -> Range<u64> {
        self.run.from()..self.run.from() + self.ends.len() as u64
    }

    /// Adds what is before or behind what is there; what does not touch that takes its place.
    fn add(&mut self, run: Run, written: Written<'_>) {
        let Written { bytes, ends, start, .. } = written;
        let here = self.entries();
        let (from, to) = (run.from(), run.from() + ends.len() as u64);
        if from > here.end || to < here.start || here.is_empty() {
            self.run = run;
            self.buffer.clear();
            self.ends.clear();
            self.append(bytes, ends, start);
            return;
        }
        if to > here.end {
            let known = (here.end - from) as usize;
            let known_to = if known == 0 { start } else { ends[known - 1] };
            self.append(&bytes[(known_to - start) as usize..], &ends[known..], known_to);
        }
        if from < here.start {
            let ends = &ends[..(here.start - from) as usize];
            let shift = ends.last().map_or(0, |end| end - start);
            self.buffer.splice(..0, bytes[..shift as usize].iter().copied());
            self.ends.iter_mut().for_each(|end| *end += shift);
            self.ends.splice(..0, ends.iter().map(|end| end - start));
            self.run = run;
        }
    }

    fn append(&mut self, bytes: &[u8], ends: &[u32], start: u32) {
        let shift = self.buffer.len() as u32;
        self.buffer.extend_from_slice(bytes);
        self.ends.extend(ends.iter().map(|end| end - start + shift));
    }
}

impl Part {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Goes on with `next`, if that stands right behind.
    pub(super) fn extend(&mut self, next: &Part) -> bool {
        let goes_on = self.made == next.made && self.bytes.end == next.bytes.start;
        if goes_on {
            self.bytes.end = next.bytes.end;
        }
        goes_on
    }
}
