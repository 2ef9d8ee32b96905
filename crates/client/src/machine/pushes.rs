use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use tidegate_protocol::Push;
use tidegate_protocol::message::{self, SubscribeResult};

use super::notices::{Notice, Told};
use super::track::Track;
use super::{Lost, Machine};
use crate::{ClientEvent, Event, Gap, GapCause, Health, Why};

impl Machine {
    pub(super) fn pushed(&mut self, push: Push, now: Instant) {
        let channel = push.channel;
        if let Some(publication) = push.publication {
            match self.live_in(&channel) {
                Some(id) => self.published(id, publication, now),
                None => self.server_published(channel, publication),
            }
        } else if let Some(join) = push.join {
            self.tell_channel(channel, Event::Join(join.info.unwrap_or_default().into()));
        } else if let Some(leave) = push.leave {
            self.tell_channel(channel, Event::Leave(leave.info.unwrap_or_default().into()));
        } else if let Some(unsubscribe) = push.unsubscribe {
            let why = Why::new(unsubscribe.code, unsubscribe.reason);
            match self.known_in(&channel) {
                Some(id) => self.unsubscribed(id, why, now),
                None if self.server_subs.remove(&channel).is_some() => {
                    self.tell(ClientEvent::Channel { channel, event: Event::Unsubscribed(why) });
                }
                None => {}
            }
        } else if let Some(message) = push.message {
            self.message(message.data);
        } else if let Some(subscribe) = push.subscribe {
            self.server_subscribe(channel, subscribe);
        } else if let Some(refresh) = push.refresh {
            self.expires(refresh.expires, refresh.ttl, now);
        } else if let Some(disconnect) = push.disconnect {
            self.lost(Lost::Closed(Why::new(disconnect.code, disconnect.reason)), now);
        }
    }

    /// What the connect reply says of server-side subscriptions.
    pub(super) fn server_subscribed(&mut self, subs: BTreeMap<String, SubscribeResult>) {
        let ended: Vec<_> =
            self.server_subs.keys().filter(|channel| !subs.contains_key(*channel)).cloned().collect();
        for channel in ended {
            self.server_subs.remove(&channel);
            let why = Why::new(tidegate_protocol::Unsubscribe::SERVER.code(), "not subscribed any more");
            self.tell(ClientEvent::Channel { channel, event: Event::Unsubscribed(why) });
        }
        for (channel, result) in subs {
            let track = self.server_subs.entry(channel.clone()).or_default();
            let (subscribed, gap) = track.resume(&result);
            self.tell(ClientEvent::Channel {
                channel: channel.clone(),
                event: Event::Subscribed(subscribed),
            });
            if let Some(gap) = gap {
                self.tell(ClientEvent::Channel { channel: channel.clone(), event: Event::Gap(gap) });
            }
            for publication in result.publications {
                self.server_published(channel.clone(), publication);
            }
        }
    }

    pub(super) fn server_subs_down(&mut self, why: &Why) {
        let live: Vec<_> = self
            .server_subs
            .iter()
            .filter(|(_, track)| track.live)
            .map(|(channel, _)| channel.clone())
            .collect();
        for channel in live {
            if let Some(track) = self.server_subs.get_mut(&channel) {
                track.live = false;
            }
            self.tell(ClientEvent::Channel { channel, event: Event::Subscribing(why.clone()) });
        }
    }

    fn server_subscribe(&mut self, channel: String, subscribe: message::Subscribe) {
        let result = SubscribeResult {
            recoverable: subscribe.recoverable,
            positioned: subscribe.positioned,
            epoch: subscribe.epoch,
            offset: subscribe.offset,
            data: subscribe.data,
            ..Default::default()
        };
        let mut track = Track::default();
        let (subscribed, _) = track.resume(&result);
        self.server_subs.insert(channel.clone(), track);
        self.tell(ClientEvent::Channel { channel, event: Event::Subscribed(subscribed) });
    }

    fn server_published(&mut self, channel: String, publication: message::Publication) {
        // What comes late for a subscription that was left is nobody's.
        if let Some(track) = self.server_subs.get_mut(&channel).filter(|track| track.live) {
            track.advance(&publication);
            self.tell(ClientEvent::Channel { channel, event: Event::Publication(publication.into()) });
        }
    }

    /// Tells whoever is subscribed to the channel.
    fn tell_channel(&mut self, channel: String, event: Event) {
        if let Some(id) = self.live_in(&channel) {
            self.tell_sub(id, event);
        } else if self.server_subs.contains_key(&channel) {
            self.tell(ClientEvent::Channel { channel, event });
        }
    }

    fn message(&mut self, data: Bytes) {
        match self.config.notices.then(|| serde_json::from_slice::<Notice>(&data)) {
            Some(Ok(Notice { tidegate: Told::Gap { channel, missed, cause } })) => {
                let gap = Gap { missed: Some(missed), joins_and_leaves: 0, cause: GapCause::Server(cause) };
                self.tell_channel(channel, Event::Gap(gap));
            }
            Some(Ok(Notice { tidegate: Told::Health(health) })) => {
                self.tell(ClientEvent::Health(Health::named(&health)));
            }
            Some(Err(_)) | None => self.tell(ClientEvent::Message(data)),
        }
    }
}
