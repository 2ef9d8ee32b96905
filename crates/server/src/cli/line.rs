//! Lines for terminals and for programs.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tidegate_client::{ClientInfo, Event};

/// Text as it may be shown: what others send must not steer the terminal, or look like several lines.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    if text.chars().any(|c| c.is_control() && c != '\t') {
        let escape = |c: char| match c {
            '\t' => "\t".to_owned(),
            c if c.is_control() => c.escape_default().to_string(),
            c => c.to_string(),
        };
        Cow::Owned(text.chars().map(escape).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// Who somebody is, for people.
pub(crate) fn who(info: &ClientInfo) -> String {
    let user = if info.user.is_empty() { "somebody" } else { &info.user };
    format!("{} ({})", safe(user), safe(&info.client))
}

/// An event as an object in one line; `None` for states.
pub(crate) fn object(channel: &str, event: &Event) -> Option<String> {
    let mut object = Map::new();
    object.insert("channel".to_owned(), channel.into());
    let mut data = String::new();
    match event {
        Event::Publication(publication) => {
            data = payload(&publication.data);
            let mut add = |name: &str, value: Value, there: bool| {
                if there {
                    object.insert(name.to_owned(), value);
                }
            };
            add("offset", publication.offset.into(), publication.offset > 0);
            add("tags", json!(publication.tags), !publication.tags.is_empty());
            add("version", publication.version.into(), publication.version > 0);
            if let Some(info) = &publication.info {
                add("user", info.user.as_str().into(), true);
                add("client", info.client.as_str().into(), true);
            }
        }
        Event::Join(info) => drop(object.insert("join".to_owned(), person(info))),
        Event::Leave(info) => drop(object.insert("leave".to_owned(), person(info))),
        Event::Gap(gap) => {
            let gap = json!({ "missed": gap.missed, "cause": gap.cause.to_string() });
            object.insert("gap".to_owned(), gap);
        }
        _ => return None,
    }
    let object = Value::Object(object).to_string();
    // The payload as it came, which parsing might change: numbers have no bounds in JSON.
    Some(if data.is_empty() { object } else { format!("{},{data}}}", &object[..object.len() - 1]) })
}

fn person(info: &ClientInfo) -> Value {
    json!({ "user": info.user, "client": info.client })
}

/// The member of an object that holds the payload.
fn payload(data: &[u8]) -> String {
    match serde_json::from_slice::<&RawValue>(data) {
        // Newlines inside JSON are white space: strings have them escaped.
        Ok(json) => format!(r#""data":{}"#, json.get().replace(['\n', '\r'], " ")),
        Err(_) => format!(r#""b64data":"{}""#, STANDARD.encode(data)),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_client::Event;

    use super::*;

    #[test]
    fn what_others_send_does_not_steer_the_terminal() {
        assert_eq!(safe("plain \u{e9} text\t"), "plain \u{e9} text\t");
        assert_eq!(safe("\u{1b}[2Jgone\nsecond line"), "\\u{1b}[2Jgone\\nsecond line");
    }

    #[test]
    fn payloads_stay_as_they_are() {
        let object = |data: &'static [u8]| {
            let line = format!("{{{}}}", payload(data));
            assert!(serde_json::from_str::<Value>(&line).is_ok(), "{line}");
            line
        };
        assert_eq!(object(b"12345678901234567890123"), r#"{"data":12345678901234567890123}"#);
        assert_eq!(object(b"{\n\"a\": 1\n}"), r#"{"data":{ "a": 1 }}"#);
        assert_eq!(object(b"\xff\x00"), r#"{"b64data":"/wA="}"#);
    }

    #[test]
    fn states_are_no_lines() {
        assert_eq!(object("news", &Event::Subscribing(Default::default())), None);
        let line = object("news", &Event::Publication(Default::default())).unwrap();
        assert_eq!(line, r#"{"channel":"news","b64data":""}"#);
    }
}
