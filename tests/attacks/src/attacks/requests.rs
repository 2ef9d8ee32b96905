//! HTTP requests that two readers may read in two ways, and such that never end.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::Failure;
use crate::attack::{Attack, Field};
use crate::http::{API_KEY, Http, api};
use crate::server::Launch;
use crate::socket::{CONNECT, Knock, Socket, TEXT, frame, handshake};

/// Whether the smuggled request was run: what it would have published is before what is published now.
async fn smuggled(field: &Field, listener: &mut Socket) -> Result<bool, Failure> {
    field.server.lock().await.api("publish", r#"{"channel":"smuggled","data":"last"}"#).await?;
    loop {
        match listener.message().await? {
            ping if ping == "{}" => listener.text("{}").await?,
            text => return Ok(!text.contains("last")),
        }
    }
}

/// Requests of two lengths.
pub(crate) struct Smuggling;

#[async_trait]
impl Attack for Smuggling {
    fn name(&self) -> &'static str {
        "http-smuggling"
    }

    fn about(&self) -> &'static str {
        "Content-Length with Transfer-Encoding, duplicate and odd headers, with a request hidden in the body"
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let mut listener = Socket::connected(field.address).await?;
        listener.subscribe("smuggled").await?;
        let hidden = api("publish", r#"{"channel":"smuggled","data":"hidden"}"#);
        let len = hidden.len();
        let key = format!("X-API-Key: {API_KEY}");
        // A reader that goes by the length takes the hidden request for a body; one that goes by the chunks
        // would run it. Either may be right; to go on with the connection afterwards is not (RFC 9112 §6.1).
        let total = len + 5;
        for (what, headers, body) in [
            (
                "CL and TE",
                format!("Content-Length: {total}\r\nTransfer-Encoding: chunked"),
                format!("0\r\n\r\n{hidden}"),
            ),
            (
                "TE and CL",
                format!("Transfer-Encoding: chunked\r\nContent-Length: {total}"),
                format!("0\r\n\r\n{hidden}"),
            ),
            ("two lengths", format!("Content-Length: 0\r\nContent-Length: {len}"), hidden.clone()),
            ("a list of lengths", format!("Content-Length: 0, {len}"), hidden.clone()),
            ("a length with a sign", format!("Content-Length: +{len}"), hidden.clone()),
            ("a length in hex", format!("Content-Length: 0x{len:x}"), hidden.clone()),
            ("a negative length", "Content-Length: -1".to_owned(), hidden.clone()),
            ("a length over 2^64", "Content-Length: 18446744073709551617".to_owned(), hidden.clone()),
            ("a space before the colon", format!("Content-Length : {len}"), hidden.clone()),
            ("TE identity", "Transfer-Encoding: identity".to_owned(), hidden.clone()),
            ("TE xchunked", "Transfer-Encoding: xchunked".to_owned(), hidden.clone()),
            (
                "TE chunked, identity",
                "Transfer-Encoding: chunked, identity".to_owned(),
                format!("0\r\n\r\n{hidden}"),
            ),
            (
                "TE twice",
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity".to_owned(),
                format!("0\r\n\r\n{hidden}"),
            ),
            ("a folded header", format!("X-A: 1\r\n Content-Length: {len}"), hidden.clone()),
            ("a bare LF", format!("X-A: 1\nContent-Length: {len}"), hidden.clone()),
            ("a bare CR", format!("X-A: 1\rContent-Length: {len}"), String::new()),
            ("NUL in a value", "X-A: \0".to_owned(), String::new()),
        ] {
            let mut http = Http::open(field.address).await?;
            http.write(format!("POST /api/info HTTP/1.1\r\nHost: t\r\n{key}\r\n{headers}\r\n\r\n{body}"))
                .await?;
            let first = http.response().await.map_or(0, |response| response.status);
            let good = matches!(first, 200 | 400 | 501);
            field.check(what, "200, 400 or 501", first, good);
        }
        // The second response of a connection would be that of the hidden request.
        for (what, headers) in [
            ("CL and TE", format!("Content-Length: {total}\r\nTransfer-Encoding: chunked")),
            ("TE chunked, identity", "Transfer-Encoding: chunked, identity".to_owned()),
        ] {
            let mut http = Http::open(field.address).await?;
            let body = format!("0\r\n\r\n{hidden}");
            http.write(format!("POST /api/info HTTP/1.1\r\nHost: t\r\n{key}\r\n{headers}\r\n\r\n{body}"))
                .await?;
            let _ = http.response().await;
            let second = http.response().await.map_or(0, |response| response.status);
            field.same(format!("{what}: the hidden request's status"), 0, second);
        }
        let ran = smuggled(field, &mut listener).await?;
        field.same("a hidden request was run", false, ran);
        Ok(())
    }
}

