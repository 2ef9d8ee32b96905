//! A notice to everybody, some of whom do not read.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::STOP;
use crate::Failure;
use crate::http::{Http, api};
use crate::report::Checks;
use crate::server::{Launch, Server};
use crate::socket::{Frame, Knock, Socket};

const WATCHERS: usize = 990;
const STALLED: usize = 10;
/// Bytes of a publication to the stalled ones.
const SIZE: usize = 1024;
/// What a kernel may have taken before: some 212 KiB by `TCP_NOTSENT_LOWAT`, and what the receiver has room for.
const TAKEN: usize = 400 << 10;

/// 1,000 watchers ask to be told of the server's health, and ten of them do not read. The server is told to
/// stop: it tells everybody that it drains.
pub(super) async fn run(checks: &Checks) -> Result<(), Failure> {
    let mut launch = Launch::new();
    launch.set("shutdown.timeout", "20s");
    launch.set("client.stalled_close_delay", "10m");
    launch.set("client.queue_max_size", 4 << 20);
    launch.set("channel.without_namespace.window_bytes", 8 << 20);
    let mut server = Server::start(&launch).await?;
    let query = "?tidegate_notices=true";
    let mut watchers = JoinSet::new();
    for _ in 0..WATCHERS {
        let mut socket = Socket::connected_as(server.address, &Knock { query, ..Knock::default() }).await?;
        watchers.spawn(async move {
            loop {
                match socket.next().await {
                    Ok(Frame::Text(text)) if is_notice(&text) => return Some((Instant::now(), socket)),
                    Ok(Frame::Text(text)) if text == b"{}" => _ = socket.text("{}").await,
                    Ok(Frame::Close(..)) | Err(_) => return None,
                    Ok(_) => {}
                }
            }
        });
    }
    let knock = Knock { query, receive_buffer: Some(4096), ..Knock::default() };
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        let mut socket = Socket::connected_as(server.address, &knock).await?;
        socket.subscribe("filling").await?;
        stalled.push(socket);
    }
    let mut http = Http::open(server.address).await?;
    let body = format!(r#"{{"channel":"filling","data":"{}"}}"#, "f".repeat(SIZE));
    for _ in 0..2000 {
        http.write(api("publish", &body)).await?;
        http.response().await?;
    }
    let behind = server.metrics().await?.get("tidegate_subscribers_behind");
    checks.same("subscribers behind", STALLED as u64, behind);
    drop(http);

    let begin = Instant::now();
    server.terminate().await?;
    let told: Vec<_> = watchers.join_all().await.into_iter().flatten().map(|(at, _)| at - begin).collect();
    let within = told.iter().filter(|took| **took < Duration::from_secs(1)).count();
    let longest = told.iter().max().copied().unwrap_or_default();
    checks.same(format!("told within a second (the last after {longest:.1?})"), WATCHERS, within);

    // They go on not reading for a while: nothing is lost by it.
    sleep(Duration::from_secs(2)).await;
    let (mut first, mut all, mut closed) = (0, 0, 0);
    let mut most = 0;
    for socket in &mut stalled {
        let (mut before, mut after, mut notice) = (0, 0, false);
        loop {
            match socket.next().await {
                Ok(Frame::Text(text)) if is_notice(&text) => notice = true,
                Ok(Frame::Text(_)) if notice => after += 1,
                Ok(Frame::Text(_)) => before += 1,
                Ok(Frame::Close(3001, _)) => {
                    closed += 1;
                    break;
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        most = most.max(before);
        first += usize::from(notice && before * SIZE <= TAKEN && after > 0);
        all += usize::from(before + after == 2000);
    }
    let what = format!("stalled ones that get it before what was not on its way ({most} were, at most)");
    checks.same(what, STALLED, first);
    checks.same("stalled ones that then read everything", STALLED, all);
    checks.same("stalled ones that are closed with 3001", STALLED, closed);
    let code = server.ended(STOP).await?;
    checks.check("exit code", "0", format!("{code:?}"), code == Some(0));
    checks.same("panics", 0, server.log().matches("panicked at").count());
    server.clean();
    Ok(())
}

fn is_notice(text: &[u8]) -> bool {
    text.windows(b"\"health\"".len()).any(|window| window == b"\"health\"")
}
