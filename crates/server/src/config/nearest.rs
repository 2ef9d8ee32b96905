//! "Did you mean": the known name closest to an unknown one.

/// The name among `known` that `unknown` was probably meant to be.
///
/// Separators do not count, and a missing or wrong section costs little: `token_hmac_secret_key` and
/// `http_server.hmac_secret_key` both find `client.token.hmac_secret_key`.
pub(super) fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = plain(unknown);
    let last = plain(last_segment(unknown));
    let mut best: Option<(usize, &'a str)> = None;
    for name in known {
        let mut score = distance(&wanted, &plain(name));
        for (dot, _) in name.match_indices(['.', '_']) {
            score = score.min(distance(&wanted, &plain(&name[dot + 1..])) + 1);
        }
        if unknown.contains('.') && name.contains('.') {
            score = score.min(distance(&last, &plain(last_segment(name))) + 2);
        }
        if best.is_none_or(|(least, _)| score < least) {
            best = Some((score, name));
        }
    }
    let bound = (wanted.len() / 3).max(2);
    best.filter(|(score, _)| *score <= bound).map(|(_, name)| name)
}

fn plain(name: &str) -> Vec<char> {
    name.chars().map(|c| if c == '.' || c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

fn last_segment(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Edits between two texts, a swap of neighbours being one edit.
fn distance(a: &[char], b: &[char]) -> usize {
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
