//! WebSocket frames from a client.
//!
//! The first byte says how the rest is cut into reads.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tidegate_core::transport::{Connection, Received};
use tidegate_transport_ws::{Io, Options, WebSocket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Small, so that inputs of a fuzzer's size reach it.
const LIMIT: usize = 1000;
const FRAGMENTS: u32 = 8;
/// The longest header of a frame, and a whole control frame with its own.
const HEADER: usize = 14;
const CONTROL: usize = 6 + 125;

pub(crate) fn run(data: &[u8]) {
    let Some((&cut, bytes)) = data.split_first() else { return };
    let whole = outcomes(bytes, |left| left);
    assert_eq!(outcomes(bytes, |_| 1), whole, "byte by byte");
    let step = usize::from(cut) + 1;
    assert_eq!(outcomes(bytes, move |left| left.min(step)), whole, "{step} bytes at a time");
    let mut state = u32::from(cut);
    let random = move |left: usize| {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        (1 + (state >> 16) as usize % 40).min(left)
    };
    assert_eq!(outcomes(bytes, random), whole, "cut at random");
}

/// What a server gets of these bytes when they come in reads of the lengths that `cut` makes of what is left.
fn outcomes(bytes: &[u8], cut: impl FnMut(usize) -> usize + Send + Unpin + 'static) -> Vec<String> {
    let options = Options { message_size_limit: LIMIT, max_fragments: FRAGMENTS, ..Default::default() };
    let script = Script { bytes: bytes.to_vec(), at: 0, cut, waits: false };
    let mut socket = WebSocket::new(Io::other(script), &options);
    let mut cx = Context::from_waker(Waker::noop());
    let mut outcomes = Vec::new();
    let mut polls = 0;
    loop {
        polls += 1;
        assert!(polls <= 4 * bytes.len() + 16, "it goes on and on");
        match socket.poll_receive(&mut cx) {
            Poll::Pending => {
                let held = socket.unfinished();
                assert!(held <= LIMIT + HEADER + CONTROL, "{held} B held for a message of {LIMIT}");
            }
            Poll::Ready(Ok(received)) => {
                judge(&received);
                outcomes.push(format!("{received:?}"));
                if matches!(received, Received::Closed(_)) {
                    return outcomes;
                }
            }
            Poll::Ready(Err(error)) => {
                let close = error.close().expect("the script's socket does not fail");
                assert!(matches!(close.code, 1002 | 1007 | 1008 | 1009), "{close:?}");
                outcomes.push(format!("{error}: {close:?}"));
                return outcomes;
            }
        }
    }
}

/// What holds for everything that comes.
fn judge(received: &Received) {
    match received {
        Received::Message(message) => assert!(message.len() <= LIMIT, "a message of {} B", message.len()),
        Received::Answer(pong) => {
            assert!(pong.len() <= 2 + 125 && pong[0] == 0x8a && usize::from(pong[1]) == pong.len() - 2);
        }
        Received::Closed(Some(code)) => {
            // 1005 stands for a frame without a code.
            assert!((1000..5000).contains(code) && !matches!(code, 1004 | 1006), "close code {code}");
        }
        Received::Pong | Received::Closed(None) => {}
    }
}

/// A socket with these bytes to read, which lets the reader wait between two reads.
struct Script<F> {
    bytes: Vec<u8>,
    at: usize,
    cut: F,
    waits: bool,
}

impl<F: FnMut(usize) -> usize + Unpin> AsyncRead for Script<F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.waits = !self.waits;
        if self.waits {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let left = self.bytes.len() - self.at;
        if left > 0 {
            let len = (self.cut)(left).min(into.remaining());
            into.put_slice(&self.bytes[self.at..self.at + len]);
            self.at += len;
        }
        Poll::Ready(Ok(()))
    }
}

impl<F: Unpin> AsyncWrite for Script<F> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
