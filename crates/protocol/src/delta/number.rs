//! Numbers in base 64, the most significant digit first.

const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";

pub(super) fn write(number: usize, out: &mut Vec<u8>) {
    for place in (0..digits(number)).rev() {
        out.push(DIGITS[number >> (6 * place) & 63]);
    }
}

/// Digits of a number.
pub(super) fn digits(number: usize) -> usize {
    (number.checked_ilog2().unwrap_or(0) as usize) / 6 + 1
}

/// Takes a number from the beginning of `from`; `None` if there is none, or it is over 32 bits.
pub(super) fn read(from: &mut &[u8]) -> Option<usize> {
    let mut number = 0_u32;
    let mut rest = *from;
    while let [first, others @ ..] = rest
        && let Some(digit) = value(*first)
    {
        number = number.checked_mul(64)?.checked_add(digit)?;
        rest = others;
    }
    let any = rest.len() < from.len();
    *from = rest;
    any.then_some(number as usize)
}

fn value(digit: u8) -> Option<u32> {
    Some(u32::from(match digit {
        b'0'..=b'9' => digit - b'0',
        b'A'..=b'Z' => digit - b'A' + 10,
        b'_' => 36,
        b'a'..=b'z' => digit - b'a' + 37,
        b'~' => 63,
        _ => return None,
    }))
}
