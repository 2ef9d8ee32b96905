//! Peers that connect, and do not ask for a WebSocket in time.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::io::AsyncWriteExt as _;
use tokio::time::sleep;

use crate::Failure;
use crate::attack::{Attack, Field};
use crate::http::Http;
use crate::server::Launch;
use crate::socket::handshake;

/// Says nothing.
pub(crate) struct Silent;

#[async_trait]
impl Attack for Silent {
    fn name(&self) -> &'static str {
        "handshake-silent"
    }

    fn about(&self) -> &'static str {
        "200 peers connect and say nothing"
    }

    fn quick(&self) -> bool {
        false
    }

    fn prepare(&self, launch: &mut Launch) {
        launch.set("websocket.handshake_timeout", "2s");
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let begin = Instant::now();
        let peers = (0..200).map(|_| async {
            let mut http = Http::open(field.address).await?;
            Ok::<_, Failure>(http.closes_within(TIMEOUT).await)
        });
        let closed = join_all(peers).await.into_iter().filter(|closed| matches!(closed, Ok(true))).count();
        field.same(format!("closed within {TIMEOUT:?}"), 200, closed);
        field.check(
            "time until the last",
            "2 to 12 s",
            format!("{:.1?}", begin.elapsed()),
            begin.elapsed() < TIMEOUT,
        );
        Ok(())
    }
}

/// Sends its request byte by byte.
pub(crate) struct Dripping;

#[async_trait]
impl Attack for Dripping {
    fn name(&self) -> &'static str {
        "handshake-dripping"
    }

    fn about(&self) -> &'static str {
        "200 peers send their request a byte at a time, without end"
    }

    fn quick(&self) -> bool {
        false
    }

    fn prepare(&self, launch: &mut Launch) {
        launch.set("websocket.handshake_timeout", "2s");
    }

    async fn run(&self, field: &Field) -> Result<(), Failure> {
        let peers = (0..200).map(|_| async {
            let mut http = Http::open(field.address).await?;
            let begin = Instant::now();
            // 200 ms a byte: the request would take a minute.
            for byte in handshake("", "").into_bytes() {
                if http.stream.write_all(&[byte]).await.is_err() || begin.elapsed() > TIMEOUT {
                    break;
                }
                sleep(Duration::from_millis(200)).await;
            }
            let left = TIMEOUT.saturating_sub(begin.elapsed()).max(Duration::from_millis(500));
            Ok::<_, Failure>(http.closes_within(left).await)
        });
        let closed = join_all(peers).await.into_iter().filter(|closed| matches!(closed, Ok(true))).count();
        field.same(format!("closed within {TIMEOUT:?}"), 200, closed);
        Ok(())
    }
}

/// 10 s, the longest default, and what a busy machine adds.
const TIMEOUT: Duration = Duration::from_secs(12);
