//! Configuration files. The first byte says in which format the rest is.

use std::path::Path;

use serde_json::Value;
use tidegate_server::config::{self, Loaded, Sources};

/// What no message may repeat.
const SECRET: &str = "not-for-anybodys-eyes";
/// What one problem may say, in bytes, besides what it quotes: a message is for a person to read.
const MESSAGE: usize = 2000;

pub(crate) fn run(data: &[u8]) {
    let Some((format, text)) = data.split_first() else { return };
    let Ok(text) = str::from_utf8(text) else { return };
    match format {
        b'j' => drop(load("tidegate.json", text)),
        b'y' => drop(load("tidegate.yaml", text)),
        _ => toml(text),
    }
}

/// The same tree as TOML and as JSON is the same configuration, or wrong for the same reasons.
fn toml(text: &str) {
    let outcome = load("tidegate.x", text);
    let Ok(tree) = toml::from_str::<Value>(text) else {
        assert!(outcome.is_err(), "it is no TOML");
        return;
    };
    let json = serde_json::to_string(&tree).expect("what TOML holds, JSON holds");
    assert_eq!(load_named("tidegate.x.json", &json), outcome, "{json}");
}

fn load(name: &str, text: &str) -> Result<String, String> {
    load_named(&if name.ends_with('x') { format!("{name}.toml") } else { name.to_owned() }, text)
}

/// The configuration or what is wrong with it, written down.
fn load_named(name: &str, text: &str) -> Result<String, String> {
    let flags = [("http_api.key", SECRET), ("client.token.hmac_secret_key", SECRET)];
    let sources = Sources {
        flags: flags.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..Default::default()
    };
    match config::load_text(Path::new(name), text, &sources) {
        Ok(Loaded { config, warnings, .. }) => {
            let written = format!("{config:?} {warnings:?}");
            assert!(!written.contains(SECRET), "a secret in what a log may hold");
            Ok(written.replace(name, "FILE"))
        }
        Err(errors) => {
            let written = errors.to_string();
            assert!(!written.contains(SECRET), "a secret in what a log may hold");
            let most = (MESSAGE + text.len()) * (1 + text.len());
            assert!(!written.is_empty() && written.len() <= most, "{} B of error", written.len());
            Err(written.replace(name, "FILE"))
        }
    }
}
