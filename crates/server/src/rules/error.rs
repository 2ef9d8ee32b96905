//! What can be wrong with rules.

use regex::Regex;

/// A value that the rules cannot go by. Secrets and keys are not repeated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError {
    /// It makes no sense, or not together with others.
    #[error("{key} is {found}; expected {expected}")]
    BadValue {
        /// The full key.
        key: String,
        /// What came.
        found: String,
        /// What would have been right.
        expected: String,
    },
    /// There is no TLS with it.
    #[error(transparent)]
    Tls(#[from] crate::http::TlsError),
    /// It is known, but not implemented, and may not be ignored.
    #[error("{key} is {found}, which this version does not implement; expected {expected}")]
    Unsupported {
        /// The full key.
        key: String,
        /// What came.
        found: String,
        /// What is implemented.
        expected: String,
    },
}

/// The expression whose digits, letters and blanks are ASCII's, as other servers' expressions have them: `\d`, `\w`, `\s`
/// and what is none of these, in and outside of classes, and `\b`.
fn ascii(text: &str) -> String {
    let mut ascii = String::with_capacity(text.len());
    let mut depth = 0;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let class = match letter {
            '\\' => letters.next(),
            '[' => {
                depth += 1;
                None
            }
            ']' => {
                depth = i32::max(depth - 1, 0);
                None
            }
            _ => None,
        };
        let name = match class {
            Some('d') => "[:digit:]",
            Some('D') => "[:^digit:]",
            Some('w') => "[:word:]",
            Some('W') => "[:^word:]",
            Some('s') => r"\t\n\x0C\r\x20",
            Some('S') => r"[^\t\n\x0C\r\x20]",
            Some(boundary @ ('b' | 'B')) if depth == 0 => {
                ascii.extend(["(?-u:\\", boundary.encode_utf8(&mut [0; 4]), ")"]);
                continue;
            }
            other => {
                ascii.push(letter);
                ascii.extend(other);
                continue;
            }
        };
        // `[^…]` stands for itself in a class, too.
        if depth == 0 && class != Some('S') {
            ascii.extend(["[", name, "]"]);
        } else {
            ascii.push_str(name);
        }
    }
    ascii
}

/// The regular expression that is the value of `key`.
pub(crate) fn expression(key: &str, text: &str) -> Result<Regex, RulesError> {
    Regex::new(&ascii(text)).map_err(|_| RulesError::BadValue {
        key: key.to_owned(),
        found: format!("{text:?}"),
        expected: "a regular expression, without look-around and back-references".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::expression;

    #[track_caller]
    fn check(text: &str, name: &str, expected: bool) {
        assert_eq!(
            expression("key", text).expect("an expression").is_match(name),
            expected,
            "{text} of {name}"
        );
    }

    #[test]
    fn letters_digits_and_blanks_are_those_of_ascii() {
        for (text, name, expected) in [
            (r"^\d+$", "12", true),
            (r"^\d+$", "٣", false),
            (r"^[\d-]+$", "1-2", true),
            (r"^[\d-]+$", "٣", false),
            (r"^\D+$", "٣a", true),
            (r"^[^\d]+$", "a1", false),
            (r"^\w+$", "a_1", true),
            (r"^\w+$", "ü", false),
            (r"^[\w.]+$", "a.b", true),
            (r"^\W$", "ü", true),
            (r"^[\W]$", "ü", true),
            (r"^a\sb$", "a b", true),
            (r"^a\sb$", "a\u{a0}b", false),
            (r"^a\Sb$", "a\u{a0}b", true),
            (r"^a[\S]b$", "a\u{a0}b", true),
            (r"^a[\s,]b$", "a,b", true),
            (r"a\b.", "aü", true),
            (r"^\\d$", r"\d", true),
            (r"^\[\d\]$", "[1]", true),
            (r"^[а-я]+$", "привет", true),
        ] {
            check(text, name, expected);
        }
    }
}
