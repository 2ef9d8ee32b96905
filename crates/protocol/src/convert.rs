//! Between the server's words and the wire's.

use std::time::Duration;

use bytes::Bytes;
use tidegate_core::filter::{self, Condition, Decimal, Order, Test};
use tidegate_core::request::{self, HistoryRequest, Response, StreamPosition, Subscribed};
use tidegate_core::{Channel, ClientError, Filter};

use crate::Encoding;
use crate::code::Disconnect;
use crate::message::{self, Reply};
use crate::subscription::recovered;

/// A publication as clients see it. Its epoch is told with the first offset only: that is what the SDKs
/// expect.
pub fn publication(publication: &tidegate_core::Publication) -> message::Publication {
    let epoch = publication.epoch.as_deref().filter(|_| publication.offset == 1);
    message::Publication {
        data: publication.data.clone(),
        info: publication.info.as_deref().map(client_info),
        offset: publication.offset,
        tags: publication.tags.as_deref().cloned().unwrap_or_default(),
        epoch: epoch.unwrap_or_default().to_owned(),
        version: publication.version,
        key: publication.key.as_deref().unwrap_or_default().to_owned(),
        ..Default::default()
    }
}

pub(crate) fn client_info(info: &tidegate_core::ClientInfo) -> message::ClientInfo {
    message::ClientInfo {
        user: info.user.to_string(),
        client: info.client.to_string(),
        conn_info: info.connection.clone(),
        chan_info: info.channel.clone(),
    }
}

pub(crate) fn disconnect(why: &Disconnect) -> tidegate_core::Disconnect {
    let code = u16::try_from(why.code()).expect("disconnect codes end at 4999");
    tidegate_core::Disconnect { code, reason: why.reason().to_owned().into() }
}

pub(crate) fn error(error: &ClientError) -> message::Error {
    message::Error {
        code: error.code,
        message: error.message.clone().into_owned(),
        temporary: error.temporary,
    }
}

/// Whole seconds of a life, at least one: zero would mean for ever.
pub(crate) fn seconds(ttl: Option<Duration>) -> (bool, u32) {
    match ttl {
        None => (false, 0),
        Some(ttl) => (true, u32::try_from(ttl.as_secs().max(1)).unwrap_or(u32::MAX)),
    }
}

pub(crate) fn connect_request(connect: message::ConnectRequest) -> request::ConnectRequest {
    // There is no channel without a name, and so nobody wants it.
    let subs = connect.subs.into_iter().filter(|(name, _)| !name.is_empty()).map(|(name, mut subscribe)| {
        subscribe.channel = name;
        let request = subscribe_request(subscribe, None);
        (request.channel.clone(), request)
    });
    request::ConnectRequest {
        subs: subs.collect(),
        token: connect.token,
        data: connect.data,
        name: connect.name,
        version: connect.version,
        headers: connect.headers,
    }
}

/// The second bit of a subscribe request's flags: an unrecoverable position is to be refused.
const REFUSE_UNRECOVERABLE: i64 = 2;

pub(crate) fn subscribe_request(
    subscribe: message::SubscribeRequest,
    filter: Option<Filter>,
) -> request::SubscribeRequest {
    let position = StreamPosition { offset: subscribe.offset, epoch: subscribe.epoch.into() };
    request::SubscribeRequest {
        channel: Channel::new(subscribe.channel),
        token: subscribe.token,
        data: subscribe.data,
        recover: subscribe.recover.then_some(position),
        positioned: subscribe.positioned,
        recoverable: subscribe.recoverable,
        join_leave: subscribe.join_leave,
        delta: !subscribe.delta.is_empty(),
        refuse_unrecoverable: subscribe.flag & REFUSE_UNRECOVERABLE != 0,
        filter,
    }
}

/// What a client asks to be filtered by; `None` if that makes no sense, or is over the limits.
pub(crate) fn filter(node: message::FilterNode, limits: &filter::Limits) -> Option<Filter> {
    Filter::new(condition(node)?, limits).ok()
}

/// The words are those of the SDKs. What belongs to another comparison than the one that is named is refused:
/// whoever wrote it meant something else.
fn condition(node: message::FilterNode) -> Option<Condition> {
    let message::FilterNode { op, key, cmp, val, vals, nodes } = node;
    let mut conditions = nodes.into_iter().map(condition).collect::<Option<Vec<_>>>()?;
    match (&*op, conditions.len()) {
        ("", 0) => {}
        ("and", _) => return Some(Condition::All(conditions)),
        ("or", _) => return Some(Condition::Any(conditions)),
        ("not", 1) => return Some(Condition::Not(Box::new(conditions.remove(0)))),
        _ => return None,
    }
    let (negated, takes_val, takes_vals) = match &*cmp {
        "ex" | "nex" => (cmp == "nex", false, false),
        "in" | "nin" => (cmp == "nin", false, true),
        _ => (cmp == "neq", true, false),
    };
    if val.is_empty() == takes_val || vals.is_empty() == takes_vals {
        return None;
    }
    let compares = |order| Some(Test::Compares(order, Decimal::parse(&val)?));
    let test = match &*cmp {
        "eq" | "neq" => Test::In(vec![val]),
        "in" | "nin" => Test::In(vals),
        "ex" | "nex" => Test::Exists,
        "sw" => Test::StartsWith(val),
        "ew" => Test::EndsWith(val),
        "ct" => Test::Contains(val),
        "gt" => compares(Order::Above)?,
        "gte" => compares(Order::AtLeast)?,
        "lt" => compares(Order::Below)?,
        "lte" => compares(Order::AtMost)?,
        _ => return None,
    };
    let condition = Condition::Tag { key, test };
    Some(if negated { Condition::Not(Box::new(condition)) } else { condition })
}

