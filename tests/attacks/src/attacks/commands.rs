//! Commands that are much for a parser.

use std::fmt::Write as _;
use std::time::Duration;

use async_trait::async_trait;

use crate::Failure;
use crate::attack::{Attack, Field};
use crate::http::{Http, api};
use crate::server::Launch;
use crate::socket::{BINARY, End, Frame, Knock, Socket, TEXT, frame};

/// Sends one message on a connection of its own, before or after the connect command.
async fn ended(field: &Field, what: &str, bytes: &[u8], codes: &[u16]) -> Result<(), Failure> {
    let mut socket = Socket::connected(field.address).await?;
    // It may be closed before everything is sent.
    let _ = socket.raw(&frame(TEXT, true, bytes)).await;
    let end = socket.end(PATIENCE).await;
    field.check(what, format!("a close with {codes:?}"), format!("{end:?}"), codes.contains(&end.code()));
    Ok(())
}

/// JSON that is deep, long or empty.
pub(crate) struct Json;

#[async_trait]
impl Attack for Json {
    fn name(&self) -> &'static str {
        "json-shapes"
    }

    fn about(&self) -> &'static str {
        "200,000 brackets, 8 MB of newlines, numbers, strings and keys that parsers disagree on"
    }

    fn prepare(&self, launch: &mut Launch) {
        // So that it reaches the parser.
        launch.set("websocket.message_size_limit", 16 << 20);
    }

    fn memory(&self) -> u64 {
        // The largest message twice, and the common bound.
        48 << 10
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        ended(field, "200,000 [", &b"[".repeat(200_000), &[3501]).await?;
        let inside = |data: &str| format!(r#"{{"id":2,"publish":{{"channel":"x","data":{data}}}}}"#);
        ended(field, "200,000 [ as data", inside(&"[".repeat(200_000)).as_bytes(), &[3501]).await?;
        ended(field, "200,000 {\"a\":", "{\"a\":".repeat(200_000).as_bytes(), &[3501]).await?;
        ended(field, "8 MB of newlines", &b"\n".repeat(8 << 20), &[3501]).await?;
        ended(field, "8 MB of spaces", &b" ".repeat(8 << 20), &[3501]).await?;
        ended(field, "a key of 8 MB", format!(r#"{{"{}":1}}"#, "k".repeat(8 << 20)).as_bytes(), &[3501])
            .await?;
        ended(field, "an id of 1e999", br#"{"id":1e999,"rpc":{}}"#, &[3501]).await?;
        ended(field, "an id of -1", br#"{"id":-1,"rpc":{}}"#, &[3501]).await?;
        ended(field, "an id of 2^64", br#"{"id":18446744073709551616,"rpc":{}}"#, &[3501]).await?;
        ended(field, "half a surrogate pair", br#"{"id":2,"subscribe":{"channel":"\ud800"}}"#, &[3501])
            .await?;
        ended(field, "two ids", br#"{"id":2,"id":3,"rpc":{}}"#, &[3501]).await?;
        ended(field, "two commands of a name", br#"{"id":2,"rpc":{},"rpc":{}}"#, &[3501]).await?;
        ended(field, "a raw control character", b"{\"id\":2,\"rpc\":{\"method\":\"\x01\"}}", &[3501]).await?;
        ended(field, "a comment", b"{\"id\":2/**/,\"rpc\":{}}", &[3501]).await?;
        ended(field, "NaN", br#"{"id":2,"publish":{"channel":"x","data":NaN}}"#, &[3501]).await?;

        // Deep data that is sound is a payload like any other, for nobody builds anything of it.
        let mut socket = Socket::connected(field.address).await?;
        let depth = 200_000;
        socket.text(&inside(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)))).await?;
        let reply = socket.message().await?;
        field.check("sound data, 200,000 deep", "a publish reply", short(&reply), reply.contains("\"id\":2"));
        socket.text(&inside("1e999")).await?;
        let reply = socket.message().await?;
        field.check("1e999 as data", "a publish reply", short(&reply), reply.contains("\"publish\""));
        socket.text(r#"{"id":2,"subscribe":{"channel":"\u0000"}}"#).await?;
        let reply = socket.message().await?;
        field.check("a channel named NUL", "a reply", short(&reply), reply.contains("\"id\":2"));
        Ok(())
    }
}

/// A million commands in one frame.
pub(crate) struct Many;

#[async_trait]
impl Attack for Many {
    fn name(&self) -> &'static str {
        "json-million-commands"
    }

    fn about(&self) -> &'static str {
        "1 million commands in one frame, from a client that reads the replies and from one that does not"
    }

    fn prepare(&self, launch: &mut Launch) {
        launch.set("websocket.message_size_limit", 64 << 20);
        launch.set("client.stalled_close_delay", "2s");
    }

    fn memory(&self) -> u64 {
        // Two messages of 30 MB, in buffers that double as they grow, the old and the new at once, and what
        // the allocator keeps of outgrown ones for a while. The default limit is 64 KiB.
        448 << 10
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let count = field.times(20_000, 1_000_000);
        let mut text = String::new();
        for id in 2..count + 2 {
            let _ = writeln!(text, r#"{{"id":{id},"rpc":{{}}}}"#);
        }
        let mut silent =
            Socket::connected_as(field.address, &Knock { receive_buffer: Some(4096), ..Knock::default() })
                .await?;
        silent.text(&text).await?;
        let mut socket = Socket::connected(field.address).await?;
        socket.text(&text).await?;
        let mut replies = 0;
        while replies < count {
            match socket.next().await {
                Ok(Frame::Text(reply)) if reply.starts_with(b"{\"id\":") => replies += 1,
                Ok(Frame::Text(_)) => socket.text("{}").await?,
                // To be sent away for it is all right.
                Ok(Frame::Close(..)) | Err(_) => break,
                Ok(_) => {}
            }
        }
        field.check("replies", format!("{count}, or a close"), replies, true);
        // It is read from only now.
        field.closes(3008, 1, Duration::from_secs(10)).await?;
        let end = silent.end(Duration::from_secs(5)).await;
        field.check("who does not read", "closed", format!("{end:?}"), end != End::Open);
        Ok(())
    }
}

/// Much is answered to little.
pub(crate) struct Amplified;

#[async_trait]
impl Attack for Amplified {
    fn name(&self) -> &'static str {
        "json-amplified"
    }

    fn about(&self) -> &'static str {
        "one frame of 64 KiB asks 1,100 times for 100 publications of 4 KiB, and the replies are not read"
    }

    fn prepare(&self, launch: &mut Launch) {
        let namespace = "channel.without_namespace";
        launch.set(&format!("{namespace}.history_size"), 100);
        launch.set(&format!("{namespace}.history_ttl"), "1h");
        launch.set(&format!("{namespace}.allow_history_for_client"), true);
        launch.set(&format!("{namespace}.allow_history_for_anonymous"), true);
        launch.set("client.stalled_close_delay", "2s");
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let mut http = Http::open(field.address).await?;
        let body = format!(r#"{{"channel":"kept","data":"{}"}}"#, "x".repeat(4096));
        for _ in 0..100 {
            http.write(api("publish", &body)).await?;
            http.response().await?;
        }
        let mut text = String::new();
        for id in 2..1102 {
            let _ = writeln!(text, r#"{{"id":{id},"history":{{"channel":"kept","limit":-1}}}}"#);
        }
        let knock = Knock { receive_buffer: Some(4096), ..Knock::default() };
        let mut socket = Socket::connected_as(field.address, &knock).await?;
        socket.text(&text).await?;
        field.closes(3008, 1, Duration::from_secs(10)).await
    }
}

/// Protobuf that is deep, cut or odd.
pub(crate) struct Protobuf;

#[async_trait]
impl Attack for Protobuf {
    fn name(&self) -> &'static str {
        "protobuf-shapes"
    }

    fn about(&self) -> &'static str {
        "messages nested 100,000 deep, groups, unknown fields, overlong numbers, lengths beyond the frame"
    }

    fn prepare(&self, launch: &mut Launch) {
        launch.set("websocket.message_size_limit", 16 << 20);
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        // A FilterNode's nodes are field 6; a subscribe command's filter is field 13; the command's subscribe 5.
        // Written from the inside out, and backwards, so that each level costs what it adds.
        let mut node = Vec::new();
        for _ in 0..100_000 {
            let mut outer = vec![6 << 3 | 2];
            varint(&mut outer, node.len() as u64);
            outer.reverse();
            node.extend(outer);
        }
        node.reverse();
        let command = field_of(5, &[field_of(1, b"x"), field_of(13, &node)].concat());
        check(field, "a filter 100,000 deep", &[&[8, 2], &command[..]].concat(), &[3501]).await?;
        let groups = vec![4 << 3 | 3; 100_000];
        check(field, "groups 100,000 deep", &groups, &[3501]).await?;
        check(field, "an end of a group that never began", &[4 << 3 | 4], &[3501]).await?;
        check(field, "a number of eleven bytes", &[&[8][..], &[0xff; 10], &[1]].concat(), &[3501]).await?;
        check(field, "a length beyond the frame", &[5 << 3 | 2, 0xff, 0xff, 0xff, 0x7f], &[3501]).await?;
        check(field, "field number 0", &[2, 0], &[3501]).await?;
        check(field, "wire type 7", &[15, 0], &[3501]).await?;
        check(
            field,
            "a channel that is not UTF-8",
            &[&[8, 2], &field_of(5, &field_of(1, b"\xff"))[..]].concat(),
            &[3501],
        )
        .await?;
        // Later versions may have more fields: they are skipped.
        let unknown = [&[8, 2][..], &field_of(13, b""), &field_of(1000, &[0; 1000])].concat();
        let mut socket = connected(field).await?;
        socket.raw(&frame(BINARY, true, &framed(&unknown))).await?;
        let reply = socket.next().await?;
        field.check("an unknown field", "a reply", format!("{reply:?}"), matches!(reply, Frame::Binary(_)));
        Ok(())
    }
}

async fn connected(field: &Field) -> Result<Socket, Failure> {
    let knock = Knock { query: "?format=protobuf", ..Knock::default() };
    let mut socket = Socket::open_as(field.address, &knock).await?;
    socket.raw(&frame(BINARY, true, &framed(&[&[8, 1][..], &field_of(4, b"")].concat()))).await?;
    match socket.next().await? {
        Frame::Binary(_) => Ok(socket),
        other => Err(format!("expected a connect reply, got {other:?}").into()),
    }
}

async fn check(field: &Field, what: &str, command: &[u8], codes: &[u16]) -> Result<(), Failure> {
    let mut socket = connected(field).await?;
    let _ = socket.raw(&frame(BINARY, true, &framed(command))).await;
    let end = socket.end(PATIENCE).await;
    field.check(what, format!("a close with {codes:?}"), format!("{end:?}"), codes.contains(&end.code()));
    Ok(())
}

/// A message with its length before it.
fn framed(message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint(&mut bytes, message.len() as u64);
    bytes.extend_from_slice(message);
    bytes
}

/// A field that has a length.
fn field_of(number: u64, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint(&mut bytes, number << 3 | 2);
    varint(&mut bytes, content.len() as u64);
    bytes.extend_from_slice(content);
    bytes
}

fn varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn short(text: &str) -> &str {
    text.get(..80).unwrap_or(text)
}

const PATIENCE: Duration = Duration::from_secs(10);
