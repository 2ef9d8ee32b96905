//! Publish under load, kill -9, start again: what was acknowledged is there, in order, once, and subscribers recover.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::Failure;
use crate::http::{Http, api};
use crate::server::{Launch, Server};
use crate::socket::Socket;

/// `attacks durability`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often the server is killed
    #[arg(long, default_value_t = 200)]
    rounds: u64,
    /// What random choices begin with
    #[arg(long)]
    seed: Option<u64>,
}

/// What a publisher was told of one publication.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Acknowledged {
    publisher: usize,
    number: u64,
    /// Its offset, where publishers are told.
    offset: Option<u64>,
}

/// What happened to one channel, until the server was killed.
#[derive(Debug, Default)]
struct Round {
    acknowledged: Mutex<Vec<Acknowledged>>,
    /// What a subscriber had got: where it stands, and the publications by offset.
    got: Mutex<Got>,
}

#[derive(Clone, Debug, Default)]
struct Got {
    epoch: String,
    offset: u64,
    publications: Vec<(u64, String)>,
}

#[derive(Debug, Default)]
struct Totals {
    acknowledged: usize,
    unacknowledged: usize,
    recovered: usize,
}

impl Args {
    /// Runs the rounds, and returns whether everything was there in all of them.
    pub(crate) async fn run(self) -> Result<bool, Failure> {
        let folder = std::env::temp_dir().join(format!("tidegate-durability-{}", std::process::id()));
        let mut dice = self.seed.unwrap_or_else(|| std::process::id().into());
        println!("seed {dice}, history in {}", folder.display());
        let mut totals = Totals::default();
        let mut last: Option<(String, Round)> = None;
        for round in 0..=self.rounds {
            let mut server = start(&folder, round).await?;
            if let Some((channel, before)) = last.take()
                && let Err(error) = check(&server, &channel, before, &mut totals).await
            {
                println!("round {round}: FAILED: {error}\n{}", server.log());
                return Ok(false);
            }
            if round < self.rounds {
                dice = dice.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let patience = Duration::from_millis(30 + (dice >> 33) % 200);
                let channel = format!("round{round}");
                last = Some((channel.clone(), load(&mut server, &channel, patience).await?));
            } else {
                server.kill().await?;
            }
            server.clean();
            if round % 20 == 0 {
                println!("round {round}: {totals:?}");
            }
        }
        std::fs::remove_dir_all(&folder)?;
        println!(
            "{} rounds held: {} acknowledged publications were there, in order, once; {} more were there that nobody \
             had been told of; subscribers recovered {}",
            self.rounds, totals.acknowledged, totals.unacknowledged, totals.recovered
        );
        Ok(true)
    }
}

async fn start(folder: &Path, round: u64) -> Result<Server, Failure> {
    let mut launch = Launch::new();
    launch.set("history.storage", "disk");
    launch.set("history.path", folder.to_string_lossy().as_ref());
    // What holds after a kill is the same with all of them.
    launch.set("history.fsync", ["interval", "each", "never"][round as usize % 3]);
    // Small, so that files are cleaned all the time.
    launch.set("history.disk_limit", 16 << 20);
    launch.set("history.segment_size", 64 << 10);
    launch.set("client.recovery_max_publication_limit", 0);
    for (key, value) in [
        ("history_size", Value::from(100_000)),
        ("history_ttl", "30s".into()),
        ("force_recovery", true.into()),
    ] {
        launch.set(&format!("channel.without_namespace.{key}"), value);
    }
    Server::start(&launch).await
}

/// Publishes from several sides until the server is killed, `patience` after the first was acknowledged.
async fn load(server: &mut Server, channel: &str, patience: Duration) -> Result<Round, Failure> {
    let round = Arc::new(Round::default());
    let address = server.address;
    let mut tasks = JoinSet::new();
    let mut subscriber = Socket::connected(address).await?;
    let subscribe = format!(r#"{{"id":2,"subscribe":{{"channel":"{channel}"}}}}"#);
    subscriber.text(&subscribe).await?;
    let reply: Value = serde_json::from_str(&subscriber.message().await?)?;
    round.got.lock().expect("no panics").epoch = text(&reply["subscribe"]["epoch"]);
    tasks.spawn({
        let round = round.clone();
        async move {
            // To the end of the connection.
            while let Ok(messages) = subscriber.message().await {
                for push in messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
                    round.got.lock().expect("no panics").take(&push["push"]["pub"]);
                }
            }
        }
    });
    for publisher in 0..PUBLISHERS {
        let (round, channel) = (round.clone(), channel.to_owned());
        tasks.spawn(async move {
            // The kill ends it: what was not answered by then is nobody's to expect.
            let _ = match publisher % 2 {
                0 => publish_by_api(address, &channel, publisher, &round).await,
                _ => publish_by_socket(address, &channel, publisher, &round).await,
            };
        });
    }
    let begin = Instant::now();
    while round.acknowledged.lock().expect("no panics").is_empty() {
        if begin.elapsed() > START {
            return Err(format!("nothing was acknowledged within {START:?}\n{}", server.log()).into());
        }
        sleep(Duration::from_millis(1)).await;
    }
    sleep(patience).await;
    server.kill().await?;
    while tasks.join_next().await.is_some() {}
    Ok(Arc::try_unwrap(round).map_err(|_| "a task is left over")?)
}

