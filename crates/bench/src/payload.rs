//! What is published: a JSON object whose fields all stand at known places, so that nobody has to parse it.

use std::ops::Range;

/// What a payload says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) publisher: u16,
    pub(crate) channel: u32,
    /// Counts from 0 for each publisher and channel.
    pub(crate) sequence: u64,
    /// When it was handed to the socket, in nanoseconds of the run's clock.
    pub(crate) sent: u64,
}

/// Stands at the beginning of every payload, and nowhere else on the wire.
pub(crate) const MAGIC: &[u8] = br#"{"bench":""#;

/// The smallest payload, in bytes.
pub(crate) const SMALLEST: usize = MAGIC.len() + 3 * LETTERS + END.len();

/// A payload of `size` bytes that says nothing yet.
pub(crate) fn blank(size: usize) -> Vec<u8> {
    let mut payload = vec![b'z'; size];
    payload[..MAGIC.len()].copy_from_slice(MAGIC);
    payload[size - END.len()..].copy_from_slice(END);
    payload
}

/// Writes what a payload says.
pub(crate) fn stamp(payload: &mut [u8], stamp: Stamp) {
    let place = u64::from(stamp.publisher) << 32 | u64::from(stamp.channel);
    for (word, value) in WORDS.into_iter().zip([place, stamp.sequence, stamp.sent]) {
        for (i, letter) in payload[word].iter_mut().enumerate() {
            *letter = b'a' + (value >> (60 - 4 * i) & 15) as u8;
        }
    }
}

/// Reads a payload of `size` bytes at the beginning of `bytes`; `None` if there is none, or it does not end there.
#[inline]
pub(crate) fn read(bytes: &[u8], size: usize) -> Option<Stamp> {
    let payload = bytes.get(..size)?;
    if !payload.starts_with(MAGIC) || !payload.ends_with(END) {
        return None;
    }
    let [place, sequence, sent] = WORDS.map(|word| letters(&payload[word]));
    let (place, sequence, sent) = (place?, sequence?, sent?);
    let publisher = u16::try_from(place >> 32).ok()?;
    Some(Stamp { publisher, channel: place as u32, sequence, sent })
}

/// A number of 16 letters from `a` to `p`, four bits each.
#[inline]
fn letters(word: &[u8]) -> Option<u64> {
    let (high, low) = word.split_at(LETTERS / 2);
    Some(u64::from(eight(high)?) << 32 | u64::from(eight(low)?))
}

/// Eight letters at once: each byte holds four bits, which move together in three steps.
#[inline]
fn eight(letters: &[u8]) -> Option<u32> {
    let bytes = u64::from_be_bytes(letters.try_into().ok()?);
    let bits = bytes.wrapping_sub(u64::from_ne_bytes([b'a'; 8]));
    if bits & 0xf0f0_f0f0_f0f0_f0f0 != 0 {
        return None;
    }
    let bits = (bits | bits >> 4) & 0x00ff_00ff_00ff_00ff;
    let bits = (bits | bits >> 8) & 0x0000_ffff_0000_ffff;
    Some((bits | bits >> 16) as u32)
}

const LETTERS: usize = 16;
const END: &[u8] = br#""}"#;
const WORDS: [Range<usize>; 3] = [word(0), word(1), word(2)];

const fn word(n: usize) -> Range<usize> {
    let start = MAGIC.len() + n * LETTERS;
    start..start + LETTERS
}

#[cfg(test)]
mod tests {
    use super::{SMALLEST, Stamp, blank, read, stamp};

    const STAMP: Stamp = Stamp {
        publisher: 0xfe01,
        channel: 0x8000_0001,
        sequence: u64::MAX - 1,
        sent: 0x0123_4567_89ab_cdef,
    };

    #[test]
    fn what_is_stamped_is_read() {
        for size in [SMALLEST, 128, 16 * 1024] {
            let mut payload = blank(size);
            stamp(&mut payload, STAMP);
            assert_eq!(payload.len(), size);
            assert_eq!(read(&payload, size), Some(STAMP));
            assert!(serde_json::from_slice::<serde_json::Value>(&payload).is_ok());
            payload.extend_from_slice(b"}}}");
            assert_eq!(read(&payload, size), Some(STAMP), "what follows is not looked at");
        }
    }

    #[test]
    fn what_is_not_whole_is_no_payload() {
        let mut payload = blank(128);
        stamp(&mut payload, STAMP);
        assert_eq!(read(&payload[..127], 128), None, "cut");
        assert_eq!(read(&payload, 127), None, "longer than expected");
        for at in [0, 12, 40, 57, 127] {
            let mut payload = payload.clone();
            payload[at] = b'!';
            assert_eq!(read(&payload, 128), None, "byte {at}");
        }
    }
}
