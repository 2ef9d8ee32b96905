//! More connections than there may be.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::Failure;
use crate::attack::{Attack, Field};
use crate::healthy::Crowd;
use crate::server::Launch;
use crate::socket::{Knock, Opened, Socket};

/// Knocks `count` times at once, from one address, and returns those let in, and the other statuses.
async fn flood(address: SocketAddr, from: Option<IpAddr>, count: usize) -> (Vec<Socket>, Vec<u16>) {
    let mut knocks = JoinSet::new();
    for _ in 0..count {
        knocks.spawn(async move { Socket::knock(address, &Knock { from, ..Knock::default() }).await });
    }
    let (mut open, mut refused) = (Vec::new(), Vec::new());
    for opened in knocks.join_all().await {
        match opened {
            Ok(Opened::Ok(socket)) => open.push(socket),
            Ok(Opened::Err(response)) => refused.push(response.status),
            Err(_) => refused.push(0),
        }
    }
    (open, refused)
}

/// Over all.
pub(crate) struct Total;

#[async_trait]
impl Attack for Total {
    fn name(&self) -> &'static str {
        "connection-flood"
    }

    fn about(&self) -> &'static str {
        "thousands knock where 300 may be: never more are in, the others get 503, places come back within 2 s"
    }

    fn prepare(&self, launch: &mut Launch) {
        launch.set("client.connection_limit", 300);
        // They say nothing: that is another attack.
        launch.set("client.stale_close_delay", "2m");
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let count = field.times(1000, 4000);
        let (open, refused) = flood(field.address, None, count).await;
        field.same("let in", 100, open.len());
        let with = |status: u16| refused.iter().filter(|seen| **seen == status).count();
        field.same("refused with 503", count - 100, with(503));
        let live = field.metrics().await?.get("tidegate_connections");
        field.same("connections", 300, live);
        let counted =
            field.grown(|metrics| metrics.get("tidegate_refused_total{cause=\"connection_limit\"}")).await?;
        field.same("refusals, by the metrics", (count - 100) as u64, counted);
        drop(open);
        let begin = Instant::now();
        let mut in_again = 0;
        while in_again == 0 && begin.elapsed() < Duration::from_secs(5) {
            let (open, _) = flood(field.address, None, 1).await;
            in_again = open.len();
            sleep(Duration::from_millis(20)).await;
        }
        let took = begin.elapsed();
        field.check(
            "a place is free again after",
            "at most 2 s",
            format!("{took:.1?}"),
            took < Duration::from_secs(2),
        );
        Ok(())
    }
}

/// Over one address.
pub(crate) struct PerAddress;

#[async_trait]
impl Attack for PerAddress {
    fn name(&self) -> &'static str {
        "connection-flood-ip"
    }

    fn about(&self) -> &'static str {
        "one IPv4 address knocks 500 times where 250 from each may be, and another comes in"
    }

    fn prepare(&self, launch: &mut Launch) {
        launch.set("client.ip_connection_limit", 250);
        // They say nothing: that is another attack.
        launch.set("client.stale_close_delay", "2m");
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let (open, refused) = flood(field.address, Some([127, 0, 0, 2].into()), 500).await;
        field.same("let in", 250, open.len());
        let statuses = refused.iter().filter(|status| matches!(**status, 429 | 503)).count();
        field.same("refused with 429 or 503", 250, statuses);
        let (others, _) = flood(field.address, Some([127, 0, 0, 3].into()), 10).await;
        field.same("let in from another address", 10, others.len());
        Ok(())
    }
}

/// Over one line's many addresses.
pub(crate) struct PerNetwork;

#[async_trait]
impl Attack for PerNetwork {
    fn name(&self) -> &'static str {
        "connection-flood-ipv6"
    }

    fn about(&self) -> &'static str {
        "four addresses of one IPv6 /64 knock 100 times each where 250 may be, and another /64 comes in"
    }

    fn network(&self) -> Option<&'static [&'static str]> {
        Some(&[
            "2001:db8:0:1::1/128",
            "2001:db8:0:1::2/128",
            "2001:db8:0:1:ffff::3/128",
            "2001:db8:0:1:ffff:ffff:ffff:4/128",
            "2001:db8:0:2::1/128",
        ])
    }

    fn prepare(&self, launch: &mut Launch) {
        launch.set("client.ip_connection_limit", 250);
        // They say nothing: that is another attack.
        launch.set("client.stale_close_delay", "2m");
        // All interfaces, and IPv6 where there is one.
        launch.set("http_server.address", "");
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let server = SocketAddr::new("2001:db8:0:2::1".parse()?, field.address.port());
        let mut open = Vec::new();
        for host in ["::1", "::2", ":ffff::3", ":ffff:ffff:ffff:4"] {
            let (sockets, _) = flood(server, Some(format!("2001:db8:0:1{host}").parse()?), 100).await;
            open.extend(sockets);
        }
        field.same("let in from the /64", 250, open.len());
        let (others, _) = flood(server, Some("2001:db8:0:2::1".parse()?), 10).await;
        field.same("let in from another /64", 10, others.len());
        Ok(())
    }
}

