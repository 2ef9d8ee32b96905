//! Some never read, and the others do not notice.

use std::time::Duration;

use tokio::time::sleep;

use super::STOP;
use crate::Failure;
use crate::healthy::{Crowd, Healthy, Part};
use crate::http::{Http, api};
use crate::report::Checks;
use crate::server::{Launch, Server};
use crate::socket::{Knock, Socket};

/// 950 read; in every second stretch of time there are 50 more, who do not. The stretches alternate, so that
/// whatever else the machine does meets both alike.
pub(super) async fn run(checks: &Checks, latency: bool) -> Result<(), Failure> {
    let mut launch = Launch::new();
    // They stay, as slow as they are: who is sent away costs nothing.
    launch.set("client.stalled_close_delay", "10m");
    launch.set("client.ping_interval", "10m");
    launch.set("channel.without_namespace.backpressure", "skip_oldest");
    let mut server = Server::start(&launch).await?;
    let healthy = Healthy::gather(server.address, Crowd { clients: 950, rate: 20, padding: 1024 }).await?;
    healthy.after(40).await;
    healthy.enter(Part::Before);
    let (stretches, stretch) = if latency { (5, 80) } else { (1, 20) };
    let mut grown = 0;
    for _ in 0..stretches {
        healthy.enter(Part::Before);
        healthy.after(stretch).await;
        let resident = server.process.resident();
        server.process.forget_peak();
        let stalled = stall(&server).await?;
        healthy.enter(Part::During);
        healthy.after(stretch).await;
        // The others are behind for a moment only: the least of some looks is that of the 50.
        let mut behind = u64::MAX;
        for _ in 0..20 {
            behind = behind.min(server.metrics().await?.get("tidegate_subscribers_behind"));
            sleep(Duration::from_millis(7)).await;
        }
        checks.within("subscribers behind", 50..=100, behind);
        grown = grown.max(server.process.peak().saturating_sub(resident));
        drop(stalled);
        sleep(Duration::from_millis(500)).await;
    }
    checks.within("KiB of growth", 0..=8 << 10, grown);
    let at = |part| healthy.latency(part, 0.99);
    let (before, during) = (at(Part::Before), at(Part::During));
    let ratio = during / before;
    let text = format!("{before:.2} ms without and {during:.2} ms with them, a ratio of {ratio:.2}");
    checks.check("the others' p99", "a ratio of at most 1.2", text, !latency || ratio <= 1.2);
    let wrong = healthy.finish().await;
    checks.check("the others", "all in order, nothing missing", format!("{wrong:?}"), wrong.is_empty());
    server.terminate().await?;
    let code = server.ended(STOP).await?;
    checks.check("exit code", "0", format!("{code:?}"), code == Some(0));
    server.clean();
    Ok(())
}

/// 50 subscribers who do not read, with so much to be read that their sockets take nothing more.
async fn stall(server: &Server) -> Result<Vec<Socket>, Failure> {
    let knock = Knock { receive_buffer: Some(4096), ..Knock::default() };
    let mut stalled = Vec::new();
    for _ in 0..50 {
        let mut socket = Socket::connected_as(server.address, &knock).await?;
        socket.subscribe("filling").await?;
        socket.subscribe("healthy").await?;
        stalled.push(socket);
    }
    let mut http = Http::open(server.address).await?;
    let body = format!(r#"{{"channel":"filling","data":"{}"}}"#, "f".repeat(8 << 10));
    for _ in 0..64 {
        http.write(api("publish", &body)).await?;
        http.response().await?;
    }
    Ok(stalled)
}
