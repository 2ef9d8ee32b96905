//! `batch`: many commands in one request.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use futures_util::future::join_all;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use tidegate_core::ClientError;

use super::{Api, Authorized, Fault, METHODS, NOT_FOUND, Rejected, TURN, Work, field, json, malformed, read};

/// Does the commands, in their order; if they are `parallel`, [`TURN`] at a time. All are read before the
/// first is done: a batch with a malformed command does nothing.
pub(super) async fn batch(
    State(api): State<Arc<Api>>,
    _: Authorized,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Rejected> {
    let body = read(&api, &headers, body).await?;
    let field::Object(batch) =
        serde_json::from_slice::<field::Object<Batch<'_>>>(&body).map_err(|e| malformed("the body", &e))?;
    let mut commands = Vec::with_capacity(batch.commands.len());
    for (i, command) in batch.commands.iter().enumerate() {
        commands.push(Step::read(i, command)?);
    }
    let parallel = batch.parallel;
    let mut replies = Vec::with_capacity(commands.len());
    let mut commands = commands.into_iter();
    while !commands.as_slice().is_empty() {
        let turn = commands.by_ref().take(TURN);
        if parallel {
            replies.extend(join_all(turn.map(|step| step.run(&api))).await);
        } else {
            for step in turn {
                replies.push(step.run(&api).await);
            }
        }
        tokio::task::yield_now().await;
    }
    Ok(json(&Replies { replies }))
}

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow, default, deserialize_with = "commands")]
    commands: Vec<Fields<'a>>,
    #[serde(default, deserialize_with = "field::or_zero")]
    parallel: bool,
}

/// A command by its method: `{"publish":{…}}`. A method that is `null` is absent.
type Fields<'a> = BTreeMap<Cow<'a, str>, Option<&'a RawValue>>;

fn commands<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Fields<'de>>, D::Error> {
    field::or_zero(deserializer)
}

/// A command that was read. Its work is `None` if there is no such method.
struct Step {
    method: &'static str,
    work: Option<Work>,
}

impl Step {
    fn read(i: usize, fields: &Fields<'_>) -> Result<Self, Rejected> {
        let given = |name: &str| fields.get(name).copied().flatten();
        let mut found =
            METHODS.iter().filter_map(|(method, prepare)| Some((*method, prepare, given(method)?)));
        let Some((method, prepare, params)) = found.next() else {
            return Ok(Self { method: "", work: None });
        };
        if let Some((other, ..)) = found.next() {
            let text = format!("commands[{i}]: expected one method, found {method} and {other}\n");
            return Err(Rejected(StatusCode::BAD_REQUEST, text));
        }
        let work = prepare(params.get().as_bytes())
            .map_err(|error| malformed(&format!("commands[{i}].{method}"), &error))?;
        Ok(Self { method, work: Some(work) })
    }

    async fn run(self, api: &Arc<Api>) -> Reply {
        let Self { method, work } = self;
        let outcome = match work {
            Some(work) => work(api.clone()).await,
            None => Err(NOT_FOUND),
        };
        Reply { method, outcome }
    }
}

#[derive(Serialize)]
struct Replies {
    replies: Vec<Reply>,
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
