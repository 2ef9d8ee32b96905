//! Lives that are over, or go on: the connection's and its subscriptions'.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tidegate_core::transport::Connection;
use tidegate_core::{Channel, Client, ClientInfo, Disconnect, Refreshed, Refusal};

use super::contained::caught;
use super::requests::Step;
use super::subscriptions::Known;
use super::{Driver, EXPIRED, INTERNAL, Phase};
use crate::http::SessionName;
use crate::time::until;

const SUBSCRIPTION_EXPIRED: Disconnect = Disconnect::new(2501, "subscription expired");
const SERVER_SUBSCRIPTION_EXPIRED: Disconnect = Disconnect::new(3006, "subscription expired");

/// When a connection is over, and what is being asked about it and its subscriptions.
#[derive(Default)]
pub(super) struct Life {
    /// When it is over, if it is not prolonged.
    pub(super) expires: Option<Instant>,
    /// When presence is told again, and expired subscriptions are looked for.
    pub(super) upkeep: Option<Instant>,
    /// The server prolongs it, and the client does not know of it.
    pub(super) by_server: bool,
    /// The session by which backends may name it, where no transport has one.
    pub(super) session: Option<SessionName>,
    /// Questions whether lives go on. A backend that hangs must not hold up what the client asks for.
    prolonging: Option<FuturesUnordered<Pin<Box<dyn Future<Output = Step> + Send>>>>,
}

impl<C: Connection> Driver<C> {
    /// When the connection is over, if it is not prolonged.
    pub(super) fn expires(&self) -> Option<Instant> {
        self.life.as_ref()?.expires
    }

    /// When presence is told again, and expired subscriptions are looked for.
    pub(super) fn upkeep_at(&self) -> Option<Instant> {
        self.life.as_ref()?.upkeep
    }

    /// Lets the connection live until a moment in seconds since 1970, or for ever.
    pub(super) fn expire_at(&mut self, expire_at: i64, now: Instant) {
        if expire_at == 0 && self.life.is_none() {
            return;
        }
        let patience = self.app.settings().expired_close_delay;
        let life = self.life.get_or_insert_default();
        let grace = if life.by_server { Duration::ZERO } else { patience };
        life.expires = (expire_at > 0).then(|| now + until(expire_at) + grace);
    }

    /// Goes on with what was said of a life; false if nothing was.
    pub(super) fn poll_prolonging(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Some(life) = &mut self.life else { return false };
        let Some(prolonging) = &mut life.prolonging else { return false };
        match caught(|| prolonging.poll_next_unpin(cx)) {
            Ok(Poll::Pending) => false,
            Ok(Poll::Ready(None)) => {
                life.prolonging = None;
                false
            }
            Ok(Poll::Ready(Some(step))) => {
                self.step(step, now);
                true
            }
            Err(panic) => {
                life.prolonging = None;
                tracing::error!(client = self.id(), %panic, "closing: a refresh has panicked");
                self.close(INTERNAL, now);
                true
            }
        }
    }

    /// Whether somebody is being asked.
    pub(super) fn is_prolonging(&self) -> bool {
        self.life.as_ref().is_some_and(|life| life.prolonging.is_some())
    }

    /// Asks no more.
    pub(super) fn stop_prolonging(&mut self) {
        if let Some(life) = &mut self.life {
            life.prolonging = None;
        }
    }

    /// The connection's time is over: who prolongs it is asked, or it ends.
    pub(super) fn expired(&mut self, now: Instant) {
        if let Some(life) = &mut self.life {
            life.expires = None;
        }
        let by_server = self.life.as_ref().is_some_and(|life| life.by_server);
        let client = self.client.clone().filter(|_| by_server && matches!(self.phase, Phase::Live));
        let Some(client) = client else { return self.close(EXPIRED, now) };
        let app = self.app.clone();
        self.prolong(async move { Step::Prolonged(app.authenticator().refresh_server_side(&client).await) });
    }

