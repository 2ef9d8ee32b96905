//! `batch`: many commands in one request.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use tidegate_core::ClientError;

use super::{
    Api, Authorized, Fault, METHODS, NOT_FOUND, Rejected, TURN, Work, bad_request, field, malformed, read,
};

/// Does the commands, in their order; if they are `parallel`, [`TURN`] at a time. All are read before the
/// first is done: a batch with a malformed command does nothing. They are read again when their turn comes,
/// and each reply is written when it is there: of 100,000 commands only those being done take more than
/// their text.
pub(super) async fn batch(
    State(api): State<Arc<Api>>,
    _: Authorized,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Rejected> {
    let body = read(&api, &headers, body).await?;
    let field::Object(batch) =
        serde_json::from_slice::<field::Object<Batch<'_>>>(&body).map_err(|e| malformed("the body", &e))?;
    for (n, turn) in batch.commands.chunks(READ).enumerate() {
        for (i, command) in turn.iter().enumerate() {
            Step::read(n * READ + i, command)?;
        }
        tokio::task::yield_now().await;
    }
    let mut replies = Replies::new();
    for (n, turn) in batch.commands.chunks(TURN).enumerate() {
        let steps = turn.iter().zip(n * TURN..).map(|(command, i)| Step::read(i, command));
        if batch.parallel {
            let steps = steps.collect::<Result<Vec<_>, _>>()?;
            for reply in join_all(steps.into_iter().map(|step| step.run(&api))).await {
                replies.add(&reply)?;
            }
        } else {
            for step in steps {
                replies.add(&step?.run(&api).await)?;
            }
        }
        tokio::task::yield_now().await;
    }
    Ok(replies.into_response())
}

/// Commands that are only read before other tasks have their turn: some 500 µs.
const READ: usize = 512;

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow, default, deserialize_with = "commands")]
    commands: Vec<&'a RawValue>,
    #[serde(default, deserialize_with = "field::or_zero")]
    parallel: bool,
}

fn commands<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<&'de RawValue>, D::Error> {
    field::or_zero(deserializer)
}

/// A command by its method: `{"publish":{…}}`. A method that is `null` is absent.
type Fields<'a> = BTreeMap<Cow<'a, str>, Option<&'a RawValue>>;

/// A command that was read: of several methods in it, the first of [`METHODS`]. Instead of work there is why it has
/// none.
struct Step {
    method: &'static str,
    work: Result<Work, ClientError>,
}

impl Step {
    fn read(i: usize, command: &RawValue) -> Result<Self, Rejected> {
        let fields: Option<Fields<'_>> = serde_json::from_str(command.get())
            .map_err(|error| malformed(&format!("commands[{i}]"), &error))?;
        let Some(fields) = fields else {
            return Ok(Self { method: "", work: Err(bad_request("a command")) });
        };
        let given = |name: &str| fields.get(name).copied().flatten();
        let found = METHODS.iter().find_map(|(method, prepare)| Some((*method, prepare, given(method)?)));
        let Some((method, prepare, params)) = found else {
            return Ok(Self { method: "", work: Err(NOT_FOUND) });
        };
        let work = prepare(params.get().as_bytes())
            .map_err(|error| malformed(&format!("commands[{i}].{method}"), &error))?;
        Ok(Self { method, work: Ok(work) })
    }

    async fn run(self, api: &Arc<Api>) -> Reply {
        let Self { method, work } = self;
        let outcome = match work {
            Ok(work) => work(api.clone()).await,
            Err(error) => Err(error),
        };
        Reply { method, outcome }
    }
}

/// The reply to all, as far as it is written.
struct Replies(Vec<u8>);

impl Replies {
    fn new() -> Self {
        Self(b"{\"replies\":[".to_vec())
    }

    fn add(&mut self, reply: &Reply) -> Result<(), Rejected> {
        if self.0.last() != Some(&b'[') {
            self.0.push(b',');
        }
        serde_json::to_writer(&mut self.0, reply).map_err(|error| {
            tracing::error!(%error, "API: a reply cannot be written as JSON");
            Rejected(StatusCode::INTERNAL_SERVER_ERROR, String::new())
        })
    }

    /// The response; a list without elements is left out of it.
    fn into_response(mut self) -> Response {
        match self.0.last() {
            Some(b'[') => self.0 = b"{}".to_vec(),
            _ => self.0.extend_from_slice(b"]}"),
        }
        ([(header::CONTENT_TYPE, "application/json")], self.0).into_response()
    }
}

/// What came of a command: `{"publish":{…}}` or `{"error":{…}}`.
struct Reply {
    method: &'static str,
    outcome: Result<Box<RawValue>, ClientError>,
}

impl Serialize for Reply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut reply = serializer.serialize_map(Some(1))?;
        match &self.outcome {
            Ok(result) => reply.serialize_entry(self.method, result)?,
            Err(error) => reply.serialize_entry("error", &Fault::from(error.clone()))?,
        }
        reply.end()
    }
}
