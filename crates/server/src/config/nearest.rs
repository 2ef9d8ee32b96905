//! "Did you mean": the known name closest to an unknown one.

/// Bytes of what may be meant to be something. 100: known names have up to 70, and looking takes time with the square
/// of it.
const LONGEST: usize = 100;

/// The name among `known` that `unknown` was probably meant to be.
///
/// Separators do not count, and a missing or wrong section costs little: `token_hmac_secret_key` and
/// `http_server.hmac_secret_key` both find `client.token.hmac_secret_key`.
pub(super) fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if unknown.len() > LONGEST {
        return None;
    }
    let wanted = plain(unknown);
    let bound = (wanted.len() / 3).max(2);
    let last = plain(last_segment(unknown));
    let mut best: Option<(usize, &'a str)> = None;
    for name in known {
        let mut score = distance(&wanted, &plain(name), bound);
        for (dot, _) in name.match_indices(['.', '_']) {
            score = score.min(distance(&wanted, &plain(&name[dot + 1..]), bound).saturating_add(1));
        }
        if unknown.contains('.') && name.contains('.') {
            score = score.min(distance(&last, &plain(last_segment(name)), bound).saturating_add(2));
        }
        if best.is_none_or(|(least, _)| score < least) {
            best = Some((score, name));
        }
    }
    best.filter(|(score, _)| *score <= bound).map(|(_, name)| name)
}

fn plain(name: &str) -> Vec<char> {
    name.chars().map(|c| if c == '.' || c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

fn last_segment(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Edits between two texts, a swap of neighbours being one edit; where their lengths tell that it is more than
/// `most`, as many as there are.
fn distance(a: &[char], b: &[char], most: usize) -> usize {
    if a.len().abs_diff(b.len()) > most {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = usize::from(a[i - 1] != b[j - 1]);
            let mut least = (above[j - 1] + changed).min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, nearest};

    #[test]
    fn what_is_too_long_is_meant_to_be_nothing() {
        let known = "a".repeat(LONGEST - 1);
        let near = |length| nearest(&"a".repeat(length), [known.as_str()].into_iter()).is_some();
        assert!(near(LONGEST) && !near(LONGEST + 1));
    }
}
