//! More channels than there are.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::Failure;
use crate::attack::{Attack, Field};
use crate::http::{Http, api};
use crate::server::Launch;
use crate::socket::{Frame, Socket};

/// Subscribes to everything.
pub(crate) struct Subscriptions;

#[async_trait]
impl Attack for Subscriptions {
    fn name(&self) -> &'static str {
        "million-subscriptions"
    }

    fn about(&self) -> &'static str {
        "one client asks for a million subscriptions; ten come and go through a hundred thousand names"
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let count = field.times(20_000, 1_000_000);
        let mut socket = Socket::connected(field.address).await?;
        let (mut made, mut refused, mut id) = (0, 0, 2);
        while id < count + 2 {
            let mut text = String::new();
            let until = (id + 500).min(count + 2);
            let asked = until - id;
            while id < until {
                let _ =
                    writeln!(text, r#"{{"id":{id},"subscribe":{{"channel":"name-{}-{id}"}}}}"#, field.seed);
                id += 1;
            }
            socket.text(&text).await?;
            let mut replies = 0;
            while replies < asked {
                let reply = socket.message().await?;
                if reply == "{}" {
                    socket.text("{}").await?;
                } else if reply.contains("\"code\":106") {
                    (refused, replies) = (refused + 1, replies + 1);
                } else {
                    (made, replies) = (made + 1, replies + 1);
                }
            }
        }
        field.same("subscriptions made", 128, made);
        field.same("refused with 106", count - 128, refused);
        let gauge = field.metrics().await?.get("tidegate_subscriptions");
        field.same("tidegate_subscriptions", 328, gauge);
        socket.kill();

        let mut comers = tokio::task::JoinSet::new();
        let (address, rounds) = (field.address, field.times(500, 10_000));
        for comer in 0..10 {
            comers.spawn(async move {
                let mut socket = Socket::connected(address).await?;
                for round in 0..rounds {
                    let (id, name) = (round * 2 + 2, format!("come-{comer}-{round}"));
                    let text = format!(
                        "{{\"id\":{id},\"subscribe\":{{\"channel\":\"{name}\"}}}}\n{{\"id\":{},\"unsubscribe\":{{\"channel\":\"{name}\"}}}}",
                        id + 1
                    );
                    socket.text(&text).await?;
                    let mut replies = 0;
                    while replies < 2 {
                        match socket.message().await? {
                            ping if ping == "{}" => socket.text("{}").await?,
                            reply if reply.contains("\"error\"") => return Err(std::io::Error::other(reply)),
                            _ => replies += 1,
                        }
                    }
                }
                Ok(())
            });
        }
        let came = comers.join_all().await;
        let wrong: Vec<_> = came.iter().filter_map(|came| came.as_ref().err()).collect();
        field.check("coming and going", "replies", format!("{wrong:?}"), wrong.is_empty());
        Ok(())
    }
}

/// Publishes to everything.
pub(crate) struct Channels;

