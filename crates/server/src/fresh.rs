//! A new configuration, with secrets of its own.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use uuid::Uuid;

/// Writes one to `file`, whose name tells the format, for its owner's eyes only.
pub(crate) fn write(file: &Path) -> Result<(), String> {
    let name = file.display();
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let text = match extension.to_ascii_lowercase().as_str() {
        "toml" => toml(),
        // JSON is YAML.
        "json" | "yaml" | "yml" => json(),
        _ => {
            return Err(format!(
                "{name}: unknown format; expected a name ending in .toml, .yaml, .yml or .json"
            ));
        }
    };
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let mut opened = opened.map_err(|error| format!("{name}: cannot make the file: {error}"))?;
    opened.write_all(text.as_bytes()).map_err(|error| format!("{name}: cannot write the file: {error}"))
}

fn toml() -> String {
    format!(
        "[client]\nallowed_origins = []\n\n[client.token]\nhmac_secret_key = \"{}\"\n\n[http_api]\nkey = \"{}\"\n\n\
         [admin]\nenabled = false\npassword = \"{}\"\nsecret = \"{}\"\n",
        secret(),
        secret(),
        secret(),
        secret()
    )
}

fn json() -> String {
    let configuration = serde_json::json!({
        "client": { "allowed_origins": [], "token": { "hmac_secret_key": secret() } },
        "http_api": { "key": secret() },
        "admin": { "enabled": false, "password": secret(), "secret": secret() },
    });
    format!("{configuration:#}\n")
}

/// 244 random bits.
fn secret() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}
