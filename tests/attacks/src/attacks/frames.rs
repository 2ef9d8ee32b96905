//! Frames that no client of good will sends.

use std::time::Duration;

use async_trait::async_trait;

use crate::Failure;
use crate::attack::{Attack, Field};
use crate::socket::{BINARY, CONTINUATION, End, PING, Socket, TEXT, frame, header};

/// Sends `bytes` to an open connection, and checks how that is ended.
async fn ended(field: &Field, what: &str, bytes: &[u8], codes: &[u16]) -> Result<(), Failure> {
    let mut socket = Socket::connected(field.address).await?;
    // It may be closed before everything is sent.
    let _ = socket.raw(bytes).await;
    let end = socket.end(PATIENCE).await;
    field.check(what, format!("a close with {codes:?}"), format!("{end:?}"), codes.contains(&end.code()));
    Ok(())
}

/// Announces more than there is memory.
pub(crate) struct Length;

#[async_trait]
impl Attack for Length {
    fn name(&self) -> &'static str {
        "frame-length"
    }

    fn about(&self) -> &'static str {
        "frames of 2^63 and 2^62 bytes and of one byte too many, announced or sent, whole or in fragments"
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        // The highest bit must not be set (RFC 6455 §5.2), so that either code is right.
        ended(field, "2^63 bytes", &header(TEXT, true, 1 << 63), &[1002, 1009]).await?;
        ended(field, "2^62 bytes", &header(BINARY, true, 1 << 62), &[1009]).await?;
        let limit = 64 << 10;
        ended(field, "a byte over the limit", &frame(TEXT, true, &vec![b' '; limit + 1]), &[1009]).await?;
        let mut fragments = frame(TEXT, false, &vec![b' '; limit]);
        fragments.extend(frame(CONTINUATION, true, b" "));
        ended(field, "a byte over the limit in a fragment", &fragments, &[1009]).await?;
        ended(field, "a giant message", &frame(TEXT, true, &vec![b' '; 64 << 20]), &[1009, 0]).await?;
        let mut overflow = frame(TEXT, false, b"x");
        overflow.extend(header(CONTINUATION, true, u64::MAX));
        ended(field, "fragments whose sum overflows", &overflow, &[1002, 1009]).await?;
        ended(field, "a ping of 126 bytes", &frame(PING, true, &[0; 126]), &[1002]).await?;
        ended(field, "a ping in fragments", &frame(PING, false, b""), &[1002]).await?;
        ended(field, "an unknown opcode", &frame(3, true, b""), &[1002]).await?;
        ended(field, "a reserved bit", &frame(0x40 | TEXT, true, b""), &[1002]).await?;
        ended(field, "a frame without a mask", &[0x81, 0], &[1002]).await?;
        ended(field, "a close with code 1005", &frame(8, true, &1005u16.to_be_bytes()), &[1002]).await?;
        ended(field, "a close with one byte", &frame(8, true, &[3]), &[1002]).await
    }
}

/// Never finishes a message.
pub(crate) struct Fragments;

#[async_trait]
impl Attack for Fragments {
    fn name(&self) -> &'static str {
        "frame-fragments"
    }

    fn about(&self) -> &'static str {
        "10 million empty fragments of one message; pings between a thousand fragments"
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let mut socket = Socket::connected(field.address).await?;
        socket.raw(&frame(TEXT, false, b"")).await?;
        let empty = frame(CONTINUATION, false, b"").repeat(10_000);
        let mut sent = 0;
        for _ in 0..1000 {
            if socket.raw(&empty).await.is_err() {
                break;
            }
            sent += 10_000;
        }
        // The close frame may be lost with a reset: what was sent after it was not read.
        let end = socket.end(PATIENCE).await;
        field.check("empty fragments", "1008 or gone", format!("{end:?} after {sent}"), end != End::Open);
        field.closes(1008, 1, PATIENCE).await?;

        let mut socket = Socket::connected(field.address).await?;
        let mut bytes = frame(TEXT, false, b"{");
        for _ in 0..1000 {
            bytes.extend(frame(PING, true, b""));
            bytes.extend(frame(CONTINUATION, false, b" "));
        }
        let _ = socket.raw(&bytes).await;
        let end = socket.end(PATIENCE).await;
        field.check("fragments with pings between", "1008 or gone", format!("{end:?}"), end != End::Open);
        Ok(())
    }
}

/// Announces a message, and sends it so slowly that it never comes.
pub(crate) struct Unfinished;

#[async_trait]
impl Attack for Unfinished {
    fn name(&self) -> &'static str {
        "frame-unfinished"
    }

    fn about(&self) -> &'static str {
        "500 connections keep 60 KiB of an unfinished message each: all or none of it is the server's to keep"
    }

    fn memory(&self) -> u64 {
        // 500 × 60 KiB, twice for what a growing buffer takes, and the common bound.
        60 << 10 | 16 << 10
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let count = field.times(100, 500);
        let mut sockets = Vec::new();
        for _ in 0..count {
            let mut socket = Socket::connected(field.address).await?;
            let mut bytes = header(TEXT, true, 64 << 10);
            bytes.resize(60 << 10, b' ');
            socket.raw(&bytes).await?;
            sockets.push(socket);
        }
        field.healthy.after(20).await;
        let live = field.metrics().await?.get("tidegate_connections");
        field.within("connections", 200..=200 + count as u64, live);
        Ok(())
    }
}

/// Sends what is not UTF-8.
pub(crate) struct Utf8;

#[async_trait]
impl Attack for Utf8 {
    fn name(&self) -> &'static str {
        "frame-utf8"
    }

    fn about(&self) -> &'static str {
        "text that is not UTF-8: overlong, surrogates, cut off, in a close reason, in a binary frame"
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        for (what, bytes) in [
            ("an overlong slash", &b"\xc0\xaf"[..]),
            ("half of a surrogate pair", b"\xed\xa0\x80"),
            ("a character cut off", b"{\xe2\x82"),
            ("a lone continuation", b"\x80"),
            ("beyond U+10FFFF", b"\xf4\x90\x80\x80"),
        ] {
            ended(field, what, &frame(TEXT, true, bytes), &[1007]).await?;
        }
        let mut reason = 1000u16.to_be_bytes().to_vec();
        reason.push(0xff);
        ended(field, "a close reason", &frame(8, true, &reason), &[1007]).await?;
        let mut fragments = frame(TEXT, false, b"{\xe2");
        fragments.extend(frame(CONTINUATION, true, b"x"));
        ended(field, "over two fragments", &fragments, &[1007]).await?;
        ended(field, "a binary frame for a JSON client", &frame(BINARY, true, b"{\"\xff\":1}"), &[3501]).await
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