/// Says more than it is asked for, before it is answered.
pub(crate) struct Early;

#[async_trait]
impl Attack for Early {
    fn name(&self) -> &'static str {
        "upgrade-early"
    }

    fn about(&self) -> &'static str {
        "frames and requests right behind the request for a WebSocket, doubled headers, other paths and methods"
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let ahead = frame(TEXT, true, CONNECT.as_bytes());
        let mut socket = Socket::open_as(field.address, &Knock { ahead, ..Knock::default() }).await?;
        let reply = socket.message().await?;
        field.check(
            "a frame before the upgrade is answered",
            "a connect reply",
            &reply,
            reply.contains("\"client\""),
        );
        let ahead = b"GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n".to_vec();
        let end = match Socket::open_as(field.address, &Knock { ahead, ..Knock::default() }).await {
            Ok(mut socket) => format!("{:?}", socket.end(Duration::from_secs(5)).await),
            Err(error) => format!("no upgrade: {error}"),
        };
        field.check("a request behind it, as a frame", "a close with 1002", &end, end.contains("1002"));
        let base = handshake("", "");
        let with = |from: &str, to: &str| base.replace(from, to);
        for (what, request, statuses) in [
            ("two keys", handshake("", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), &[400][..]),
            ("two versions", handshake("", "Sec-WebSocket-Version: 8\r\n"), &[400, 426]),
            ("a short key", with("dGhlIHNhbXBsZSBub25jZQ==", "dGhl"), &[400]),
            ("no Host", with("Host: t\r\n", ""), &[400]),
            ("two Hosts", handshake("", "Host: u\r\n"), &[400]),
            ("version 8", with("Version: 13", "Version: 8"), &[400, 426]),
            ("POST", with("GET", "POST"), &[400, 405]),
            ("HTTP/1.0", with("HTTP/1.1", "HTTP/1.0"), &[400, 426, 505]),
            ("HTTP/9.9", with("HTTP/1.1", "HTTP/9.9"), &[400, 505, 0]),
            ("the API's path", with("/connection/websocket", "/api/publish"), &[401, 405]),
            ("the metrics' path", with("/connection/websocket", "/metrics"), &[200]),
            ("a path above", with("/connection/websocket", "/connection/../connection/websocket"), &[404]),
            ("an encoded path", with("/connection/websocket", "/connection%2fwebsocket"), &[404]),
            ("upgrade to h2c", with("Upgrade: websocket", "Upgrade: h2c"), &[400, 426]),
            ("HTTP/2 from the start", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), &[400, 404, 505, 0]),
        ] {
            let mut http = Http::open(field.address).await?;
            http.write(request).await?;
            let status = http.response().await.map_or(0, |response| response.status);
            field.check(what, format!("{statuses:?}"), status, statuses.contains(&status));
        }
        Ok(())
    }
}

/// Large and slow requests.
pub(crate) struct Large;

