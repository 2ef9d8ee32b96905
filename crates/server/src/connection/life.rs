//! What goes on while a connection lives: being known to others, and expiring.

use std::time::Instant;

use tidegate_core::call::{RefreshCall, Report};
use tidegate_core::protocol::Push;
use tidegate_core::transport::Connection;
use tidegate_core::{Channel, Kind};

use super::subscriptions::{Held, Known};
use super::{Driver, EXPIRED};
use crate::app::App;
use crate::time::{now, ttl, unix_millis};

impl<C: Connection> Driver<C> {
    /// Makes the client known in a channel, where it is to be.
    pub(super) fn introduce(&mut self, channel: &Channel, now: Instant) {
        let held = self.subscriptions.get_mut(channel);
        let known = held.and_then(|held| held.known.as_deref_mut());
        let Some(known) = known.filter(|known| known.announced || known.present) else { return };
        known.introduced = true;
        let (info, announced, present) = (known.info.clone(), known.announced, known.present);
        let (app, channel) = (self.app.clone(), channel.clone());
        self.chores.push_back(Box::pin(async move {
            let broker = app.hub.broker();
            let ttl = app.settings().presence_update_interval * 3;
            if present && let Err(error) = broker.add_presence(&channel, &info, ttl, now).await {
                tracing::warn!(%channel, %error, "presence not added");
            }
            if announced && let Err(error) = broker.announce(&channel, Kind::Join(info), now).await {
                tracing::warn!(%channel, %error, "join not announced");
            }
        }));
    }

    /// Makes the client unknown in a channel that it has left.
    pub(super) fn forget(&mut self, held: Option<Held>) {
        let Some(Held { channel, known: Some(known), .. }) = held else { return };
        let app = self.app.clone();
        self.chores.push_back(Box::pin(async move { forget(&app, &channel, *known).await }));
    }

    /// Tells presence again, and ends subscriptions that have expired.
    pub(super) fn upkeep(&mut self, now: Instant) {
        if let Some(life) = &mut self.life {
            life.upkeep = None;
        }
        let grace = self.app.settings().expired_sub_close_delay;
        let unix = unix_millis() / 1000;
        let mut expired = Vec::new();
        let mut present = Vec::new();
        for held in self.subscriptions.iter() {
            let grace = if held.client_refresh { grace.as_secs() as i64 } else { 0 };
            if held.expire_at > 0 && held.expire_at + grace <= unix {
                expired.push(held.channel.clone());
            } else if let Some(known) = held.known.as_deref().filter(|known| known.present) {
                present.push((held.channel.clone(), known.info.clone()));
            }
        }
        for channel in expired {
            self.subscription_expired(channel, now);
            if self.is_closing() {
                return;
            }
        }
        if !present.is_empty() {
            let app = self.app.clone();
            self.chores.push_back(Box::pin(async move {
                let ttl = app.settings().presence_update_interval * 3;
                for (channel, info) in present {
                    if let Err(error) = app.hub.broker().add_presence(&channel, &info, ttl, now).await {
                        tracing::warn!(%channel, %error, "presence not renewed");
                    }
                }
            }));
        }
        self.plan_upkeep(now);
    }

    /// Sees that upkeep comes, if there is anything to keep up.
    pub(super) fn plan_upkeep(&mut self, now: Instant) {
        let needed =
            |held: &Held| held.expire_at > 0 || held.known.as_deref().is_some_and(|known| known.present);
        if self.upkeep_at().is_none() && self.subscriptions.iter().any(needed) {
            let interval = self.app.settings().presence_update_interval;
            self.life.get_or_insert_default().upkeep = Some(now + interval);
        }
    }

    /// How the connection is.
    pub(super) fn report(&self, now: Instant) -> Report {
        let behind = |held: &Held| (held.channel.clone(), self.outbox.behind(held.lane).unwrap_or_default());
        Report {
            age: self.times.life(self.app.started, now),
            stalled: self.stalled.is_some(),
            subscriptions: self.subscriptions.iter().map(behind).collect(),
        }
    }

    pub(super) fn refresh(&mut self, call: &RefreshCall, now: Instant) {
        if call.expired || (call.expire_at > 0 && call.expire_at <= unix_millis() / 1000) {
            return self.part(EXPIRED, now);
        }
        self.expire_at(call.expire_at, now);
        self.renew(call.info.as_ref(), None, now);
        if let Some(message) = self.session.push(Push::Refresh(ttl(call.expire_at))) {
            self.outbox.reply(message, None);
        }
    }
}

pub(super) async fn forget(app: &App, channel: &Channel, known: Known) {
    if !known.introduced {
        return;
    }
    let broker = app.hub.broker();
    if known.present
        && let Err(error) = broker.remove_presence(channel, &known.info.client).await
    {
        tracing::warn!(%channel, %error, "presence not removed");
    }
    if known.announced
        && let Err(error) = broker.announce(channel, Kind::Leave(known.info), now()).await
    {
        tracing::warn!(%channel, %error, "leave not announced");
    }
}
