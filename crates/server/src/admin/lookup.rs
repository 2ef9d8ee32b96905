use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tidegate_core::call::{Inquiry, Report};
use tidegate_core::registry::Member;
use tidegate_core::{Channel, Figures};
use tokio::sync::oneshot;

use super::Admin;
use crate::handle::Handle;

/// Channels or connections on one page, at most. 100: what a person looks through.
const PAGE: usize = 100;
/// Subscriptions of one connection that are told; how many there are is told besides. 100.
const SUBSCRIPTIONS: usize = 100;
/// How long connections may take to say how they are. 500 ms: one that is at work may be late.
const PATIENCE: Duration = Duration::from_millis(500);

/// Which channels are asked for.
#[derive(Deserialize)]
pub(super) struct WhichChannels {
    /// A part of their names, in any case.
    #[serde(default)]
    search: String,
    #[serde(default)]
    order: Order,
    #[serde(default = "page")]
    limit: usize,
}

/// What channels are ordered by: most first, but names from A to Z.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    #[default]
    Subscribers,
    Behind,
    Window,
    Channel,
}

#[derive(Serialize)]
pub(super) struct Channels {
    /// Channels in all.
    total: usize,
    /// Those that match the search.
    matching: usize,
    channels: Vec<OneChannel>,
}

#[derive(Serialize)]
struct OneChannel {
    #[serde(serialize_with = "name")]
    channel: Channel,
    subscribers: usize,
    /// Subscribers that have not read everything.
    behind: usize,
    /// Publications and other entries that the window holds.
    entries: u64,
    bytes: u64,
    /// Entries since the channel was opened.
    appended: u64,
}

/// The channels with subscribers, with their figures.
pub(super) async fn channels(
    State(admin): State<Arc<Admin>>,
    Query(which): Query<WhichChannels>,
) -> Json<Channels> {
    let _look = admin.look.acquire().await.expect("never closed");
    let handle = admin.handle.clone();
    let found = tokio::task::spawn_blocking(move || find_channels(&handle, &which)).await;
    Json(found.expect("looking at channels does not panic"))
}

fn find_channels(handle: &Handle, which: &WhichChannels) -> Channels {
    let search = which.search.to_lowercase();
    let (mut total, mut matching) = (0, 0);
    let mut first = First::new(which.limit.min(PAGE));
    handle.hub().router().visit(&mut |channel, figures| {
        if figures.subscribers == 0 {
            return;
        }
        total += 1;
        if !has(channel.as_str(), &search) {
            return;
        }
        matching += 1;
        first.offer((Reverse(which.order.of(&figures)), channel.clone()), figures);
    });
    let channels = first.into_sorted().map(|((_, channel), figures)| OneChannel {
        channel,
        subscribers: figures.subscribers,
        behind: figures.behind,
        entries: figures.entries,
        bytes: figures.bytes,
        appended: figures.head.sequence,
    });
    Channels { total, matching, channels: channels.collect() }
}

impl Order {
    fn of(self, figures: &Figures) -> u64 {
        match self {
            Self::Subscribers => figures.subscribers as u64,
            Self::Behind => figures.behind as u64,
            Self::Window => figures.bytes,
            Self::Channel => 0,
        }
    }
}

/// Which connections are asked for.
#[derive(Deserialize)]
pub(super) struct WhichConnections {
    /// A part of their client id, user, transport or address, in any case.
    #[serde(default)]
    search: String,
    /// The client id that the page before ended with.
    #[serde(default)]
    after: String,
    #[serde(default = "page")]
    limit: usize,
}

#[derive(Serialize)]
pub(super) struct Connections {
    /// Connections of clients in all.
    total: usize,
    /// Those that match the search.
    matching: usize,
    /// In the order of client ids.
    connections: Vec<OneConnection>,
    /// Whether there is another page.
    more: bool,
}

#[derive(Serialize)]
struct OneConnection {
    client: Arc<str>,
    user: Arc<str>,
    transport: &'static str,
    address: Option<IpAddr>,
    /// What it says of itself; nothing, if it has just gone.
    report: Option<Told>,
}

#[derive(Serialize)]
struct Told {
    /// How long it has been open, in seconds.
    age: u64,
    /// Its socket takes nothing at this moment.
    stalled: bool,
    /// Entries and bytes that it has yet to read, of all subscriptions.
    entries: u64,
    bytes: u64,
    /// How many subscriptions it has.
    count: usize,
    /// Some of them, those that are furthest behind first.
    subscriptions: Vec<OneSubscription>,
}

#[derive(Serialize)]
struct OneSubscription {
    #[serde(serialize_with = "name")]
    channel: Channel,
    entries: u64,
    bytes: u64,
    /// Publications that it has certainly lost.
    missed: u64,
}