#[async_trait]
impl Attack for Large {
    fn name(&self) -> &'static str {
        "http-large"
    }

    fn about(&self) -> &'static str {
        "huge headers, ten thousand headers, huge bodies with and without the key, a body of chunks of one byte"
    }

    fn memory(&self) -> u64 {
        // A body of 8 MiB that is taken, what a growing buffer takes, and the common bound.
        48 << 10
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let get = |headers: String| format!("GET /health HTTP/1.1\r\nHost: t\r\n{headers}\r\n");
        for (what, request, statuses) in [
            ("a header of 1 MB", get(format!("X-A: {}\r\n", "a".repeat(1 << 20))), &[431, 400, 0][..]),
            ("10,000 headers", get("X-A: a\r\n".repeat(10_000)), &[431, 400, 0]),
            (
                "a path of 1 MB",
                format!("GET /{} HTTP/1.1\r\nHost: t\r\n\r\n", "a".repeat(1 << 20)),
                &[414, 431, 400, 0],
            ),
            ("a method of 1 MB", format!("{} / HTTP/1.1\r\n\r\n", "A".repeat(1 << 20)), &[400, 414, 431, 0]),
            ("a body of 8 MiB and a byte", api("publish", &" ".repeat((8 << 20) + 1)), &[413, 0]),
            (
                "a body of 64 MiB without the key",
                { api("publish", &" ".repeat(64 << 20)).replace(API_KEY, "no") },
                &[401, 0],
            ),
            ("200,000 [", api("publish", &"[".repeat(200_000)), &[400]),
            (
                "200,000 [ as data",
                { api("publish", &format!(r#"{{"channel":"x","data":{}}}"#, "[".repeat(200_000))) },
                &[400],
            ),
            (
                "a bomb of keys",
                api("publish", &format!(r#"{{{}"a":1}}"#, "\"a\":1,".repeat(1_000_000))),
                &[200, 400],
            ),
        ] {
            let mut http = Http::open(field.address).await?;
            // It may be answered before everything is sent.
            let _ = http.write(request).await;
            let status = http.response().await.map_or(0, |response| response.status);
            field.check(what, format!("{statuses:?}"), status, statuses.contains(&status));
        }
        let mut http = Http::open(field.address).await?;
        let body = r#"{"channel":"x","data":1}"#;
        let chunks: String = body.chars().map(|c| format!("1;{}\r\n{c}\r\n", "e".repeat(1000))).collect();
        http.write(format!(
            "POST /api/publish HTTP/1.1\r\nHost: t\r\nX-API-Key: {API_KEY}\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
        ))
        .await?;
        let status = http.response().await.map_or(0, |response| response.status);
        field.check(
            "chunks of one byte with extensions",
            "[200, 400]",
            status,
            matches!(status, 200 | 400 | 0),
        );
        Ok(())
    }
}

/// Bodies that do not come.
pub(crate) struct SlowBodies;

#[async_trait]
impl Attack for SlowBodies {
    fn name(&self) -> &'static str {
        "http-slow-body"
    }

    fn about(&self) -> &'static str {
        "100 requests with the key send their body a byte every half second: closed, not kept for ever"
    }

    fn quick(&self) -> bool {
        false
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let mut senders = JoinSet::new();
        for _ in 0..100 {
            let mut http = Http::open(field.address).await?;
            senders.spawn(async move {
                let head = api("publish", "").replace("Content-Length: 0", "Content-Length: 100000");
                http.write(head).await?;
                let begin = Instant::now();
                while begin.elapsed() < Duration::from_secs(40) {
                    http.write(b" ").await?;
                    if http.closes_within(Duration::from_millis(500)).await {
                        return Ok(true);
                    }
                }
                Ok::<_, std::io::Error>(false)
            });
        }
        // Who cannot write any more is closed, too.
        let closed =
            senders.join_all().await.into_iter().filter(|closed| *closed.as_ref().unwrap_or(&true)).count();
        field.same("closed within 40 s", 100, closed);
        Ok(())
    }
}

/// Connections that ask once and stay.
pub(crate) struct KeptAlive;

#[async_trait]
impl Attack for KeptAlive {
    fn name(&self) -> &'static str {
        "http-keep-alive"
    }

    fn about(&self) -> &'static str {
        "thousands of HTTP connections ask for one thing and stay, silent: closed within the time-out"
    }

    fn quick(&self) -> bool {
        false
    }

    fn memory(&self) -> u64 {
        // 5,000 connections with a task and a read buffer each.
        128 << 10
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let mut asks = JoinSet::new();
        for _ in 0..5000 {
            let address = field.address;
            asks.spawn(async move {
                let mut http = Http::open(address).await?;
                http.write("GET /health HTTP/1.1\r\nHost: t\r\n\r\n").await?;
                http.response().await?;
                Ok::<_, std::io::Error>(http)
            });
        }
        let open: Vec<_> = asks.join_all().await.into_iter().flatten().collect();
        // Twice as many as there are places. Who has asked is answered; who has not after five seconds, as here where
        // one thread that lets all others go first is to ask for all, makes room for the next.
        field.within("answered", 4000..=5000, open.len() as u64);
        let begin = Instant::now();
        let process = field.server.lock().await.process;
        // What is left are the healthy clients, the publisher, and a few of the process's own.
        while process.descriptors() > 300 && begin.elapsed() < Duration::from_secs(75) {
            sleep(Duration::from_millis(200)).await;
        }
        let took = begin.elapsed();
        field.check("closed within", "75 s", format!("{took:.1?}"), took < Duration::from_secs(75));
        Ok(())
    }
}

