//! Patches in the delta format of the Fossil version control system, which the SDKs apply.
//!
//! A patch is the length of the result, then commands that build it, then a checksum of it:
//! `LENGTH\n`, `COUNT@OFFSET,` copies from the source, `COUNT:BYTES` inserts, `SUM;` ends. Numbers are in base
//! 64. Format: <https://fossil-scm.org/home/doc/trunk/www/delta_format.wiki>.

mod apply;
mod blocks;
mod number;
#[cfg(test)]
mod tests;

use blocks::Blocks;

pub use apply::{PatchError, apply};

/// A patch that makes `target` of `source`; `None` if none was found that is shorter than `target`.
///
/// If `target` is UTF-8, so is the patch: inserts begin and end at characters.
///
/// Takes memory of half the source's length, and time that grows with both lengths whatever they hold:
/// about sixteen looks at each byte at most. It need not find the shortest patch.
pub fn create(source: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    if target.len() <= SHORTEST || source.is_empty() || source.len().max(target.len()) > LONGEST {
        return None;
    }
    let mut patch = Patch::new(target);
    // What differs is often little, in the middle.
    let head = common_head(source, target);
    let tail = common_tail(&source[head..], &target[head..]);
    if head > 0 {
        patch.copy(Match { source: 0, target: 0, len: head });
    }
    let end = target.len() - tail;
    if end - patch.done.max(head) > MIDDLE {
        patch.search(source, end);
    }
    if tail > 0 {
        patch.copy(Match { source: source.len() - tail, target: end, len: tail });
    }
    patch.finish()
}

/// A run of bytes that source and target share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    source: usize,
    target: usize,
    len: usize,
}

/// A patch that is being written.
struct Patch<'a> {
    target: &'a [u8],
    /// Inserts must be text.
    text: bool,
    out: Vec<u8>,
    /// How much of the target is written.
    done: usize,
}

impl<'a> Patch<'a> {
    fn new(target: &'a [u8]) -> Self {
        let mut out = Vec::with_capacity(64);
        number::write(target.len(), &mut out);
        out.push(b'\n');
        Self { target, text: str::from_utf8(target).is_ok(), out, done: 0 }
    }

    /// Looks for what the source has of the target up to `end`.
    fn search(&mut self, source: &[u8], end: usize) {
        let blocks = Blocks::new(source);
        let mut work = WORK * (source.len() + self.target.len());
        let mut at = self.done;
        while at + blocks::SIZE <= end && work > 0 && self.out.len() < self.target.len() {
            match blocks.longest(source, &self.target[..end], at, self.done, &mut work) {
                Some(found) if self.copy(found) => at = self.done,
                _ => at += 1,
            }
        }
    }

    /// Copies from the source, if that is shorter than to insert the same.
    fn copy(&mut self, found: Match) -> bool {
        let Match { mut source, mut target, mut len } = found;
        debug_assert!(target >= self.done);
        if self.text {
            let inside = |at: usize| self.target.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
            while len > 0 && inside(target) {
                (source, target, len) = (source + 1, target + 1, len - 1);
            }
            while len > 0 && inside(target + len) {
                len -= 1;
            }
        }
        // What ends the insert before and begins the one behind counts as well.
        if len <= number::digits(source) + number::digits(len) + COPY {
            return false;
        }
        self.insert(target);
        number::write(len, &mut self.out);
        self.out.push(b'@');
        number::write(source, &mut self.out);
        self.out.push(b',');
        self.done = target + len;
        true
    }

    /// Inserts the target's bytes up to `end`.
    fn insert(&mut self, end: usize) {
        if end > self.done {
            number::write(end - self.done, &mut self.out);
            self.out.push(b':');
            self.out.extend_from_slice(&self.target[self.done..end]);
            self.done = end;
        }
    }

    fn finish(mut self) -> Option<Vec<u8>> {
        let left = self.target.len() - self.done;
        if self.out.len() + left >= self.target.len() {
            return None;
        }
        self.insert(self.target.len());
        number::write(checksum(self.target) as usize, &mut self.out);
        self.out.push(b';');
        (self.out.len() < self.target.len()).then_some(self.out)
    }
}

/// How many bytes are the same from the beginning on.
fn common_head(a: &[u8], b: &[u8]) -> usize {
    // By blocks first: that is what takes the time.
    let blocks = a.as_chunks::<16>().0.iter().zip(b.as_chunks::<16>().0);
    let same = 16 * blocks.take_while(|(a, b)| a == b).count();
    same + a[same..].iter().zip(&b[same..]).take_while(|(a, b)| a == b).count()
}

/// How many bytes are the same from the end on.
fn common_tail(a: &[u8], b: &[u8]) -> usize {
    let blocks = a.as_rchunks::<16>().1.iter().rev().zip(b.as_rchunks::<16>().1.iter().rev());
    let same = 16 * blocks.take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[..a.len() - same], &b[..b.len() - same]);
    same + a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

/// The sum of all words of four bytes, the most significant first, the last one filled up with zeros.
fn checksum(bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    let words = words.iter().chain([&last]).map(|word| u32::from_be_bytes(*word));
    words.fold(0, u32::wrapping_add)
}

/// A target of this many bytes is not worth a patch: its frame takes as much.
const SHORTEST: usize = 16;

/// The longest source and target, in bytes. 16 MiB: numbers are of 32 bits in the SDKs, and nobody publishes
/// as much.
const LONGEST: usize = 16 << 20;

/// Bytes in the middle that are inserted without looking for them in the source.
const MIDDLE: usize = 24;

/// The two marks of a copy, and the frame of an insert that it cuts in two.
const COPY: usize = 4;

/// Bytes compared for each byte of source and target, at most.
const WORK: usize = 8;