/// A page of connections. Those on it are asked how they are.
pub(super) async fn connections(
    State(admin): State<Arc<Admin>>,
    Query(which): Query<WhichConnections>,
) -> Json<Connections> {
    let _look = admin.look.acquire().await.expect("never closed");
    let handle = admin.handle.clone();
    let found = tokio::task::spawn_blocking(move || find_connections(&handle, &which)).await;
    let (mut answer, members) = found.expect("looking at connections does not panic");
    answer.connections = join_all(members.iter().map(ask)).await;
    Json(answer)
}

fn find_connections(handle: &Handle, which: &WhichConnections) -> (Connections, Vec<Member>) {
    let search = which.search.to_lowercase();
    let limit = which.limit.min(PAGE);
    let (mut total, mut matching) = (0, 0);
    let mut first = First::new(limit + 1);
    handle.hub().registry().visit(&mut |member| {
        total += 1;
        let client = &member.client;
        let address = || client.address.is_some_and(|address| has(&address.to_string(), &search));
        if ![&client.id, client.user(), client.transport].iter().any(|text| has(text, &search)) && !address()
        {
            return;
        }
        matching += 1;
        if *client.id > *which.after {
            first.offer(client.id.clone(), member.clone());
        }
    });
    let mut members: Vec<Member> = first.into_sorted().map(|(_, member)| member).collect();
    let more = members.len() > limit;
    members.truncate(limit);
    (Connections { total, matching, connections: Vec::new(), more }, members)
}

async fn ask(member: &Member) -> OneConnection {
    let (tell, told) = oneshot::channel();
    // Who asked may have gone when the answer comes.
    let inquiry = Inquiry::new(move |report| drop(tell.send(report)));
    let report = match member.handle.inquire(inquiry) {
        Ok(()) => tokio::time::timeout(PATIENCE, told).await.ok().and_then(Result::ok),
        Err(_) => None,
    };
    let client = &member.client;
    OneConnection {
        client: client.id.clone(),
        user: client.user().clone(),
        transport: client.transport,
        address: client.address,
        report: report.map(Told::from),
    }
}

impl From<Report> for Told {
    fn from(report: Report) -> Self {
        let Report { age, stalled, mut subscriptions } = report;
        let count = subscriptions.len();
        let entries = subscriptions.iter().map(|(_, behind)| behind.entries).sum();
        let bytes = subscriptions.iter().map(|(_, behind)| behind.bytes).sum();
        subscriptions.sort_by_key(|(_, behind)| Reverse(behind.bytes));
        subscriptions.truncate(SUBSCRIPTIONS);
        let one = |(channel, behind): (Channel, tidegate_core::Behind)| OneSubscription {
            channel,
            entries: behind.entries,
            bytes: behind.bytes,
            missed: behind.missed,
        };
        let subscriptions = subscriptions.into_iter().map(one).collect();
        Self { age: age.as_secs(), stalled, entries, bytes, count, subscriptions }
    }
}

/// The first of many by a key, without keeping the others.
struct First<K, V> {
    most: usize,
    kept: BinaryHeap<Keyed<K, V>>,
}

struct Keyed<K, V>(K, V);

impl<K: Ord, V> First<K, V> {
    fn new(most: usize) -> Self {
        Self { most, kept: BinaryHeap::new() }
    }

    fn offer(&mut self, key: K, value: V) {
        if self.kept.len() < self.most {
            self.kept.push(Keyed(key, value));
        } else if let Some(mut last) = self.kept.peek_mut()
            && key < last.0
        {
            *last = Keyed(key, value);
        }
    }

    fn into_sorted(self) -> impl Iterator<Item = (K, V)> {
        self.kept.into_sorted_vec().into_iter().map(|Keyed(key, value)| (key, value))
    }
}

impl<K: Ord, V> Ord for Keyed<K, V> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl<K: Ord, V> PartialOrd for Keyed<K, V> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Ord, V> PartialEq for Keyed<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<K: Ord, V> Eq for Keyed<K, V> {}

/// Whether `text` has `part`, which is in lower case, in any case.
fn has(text: &str, part: &str) -> bool {
    part.is_empty() || text.to_lowercase().contains(part)
}

fn name<S: serde::Serializer>(channel: &Channel, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(channel.as_str())
}

fn page() -> usize {
    PAGE / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_many_are_those_of_a_sorted_list() {
        let check = |most: usize, offered: &[u32], expected: &[u32]| {
            let mut first = First::new(most);
            offered.iter().for_each(|key| first.offer(*key, ()));
            assert_eq!(
                first.into_sorted().map(|(key, ())| key).collect::<Vec<_>>(),
                expected,
                "{most} of {offered:?}"
            );
        };
        check(3, &[5, 1, 4, 2, 3], &[1, 2, 3]);
        check(3, &[2, 1], &[1, 2]);
        check(0, &[2, 1], &[]);
        check(1, &[3, 2, 2, 3], &[2]);
    }
}