/// Many requests at once on one connection.
pub(crate) struct Pipelined;

#[async_trait]
impl Attack for Pipelined {
    fn name(&self) -> &'static str {
        "http-pipelined"
    }

    fn about(&self) -> &'static str {
        "10,000 requests in one go, without reading a response, and with reading them all in order"
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let count = field.times(2000, 10_000);
        let many = api("channels", "{}").repeat(count);
        let mut silent = Http::open(field.address).await?;
        // The server stops reading when nobody takes the responses.
        let _ = tokio::time::timeout(Duration::from_secs(1), silent.write(&many)).await;
        let reading = Http::open(field.address).await?;
        let (stream, _) = reading.into_parts();
        let (mut read, mut write) = stream.into_split();
        let writer = tokio::spawn(async move {
            tokio::io::AsyncWriteExt::write_all(&mut write, many.as_bytes()).await.map(|()| write)
        });
        let mut bytes = Vec::new();
        let mut seen = 0;
        while seen < count {
            let more = tokio::io::AsyncReadExt::read_buf(&mut read, &mut bytes);
            if tokio::time::timeout(Duration::from_secs(10), more).await?? == 0 {
                break;
            }
            seen += bytes.windows(12).filter(|window| window == b"HTTP/1.1 200").count();
            // A status line may lie over the edge.
            let keep = bytes.len().saturating_sub(11);
            bytes.drain(..keep);
        }
        field.same("responses", count, seen);
        writer.await??;
        Ok(())
    }
}

/// Asks the API for more than anybody needs.
pub(crate) struct Greedy;

