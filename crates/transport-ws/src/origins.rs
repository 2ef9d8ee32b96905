#[cfg(test)]
mod tests;

/// The origins whose pages may connect.
///
/// Patterns are compared without regard to case with the whole `Origin` header; `*` in a pattern stands
/// for any characters or none, and a pattern that is only `*` lets everything through. `null`, which
/// sandboxed frames and local files send, must be listed as such.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    any: bool,
    null: bool,
    /// In lower case.
    patterns: Vec<String>,
}

/// A pattern that could not have been meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the origin {pattern:?} {problem}; expected one like \"https://*.example.com\"")]
pub struct BadPattern {
    /// The pattern as it came.
    pub pattern: String,
    problem: &'static str,
}

impl Origins {
    /// Reads a list of patterns. An empty list lets only requests without an `Origin` header through.
    ///
    /// # Errors
    /// [`BadPattern`] for an empty pattern, and for the characters ` ?{}\` and control characters, which
    /// stand in no origin: other globs than `*` are not known here.
    pub fn parse(patterns: &[String]) -> Result<Self, BadPattern> {
        let mut origins = Self::default();
        for pattern in patterns {
            let bad = |problem| BadPattern { pattern: pattern.clone(), problem };
            if pattern.is_empty() {
                return Err(bad("is empty"));
            }
            if pattern.contains(|c: char| matches!(c, '?' | '{' | '}' | '\\') || c <= ' ') {
                return Err(bad("has a character that stands in no origin"));
            }
            match pattern.to_lowercase() {
                pattern if pattern == "*" => origins.any = true,
                pattern if pattern == "null" => origins.null = true,
                pattern => origins.patterns.push(pattern),
            }
        }
        Ok(origins)
    }

    /// Whether a request with this `Origin` header, or without one, may connect.
    pub fn allow(&self, origin: Option<&str>) -> bool {
        let Some(origin) = origin else { return true };
        if self.any {
            return true;
        }
        let origin = origin.to_lowercase();
        if origin == "null" {
            return self.null;
        }
        well_formed(&origin)
            && self.patterns.iter().any(|pattern| matches(pattern.as_bytes(), origin.as_bytes()))
    }

    /// Whether every origin is allowed.
    pub fn allow_any(&self) -> bool {
        self.any
    }
}

/// Whether this is a scheme, a host and perhaps a port, and nothing more: a `*` must not reach over the
/// end of the host into a path.
fn well_formed(origin: &str) -> bool {
    let Some((scheme, host)) = origin.split_once("://") else { return false };
    let part_of_host = |c: char| !matches!(c, '/' | '?' | '#' | '@' | '\\' | ',') && c > ' ';
    !scheme.is_empty() && !host.is_empty() && host.chars().all(part_of_host)
}

/// Glob matching with `*` only. Takes at most `pattern.len() * text.len()` steps: on a mismatch only the
/// last `*` is tried again.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            p = at + 1;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}
