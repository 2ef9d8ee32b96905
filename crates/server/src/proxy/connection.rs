//! Questions about connections: who connects, and whether it goes on.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tidegate_core::call::{Overrides, SubscribeCall};
use tidegate_core::request::ConnectRequest;
use tidegate_core::transport::Peer;
use tidegate_core::{Channel, Client, ClientError, Refreshed, Refusal};

use super::channel::SubscribeResult;
use super::endpoint::{Failed, Proxy};
use super::origin::Origin;
use super::{Event, Question};
use crate::payload::{self, moment};

/// Who connects, as the backend says.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) user: String,
    pub(crate) expire_at: i64,
    pub(crate) info: Bytes,
    pub(crate) data: Bytes,
    pub(crate) channels: Vec<SubscribeCall>,
    pub(crate) meta: Bytes,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ConnectResult {
    user: Option<String>,
    expire_at: Option<i64>,
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
    channels: Option<Vec<String>>,
    subs: Option<BTreeMap<String, SubscribeResult>>,
    meta: Option<Box<RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RefreshResult {
    expired: bool,
    expire_at: Option<i64>,
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
    meta: Option<Box<RawValue>>,
}

impl Proxy {
    /// Asks who connects. `client` is the connection's id.
    pub(crate) async fn connect(
        &self,
        client: &str,
        request: &ConnectRequest,
        peer: &Peer,
        origin: &Origin,
    ) -> Result<Connected, Refusal> {
        let question = Question {
            client,
            transport: peer.transport,
            name: &request.name,
            version: &request.version,
            channels: request.subs.keys().map(Channel::as_str).collect(),
            ..self.question(&request.data, Some(origin))?
        };
        let result: ConnectResult = self.ask(Event::Connect, Some(origin), &question).await??;
        let channels = result.channels.into_iter().flatten();
        let mut channels: BTreeMap<_, _> =
            channels.map(|channel| (channel, SubscribeResult::default())).collect();
        // What is said in more detail counts.
        channels.extend(result.subs.into_iter().flatten());
        let channels = channels.into_iter().map(|(channel, sub)| self.call_of(channel, sub));
        let channels = channels.collect::<Result<_, Refusal>>()?;
        Ok(Connected {
            user: result.user.unwrap_or_default(),
            expire_at: moment(result.expire_at.unwrap_or_default()),
            info: self.either(result.b64info, result.info)?.unwrap_or_default(),
            data: self.either(result.b64data, result.data)?.unwrap_or_default(),
            meta: result.meta.as_deref().map(payload::raw).unwrap_or_default(),
            channels,
        })
    }

    /// Asks whether a connection goes on at `now`, in seconds since 1970. While the backend fails it does, and is
    /// asked for again.
    pub(crate) async fn refresh(&self, client: &Client, now: i64) -> Result<Refreshed, Refusal> {
        let question = self.of_client(client, &[])?;
        self.prolong(Event::Refresh, client, &question, now, false).await
    }

    /// Asks whether a life goes on; `for_ever`: one that is given no end has none.
    pub(super) async fn prolong(
        &self,
        event: Event,
        client: &Client,
        question: &Question<'_>,
        now: i64,
        for_ever: bool,
    ) -> Result<Refreshed, Refusal> {
        let over = Refreshed { expired: true, ..Refreshed::default() };
        let result: RefreshResult = match self.ask(event, Origin::kept(client), question).await {
            Err(Failed) => return Ok(Refreshed { expire_at: now + RETRY, ..Refreshed::default() }),
            Ok(Err(Refusal::Error(_))) => return Ok(over),
            Ok(Err(refusal)) => return Err(refusal),
            Ok(Ok(result)) => result,
        };
        let RefreshResult { expired, expire_at, info, b64info, meta } = result;
        let expire_at = moment(expire_at.unwrap_or_default());
        if expired || (expire_at <= now && !(expire_at == 0 && for_ever)) {
            return Ok(over);
        }
        Ok(Refreshed {
            expire_at,
            info: self.either(b64info, info)?,
            meta: meta.as_deref().map(payload::raw),
            ..Refreshed::default()
        })
    }

    /// What every question about a client says, and the payload that comes with it.
    ///
    /// # Errors
    /// As [`Proxy::question`].
    pub(super) fn of_client<'a>(
        &self,
        client: &'a Client,
        data: &'a [u8],
    ) -> Result<Question<'a>, ClientError> {
        Ok(Question {
            client: &client.id,
            transport: client.transport,
            user: Some(client.user()),
            meta: self.meta(&client.meta),
            ..self.question(data, Origin::kept(client))?
        })
    }

    /// A question with a payload, about nobody yet.
    ///
    /// # Errors
    /// 107 for a payload that is not JSON, where the backend wants JSON.
    fn question<'a>(&self, data: &'a [u8], origin: Option<&Origin>) -> Result<Question<'a>, ClientError> {
        let (data, b64data) = match (data.is_empty(), self.binary) {
            (true, _) => (None, None),
            (false, true) => (None, Some(STANDARD.encode(data))),
            (false, false) => {
                (Some(serde_json::from_slice(data).map_err(|_| ClientError::BAD_REQUEST)?), None)
            }
        };
        let (protocol, encoding) = (origin.map_or("json", Origin::protocol), self.encoding());
        Ok(Question { protocol, encoding, data, b64data, ..Question::default() })
    }

    /// What is in base64 if there is something, else what is in JSON.
    ///
    /// # Errors
    /// 100 for a text that is not base64.
    pub(super) fn either(
        &self,
        base64: Option<String>,
        json: Option<Box<RawValue>>,
    ) -> Result<Option<Bytes>, ClientError> {
        payload::either(base64.as_deref(), json.as_deref()).map_err(|_| {
            tracing::warn!(proxy = ?self, "a field of the answer is not base64");
            ClientError::INTERNAL
        })
    }

    fn call_of(&self, channel: String, sub: SubscribeResult) -> Result<SubscribeCall, Refusal> {
        Ok(SubscribeCall {
            channel: Channel::new(channel),
            info: self.either(sub.b64info, sub.info)?.unwrap_or_default(),
            data: self.either(sub.b64data, sub.data)?.unwrap_or_default(),
            expire_at: moment(sub.expire_at.unwrap_or_default()),
            recover_since: None,
            overrides: sub.r#override.map(Overrides::from).unwrap_or_default(),
            by_token: false,
        })
    }
}

/// How long a life goes on whose backend fails, until it is asked for again, in seconds. 60, as v6: a restart of the
/// backend ends nobody.
const RETRY: i64 = 60;
