//! `POST {prefix}` without a method: the form of older clients, which v6 still takes.
//!
//! The body is one command or several, each `{"id":…,"method":"publish","params":{…}}`, with or without space between
//! them. Each is replied to by `{"id":…,"result":{…}}` or `{"id":…,"error":{…}}`, on a line of its own.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidegate_core::ClientError;

use super::{Api, Authorized, METHODS, Prepare, Rejected, Reply, TURN, field, malformed, read};

/// Does the commands, in their order. All are read before the first is done, and read again then, so that a body costs
/// no more than itself.
pub(super) async fn commands(
    State(api): State<Arc<Api>>,
    _: Authorized,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Rejected> {
    let body = read(&api, &headers, body).await?;
    let mut count = 0;
    for command in parse(&body) {
        let field::Object(command) = command.map_err(|error| malformed("the body", &error))?;
        command.prepare().map_err(|text| Rejected(StatusCode::BAD_REQUEST, text))?;
        count += 1;
    }
    if count == 0 {
        let expected = "expected at least one command, got an empty body\n";
        return Err(Rejected(StatusCode::BAD_REQUEST, expected.to_owned()));
    }
    let (mut replies, mut next, mut count) = (Vec::new(), 0, 0);
    while let Some((command, read)) = command_at(&body[next..]) {
        next += read;
        let Ok(prepare) = command.prepare() else { break };
        let params = command.params.map_or("{}", RawValue::get).to_owned();
        let id = command.id;
        let outcome = match prepare(params.as_bytes()) {
            Ok(work) => work(api.clone()).await,
            Err(error) => {
                tracing::info!(%error, "API: malformed params");
                Err(ClientError::BAD_REQUEST)
            }
        };
        if !replies.is_empty() {
            replies.push(b'\n');
        }
        count += 1;
        if count % TURN == 0 {
            tokio::task::yield_now().await;
        }
        let numbered = Numbered { id, reply: Reply::from(outcome) };
        serde_json::to_writer(&mut replies, &numbered).map_err(|error| {
            tracing::error!(%error, "API: a reply cannot be written as JSON");
            Rejected(StatusCode::INTERNAL_SERVER_ERROR, String::new())
        })?;
    }
    Ok(([(header::CONTENT_TYPE, "application/json")], replies).into_response())
}

#[derive(Deserialize)]
struct Command<'a> {
    #[serde(default, deserialize_with = "field::or_zero")]
    id: u32,
    #[serde(default)]
    method: Option<String>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

impl Command<'_> {
    /// What reads the parameters. Who names no method publishes.
    ///
    /// # Errors
    /// What was expected, where there is no such method.
    fn prepare(&self) -> Result<Prepare, String> {
        let name = self.method.as_deref().unwrap_or("publish");
        let named = METHODS.iter().find(|(method, _)| method.eq_ignore_ascii_case(name));
        named.map(|(_, prepare)| *prepare).ok_or_else(|| {
            let known: Vec<_> = METHODS.iter().map(|(method, _)| *method).collect();
            format!("expected a method, one of {}\n", known.join(", "))
        })
    }
}

/// What is replied to a command.
#[derive(Serialize)]
struct Numbered {
    #[serde(skip_serializing_if = "is_none")]
    id: u32,
    #[serde(flatten)]
    reply: Reply<Box<RawValue>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_none(id: &u32) -> bool {
    *id == 0
}

type Commands<'a> =
    serde_json::StreamDeserializer<'a, serde_json::de::SliceRead<'a>, field::Object<Command<'a>>>;

fn parse(body: &[u8]) -> Commands<'_> {
    serde_json::Deserializer::from_slice(body).into_iter()
}

/// The first command of what is left of a body that was read before, and how long it is.
fn command_at(rest: &[u8]) -> Option<(Command<'_>, usize)> {
    let mut commands = parse(rest);
    let field::Object(command) = commands.next()?.ok()?;
    Some((command, commands.byte_offset()))
}
