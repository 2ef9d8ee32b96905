use super::{Match, common_head, common_tail};

/// Where the source has which block of [`SIZE`] bytes: every block that begins at a multiple of that.
pub(super) struct Blocks {
    /// By hash: the last block that has it, counted from 1; 0 for none.
    heads: Vec<u32>,
    /// By block: the one before that has the same hash.
    earlier: Vec<u32>,
    /// The hash's bits that count.
    shift: u32,
}

/// Bytes of a block: what is shared and shorter may not be found.
pub(super) const SIZE: usize = 16;

/// Blocks of one hash that are looked at for one place: a source that repeats itself has thousands.
const CANDIDATES: usize = 8;

impl Blocks {
    pub(super) fn new(source: &[u8]) -> Self {
        let (blocks, _) = source.as_chunks::<SIZE>();
        let bits = blocks.len().next_power_of_two().ilog2() + 1;
        let mut this =
            Self { heads: vec![0; 1 << bits], earlier: Vec::with_capacity(blocks.len()), shift: 64 - bits };
        for (block, number) in blocks.iter().zip(1..) {
            let head = &mut this.heads[(hash(block) >> this.shift) as usize];
            this.earlier.push(*head);
            *head = number;
        }
        this
    }

    /// The longest run found that `target` shares with the source around the block at `at`, and that begins
    /// at `from` or later. What it compares is taken from `work`.
    pub(super) fn longest(
        &self,
        source: &[u8],
        target: &[u8],
        at: usize,
        from: usize,
        work: &mut usize,
    ) -> Option<Match> {
        let block = target[at..].first_chunk::<SIZE>()?;
        let mut next = self.heads[(hash(block) >> self.shift) as usize];
        let mut best: Option<Match> = None;
        for _ in 0..CANDIDATES {
            let Some(number) = (next as usize).checked_sub(1) else { break };
            next = self.earlier[number];
            let start = number * SIZE;
            if source[start..start + SIZE] != *block {
                *work = work.saturating_sub(1);
                continue;
            }
            let behind = common_head(&source[start..], &target[at..]);
            let before = common_tail(&source[..start], &target[from..at]);
            let len = before + behind;
            *work = work.saturating_sub(len);
            if best.is_none_or(|best| best.len < len) {
                best = Some(Match { source: start - before, target: at - before, len });
            }
            if *work == 0 {
                break;
            }
        }
        best
    }
}

/// Mixes a block; the upper bits are the better ones.
fn hash(block: &[u8; SIZE]) -> u64 {
    let block = u128::from_le_bytes(*block);
    let (low, high) = (block as u64, (block >> 64) as u64);
    (low ^ high.rotate_left(29).wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xD6E8_FEB8_6659_FD93)
}