    /// Goes on with what was said to [`Driver::expired`].
    pub(super) fn prolonged(&mut self, outcome: Result<Refreshed, Refusal>, now: Instant) {
        match outcome {
            Err(Refusal::Disconnect(why)) => self.close(why, now),
            Ok(refreshed) if !refreshed.expired => {
                self.expire_at(refreshed.expire_at, now);
                self.renew(refreshed.info.as_ref(), refreshed.meta.as_ref(), now);
            }
            Ok(_) | Err(Refusal::Error(_)) => self.close(EXPIRED, now),
        }
    }

    /// A subscription's time is over: who prolongs it is asked, or it ends.
    pub(super) fn subscription_expired(&mut self, channel: Channel, now: Instant) {
        let Some(held) = self.subscriptions.get_mut(&channel) else { return };
        if held.client_refresh {
            return self.end_expired(&channel, now);
        }
        let Some(client) = self.client.clone().filter(|_| !held.prolonging) else { return };
        held.prolonging = true;
        let app = self.app.clone();
        self.prolong(async move {
            let outcome = app.authenticator().sub_refresh_server_side(&client, &channel).await;
            Step::SubProlonged(channel, outcome)
        });
    }

    /// Goes on with what was said to [`Driver::subscription_expired`].
    pub(super) fn subscription_prolonged(
        &mut self,
        channel: &Channel,
        outcome: Result<Refreshed, Refusal>,
        now: Instant,
    ) {
        // Ended meanwhile. One that was made anew in the meantime is another's, whom nobody has asked for.
        let Some(held) = self.subscriptions.get_mut(channel).filter(|held| held.prolonging) else { return };
        held.prolonging = false;
        match outcome {
            Err(Refusal::Disconnect(why)) => self.close(why, now),
            Ok(refreshed) if !refreshed.expired => {
                self.prolong_subscription(channel, &refreshed, now);
                self.plan_upkeep(now);
            }
            Ok(_) | Err(Refusal::Error(_)) => self.end_expired(channel, now),
        }
    }

    /// Lets a subscription live until when it was said.
    pub(super) fn prolong_subscription(&mut self, channel: &Channel, refreshed: &Refreshed, now: Instant) {
        let Some(held) = self.subscriptions.get_mut(channel) else { return };
        held.expire_at = refreshed.expire_at;
        if let (Some(info), Some(client)) = (&refreshed.info, &self.client) {
            // Where nobody else hears of it, its own publications tell it.
            let known = held.known.get_or_insert_with(|| Box::new(Known::untold(client.info.clone())));
            known.info = Arc::new(ClientInfo { channel: info.clone(), ..ClientInfo::clone(&known.info) });
            if known.present {
                self.life.get_or_insert_default().upkeep = Some(now);
            }
        }
    }

    /// Takes what a refresh brought: what others may know of the client from now on, in its publications, in
    /// presence and when it leaves; and what the application keeps with it.
    pub(super) fn renew(&mut self, info: Option<&Bytes>, meta: Option<&Bytes>, now: Instant) {
        let Some(client) = self.client.as_deref().filter(|_| info.is_some() || meta.is_some()) else {
            return;
        };
        let mut renewed = Client::clone(client);
        if let Some(meta) = meta {
            renewed.meta = meta.clone();
        }
        if let Some(info) = info {
            let renew = |known: &ClientInfo| ClientInfo { connection: info.clone(), ..known.clone() };
            renewed.info = Arc::new(renew(&client.info));
            let mut present = false;
            for known in self.subscriptions.iter_mut().filter_map(|held| held.known.as_deref_mut()) {
                known.info = Arc::new(renew(&known.info));
                present |= known.present;
            }
            if present {
                // Told at once, and not when presence is next renewed.
                self.life.get_or_insert_default().upkeep = Some(now);
            }
        }
        self.client = Some(Arc::new(renewed));
    }

    fn end_expired(&mut self, channel: &Channel, now: Instant) {
        match self.subscriptions.get(channel) {
            Some(held) if held.server_side => self.close(SERVER_SUBSCRIPTION_EXPIRED, now),
            _ => self.unsubscribe(channel, &SUBSCRIPTION_EXPIRED),
        }
    }

    fn prolong(&mut self, question: impl Future<Output = Step> + Send + 'static) {
        let life = self.life.get_or_insert_default();
        life.prolonging.get_or_insert_default().push(Box::pin(question));
    }
}
