//! What a session says.

use tidegate_server::protocol::message::{
    ConnectRequest, HistoryRequest, PresenceRequest, PublishRequest, RpcRequest, SubscribeRequest,
    UnsubscribeRequest,
};
use tidegate_server::protocol::{Command, Encoding};

use super::{Asked, Session};
use crate::broker::payload;

impl Session {
    pub(crate) fn ask_connect(&mut self) {
        let subs = self.plan.channels.iter().filter_map(|number| {
            let (offset, epoch) = self.places.get(number)?.clone();
            let name = self.world.plan.channels[*number].name.to_string();
            Some((
                name,
                SubscribeRequest { recover: true, offset, epoch: epoch.to_string(), ..Default::default() },
            ))
        });
        let connect =
            ConnectRequest { token: self.guest.to_string(), subs: subs.collect(), ..Default::default() };
        self.ask(Asked::Connect, Command { connect: Some(connect.into()), ..Default::default() });
    }

    pub(crate) fn ask_subscribe(&mut self, channel: usize, recover: bool, strict: bool) {
        let recover = self.places.get(&channel).filter(|_| recover).cloned();
        let (offset, epoch) = recover.clone().unwrap_or_default();
        let subscribe = SubscribeRequest {
            channel: self.name(channel),
            recover: recover.is_some(),
            offset,
            epoch: epoch.to_string(),
            flag: if strict { 2 } else { 0 },
            ..Default::default()
        };
        let asked = Asked::Subscribe { channel, recover, strict };
        self.ask(asked, Command { subscribe: Some(subscribe.into()), ..Default::default() });
    }

    pub(crate) fn ask_unsubscribe(&mut self, channel: usize) {
        let unsubscribe = Some(UnsubscribeRequest { channel: self.name(channel) });
        self.ask(Asked::Unsubscribe(channel), Command { unsubscribe, ..Default::default() });
    }

    pub(crate) fn ask_publish(&mut self, channel: usize, size: usize) {
        let number = self.world.serial();
        let data = payload(number, size).into();
        let publish = Some(PublishRequest { channel: self.name(channel), data, ..Default::default() });
        self.ask(Asked::Publish(channel, number), Command { publish, ..Default::default() });
    }

    pub(crate) fn ask_history(&mut self, channel: usize) {
        let history = HistoryRequest { channel: self.name(channel), limit: -1, ..Default::default() };
        self.ask(Asked::History(channel), Command { history: Some(history.into()), ..Default::default() });
    }

    pub(crate) fn ask_presence(&mut self, channel: usize) {
        let presence = Some(PresenceRequest { channel: self.name(channel) });
        self.ask(Asked::Presence, Command { presence, ..Default::default() });
    }

    pub(crate) fn ask_rpc(&mut self, size: usize) {
        let number = self.world.serial();
        let rpc = Some(RpcRequest { data: payload(number, size).into(), ..Default::default() });
        self.ask(Asked::Rpc(number), Command { rpc, ..Default::default() });
    }

    /// Queues what was asked as one frame.
    pub(crate) fn say(&mut self) {
        if self.frame.is_empty() {
            return;
        }
        let glue: &[u8] = if self.encoding == Encoding::Json { b"\n" } else { b"" };
        let frame = self.frame.join(glue);
        self.frame.clear();
        self.wire.queue(&frame);
    }

    fn ask(&mut self, asked: Asked, command: Command) {
        self.last_id += 1;
        self.note(format_args!("asks {} {asked:?}", self.last_id));
        let command = Command { id: self.last_id, ..command };
        self.frame.push(self.encoding.encode_command(&command).expect("payloads are JSON"));
        self.asked.push_back((self.last_id, asked));
    }

    fn name(&self, channel: usize) -> String {
        self.world.plan.channels[channel].name.to_string()
    }
}
