//! `subscribe`, `unsubscribe`, `disconnect` and `refresh`: what is asked of clients.
//!
//! The clients do it themselves. But for closing, a reply waits until they have: whoever publishes next finds them
//! subscribed, or not. That nobody is connected is no error.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tidegate_core::ClientError;
use tidegate_core::call::{Call, Overrides, RefreshCall, SubscribeCall};

use super::{Api, Command, Done, bad_request, field};
use crate::handle::{Target, UNSUBSCRIBED};
use crate::time::unix_millis;

/// Subscribes clients.
#[derive(Deserialize)]
pub(super) struct Subscribe {
    #[serde(default, deserialize_with = "field::or_zero")]
    user: String,
    #[serde(default, deserialize_with = "field::or_zero")]
    channel: String,
    #[serde(default, deserialize_with = "field::raw")]
    info: Option<Bytes>,
    #[serde(default, deserialize_with = "field::or_zero")]
    b64info: String,
    #[serde(default, deserialize_with = "field::or_zero")]
    client: String,
    #[serde(default, deserialize_with = "field::or_zero")]
    session: String,
    #[serde(default, deserialize_with = "field::raw")]
    data: Option<Bytes>,
    #[serde(default, deserialize_with = "field::or_zero")]
    b64data: String,
    #[serde(default, deserialize_with = "field::object")]
    recover_since: Option<Since>,
    #[serde(default, deserialize_with = "field::or_zero")]
    expire_at: i64,
    #[serde(default, rename = "override", deserialize_with = "field::object")]
    overrides: Option<Override>,
}

impl Command for Subscribe {
    type Result = Done;

    async fn run(self, api: &Api) -> Result<Done, ClientError> {
        let target = target(self.user, self.client, self.session);
        let channel = api.channel(&self.channel)?;
        // Asked only whether there is such a channel.
        api.channels.publish_options(&channel)?;
        let now = unix_millis() / 1000;
        if self.expire_at > 0 && self.expire_at <= now && api.handle.reaches(&target) {
            tracing::info!(%channel, "API: not subscribed: expected an expire_at to come");
            return Err(ClientError::INTERNAL);
        }
        let call = SubscribeCall {
            info: field::either(self.info, &self.b64info)?,
            data: field::either(self.data, &self.b64data)?,
            expire_at: self.expire_at,
            recover_since: self.recover_since.map(|since| (since.offset, since.epoch.into())),
            overrides: self.overrides.map(Overrides::from).unwrap_or_default(),
            by_token: false,
            channel,
        };
        let call = Arc::new(call);
        done(api, &target, || Call::Subscribe(call.clone())).await
    }
}

/// Ends clients' subscriptions of one channel; without a channel, of none.
#[derive(Deserialize)]
pub(super) struct Unsubscribe {
    #[serde(default, deserialize_with = "field::or_zero")]
    user: String,
    #[serde(default, deserialize_with = "field::or_zero")]
    channel: String,
    #[serde(default, deserialize_with = "field::or_zero")]
    client: String,
    #[serde(default, deserialize_with = "field::or_zero")]
    session: String,
}

impl Command for Unsubscribe {
    type Result = Done;

    async fn run(self, api: &Api) -> Result<Done, ClientError> {
        if self.channel.is_empty() {
            return Ok(Done {});
        }
        let target = target(self.user, self.client, self.session);
        let channel = api.channel(&self.channel)?;
        api.channels.publish_options(&channel)?;
        let call = || Call::Unsubscribe { channel: channel.clone(), why: UNSUBSCRIBED };
        done(api, &target, call).await
    }
}

/// Closes clients' connections.
#[derive(Deserialize)]
pub(super) struct Disconnect {
    #[serde(default, deserialize_with = "field::or_zero")]
    user: String,
    #[serde(default, deserialize_with = "field::or_zero")]
    client: String,
    #[serde(default, deserialize_with = "field::or_zero")]
    session: String,
    #[serde(default, deserialize_with = "field::strings")]
    whitelist: Vec<String>,
    #[serde(default, deserialize_with = "field::object")]
    disconnect: Option<Why>,
}

impl Command for Disconnect {
    type Result = Done;

