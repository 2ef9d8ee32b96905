//! What a token is to these rules.

use std::sync::Arc;

use tidegate_core::request::{ConnectRequest, SubscribeRequest};
use tidegate_core::transport::Peer;
use tidegate_core::{Authenticator, Channel, Client, ClientInfo, Refusal};

use super::{Rules, unix_now};
use crate::token::{Kind, Reader, Report, TokenError, report_moment};

impl Rules {
    /// What `token` is, and what a server with this configuration would answer to it now. Keys are fetched where the
    /// configuration has a set of them; proxies are not asked.
    pub async fn explain(&self, token: &str) -> Report {
        let now = unix_now();
        let reader = Reader::new(token);
        let kind = reader.kind();
        let (verifier, answer) = match kind {
            Kind::Connection => (&self.connections, self.explain_connection(token, now).await),
            Kind::Subscription => (self.subscription_tokens(), self.explain_subscription(token, now).await),
        };
        let key = verifier.key_of(token, now).await.map_err(|error| error.to_string());
        Report { kind, header: reader.header, claims: reader.claims, key, answer, now }
    }

    async fn explain_connection(&self, token: &str, now: i64) -> Result<String, String> {
        let request = ConnectRequest { token: token.to_owned(), ..ConnectRequest::default() };
        let why = self.connections.connect(token, now).await.err();
        let identity = self.identify(&request, &Peer::default(), now).await;
        let identity = identity.map_err(|refusal| said(&refusal, why))?;
        let channels: Vec<_> = identity.channels.iter().map(|call| call.channel.as_str()).collect();
        let channels = if channels.is_empty() {
            String::new()
        } else {
            format!("; subscribed by the server to {}", channels.join(", "))
        };
        Ok(format!("connected as {}, {}{channels}", user(&identity.user), life(identity.expire_at, now)))
    }

    async fn explain_subscription(&self, token: &str, now: i64) -> Result<String, String> {
        let verified = self.subscription_tokens().subscribe(token, now).await;
        let (claims, why) = match verified {
            Ok(claims) => (Some(claims), None),
            Err(why) => (None, Some(why)),
        };
        let channel = claims.as_ref().map_or("", |claims| &claims.channel);
        let Some(claims) = &claims else {
            // Refused whatever the channel: the code is that of any that a token may be for.
            let refusal = self.permit_by_token(&client("", ""), &Channel::new(channel), token, now).await;
            return Err(refusal.err().map_or_else(String::new, |refusal| said(&refusal, why)));
        };
        // The connection that it is for: another one would be refused.
        let client = client(&claims.user, &claims.client);
        let request = SubscribeRequest {
            channel: Channel::new(channel),
            token: token.to_owned(),
            data: Default::default(),
            recover: None,
            positioned: false,
            recoverable: false,
            join_leave: false,
            delta: false,
            refuse_unrecoverable: false,
            filter: None,
        };
        let grant = self.subscribe(&client, &request).await.map_err(|refusal| said(&refusal, why))?;
        let whom = match &*claims.client {
            "" => format!("every connection of {}", user(&claims.user)),
            id => format!("the connection {id} of {}", user(&claims.user)),
        };
        Ok(format!("{whom} is subscribed to {channel}, {}", life(grant.expire_at, now)))
    }
}

fn client(user: &str, id: &str) -> Client {
    let info = ClientInfo { user: user.into(), client: id.into(), ..ClientInfo::default() };
    Client {
        id: id.into(),
        info: Arc::new(info),
        transport: "",
        address: None,
        meta: Default::default(),
        context: None,
    }
}

fn user(user: &str) -> String {
    if user.is_empty() { "the anonymous user".to_owned() } else { format!("user {user:?}") }
}

fn life(expire_at: i64, now: i64) -> String {
    if expire_at == 0 { "for ever".to_owned() } else { format!("until {}", report_moment(expire_at, now)) }
}

/// What the client is told, and why.
fn said(refusal: &Refusal, why: Option<TokenError>) -> String {
    let told = match refusal {
        Refusal::Error(error) => format!("error {error}"),
        Refusal::Disconnect(disconnect) => format!("disconnect {disconnect}"),
    };
    match why {
        Some(TokenError::Invalid(why)) => format!("{told} ({why})"),
        Some(why) => format!("{told} ({why})"),
        None => told,
    }
}
