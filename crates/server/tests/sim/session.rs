//! One connection of a model client: what it says and hears, held against the protocol and the truth.

mod asking;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;
use tidegate_server::Bytes;
use tidegate_server::core::memory::Client as Wire;
use tidegate_server::protocol::message::{ConnectResult, HistoryResult, SubscribeResult};
use tidegate_server::protocol::{Encoding, Push, Reply};
use tokio::time::Instant;

use crate::broker::number;
use crate::plan::{ChannelPlan, GuestPlan, Policy};
use crate::stint::Stint;
use crate::truth::What;
use crate::world::World;

/// Where a client would recover from: an offset, and the epoch it counts in.
pub(crate) type Place = (u64, Arc<str>);

pub(crate) struct Session {
    world: Arc<World>,
    plan: GuestPlan,
    guest: usize,
    encoding: Encoding,
    pub(crate) wire: Wire,
    /// The connection's id, once it is connected.
    id: Option<Arc<str>>,
    asked: VecDeque<(u32, Asked)>,
    last_id: u32,
    /// Commands that leave in one frame.
    frame: Vec<Bytes>,
    pub(crate) stints: BTreeMap<usize, Stint>,
    pub(crate) places: BTreeMap<usize, Place>,
    /// Since when it reads without a pause; `None` while it does not.
    pub(crate) reading: Option<Instant>,
    /// It did something for which a server may let it go without a word.
    spoiled: bool,
    rude: bool,
    tardy: bool,
    pong: bool,
    /// The code of the disconnect push.
    goodbye: Option<u32>,
    /// The connect request was refused: nothing is expected but the end.
    refused: bool,
    /// The last personal message.
    message: u64,
}

/// What a reply is waited for.
#[derive(Debug)]
enum Asked {
    Connect,
    Subscribe { channel: usize, recover: Option<Place>, strict: bool },
    Unsubscribe(usize),
    Publish(usize, u64),
    History(usize),
    Presence,
    Rpc(u64),
}

