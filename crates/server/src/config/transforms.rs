//! What codes become: lists of tables, `code` and `to`.

use serde::Deserialize;

/// `*.transforms`, and whether they are used.
#[derive(Debug, Clone, Deserialize)]
pub struct Transforms<T> {
    /// Whether they are used.
    pub enabled: bool,
    /// What becomes what. The first of a code counts.
    pub transforms: Vec<Transform<T>>,
}

/// What one code becomes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transform<T> {
    /// The code of an error or a disconnect.
    pub code: u32,
    /// What it becomes.
    pub to: T,
}

/// A disconnect.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToDisconnect {
    /// From 3000 to 4999.
    pub code: u16,
    /// For people.
    #[serde(default)]
    pub reason: String,
}

/// A response of HTTP.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToResponse {
    /// From 400 to 599.
    pub status_code: u16,
    /// For people.
    #[serde(default)]
    pub body: String,
}

/// A code can become this, or not.
pub(super) trait Target: for<'de> Deserialize<'de> {
    /// What is expected of one.
    const EXPECTED: &'static str;

    fn is_sound(&self) -> bool;
}

impl Target for ToDisconnect {
    const EXPECTED: &'static str = "a table of code and to; to is a table of code, from 3000 to 4999, and reason, a text \
                                    of less than 124 bytes that is not JSON";

    fn is_sound(&self) -> bool {
        // The SDKs read a reason that is JSON as another format.
        let json = serde_json::from_str::<serde::de::IgnoredAny>(&self.reason).is_ok();
        (3000..=4999).contains(&self.code) && self.reason.len() < 124 && !json
    }
}

impl Target for ToResponse {
    const EXPECTED: &'static str =
        "a table of code and to; to is a table of status_code, from 400 to 599, and body, a text";

    fn is_sound(&self) -> bool {
        (400..=599).contains(&self.status_code)
    }
}

impl<T> Transforms<T> {
    /// What codes become, where it is enabled.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let used = if self.enabled { &self.transforms[..] } else { &[] };
        // Whoever collects them into a map keeps the last.
        used.iter().rev().map(|transform| (transform.code, &transform.to))
    }
}
