//! Glob patterns, as `channels` takes them: `*` for any text, `?` for any character, `[a-z]` and `[!a-z]` for
//! one of some or of others, `{a,b}` for either pattern, `\` before a character that is meant itself.

use regex::Regex;

/// The names that fit `pattern` as a whole; `None` if it is none.
pub(super) fn compile(pattern: &str) -> Option<Regex> {
    let mut regex = String::from(r"(?s)\A");
    let mut open = 0;
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '[' => class(&mut chars, &mut regex)?,
            '{' => {
                open += 1;
                regex.push_str("(?:");
            }
            '}' if open > 0 => {
                open -= 1;
                regex.push(')');
            }
            ',' if open > 0 => regex.push('|'),
            '\\' => literal(chars.next()?, &mut regex),
            c => literal(c, &mut regex),
        }
    }
    regex.push_str(r"\z");
    // A pattern that is very large is refused, too.
    if open == 0 { Regex::new(&regex).ok() } else { None }
}

/// What follows a `[`.
fn class(chars: &mut std::str::Chars<'_>, regex: &mut String) -> Option<()> {
    regex.push('[');
    if chars.as_str().starts_with('!') {
        chars.next();
        regex.push('^');
    }
    let mut empty = true;
    loop {
        match chars.next()? {
            ']' if empty => return None,
            ']' => break,
            '-' if !empty && !chars.as_str().starts_with(']') => {
                regex.push('-');
                continue;
            }
            '\\' => literal(chars.next()?, regex),
            c => literal(c, regex),
        }
        empty = false;
    }
    regex.push(']');
    Some(())
}

fn literal(c: char, regex: &mut String) {
    regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
}

#[cfg(test)]
mod tests {
    fn check(pattern: &str, fitting: &[&str], others: &[&str]) {
        let regex = super::compile(pattern).unwrap_or_else(|| panic!("{pattern} is a pattern"));
        fitting.iter().for_each(|name| assert!(regex.is_match(name), "{pattern} fits {name}"));
        others.iter().for_each(|name| assert!(!regex.is_match(name), "{pattern} does not fit {name}"));
    }

    #[test]
    fn patterns() {
        check("*", &["", "news", "a:b.c/d"], &[]);
        check("chat:*", &["chat:", "chat:1:2"], &["chat", "xchat:1"]);
        check("a?c", &["abc", "a.c"], &["ac", "abbc"]);
        check("room[0-9]", &["room7"], &["room", "rooma", "room-"]);
        check("[!a-c]x", &["dx"], &["ax", "x"]);
        check("{news,chat:*}", &["news", "chat:1"], &["news1"]);
        check("{a,b{c,d}}", &["a", "bc", "bd"], &["b"]);
        check(r"\*+.$^|(", &["*+.$^|("], &["x+.$^|("]);
        check("a,b}", &["a,b}"], &["a"]);
        check("[&&~~]", &["&", "~"], &["a"]);
        check("[a-]", &["a", "-"], &["b"]);
    }

    #[test]
    fn none() {
        for pattern in ["[", "[]", "{a", "a\\", "[z-a]", "[a"] {
            assert!(super::compile(pattern).is_none(), "{pattern}");
        }
    }
}