#[async_trait]
impl Attack for Greedy {
    fn name(&self) -> &'static str {
        "api-greedy"
    }

    fn about(&self) -> &'static str {
        "a batch of 100,000 commands, a broadcast to 200,000 channels, presence of a huge channel, all history again and again"
    }

    fn prepare(&self, launch: &mut Launch) {
        let namespace = "channel.without_namespace";
        launch.set(&format!("{namespace}.presence"), true);
        launch.set(&format!("{namespace}.history_size"), 1000);
        launch.set(&format!("{namespace}.history_ttl"), "1h");
    }

    fn memory(&self) -> u64 {
        // Requests of 5 MB and replies of about 8 MB, each more than once while they are built.
        96 << 10
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let mut http = Http::open(field.address).await?;
        // Much is asked for.
        http.patience = Duration::from_secs(60);
        let mut ask = async |method: &str, body: &str| -> Result<(u16, usize), Failure> {
            http.write(api(method, body)).await?;
            let response = http.response().await?;
            Ok((response.status, response.body.len()))
        };
        let count = field.times(5000, 100_000);
        let command = r#"{"publish":{"channel":"x","data":1}}"#;
        let commands = vec![command; count].join(",");
        for parallel in [false, true] {
            let (status, len) =
                ask("batch", &format!(r#"{{"commands":[{commands}],"parallel":{parallel}}}"#)).await?;
            field.check(
                format!("a batch, parallel {parallel}"),
                "200 or 413",
                format!("{status}, {len} B"),
                matches!(status, 200 | 413),
            );
        }
        let names: Vec<_> = (0..count * 2).map(|n| format!("\"b{n}\"")).collect();
        let (status, len) = ask(
            "broadcast",
            &format!(r#"{{"channels":[{}],"data":1,"skip_history":true}}"#, names.join(",")),
        )
        .await?;
        field.check("a broadcast", "200 or 413", format!("{status}, {len} B"), matches!(status, 200 | 413));
        for _ in 0..field.times(20, 500) {
            for method in ["presence", "history"] {
                let (status, _) = ask(method, r#"{"channel":"healthy","limit":-1}"#).await?;
                if status != 200 {
                    return Err(format!("{method}: {status}").into());
                }
            }
        }
        for (what, body) in [
            ("a limit of 1e999", r#"{"channel":"healthy","limit":1e999}"#),
            ("a limit of -2^63", r#"{"channel":"healthy","limit":-9223372036854775809}"#),
        ] {
            let (status, _) = ask("history", body).await?;
            field.same(what, 400, status);
        }
        let (status, _) = ask("channels", &format!(r#"{{"pattern":"{}"}}"#, "*a".repeat(10_000))).await?;
        field.check("a pattern of 10,000 stars", "200 or 400", status, matches!(status, 200 | 400));
        Ok(())
    }
}

/// Guesses the API's key.
pub(crate) struct ApiKey;

#[async_trait]
impl Attack for ApiKey {
    fn name(&self) -> &'static str {
        "api-key"
    }

    fn about(&self) -> &'static str {
        "wrong, empty, doubled and nearly right keys, and whether the time tells how much of a key is right"
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let prefix = &API_KEY[..API_KEY.len() - 1];
        for (what, headers, status) in [
            ("the key", format!("X-API-Key: {API_KEY}\r\n"), 200),
            ("no key", String::new(), 401),
            ("an empty key", "X-API-Key: \r\n".to_owned(), 401),
            ("the key without its end", format!("X-API-Key: {prefix}\r\n"), 401),
            ("the key and more", format!("X-API-Key: {API_KEY}x\r\n"), 401),
            ("the key in capitals", format!("X-API-Key: {}\r\n", API_KEY.to_uppercase()), 401),
            ("as a bearer", format!("Authorization: Bearer {API_KEY}\r\n"), 401),
            ("an empty apikey", "Authorization: apikey \r\n".to_owned(), 401),
            ("a scheme alone", "Authorization: apikey\r\n".to_owned(), 401),
            ("bytes that are no text", "X-API-Key: \u{ff}\r\n".to_owned(), 401),
        ] {
            let mut http = Http::open(field.address).await?;
            http.write(format!(
                "POST /api/info HTTP/1.1\r\nHost: t\r\n{headers}Content-Length: 2\r\n\r\n{{}}"
            ))
            .await?;
            field.same(what, status, http.response().await?.status);
        }
        if !field.long {
            return Ok(());
        }
        // In turn, so that what else goes on meets both alike; medians, so that a pause meets neither. A
        // comparison that stops early would show some ten nanoseconds, which no network lets through: this
        // finds gross faults only, such as a hash per right byte. The comparison itself is read in
        // `Secret::matches`.
        let wrong_first = format!("X{}", &API_KEY[1..]);
        let wrong_last = format!("{prefix}X");
        let mut http = Http::open(field.address).await?;
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..3000 {
            for (key, times) in [&wrong_first, &wrong_last].into_iter().zip(&mut times) {
                let request = api("info", "{}").replace(API_KEY, key);
                let begin = Instant::now();
                http.write(request).await?;
                http.response().await?;
                times.push(begin.elapsed());
            }
        }
        let [first, last] = times.map(|mut times| {
            times.sort();
            times[times.len() / 2].as_secs_f64() * 1e6
        });
        let ratio = first.max(last) / first.min(last);
        field.check(
            "medians of a wrong first and last byte",
            "within 10 %",
            format!("{first:.0} and {last:.0} µs"),
            ratio < 1.1,
        );
        Ok(())
    }
}
