use std::cmp::Ordering;

/// A decimal number of any length, compared digit by digit: prices and ids keep all theirs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(Box<str>);

/// A number's parts, without zeros that mean nothing.
struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
}

impl Decimal {
    /// Reads digits, perhaps with a sign and a point; `None` where it is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let Parts { negative, whole, fraction } = Parts::parse(text)?;
        let (sign, point) = (if negative { "-" } else { "" }, if fraction.is_empty() { "" } else { "." });
        Some(Self(format!("{sign}{whole}{point}{fraction}").into()))
    }

    /// The shortest text of the number, except that there may be nothing before the point, or at all: `.5`
    /// is a half and the empty text zero.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How the number compares with the one that `text` says; `None` if that is none.
    pub fn compare(&self, text: &str) -> Option<Ordering> {
        Some(self.parts().compare(&Parts::parse(text)?))
    }

    fn parts(&self) -> Parts<'_> {
        let digits = self.0.strip_prefix('-').unwrap_or(&self.0);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        Parts { negative: digits.len() < self.0.len(), whole, fraction }
    }
}

impl<'a> Parts<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if !all_digits(whole) || !all_digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
            return None;
        }
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        let zero = whole.is_empty() && fraction.is_empty();
        Some(Self { negative: text.starts_with('-') && !zero, whole, fraction })
    }

    fn compare(&self, other: &Self) -> Ordering {
        // Without leading zeros, more digits are more.
        let magnitude = (self.whole.len().cmp(&other.whole.len()))
            .then_with(|| self.whole.cmp(other.whole))
            .then_with(|| self.fraction.cmp(other.fraction));
        match (self.negative, other.negative) {
            (false, false) => magnitude,
            (true, true) => magnitude.reverse(),
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
        }
    }
}