/// A whole fleet.
pub(crate) struct Fleet;

#[async_trait]
impl Attack for Fleet {
    fn name(&self) -> &'static str {
        "fleet"
    }

    fn about(&self) -> &'static str {
        "5,000 clients are killed and come back at once"
    }

    fn memory(&self) -> u64 {
        // 5,000 connections, twice for a moment, at 10 KiB with what the allocator takes.
        100 << 10
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let count = field.times(500, 5000);
        let all = format!("{count}, others []");
        let (mut fleet, others) = arrive(field.address, count).await;
        field.same("subscribed at first", all.clone(), format!("{}, others {others:?}", fleet.len()));
        fleet.drain(..).for_each(Socket::kill);
        let (fleet, others) = arrive(field.address, count).await;
        field.same("subscribed again", all, format!("{}, others {others:?}", fleet.len()));
        let begin = Instant::now();
        let wanted = count as u64 + 200;
        let mut live = 0;
        while begin.elapsed() < Duration::from_secs(5) {
            live = field.metrics().await?.get("tidegate_connections");
            if live == wanted {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        field.same("connections", wanted, live);
        Ok(())
    }
}

/// Clients that connect at once and subscribe to one of a hundred channels; and what became of the others.
async fn arrive(address: SocketAddr, count: usize) -> (Vec<Socket>, Vec<(String, usize)>) {
    let mut arrivals = JoinSet::new();
    for index in 0..count {
        arrivals.spawn(async move {
            let mut socket = Socket::connected(address).await?;
            socket.subscribe(&format!("fleet-{}", index % 100)).await?;
            Ok::<_, std::io::Error>(socket)
        });
    }
    let (mut fleet, mut others) = (Vec::new(), BTreeMap::<_, usize>::new());
    for arrived in arrivals.join_all().await {
        match arrived {
            Ok(socket) => fleet.push(socket),
            Err(error) => *others.entry(error.to_string()).or_default() += 1,
        }
    }
    (fleet, others.into_iter().collect())
}

/// Without descriptors.
pub(crate) struct Descriptors;

#[async_trait]
impl Attack for Descriptors {
    fn name(&self) -> &'static str {
        "descriptors-64"
    }

    fn about(&self) -> &'static str {
        "100 peers connect to a server that may have 64 descriptors: it neither spins nor dies, and takes others later"
    }

    fn prepare(&self, launch: &mut Launch) {
        launch.descriptors = Some(64);
    }

    fn crowd(&self) -> Crowd {
        Crowd { clients: 10, ..Crowd::default() }
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let mut peers = JoinSet::new();
        for _ in 0..100 {
            let address = field.address;
            // Those beyond the limit wait in the kernel's queue, or are turned away.
            peers.spawn(async move { crate::http::Http::open(address).await.ok() });
        }
        let peers = peers.join_all().await;
        let process = field.server.lock().await.process;
        sleep(Duration::from_millis(300)).await;
        let cpu = process.cpu();
        sleep(Duration::from_secs(2)).await;
        let spent = process.cpu() - cpu;
        field.check("CPU while there are none, of 200 hundredths", "at most 60", spent, spent <= 60);
        drop(peers);
        let begin = Instant::now();
        let mut socket = None;
        while socket.is_none() && begin.elapsed() < Duration::from_secs(5) {
            let knock = tokio::time::timeout(Duration::from_secs(3), Socket::connected(field.address)).await;
            socket = knock.ok().and_then(Result::ok);
        }
        let took = begin.elapsed();
        field.check("takes another within", "3 s", format!("{took:.1?}"), took < Duration::from_secs(3));
        field.check(
            "who comes later",
            "let in",
            if socket.is_some() { "let in" } else { "not" },
            socket.is_some(),
        );
        Ok(())
    }
}