    async fn run(self, api: &Api) -> Result<Done, ClientError> {
        let target = target(self.user, self.client, self.session);
        let why = self.disconnect.map(Why::check).transpose()?;
        api.handle.disconnect(&Target { except: self.whitelist, ..target }, why);
        Ok(Done {})
    }
}

/// Changes until when clients may stay.
#[derive(Deserialize)]
pub(super) struct Refresh {
    #[serde(default, deserialize_with = "field::or_zero")]
    user: String,
    #[serde(default, deserialize_with = "field::or_zero")]
    client: String,
    #[serde(default, deserialize_with = "field::or_zero")]
    session: String,
    #[serde(default, deserialize_with = "field::or_zero")]
    expired: bool,
    #[serde(default, deserialize_with = "field::or_zero")]
    expire_at: i64,
    #[serde(default, deserialize_with = "field::raw")]
    info: Option<Bytes>,
}

impl Command for Refresh {
    type Result = Done;

    async fn run(self, api: &Api) -> Result<Done, ClientError> {
        let Self { expired, expire_at, info, .. } = self;
        let target = target(self.user, self.client, self.session);
        let call = Arc::new(RefreshCall { expired, expire_at, info });
        done(api, &target, || Call::Refresh(call.clone())).await
    }
}

/// Asks those whom a request concerns, and waits until they have done it.
///
/// # Errors
/// One of them has as many calls waiting as it may.
async fn done(api: &Api, target: &Target, call: impl Fn() -> Call) -> Result<Done, ClientError> {
    let asked = api.handle.ask(target, call);
    api.handle.settled(target).await;
    if asked.full > 0 { Err(ClientError::TOO_MANY_REQUESTS) } else { Ok(Done {}) }
}

/// A place in a stream.
#[derive(Deserialize)]
pub(super) struct Since {
    #[serde(default, deserialize_with = "field::or_zero")]
    pub(super) offset: u64,
    #[serde(default, deserialize_with = "field::or_zero")]
    pub(super) epoch: String,
}

/// What a connection is closed with.
#[derive(Deserialize)]
struct Why {
    #[serde(default, deserialize_with = "field::or_zero")]
    code: u16,
    #[serde(default, deserialize_with = "field::or_zero")]
    reason: String,
}

impl Why {
    /// The disconnect, if the SDKs can take it: they read a reason that is JSON as another format, and
    /// reconnect where there is none, whatever the code says.
    fn check(self) -> Result<tidegate_core::Disconnect, ClientError> {
        let Self { code, reason } = self;
        if !(3000..=4999).contains(&code) {
            return Err(bad_request("a disconnect code of 3000 to 4999"));
        }
        if reason.len() >= 124 || serde_json::from_str::<IgnoredAny>(&reason).is_ok() {
            return Err(bad_request("a disconnect reason of less than 124 bytes that is not JSON"));
        }
        // Where they reconnect anyway, none is none.
        let terminal = code % 1000 >= 500;
        let reason = match reason.is_empty() && terminal {
            true => "disconnected by the application".into(),
            false => reason.into(),
        };
        Ok(tidegate_core::Disconnect { code, reason })
    }
}

/// Options of the channel that are to be others for one subscription.
#[derive(Deserialize)]
struct Override {
    #[serde(default, deserialize_with = "field::object")]
    presence: Option<Flag>,
    #[serde(default, deserialize_with = "field::object")]
    join_leave: Option<Flag>,
    #[serde(default, deserialize_with = "field::object")]
    force_push_join_leave: Option<Flag>,
    #[serde(default, deserialize_with = "field::object")]
    force_positioning: Option<Flag>,
    #[serde(default, deserialize_with = "field::object")]
    force_recovery: Option<Flag>,
}

impl From<Override> for Overrides {
    fn from(from: Override) -> Self {
        let value = |flag: Option<Flag>| flag.map(|flag| flag.value);
        Self {
            presence: value(from.presence),
            join_leave: value(from.join_leave),
            force_recovery: value(from.force_recovery),
            force_positioning: value(from.force_positioning),
            force_push_join_leave: value(from.force_push_join_leave),
        }
    }
}

/// A flag that may be unset.
#[derive(Deserialize)]
struct Flag {
    #[serde(default, deserialize_with = "field::or_zero")]
    value: bool,
}

/// Whom a request concerns.
fn target(user: String, client: String, session: String) -> Target {
    Target { user, client, session, except: Vec::new() }
}
