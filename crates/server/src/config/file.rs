//! Reads a configuration file into a tree of values.

use std::path::Path;

use serde_json::{Map, Value};

use super::problem::Problem;

/// The formats a configuration file may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `.toml`
    Toml,
    /// `.yaml`, `.yml`
    Yaml,
    /// `.json`
    Json,
}

impl Format {
    /// The format a file of this name has.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Reads the file; an empty one has no keys.
///
/// # Errors
/// The file cannot be read, or is not what its name says.
pub(super) fn read(path: &Path) -> Result<Map<String, Value>, Problem> {
    if Format::of(path).is_none() {
        return Err(Problem::UnknownFormat { path: path.into() });
    }
    let text =
        std::fs::read_to_string(path).map_err(|source| Problem::Unreadable { path: path.into(), source })?;
    tree(path, &text)
}

/// The tree that the text of a file of this name holds.
///
/// # Errors
/// It is not what the name says.
pub(super) fn tree(path: &Path, text: &str) -> Result<Map<String, Value>, Problem> {
    let format = Format::of(path).ok_or_else(|| Problem::UnknownFormat { path: path.into() })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let syntax = |(line, column, message)| Problem::Syntax { path: path.into(), line, column, message };
    match parse(text, format).map_err(syntax)? {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        other => Err(Problem::BadValue {
            place: path.display().to_string(),
            found: super::kind::describe_type(&other).to_owned(),
            expected: "a table of keys".to_owned(),
        }),
    }
}

/// Line, column and message of a syntax error.
type SyntaxError = (usize, usize, String);

fn parse(text: &str, format: Format) -> Result<Value, SyntaxError> {
    match format {
        Format::Json if text.trim().is_empty() => Ok(Value::Null),
        Format::Json => serde_json::from_str(text).map_err(|error| {
            let message = error.to_string();
            let place = format!(" at line {} column {}", error.line(), error.column());
            (error.line(), error.column(), message.strip_suffix(&place).unwrap_or(&message).to_owned())
        }),
        Format::Toml => toml::from_str(text).map_err(|error: toml::de::Error| {
            let (line, column) = error.span().map_or((0, 0), |span| position(text, span.start));
            (line, column, error.message().to_owned())
        }),
        Format::Yaml => serde_saphyr::from_str(text).map_err(|error: serde_saphyr::Error| {
            let place = error.location();
            let (line, column) =
                place.map_or((0, 0), |place| (place.line() as usize, place.column() as usize));
            // The lines after the first quote the file, which may hold secrets.
            let message = error.to_string();
            let first = message.lines().next().unwrap_or_default();
            let prefix = format!("error: line {line} column {column}: ");
            (line, column, first.strip_prefix(&prefix).unwrap_or(first).to_owned())
        }),
    }
}

/// Line and column, both from 1, of a byte of `text`.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
