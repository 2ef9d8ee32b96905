//! What goes wrong with the server itself, or with the machine it runs on.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::Failure;
use crate::attack::{Attack, Field};
use crate::server::Launch;
use crate::socket::{End, Socket};

/// The application's own code panics.
pub(crate) struct Panics;

#[async_trait]
impl Attack for Panics {
    fn name(&self) -> &'static str {
        "panics"
    }

    fn about(&self) -> &'static str {
        "1,000 panics in hooks and authenticator, in every kind of request: each ends its own connection only"
    }

    fn panics(&self) -> bool {
        true
    }

    fn prepare(&self, launch: &mut Launch) {
        launch.program = Some(beside("panicking"));
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let requests = [
            r#"{"id":2,"subscribe":{"channel":"panic"}}"#,
            r#"{"id":2,"publish":{"channel":"panic","data":1}}"#,
            r#"{"id":2,"publish":{"channel":"x","data":"panic"}}"#,
            r#"{"id":2,"rpc":{"method":"panic"}}"#,
            r#"{"send":{"data":"panic"}}"#,
        ];
        let (address, count) = (field.address, field.times(200, 1000));
        let mut victims = JoinSet::new();
        for index in 0..count {
            victims.spawn(async move {
                let last = requests.len();
                let mut socket = Socket::open(address).await?;
                if index % (last + 1) == last {
                    socket.text(r#"{"id":1,"connect":{"token":"panic"}}"#).await?;
                } else {
                    socket.text(crate::socket::CONNECT).await?;
                    socket.message().await?;
                    // A subscription of its own is to end with it.
                    socket.subscribe(&format!("own-{index}")).await?;
                    socket.text(requests[index % (last + 1)]).await?;
                }
                Ok::<_, std::io::Error>(socket.end(Duration::from_secs(10)).await)
            });
        }
        let mut ends = std::collections::BTreeMap::<String, usize>::new();
        for end in victims.join_all().await {
            *ends.entry(end.map_or_else(|error| error.to_string(), |end| format!("{end:?}"))).or_default() +=
                1;
        }
        let ended = !ends.keys().any(|end| *end == format!("{:?}", End::Open));
        field.check("ends", "each connection ended", format!("{ends:?}"), ended);
        let panicked = field.server.lock().await.log().matches("panicked at").count();
        field.same("panics in the log", count, panicked);
        Ok(())
    }
}

/// The binary `name` of this package, beside this one.
fn beside(name: &str) -> PathBuf {
    let me = std::env::current_exe().unwrap_or_default();
    me.parent().unwrap_or(Path::new(".")).join(name)
}

/// Is told to stop while much is going on.
pub(crate) struct Stopping;

#[async_trait]
impl Attack for Stopping {
    fn name(&self) -> &'static str {
        "sigterm-under-load"
    }

    fn about(&self) -> &'static str {
        "SIGTERM while 200 clients read, 50 publish, 50 come and go, and 20 neither read nor answer"
    }

    fn stops(&self) -> bool {
        true
    }

    fn prepare(&self, launch: &mut Launch) {
        launch.set("shutdown.timeout", "3s");
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let address = field.address;
        let mut others = JoinSet::new();
        for index in 0..100 {
            others.spawn(async move {
                loop {
                    let Ok(mut socket) = Socket::connected(address).await else { return };
                    for id in 3..if index % 2 == 0 { 10_000 } else { 5 } {
                        let publish = format!(r#"{{"id":{id},"publish":{{"channel":"busy","data":{id}}}}}"#);
                        if socket.text(&publish).await.is_err() || socket.message().await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
        let mut stuck = Vec::new();
        for _ in 0..20 {
            let mut socket = Socket::connected(address).await?;
            socket.subscribe("busy").await?;
            stuck.push(socket);
        }
        field.healthy.after(10).await;
        field.server.lock().await.terminate().await?;
        let begin = std::time::Instant::now();
        while field.healthy.ends().values().sum::<usize>() < 200 && begin.elapsed() < Duration::from_secs(3) {
            sleep(Duration::from_millis(20)).await;
        }
        let ends = field.healthy.ends();
        field.check(
            "healthy clients",
            "200 closed with 3001",
            format!("{ends:?}"),
            ends.get(&3001) == Some(&200) && ends.len() == 1,
        );
        let gone = field.server.lock().await.ended(Duration::from_secs(6)).await;
        field.check("it returns within 6 s", "exit code 0", format!("{gone:?}"), matches!(gone, Ok(Some(0))));
        others.shutdown().await;
        Ok(())
    }
}

/// The wall clock jumps.
pub(crate) struct Clock;

#[async_trait]
impl Attack for Clock {
    fn name(&self) -> &'static str {
        "clock-jumps"
    }

    fn about(&self) -> &'static str {
        "the wall clock jumps a day ahead, two back, and ahead again: nobody is pinged, expired or forgotten for it"
    }

    fn missing(&self) -> Option<String> {
        library()
            .is_none()
            .then(|| "libfaketime is not installed: `cargo xtask setup`, or apt-get install faketime".into())
    }

    fn prepare(&self, launch: &mut Launch) {
        let file = clock();
        // Written before it starts, and by this process only.
        let _ = fs::write(&file, "+0");
        let library = library().unwrap_or_default();
        launch.environment.extend([
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]);
        launch.set("client.ping_interval", "2s");
        launch.set("client.pong_timeout", "1s");
        launch.set("client.connect_include_server_time", true);
        let namespace = "channel.without_namespace";
        launch.set(&format!("{namespace}.history_size"), 10);
        launch.set(&format!("{namespace}.history_ttl"), "1h");
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let mut times = Vec::new();
        field.server.lock().await.api("publish", r#"{"channel":"kept","data":1}"#).await?;
        for jump in ["+0", "+1d", "-1d", "+3650d", "+0"] {
            fs::write(clock(), jump)?;
            field.healthy.after(10).await;
            sleep(Duration::from_millis(1200)).await;
            let mut socket = Socket::open(field.address).await?;
            socket.text(crate::socket::CONNECT).await?;
            let reply = socket.message().await?;
            let time = reply.split("\"time\":").nth(1).and_then(|rest| rest.split([',', '}']).next());
            times.push(time.and_then(|time| time.parse::<i64>().ok()).unwrap_or(0));
            socket.subscribe("clock").await?;
            let history =
                field.server.lock().await.api("history", r#"{"channel":"kept","limit":10}"#).await?.text();
            field.check(format!("history at {jump}"), "is kept", &history, history.contains("\"data\":1"));
        }
        let _ = fs::remove_file(clock());
        let day = 24 * 3600 * 1000;
        // Otherwise nothing was tried.
        field.check(
            "the server's time jumped",
            "a day ahead, two back",
            format!("{times:?}"),
            times[1] - times[0] >= day && times[2] < times[0],
        );
        Ok(())
    }
}

/// The file that tells the time.
fn clock() -> PathBuf {
    std::env::temp_dir().join(format!("tidegate-attacks-clock-{}", std::process::id()))
}

/// Debian's libfaketime, for any architecture.
fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?;
    let found = folders.flatten().map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    found.into_iter().find(|path| path.exists())
}
