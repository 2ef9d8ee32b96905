//! Requests that are done beside the connection: publishing, presence, history.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tidegate_core::broker::BrokerError;
use tidegate_core::request::{HistoryRequest, Response};
use tidegate_core::{Channel, Client, ClientError, ClientInfo, Publication, Refusal};

use crate::app::App;
use crate::handle::{PublishError, no_room};
use crate::time::unix_millis;

pub(super) async fn publish(
    app: &App,
    client: &Client,
    channel: Channel,
    data: Bytes,
    key: Option<Arc<str>>,
    info: Arc<ClientInfo>,
    subscribed: bool,
) -> Result<Response, Refusal> {
    let grant = app.authenticator().publish(client, &channel, &data, subscribed).await?;
    let data = grant.data.unwrap_or(data);
    if data.is_empty() && !grant.empty {
        return Err(ClientError::BAD_REQUEST.into());
    }
    let publication = Publication {
        data,
        version: grant.version,
        info: Some(info),
        time: unix_millis(),
        delta: grant.options.delta,
        tags: grant.options.tags.clone(),
        key,
        ..Default::default()
    };
    let publication = app.hooks.publishing(client, &channel, publication).await?;
    app.publish(&channel, publication, &grant.options).await.map_err(|error| match error {
        PublishError::Stopping => ClientError::STOPPING.into(),
        PublishError::NoRoom { .. } => no_room(&error).into(),
        PublishError::Broker(error) => refusal(&error),
    })?;
    Ok(Response::Published)
}

pub(super) async fn presence(
    app: &App,
    client: &Client,
    channel: &Channel,
    subscribed: bool,
    stats: bool,
    now: Instant,
) -> Result<Response, Refusal> {
    app.authenticator().presence(client, channel, subscribed).await?;
    let broker = app.hub.broker();
    if stats {
        let stats = broker.presence_stats(channel, now).await;
        return stats.map(Response::PresenceStats).map_err(|e| refusal(&e));
    }
    broker.presence(channel, now).await.map(Response::Presence).map_err(|e| refusal(&e))
}

pub(super) async fn history(
    app: &App,
    client: &Client,
    mut request: HistoryRequest,
    subscribed: bool,
    now: Instant,
) -> Result<Response, Refusal> {
    let bounds = app.authenticator().history(client, &request.channel, subscribed).await?;
    if request.is_before_all() {
        return Err(ClientError::BAD_REQUEST.into());
    }
    let most = app.settings().history_limit;
    request.limit = Some(request.limit.map_or(most, |limit| limit.min(most)));
    app.hub.broker().history(&request, &bounds, now).await.map(Response::History).map_err(|e| refusal(&e))
}

/// What a client is told of a broker's trouble.
pub(super) fn refusal(error: &BrokerError) -> Refusal {
    match error {
        BrokerError::Unsupported => ClientError::NOT_AVAILABLE.into(),
        BrokerError::Refused(_) => ClientError::LIMIT_EXCEEDED.into(),
        BrokerError::WrongEpoch => ClientError::UNRECOVERABLE_POSITION.into(),
        // Whoever found it out has said so, once; here it would be said for every publication.
        BrokerError::Unavailable(why) => {
            tracing::debug!(why, "broker");
            ClientError::INTERNAL.into()
        }
        error => {
            tracing::error!(%error, "broker");
            ClientError::INTERNAL.into()
        }
    }
}
