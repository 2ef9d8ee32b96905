//! How a record lies in a file, and how records are found again where some bytes are wrong.
//!
//! `header · body · trailer`. The trailer repeats the header, so that one damaged place never hides both whose
//! record it was and where it ends. All checksums begin with the file's secret salt, which its name holds: a
//! publisher cannot write a payload that is taken for a record.

use std::ops::Range;

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) kind: u8,
    /// The hash of channel and epoch; 0 for no stream's.
    pub(crate) stream: u64,
    pub(crate) offset: u64,
}

/// What stands at a place of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    Record(Label, &'a [u8]),
    /// A record whose body is damaged or missing.
    Lost(Label),
    /// Nobody knows what stood here.
    Unknown(Range<usize>),
}

/// Bytes of a record beside its body.
pub(crate) const OVERHEAD: usize = 2 * HEADER;

/// The longest body, in bytes.
pub(crate) const LONGEST: usize = (1 << 28) - 1;

const HEADER: usize = 32;
const HEAD: u32 = 0x5447_6a48;
const TAIL: u32 = 0x5447_6a54;

/// Appends a record to `out`.
pub(crate) fn write(salt: u32, label: Label, body: &[u8], out: &mut Vec<u8>) {
    debug_assert!(body.len() <= LONGEST, "a publication is far below 256 MiB");
    let sum = checksum(salt, body);
    out.extend(header(HEAD, salt, label, body.len(), sum));
    out.extend_from_slice(body);
    out.extend(header(TAIL, salt, label, body.len(), sum));
}

/// What stands in `data` from `at` on, and where that ends; `None` at the end.
pub(crate) fn next(salt: u32, data: &[u8], at: usize) -> Option<(Vec<Found<'_>>, usize)> {
    if at >= data.len() {
        return None;
    }
    if let Some(head) = parse(HEAD, salt, data, at) {
        let end = at + OVERHEAD + head.len;
        let Some(body) = data.get(at + HEADER..at + HEADER + head.len) else {
            return Some((vec![Found::Lost(head.label)], data.len()));
        };
        // The trailer may be damaged: the record is whole all the same.
        let found = if checksum(salt, body) == head.sum {
            Found::Record(head.label, body)
        } else {
            Found::Lost(head.label)
        };
        return Some((vec![found], end.min(data.len())));
    }
    let end =
        (at + 1..data.len()).find(|&place| parse(HEAD, salt, data, place).is_some()).unwrap_or(data.len());
    Some((backwards(salt, data, at, end), end))
}

/// Whether the record that begins at `at` is cut off by the end of `data`.
pub(crate) fn is_cut(salt: u32, data: &[u8], at: usize) -> bool {
    match parse(HEAD, salt, data, at) {
        Some(head) => at + OVERHEAD + head.len > data.len(),
        None => data.len() - at < HEADER,
    }
}

/// Where the record that begins at `at` ends, or would if it were all there.
pub(crate) fn whole(salt: u32, data: &[u8], at: usize) -> Option<usize> {
    parse(HEAD, salt, data, at).map(|head| at + OVERHEAD + head.len)
}

/// What trailers tell of the place between `from` and `to`, where no header is.
fn backwards(salt: u32, data: &[u8], from: usize, mut to: usize) -> Vec<Found<'_>> {
    let mut found = Vec::new();
    while to > from {
        let tail = to.checked_sub(HEADER).filter(|at| *at >= from).and_then(|at| parse(TAIL, salt, data, at));
        let known = tail.and_then(|tail| Some((to.checked_sub(OVERHEAD + tail.len)?, tail)));
        let Some((start, tail)) = known.filter(|(start, _)| *start >= from) else {
            // A trailer whose header lies before this place: the header's record ended here, or is cut.
            found.push(Found::Unknown(from..to));
            break;
        };
        let body = &data[start + HEADER..start + HEADER + tail.len];
        let whole = checksum(salt, body) == tail.sum;
        found.push(if whole { Found::Record(tail.label, body) } else { Found::Lost(tail.label) });
        to = start;
    }
    found.reverse();
    found
}

struct Header {
    label: Label,
    len: usize,
    sum: u32,
}

fn header(magic: u32, salt: u32, label: Label, len: usize, sum: u32) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[0..4].copy_from_slice(&magic.to_le_bytes());
    bytes[4..8].copy_from_slice(&(u32::from(label.kind) << 28 | len as u32).to_le_bytes());
    bytes[8..16].copy_from_slice(&label.stream.to_le_bytes());
    bytes[16..24].copy_from_slice(&label.offset.to_le_bytes());
    bytes[24..28].copy_from_slice(&sum.to_le_bytes());
    let own = checksum(salt, &bytes[..28]);
    bytes[28..32].copy_from_slice(&own.to_le_bytes());
    bytes
}

fn parse(magic: u32, salt: u32, data: &[u8], at: usize) -> Option<Header> {
    let bytes = data.get(at..at + HEADER)?;
    if u32_at(bytes, 0) != magic || u32_at(bytes, 28) != checksum(salt, &bytes[..28]) {
        return None;
    }
    let long = u32_at(bytes, 4);
    Some(Header {
        label: Label { kind: (long >> 28) as u8, stream: u64_at(bytes, 8), offset: u64_at(bytes, 16) },
        len: (long & LONGEST as u32) as usize,
        sum: u32_at(bytes, 24),
    })
}

/// CRC-32 behind the salt.
pub(crate) fn checksum(salt: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(bytes);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