pub(crate) fn history_request(history: message::HistoryRequest) -> HistoryRequest {
    HistoryRequest {
        channel: Channel::new(history.channel),
        // Negative: as many as there are.
        limit: usize::try_from(history.limit).ok(),
        since: history.since.map(|s| StreamPosition { offset: s.offset, epoch: s.epoch.into() }),
        reverse: history.reverse,
    }
}

pub(crate) fn subscribe_result(subscribed: &Subscribed, encoding: Encoding) -> message::SubscribeResult {
    let (expires, ttl) = seconds(subscribed.ttl);
    message::SubscribeResult {
        expires,
        ttl,
        recoverable: subscribed.recoverable,
        epoch: subscribed.position.epoch.to_string(),
        publications: match subscribed.delta {
            true => recovered(&subscribed.publications, encoding),
            false => subscribed.publications.iter().map(publication).collect(),
        },
        recovered: subscribed.recovered,
        offset: subscribed.position.offset,
        positioned: subscribed.positioned,
        data: subscribed.data.clone(),
        was_recovering: subscribed.was_recovering,
        delta: subscribed.delta,
        ..Default::default()
    }
}

/// What tells a client that only reads that it is connected. Nobody waits for its pongs, and no node for what it
/// posts.
pub(crate) fn connect_push(connected: &request::Connected, version: &str) -> message::Connect {
    let (expires, ttl) = seconds(connected.ttl);
    let subs = connected.subs.iter();
    message::Connect {
        client: connected.client.to_string(),
        version: version.to_owned(),
        data: connected.data.clone(),
        subs: subs.map(|(name, s)| (name.to_string(), subscribe_result(s, Encoding::Json))).collect(),
        expires,
        ttl,
        ping: connected.ping.as_secs() as u32,
        session: connected.session.clone(),
        time: connected.time,
        ..Default::default()
    }
}

/// The reply to command `id`. `native_ping` leaves the ping out of a connect reply: it is the transport's.
pub(crate) fn reply(
    id: u32,
    response: &Response,
    version: &str,
    native_ping: bool,
    encoding: Encoding,
) -> Reply {
    let mut reply = Reply { id, ..Default::default() };
    match response {
        Response::Connected(connected) => {
            let (expires, ttl) = seconds(connected.ttl);
            let subs = connected.subs.iter();
            reply.connect = Some(Box::new(message::ConnectResult {
                client: connected.client.to_string(),
                version: version.to_owned(),
                expires,
                ttl,
                data: connected.data.clone(),
                subs: subs.map(|(name, s)| (name.to_string(), subscribe_result(s, encoding))).collect(),
                ping: if native_ping { 0 } else { connected.ping.as_secs() as u32 },
                pong: !native_ping && connected.pong.is_some(),
                session: connected.session.clone(),
                node: connected.node.clone(),
                time: connected.time,
                ..Default::default()
            }));
        }
        Response::Subscribed(subscribed) => {
            reply.subscribe = Some(subscribe_result(subscribed, encoding).into())
        }
        Response::Unsubscribed => reply.unsubscribe = Some(Default::default()),
        Response::Published => reply.publish = Some(Default::default()),
        Response::Presence(clients) => {
            let clients = clients.iter().map(|(id, info)| (id.to_string(), client_info(info)));
            reply.presence = Some(message::PresenceResult { presence: clients.collect() });
        }
        Response::PresenceStats(stats) => {
            reply.presence_stats =
                Some(message::PresenceStatsResult { num_clients: stats.clients, num_users: stats.users });
        }
        Response::History(history) => {
            reply.history = Some(Box::new(message::HistoryResult {
                publications: history.publications.iter().map(publication).collect(),
                epoch: history.top.epoch.to_string(),
                offset: history.top.offset,
            }));
        }
        Response::Rpc(data) => reply.rpc = Some(message::RpcResult { data: data.clone() }),
        Response::Refreshed { ttl } => {
            let (expires, ttl) = seconds(*ttl);
            // The client knows its id and the server's version.
            reply.refresh = Some(message::RefreshResult { expires, ttl, ..Default::default() });
        }
        Response::SubRefreshed { ttl } => {
            let (expires, ttl) = seconds(*ttl);
            reply.sub_refresh = Some(message::SubRefreshResult { expires, ttl });
        }
        // `Sent` has no reply, and what is added later has to be added here, too.
        _ => {}
    }
    reply
}

/// A message that belongs to no channel.
pub(crate) fn message_push(data: Bytes) -> message::Push {
    message::Push { message: Some(message::Message { data }), ..Default::default() }
}
