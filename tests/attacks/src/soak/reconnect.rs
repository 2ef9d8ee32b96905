//! A whole fleet drops at once and comes back.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::STOP;
use crate::Failure;
use crate::report::Checks;
use crate::server::{Launch, Server};
use crate::socket::{End, Knock, Socket};

/// Each client is a user of its own, of whom the newest connection stays. It drops and comes back three
/// times, and once more while the server still believes in the old connections.
pub(super) async fn run(checks: &Checks, count: usize) -> Result<(), Failure> {
    let mut launch = Launch::new();
    launch.set("client.user_id_http_header", "X-User");
    launch.set("client.duplicate_user", "takeover");
    // What is measured is the fleet that stands still.
    launch.set("client.ping_interval", "10m");
    let mut server = Server::start(&launch).await?;
    let mut resident = Vec::new();
    let mut fleet = Vec::new();
    for round in 0..=3 {
        // Half of them say so, half do not: the kernel sends a FIN for those, and a reset for these.
        for (index, socket) in fleet.drain(..).enumerate() {
            if index % 2 == 0 { drop(socket) } else { Socket::kill(socket) }
        }
        let (back, wrong) = arrive(server.address, count).await;
        fleet = back;
        checks.check(format!("round {round}: errors"), "none", format!("{wrong:?}"), wrong.is_empty());
        settle(checks, &server, round, count).await?;
        let all = server.api("publish", &format!(r#"{{"channel":"all","data":"round {round}"}}"#)).await?;
        checks.same(format!("round {round}: publishing"), 200, all.status);
        let mut heard = 0;
        for socket in &mut fleet {
            heard += usize::from(
                socket.message().await.is_ok_and(|text| text.contains(&format!("round {round}"))),
            );
        }
        checks.same(format!("round {round}: heard a publication"), count, heard);
        // The allocator gives back what it does not need within a moment.
        sleep(Duration::from_secs(2)).await;
        resident.push(server.process.resident());
    }
    let (first, third) = (resident[1], resident[3]);
    checks.within("KiB after round 3", 0..=first + first / 20, third);
    println!("    memory by round, KiB: {resident:?}, {} per connection", third / count as u64);

    let old = std::mem::take(&mut fleet);
    let (new, wrong) = arrive(server.address, count).await;
    checks.check("taking over: errors", "none", format!("{wrong:?}"), wrong.is_empty());
    let mut displaced = 0;
    for mut socket in old {
        displaced += usize::from(matches!(socket.end(Duration::from_secs(10)).await, End::Close(3504, _)));
    }
    checks.same("taking over: old connections closed with 3504", count, displaced);
    settle(checks, &server, 4, count).await?;
    drop(new);
    server.terminate().await?;
    let code = server.ended(STOP).await?;
    checks.check("exit code", "0", format!("{code:?}"), code == Some(0));
    checks.same("panics", 0, server.log().matches("panicked at").count());
    server.clean();
    Ok(())
}

/// Waits until the gauges show the fleet and nobody else.
async fn settle(checks: &Checks, server: &Server, round: usize, count: usize) -> Result<(), Failure> {
    let begin = Instant::now();
    loop {
        let metrics = server.metrics().await?;
        let seen = (metrics.get("tidegate_connections"), metrics.get("tidegate_subscriptions"));
        let (connections, subscriptions) = (count as u64, 2 * count as u64);
        if seen == (connections, subscriptions) || begin.elapsed() > Duration::from_secs(10) {
            checks.same(format!("round {round}: connections"), connections, seen.0);
            checks.same(format!("round {round}: subscriptions"), subscriptions, seen.1);
            return Ok(());
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Connects everybody at once, each with two subscriptions, and returns them, and a few of the errors.
async fn arrive(address: SocketAddr, count: usize) -> (Vec<Socket>, Vec<String>) {
    let mut arrivals = JoinSet::new();
    for index in 0..count {
        arrivals.spawn(async move {
            let knock = Knock { headers: format!("X-User: user-{index}\r\n"), ..Knock::default() };
            let mut socket = Socket::connected_as(address, &knock).await?;
            socket.subscribe("all").await?;
            socket.subscribe(&format!("some-{}", index % 50)).await?;
            Ok::<_, std::io::Error>(socket)
        });
    }
    let (mut fleet, mut wrong) = (Vec::new(), Vec::new());
    while let Some(arrived) = arrivals.join_next().await {
        match arrived {
            Ok(Ok(socket)) => fleet.push(socket),
            Ok(Err(error)) => wrong.push(error.to_string()),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    wrong.sort();
    wrong.dedup();
    wrong.truncate(5);
    (fleet, wrong)
}