impl Session {
    pub(crate) fn new(world: Arc<World>, guest: usize, wire: Wire, places: BTreeMap<usize, Place>) -> Self {
        let plan = world.plan.guests[guest].clone();
        Self {
            guest,
            encoding: if plan.protobuf { Encoding::Protobuf } else { Encoding::Json },
            wire,
            id: None,
            asked: VecDeque::new(),
            last_id: 0,
            frame: Vec::new(),
            stints: BTreeMap::new(),
            places,
            reading: Some(Instant::now()),
            spoiled: false,
            rude: false,
            tardy: false,
            pong: false,
            goodbye: None,
            refused: false,
            message: 0,
            plan,
            world,
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.id.is_some()
    }

    /// Commands that were not answered yet.
    pub(crate) fn waits_for(&self) -> usize {
        self.asked.len()
    }

    pub(crate) fn note(&self, what: impl std::fmt::Display) {
        self.world.note(format_args!("guest {}", self.guest), what);
    }

    pub(crate) fn fail(&self, what: impl std::fmt::Display) {
        self.world.fail(format_args!("guest {}", self.guest), what);
    }

    /// It stops reading, or worse.
    pub(crate) fn spoil(&mut self) {
        self.spoiled = true;
        self.reading = None;
        self.world.state().spoiled = true;
    }

    /// It breaks the protocol.
    pub(crate) fn be_rude(&mut self) {
        self.rude = true;
        self.spoil();
        self.reading = Some(Instant::now());
    }

    /// It takes its time before it connects.
    pub(crate) fn be_tardy(&mut self) {
        self.tardy = true;
        self.spoil();
    }

    pub(crate) fn hear(&mut self, message: &Bytes) {
        for reply in self.encoding.replies(message) {
            match reply {
                Ok(reply) => {
                    if let Err(wrong) = self.reply(reply) {
                        self.fail(wrong);
                    }
                }
                Err(error) => self.fail(format_args!("{error} in {message:?}")),
            }
        }
    }

    fn reply(&mut self, reply: Reply) -> Result<(), String> {
        if let Some(goodbye) = self.goodbye {
            return Err(format!("something came after the disconnect push {goodbye}: {reply:?}"));
        }
        if let Some(push) = reply.push {
            return self.push(*push);
        }
        if reply.id == 0 {
            if self.pong {
                let pong = self.encoding.ping();
                self.wire.queue(&pong);
            }
            return Ok(());
        }
        let Some((id, asked)) = self.asked.pop_front() else {
            return Err(format!("a reply to {} that nobody asked", reply.id));
        };
        if id != reply.id {
            return Err(format!("a reply to {}; expected the one to {id}, {asked:?}", reply.id));
        }
        if let Some(error) = reply.error {
            self.note(format_args!("hears error {} to {id}", error.code));
            return self.refusal(asked, error.code);
        }
        match asked {
            Asked::Connect => self.connected(*reply.connect.ok_or("no connect result")?),
            Asked::Subscribe { channel, recover, .. } => {
                let result = reply.subscribe.ok_or("no subscribe result")?;
                self.subscribed(channel, recover, &result, false)
            }
            Asked::Unsubscribe(channel) => {
                reply.unsubscribe.ok_or("no unsubscribe result")?;
                self.note(format_args!("is unsubscribed from {channel}"));
                self.stints.remove(&channel);
                self.tell();
                Ok(())
            }
            Asked::Publish(channel, number) => {
                reply.publish.ok_or("no publish result")?;
                self.note(format_args!("has published {number}"));
                let mut state = self.world.state();
                state.published += 1;
                let truth = &state.truths[channel];
                truth.place(number).ok_or(format!("{number} was acknowledged and never published"))?;
                if let Some(stint) = self.stints.get_mut(&channel) {
                    stint.own(truth, number);
                }
                Ok(())
            }
            Asked::History(channel) => self.history(channel, &*reply.history.ok_or("no history result")?),
            Asked::Presence => reply.presence.map(|_| ()).ok_or("no presence result".into()),
            Asked::Rpc(sent) => {
                let got = number(&reply.rpc.ok_or("no rpc result")?.data);
                if got == sent { Ok(()) } else { Err(format!("rpc answered {got} to {sent}")) }
            }
        }
    }

    fn refusal(&mut self, asked: Asked, code: u32) -> Result<(), String> {
        let plan = &self.world.plan;
        let stopping = code == 108 && self.world.is_draining();
        let right = match &asked {
            Asked::Connect => {
                self.refused = true;
                matches!(code, 105..=107)
            }
            Asked::Subscribe { channel, strict, recover } => match code {
                105 => self.stints.contains_key(channel),
                106 => self.stints.len() >= plan.settings.channel_limit,
                112 => {
                    // It was allowed to, before its position was looked at.
                    let granted = self.id.as_ref().and_then(|id| self.world.grant(id, *channel));
                    *strict && recover.is_some() && granted.is_some()
                }
                _ => stopping,
            },
            Asked::Publish(channel, number) => {
                if self.world.state().truths[*channel].place(*number).is_some() {
                    return Err(format!("{number} was refused with {code}, and published"));
                }
                code == 106 || stopping
            }
            Asked::History(channel) => stopping || (code == 108 && plan.channels[*channel].history.size == 0),
            Asked::Presence | Asked::Rpc(_) => stopping,
            Asked::Unsubscribe(_) => false,
        };
        if right { Ok(()) } else { Err(format!("{asked:?} was refused with {code}")) }
    }

    fn connected(&mut self, result: ConnectResult) -> Result<(), String> {
        self.note(format_args!("is connected as {}", result.client));
        let id: Arc<str> = result.client.as_str().into();
        self.id = Some(id);
        self.pong = result.pong;
        self.tell();
        let plan = &self.world.plan;
        let mut names: Vec<String> =
            self.plan.channels.iter().map(|n| plan.channels[*n].name.to_string()).collect();
        names.sort();
        if names.iter().ne(result.subs.keys()) {
            return Err(format!("connected with {:?}; expected {names:?}", result.subs.keys()));
        }
        for (name, result) in result.subs {
            let channel = self.world.number_of(&name).ok_or("an unknown channel")?;
            let recover = self.places.get(&channel).cloned();
            self.subscribed(channel, recover, &result, false)?;
        }
        Ok(())
    }

    /// A subscription stands: what the reply says is held against the truth.
    fn subscribed(
        &mut self,
        channel: usize,
        recover: Option<Place>,
        result: &SubscribeResult,
        by_call: bool,
    ) -> Result<(), String> {
        let id = self.id.clone().ok_or("subscribed before it is connected")?;
        self.note(format_args!(
            "is subscribed to {channel} at {} {} ({} recovered: {})",
            result.offset,
            result.epoch,
            result.publications.len(),
            result.recovered
        ));
        let world = self.world.clone();
        let plan = &world.plan.channels[channel];
        let from = world.grant(&id, channel).ok_or("subscribed without being allowed to")?;
        // Who does not rely on offsets is told none.
        let kept = plan.history.is_kept() && (plan.positioned || plan.recoverable);
        if result.positioned != (plan.positioned || plan.recoverable)
            || result.recoverable != plan.recoverable
            || result.epoch.is_empty() == kept
        {
            return Err(format!("a subscribe result of another kind of channel: {result:?}"));
        }
        let asked = recover.is_some();
        let recover = recover.filter(|_| plan.recoverable);
        let top = result.publications.last().map_or(result.offset, |publication| publication.offset);
        let epoch: Arc<str> = result.epoch.as_str().into();
        let state = world.state();
        let truth = &state.truths[channel];
        let pushed = by_call && plan.recoverable;
        if (top < truth.top(&epoch, from) && !pushed) || top > truth.top(&epoch, truth.len()) {
            let (least, most) = (truth.top(&epoch, from), truth.top(&epoch, truth.len()));
            return Err(format!("a position of {top}; expected between {least} and {most}"));
        }
        match &recover {
            None if (result.was_recovering && !asked)
                || result.recovered
                || !result.publications.is_empty() =>
            {
                return Err("recovered, and nobody had asked".into());
            }
            None => {}
            Some((offset, of)) if result.recovered => {
                if result.offset != *offset || (!of.is_empty() && *of != epoch) {
                    return Err(format!("recovered from {}; expected {offset} of {of}", result.offset));
                }
                let expected = truth.life(&epoch, *offset).take_while(|(_, _, offset)| *offset <= top);
                let expected: Vec<_> = expected.map(|(_, number, offset)| (number, offset)).collect();
                let got = result.publications.iter().map(|p| (number(&p.data), p.offset));
                let got: Vec<_> = got.collect();
                if expected != got {
                    return Err(format!("recovered {got:?}; expected {expected:?}"));
                }
            }
            Some((offset, of)) => {
                if !result.was_recovering || !result.publications.is_empty() {
                    return Err("not recovered, and not told so".into());
                }
                let missing = top.saturating_sub(*offset);
                let most = plan.history.size.min(world.plan.settings.recovery_limit) as u64;
                let there = truth.life(&epoch, *offset).all(|(place, ..)| place >= truth.removed);
                if plan.is_lasting() && *of == epoch && *offset <= top && missing <= most && there {
                    return Err(format!("not recovered from {offset} to {top}, and all of it was kept"));
                }
            }
        }
        let stint = Stint::new(plan, truth, from, (epoch.clone(), top), self.plan.notices);
        drop(state);
        if kept {
            self.places.insert(channel, (top, epoch));
        }
        if self.stints.insert(channel, stint).is_some() {
            return Err(format!("subscribed twice to {channel}"));
        }
        self.tell();
        Ok(())
    }

    fn history(&mut self, channel: usize, result: &HistoryResult) -> Result<(), String> {
        let plan = &self.world.plan;
        let most = plan.settings.history_limit.min(plan.channels[channel].history.size);
        let state = self.world.state();
        let truth = &state.truths[channel];
        let got: Vec<_> = result.publications.iter().map(|p| (number(&p.data), p.offset)).collect();
        let first = got.first().map_or(1, |(_, offset)| *offset);
        let mut expected: Vec<_> = truth
            .life(&result.epoch, first.saturating_sub(1))
            .map(|(_, number, offset)| (number, offset))
            .collect();
        expected.truncate(got.len());
        if got != expected || got.len() > most {
            return Err(format!("history {got:?}; expected {expected:?}, at most {most}"));
        }
        Ok(())
    }

    fn push(&mut self, push: Push) -> Result<(), String> {
        if let Some(message) = push.message {
            return self.message(&message.data);
        }
        if let Some(disconnect) = push.disconnect {
            self.note(format_args!("is told to go with {}", disconnect.code));
            self.goodbye = Some(disconnect.code);
            return Ok(());
        }
        if push.refresh.is_some() {
            return Ok(());
        }
        let channel = self.world.number_of(&push.channel).ok_or("a push of an unknown channel")?;
        if let Some(subscribe) = push.subscribe {
            let result = SubscribeResult {
                recoverable: subscribe.recoverable,
                positioned: subscribe.positioned,
                epoch: subscribe.epoch,
                offset: subscribe.offset,
                ..Default::default()
            };
            return self.subscribed(channel, None, &result, true);
        }
        let world = self.world.clone();
        let reading = self.reading;
        let stint = self.stints.get_mut(&channel);
        let stint = stint.ok_or_else(|| format!("a push of {channel} without a subscription: {push:?}"))?;
        let mut state = world.state();
        if let Some(publication) = push.publication {
            let number = number(&publication.data);
            state.read += 1;
            state.trace.push(format!(
                "{:>9} guest {}: reads {number} of {channel} at {}",
                world.started.elapsed().as_millis(),
                self.guest,
                publication.offset
            ));
            stint.publication(&state.truths[channel], number, publication.offset, reading)?;
            if publication.offset > 0
                && let Some(place) = self.places.get_mut(&channel)
            {
                place.0 = publication.offset;
                if publication.offset == 1 {
                    place.1 = publication.epoch.as_str().into();
                }
            }
            return Ok(());
        }
        let client = |info: Option<tidegate_server::protocol::message::ClientInfo>| {
            let info = info.ok_or("no client")?;
            Ok::<Arc<str>, String>(info.client.as_str().into())
        };
        if let Some(join) = push.join {
            let what = What::Join(client(join.info)?);
            return stint.news(&state.truths[channel], &what, reading);
        }
        if let Some(leave) = push.leave {
            let what = What::Leave(client(leave.info)?);
            return stint.news(&state.truths[channel], &what, reading);
        }
        drop(state);
        if let Some(unsubscribe) = push.unsubscribe {
            return self.unsubscribed(channel, unsubscribe.code);
        }
        Err(format!("a push that says nothing: {push:?}"))
    }

    fn unsubscribed(&mut self, channel: usize, code: u32) -> Result<(), String> {
        self.note(format_args!("is told that its subscription of {channel} has ended with {code}"));
        let stint = self.stints.remove(&channel).ok_or("an unsubscribe push without a subscription")?;
        self.tell();
        let plan = &self.world.plan;
        match code {
            // Deleted: what was there before was to be read.
            2000 => {
                let state = self.world.state();
                let truth = &state.truths[channel];
                let deleted = stint.deleted(truth).ok_or("ended as deleted, and it was not")?;
                stint.complete(truth, deleted)
            }
            2500 if stint.continuous || matches!(plan.channels[channel].policy, Policy::End(_)) => Ok(()),
            // The application's own, for any reason.
            BY_CALL if plan.calls > 0 => Ok(()),
            _ => Err(format!("an unsubscribe push with {code}")),
        }
    }

    fn message(&mut self, data: &[u8]) -> Result<(), String> {
        let value: Value = serde_json::from_slice(data).map_err(|error| error.to_string())?;
        if let Some(gap) = value["tidegate"].get("gap") {
            let missed = gap["missed"].as_u64().ok_or("a gap notice without a number")?;
            let name = gap["channel"].as_str().ok_or("a gap notice without a channel")?;
            let channel = self.world.number_of(name).ok_or("a gap notice of an unknown channel")?;
            self.note(format_args!("is told of {missed} missed of {channel}"));
            self.world.state().told += missed;
            let stint = self.stints.get_mut(&channel).ok_or("a gap notice without a subscription")?;
            return stint.gap(missed);
        }
        if value["tidegate"].get("health").is_some() {
            return if self.plan.notices { Ok(()) } else { Err("health, and nobody asked".into()) };
        }
        let number = number(data);
        if number <= self.message {
            return Err(format!("message {number} after {}", self.message));
        }
        self.message = number;
        Ok(())
    }

    /// Asserts that everything was read that there is: somebody who reads, at rest.
    pub(crate) fn complete(&self) {
        let state = self.world.state();
        let wrong = self.stints.iter().filter_map(|(channel, stint)| {
            let truth = &state.truths[*channel];
            if stint.deleted(truth).is_some() {
                return Some(format!("its subscription of {channel} outlived the channel"));
            }
            let wrong = stint.complete(truth, truth.len()).err()?;
            Some(format!("at rest, of {channel}: {wrong}"))
        });
        let wrong: Vec<_> = wrong.collect();
        drop(state);
        wrong.iter().for_each(|wrong| self.fail(wrong));
        if let Some((id, asked)) = self.asked.front() {
            self.fail(format_args!("at rest, {id} was never answered: {asked:?}"));
        }
    }

    /// The connection has ended by the server's hand, with the farewell's code where it gave one.
    pub(crate) fn ended(&mut self) -> Option<u16> {
        let code = self.wire.closed().map(|why| why.code);
        self.note(format_args!("is at the end, {code:?}"));
        if let Err(wrong) = self.judge_end(code) {
            self.fail(wrong);
        }
        self.gone();
        code
    }

    /// It is not connected any more.
    pub(crate) fn gone(&mut self) {
        let unanswered =
            self.asked.drain(..).filter(|(_, asked)| matches!(asked, Asked::Publish(..))).count();
        let mut state = self.world.state();
        state.unanswered += unanswered as u64;
        if let Some(id) = self.id.take() {
            state.live.remove(&id);
        }
    }

    fn judge_end(&self, code: Option<u16>) -> Result<(), String> {
        let plan = &self.world.plan;
        let Some(code) = code else {
            let turned_away = self.id.is_none() && (plan.caps.total.is_some() || self.world.is_draining());
            return if self.spoiled || self.refused || turned_away {
                Ok(())
            } else {
                Err("cut off without a word".into())
            };
        };
        if self.goodbye != Some(code.into()) {
            return Err(format!("closed with {code}, after a disconnect push of {:?}", self.goodbye));
        }
        let closes = plan.channels.iter().any(|channel| matches!(channel.policy, Policy::Close(_)));
        let ends = |policy| matches!(policy, Policy::End(_));
        let relies = |plan: &ChannelPlan| plan.positioned || plan.recoverable || ends(plan.policy);
        let limited = plan.settings.duplicate_user != tidegate_server::DuplicateUser::Keep
            || plan.settings.user_connection_limit.is_some();
        let right = match code {
            3001 => self.world.is_draining(),
            3005 | 3503 => plan.calls > 0,
            3008 => self.spoiled || closes,
            3000 | 3009 | 3012 => self.spoiled,
            3010 => plan.channels.iter().any(relies),
            3501 | 1009 => self.rude,
            3502 => self.tardy,
            3504 => limited,
            // Connections that took over from each other too often.
            3013 => plan.settings.duplicate_user == tidegate_server::DuplicateUser::TakeOver,
            3505 => plan.settings.channel_limit < plan.channels.len(),
            _ => false,
        };
        if !right {
            return Err(format!("closed with {code} for nothing"));
        }
        if code == 3001 && !self.spoiled {
            let state = self.world.state();
            let drained = state.drained.as_ref().expect("3001 was told");
            for (channel, stint) in &self.stints {
                let done = stint.complete(&state.truths[*channel], drained[*channel]);
                done.map_err(|wrong| format!("sent away before it had read {channel}: {wrong}"))?;
            }
        }
        Ok(())
    }

    /// Tells the world what it is subscribed to.
    fn tell(&self) {
        if let Some(id) = &self.id {
            self.world.state().live.insert(id.clone(), self.stints.keys().copied().collect());
        }
    }
}

/// The code of the application's unsubscribe calls.
pub(crate) const BY_CALL: u32 = 2042;