async fn publish_by_api(
    address: std::net::SocketAddr,
    channel: &str,
    publisher: usize,
    round: &Round,
) -> Result<(), Failure> {
    let mut http = Http::open(address).await?;
    for number in 0.. {
        let body = format!(r#"{{"channel":"{channel}","data":"{publisher}-{number}"}}"#);
        http.write(api("publish", &body)).await?;
        let reply: Value = serde_json::from_slice(&http.response().await?.body)?;
        let offset = reply["result"]["offset"].as_u64();
        if offset.is_none() {
            return Err(format!("not published: {reply}").into());
        }
        round.acknowledged.lock().expect("no panics").push(Acknowledged { publisher, number, offset });
    }
    Ok(())
}

/// Several commands at a time, whose replies come in order.
async fn publish_by_socket(
    address: std::net::SocketAddr,
    channel: &str,
    publisher: usize,
    round: &Round,
) -> Result<(), Failure> {
    let mut socket = Socket::connected(address).await?;
    let mut next = 0;
    loop {
        let frame: Vec<String> = (next..next + TOGETHER)
            .map(|number| {
                let id = number + 2;
                format!(r#"{{"id":{id},"publish":{{"channel":"{channel}","data":"{publisher}-{number}"}}}}"#)
            })
            .collect();
        socket.text(&frame.join("\n")).await?;
        let mut answered = 0;
        while answered < TOGETHER {
            for reply in socket.message().await?.lines() {
                let reply: Value = serde_json::from_str(reply)?;
                let Some(id) = reply["id"].as_u64() else { continue };
                if reply.get("publish").is_none() {
                    return Err(format!("not published: {reply}").into());
                }
                answered += 1;
                let acknowledged = Acknowledged { publisher, number: id - 2, offset: None };
                round.acknowledged.lock().expect("no panics").push(acknowledged);
            }
        }
        next += TOGETHER;
    }
}

async fn check(server: &Server, channel: &str, round: Round, totals: &mut Totals) -> Result<(), Failure> {
    let body = format!(r#"{{"channel":"{channel}","limit":-1}}"#);
    let reply: Value = serde_json::from_slice(&server.api("history", &body).await?.body)?;
    let result = &reply["result"];
    let list = result["publications"].as_array().ok_or_else(|| format!("no history: {reply}"))?;
    let there: Vec<(u64, String)> =
        list.iter().map(|one| (one["offset"].as_u64().unwrap_or_default(), text(&one["data"]))).collect();
    let top = result["offset"].as_u64().unwrap_or_default();
    if there.iter().map(|(offset, _)| *offset).ne(1..=top) {
        let offsets: Vec<u64> = there.iter().map(|(offset, _)| *offset).collect();
        return Err(format!("expected offsets 1 to {top}, got {offsets:?}").into());
    }
    let mut places: HashMap<&str, u64> = HashMap::new();
    for (offset, data) in &there {
        if let Some(before) = places.insert(data, *offset) {
            return Err(format!("{data} is there twice, at {before} and {offset}").into());
        }
    }
    // Each publisher's in the order in which it published, its unanswered ones behind.
    let acknowledged = round.acknowledged.into_inner()?;
    let mut newest = HashMap::new();
    for Acknowledged { publisher, number, offset } in &acknowledged {
        let name = format!("{publisher}-{number}");
        let place =
            *places.get(name.as_str()).ok_or_else(|| format!("{name} was acknowledged, and is not there"))?;
        if offset.is_some_and(|offset| offset != place) {
            return Err(format!("{name} was acknowledged at {offset:?}, and is at {place}").into());
        }
        if newest.insert(publisher, place).is_some_and(|before| before >= place) {
            return Err(
                format!("{name} is at {place}, before what its publisher had published before").into()
            );
        }
    }
    let got = round.got.into_inner()?;
    if got.epoch != text(&result["epoch"]) {
        return Err(format!("the epoch was {}, and is {}", got.epoch, result["epoch"]).into());
    }
    let before = got.publications.len();
    let recovered = timeout(START, recover(server, channel, got)).await??;
    if recovered.publications != there {
        let (one, two) = (recovered.publications.len(), there.len());
        return Err(format!(
            "the subscriber has {one} publications, of which {before} came live; {two} are there"
        )
        .into());
    }
    totals.acknowledged += acknowledged.len();
    totals.unacknowledged += there.len() - acknowledged.len();
    totals.recovered += recovered.publications.len() - before;
    Ok(())
}

/// Subscribes again from where a subscriber was.
async fn recover(server: &Server, channel: &str, mut got: Got) -> Result<Got, Failure> {
    let mut socket = Socket::connected(server.address).await?;
    let Got { offset, epoch, .. } = &got;
    let subscribe = format!(
        r#"{{"id":2,"subscribe":{{"channel":"{channel}","recover":true,"offset":{offset},"epoch":"{epoch}"}}}}"#
    );
    socket.text(&subscribe).await?;
    let reply: Value = serde_json::from_str(&socket.message().await?)?;
    if reply["subscribe"]["recovered"] != true {
        return Err(format!("not recovered: {reply}").into());
    }
    for publication in reply["subscribe"]["publications"].as_array().into_iter().flatten() {
        got.take(publication);
    }
    Ok(got)
}

impl Got {
    fn take(&mut self, publication: &Value) {
        if let Some(offset) = publication["offset"].as_u64() {
            self.offset = offset;
            self.publications.push((offset, text(&publication["data"])));
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

const PUBLISHERS: usize = 6;
/// Commands in one frame.
const TOGETHER: u64 = 8;
const START: Duration = Duration::from_secs(20);