#[async_trait]
impl Attack for Channels {
    fn name(&self) -> &'static str {
        "million-channels"
    }

    fn about(&self) -> &'static str {
        "a million channel names without a subscriber are published to: no log, no metric series, no memory"
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let count = field.times(20_000, 1_000_000);
        let series = field.metrics().await?.len();
        let mut http = Http::open(field.address).await?;
        let mut first = 0;
        while first < count {
            let names: Vec<_> =
                (first..first + 2000).map(|n| format!("\"none-{}-{n}\"", field.seed)).collect();
            let body = format!(r#"{{"channels":[{}],"data":1}}"#, names.join(","));
            http.write(api("broadcast", &body)).await?;
            let response = http.response().await?;
            if response.status != 200 {
                return Err(format!("broadcast: {} {}", response.status, response.text()).into());
            }
            first += 2000;
        }
        let after = field.metrics().await?;
        field.within("metric series after the broadcasts", 0..=series as u64 + 5, after.len() as u64);
        field.same("tidegate_channels", 1, after.get("tidegate_channels"));
        let mut socket = Socket::connected(field.address).await?;
        for id in 2..field.times(2000, 50_000) + 2 {
            socket.text(&format!(r#"{{"id":{id},"publish":{{"channel":"own-{id}","data":1}}}}"#)).await?;
            let reply = socket.message().await?;
            if reply == "{}" {
                socket.text("{}").await?;
            } else if reply.contains("\"error\"") {
                return Err(format!("publishing to the {id}th name: {reply}").into());
            }
        }
        let series = field.metrics().await?.len();
        field.within("metric series after a client's", 0..=after.len() as u64 + 5, series as u64);
        Ok(())
    }
}

/// Fills every history there is.
pub(crate) struct Histories;

#[async_trait]
impl Attack for Histories {
    fn name(&self) -> &'static str {
        "many-histories"
    }

    fn about(&self) -> &'static str {
        "200,000 channels that keep history get a publication each, and time out: their memory comes back"
    }

    fn quick(&self) -> bool {
        false
    }

    fn prepare(&self, launch: &mut Launch) {
        let namespace = "channel.without_namespace";
        launch.set(&format!("{namespace}.history_size"), 10);
        launch.set(&format!("{namespace}.history_ttl"), "3s");
        launch.set(&format!("{namespace}.history_meta_ttl"), "3s");
    }

    fn memory(&self) -> u64 {
        // 200,000 streams: about half a KiB each, doubled while the maps grow.
        256 << 10
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let mut http = Http::open(field.address).await?;
        for first in (0..200_000).step_by(2000) {
            let names: Vec<_> = (first..first + 2000).map(|n| format!("\"kept-{n}\"")).collect();
            let body = format!(r#"{{"channels":[{}],"data":1}}"#, names.join(","));
            http.write(api("broadcast", &body)).await?;
            http.response().await?;
        }
        // What has expired is looked for at 10,000 streams a second.
        let full = field.server.lock().await.process.resident();
        tokio::time::sleep(Duration::from_secs(40)).await;
        // The same again: what was given back is used, and nothing is added. An idle connection has been closed.
        let mut http = Http::open(field.address).await?;
        for first in (0..200_000).step_by(2000) {
            let names: Vec<_> = (first..first + 2000).map(|n| format!("\"again-{n}\"")).collect();
            let body = format!(r#"{{"channels":[{}],"data":1}}"#, names.join(","));
            http.write(api("broadcast", &body)).await?;
            http.response().await?;
        }
        let again = field.server.lock().await.process.resident();
        field.within("KiB after the second time", 0..=full + full / 5, again);
        Ok(())
    }
}

/// Publishes as fast as it can.
pub(crate) struct Flood;

#[async_trait]
impl Attack for Flood {
    fn name(&self) -> &'static str {
        "publish-flood"
    }

    fn about(&self) -> &'static str {
        "one client publishes as fast as it can to a channel of its own, and reads nothing; another reads"
    }

    fn prepare(&self, launch: &mut Launch) {
        launch.set("client.stalled_close_delay", "2s");
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let count = field.times(20_000, 300_000);
        let data = "f".repeat(128);
        let mut batch = String::new();
        for id in 2..102 {
            let _ = writeln!(batch, r#"{{"id":{id},"publish":{{"channel":"flood","data":"{data}"}}}}"#);
        }
        let mut reading = Socket::connected(field.address).await?;
        reading.subscribe("flood").await?;
        let (mut replies, mut pushes) = (0, 0);
        for _ in 0..count / 100 {
            reading.text(&batch).await?;
            let until = replies + 100;
            while replies < until {
                match reading.next().await? {
                    Frame::Text(text) if text == b"{}" => reading.text("{}").await?,
                    Frame::Text(text) if text.starts_with(b"{\"push\"") => pushes += 1,
                    Frame::Text(_) => replies += 1,
                    other => return Err(format!("expected a reply, got {other:?}").into()),
                }
            }
        }
        field.same("own pushes before the last reply", replies, pushes);
        // Now without reading: it is ended, however much it sends.
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(8) {
            let sent = tokio::time::timeout(Duration::from_secs(1), reading.text(&batch)).await;
            if !matches!(sent, Ok(Ok(()))) {
                break;
            }
        }
        field.closes(3008, 1, Duration::from_secs(5)).await
    }
}
