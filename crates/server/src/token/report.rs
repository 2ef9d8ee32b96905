//! What a token is, and what a server makes of it, in words.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What somebody who has a token wants to know of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// What it is for.
    pub kind: Kind,
    /// Its header; `None` if it has none that is JSON.
    pub header: Option<Value>,
    /// Its claims; `None` if it has none that are JSON.
    pub claims: Option<Value>,
    /// The key that it is signed with, as the configuration names it; or why there is none.
    pub key: Result<String, String>,
    /// What a server answers whom it lets in, or the code that it answers, and why.
    pub answer: Result<String, String>,
    /// The moment of all this, in seconds since 1970.
    pub now: i64,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To connect.
    Connection,
    /// To subscribe to the channel that it names.
    Subscription,
}

/// The parts of a token, as they can be read without a key.
pub(crate) struct Reader {
    pub(crate) header: Option<Value>,
    pub(crate) claims: Option<Value>,
}

impl Reader {
    pub(crate) fn new(token: &str) -> Self {
        let mut parts = token.split('.');
        let mut part = || {
            let bytes = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
            serde_json::from_slice(&bytes).ok().filter(Value::is_object)
        };
        Self { header: part(), claims: part() }
    }

    pub(crate) fn kind(&self) -> Kind {
        let channel = self.claims.as_ref().and_then(|claims| claims["channel"].as_str());
        if channel.is_some_and(|channel| !channel.is_empty()) { Kind::Subscription } else { Kind::Connection }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, text: &str| {
            let text = text.replace('\n', &format!("\n{:WIDTH$}", ""));
            writeln!(f, "{name:WIDTH$}{text}")
        };
        let nothing = "none that can be read";
        let shown =
            |json: &Option<Value>| json.as_ref().map_or(nothing.to_owned(), |json| format!("{json:#}"));
        line(
            "for",
            match self.kind {
                Kind::Connection => "connecting",
                Kind::Subscription => "subscribing",
            },
        )?;
        let header = self.header.as_ref().map_or(nothing.to_owned(), Value::to_string);
        line("header", &header)?;
        line("claims", &shown(&self.claims))?;
        for (claim, name) in DATES {
            let date = self.claims.as_ref().and_then(|claims| claims[claim].as_f64());
            if let Some(seconds) = date {
                line(name, &moment(seconds as i64, self.now))?;
            }
        }
        match &self.key {
            Ok(key) => line("signature", &format!("by {key}"))?,
            Err(why) => line("signature", &format!("not accepted: {why}"))?,
        }
        match &self.answer {
            Ok(answer) => line("answer", &format!("accepted: {answer}")),
            Err(why) => line("answer", &format!("refused: {why}")),
        }
    }
}

/// A moment, and how far it is from `now`.
pub(crate) fn moment(seconds: i64, now: i64) -> String {
    let date = OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|date| date.format(&Rfc3339).ok());
    let date = date.unwrap_or_else(|| format!("{seconds} seconds after 1970"));
    match seconds.saturating_sub(now) {
        0 => format!("{date}, now"),
        away if away > 0 => format!("{date}, in {}", span(away.unsigned_abs())),
        ago => format!("{date}, {} ago", span(ago.unsigned_abs())),
    }
}

/// A length of time in its two largest units.
fn span(seconds: u64) -> String {
    let units = [
        ("day", seconds / 86_400),
        ("hour", seconds / 3600 % 24),
        ("minute", seconds / 60 % 60),
        ("second", seconds % 60),
    ];
    let first = units.iter().position(|(_, count)| *count > 0).unwrap_or(units.len() - 1);
    let words = units[first..].iter().take(2).filter(|(_, count)| *count > 0);
    let words = words.map(|(name, count)| format!("{count} {name}{}", if *count == 1 { "" } else { "s" }));
    words.collect::<Vec<_>>().join(" ")
}

/// Claims that are moments, and what they say.
const DATES: [(&str, &str); 4] =
    [("iat", "issued"), ("nbf", "valid from"), ("exp", "expires"), ("expire_at", "grants until")];
/// Letters before what is said.
const WIDTH: usize = 14;
