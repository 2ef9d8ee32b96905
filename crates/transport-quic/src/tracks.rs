use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use quinn::{SendStream, VarInt, WriteError};
use tidegate_core::outbox::Batch;
use tidegate_core::reserve_one;
use tidegate_core::transport::{Manner, Track, TrackError};

use crate::stream::offer;

/// The streams of a connection's subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Tracks {
    open: Vec<Option<Laid>>,
    /// Those that were ended, as far as somebody may have yet to acknowledge them.
    ended: VecDeque<SendStream>,
}

/// A track that is open.
#[derive(Debug)]
struct Laid {
    stream: SendStream,
    /// What stands before each datagram, where what may get lost goes by such.
    datagrams: Option<Bytes>,
}

/// Goes before everything: replies, and what ends things.
pub(crate) const CONTROL: i32 = 2;
/// What is published now.
const LIVE: i32 = 1;
/// What was published before.
const HISTORY: i32 = 0;

/// Ended tracks that a connection which closes waits for: those that a client may have by default, and as many
/// again.
const ENDED: usize = 256;

impl Tracks {
    /// Opens one, if the client has left credit for it.
    pub(crate) fn open(
        &mut self,
        connection: &quinn::Connection,
        name: u64,
        manner: Manner,
    ) -> Option<(Track, Bytes)> {
        let opening = pin!(connection.open_uni());
        let Poll::Ready(Ok(stream)) = opening.poll(&mut Context::from_waker(Waker::noop())) else {
            return None;
        };
        prioritize(&stream, if manner.behind { HISTORY } else { LIVE });
        let name = uvarint(name);
        let free = self.open.iter().position(Option::is_none);
        let place = free.unwrap_or_else(|| {
            reserve_one(&mut self.open);
            self.open.push(None);
            self.open.len() - 1
        });
        self.open[place] = Some(Laid { stream, datagrams: manner.loose.then(|| name.clone()) });
        Some((Track(u32::try_from(place).ok()?), name))
    }

    pub(crate) fn hasten(&self, track: Track) {
        if let Some(stream) = self.get(track) {
            prioritize(stream, LIVE);
        }
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        connection: &quinn::Connection,
        track: Track,
        batch: &Batch,
    ) -> Poll<Result<usize, TrackError>> {
        let Some(laid) = self.open.get_mut(track.0 as usize).and_then(Option::as_mut) else {
            return Poll::Ready(Err(TrackError::Stopped));
        };
        let Laid { stream, datagrams } = laid;
        let (taken, stopped) = match datagrams {
            None => offer(batch.pieces(), |piece| Pin::new(&mut *stream).poll_write(cx, piece)),
            Some(name) => offer_loosely(cx, connection, stream, name, batch),
        };
        match stopped {
            Some(Poll::Pending) if taken == 0 => Poll::Pending,
            Some(Poll::Ready(error)) if taken == 0 => Poll::Ready(Err(match error {
                WriteError::Stopped(_) => TrackError::Stopped,
                error => TrackError::Io(error.into()),
            })),
            Some(Poll::Ready(_)) => {
                // To be told the next time, which is to be soon.
                cx.waker().wake_by_ref();
                Poll::Ready(Ok(taken))
            }
            Some(Poll::Pending) | None => Poll::Ready(Ok(taken)),
        }
    }

    pub(crate) fn close(&mut self, track: Track, cut: Option<u16>) {
        let laid = self.open.get_mut(track.0 as usize).and_then(Option::take);
        let Some(Laid { mut stream, .. }) = laid else { return };
        if self.open.iter().all(Option::is_none) {
            self.open = Vec::new();
        }
        // An error says that the client has stopped it, or that the connection is gone: as good.
        match cut {
            Some(code) => drop(stream.reset(VarInt::from_u32(code.into()))),
            None => {
                drop(stream.finish());
                if self.ended.len() >= ENDED {
                    self.ended.pop_front();
                }
                self.ended.push_back(stream);
            }
        }
    }

    /// The tracks that have ended, of which something may be under way.
    pub(crate) fn take_ended(&mut self) -> VecDeque<SendStream> {
        std::mem::take(&mut self.ended)
    }

    fn get(&self, track: Track) -> Option<&SendStream> {
        self.open.get(track.0 as usize)?.as_ref().map(|laid| &laid.stream)
    }
}

/// Sends what may get lost as datagrams, where it fits into one, and offers the rest to the stream.
fn offer_loosely(
    cx: &mut Context<'_>,
    connection: &quinn::Connection,
    stream: &mut SendStream,
    name: &Bytes,
    batch: &Batch,
) -> (usize, Option<Poll<WriteError>>) {
    let most = connection.max_datagram_size().unwrap_or(0);
    for (step, loose) in batch.steps() {
        if step.is_empty() {
            continue;
        }
        let parts = batch.part(step.start, step.end);
        if loose && name.len() + step.len() <= most {
            let datagram = [&**name].into_iter().chain(parts.iter().map(|part| &**part));
            let datagram: Bytes = datagram.collect::<Vec<_>>().concat().into();
            // Where there is no room, the oldest that has not left is lost. It cannot be too large, so what is left is
            // a connection that is gone, which the stream tells.
            if connection.send_datagram(datagram).is_ok() {
                continue;
            }
        }
        let pieces = parts.iter().map(|part| &**part);
        let (taken, stopped) = offer(pieces, |piece| Pin::new(&mut *stream).poll_write(cx, piece));
        if stopped.is_some() {
            return (step.start + taken, stopped);
        }
    }
    (batch.len(), None)
}

pub(crate) fn prioritize(stream: &SendStream, priority: i32) {
    // An error says that it has ended.
    let _ = stream.set_priority(priority);
}

/// A number as Protobuf writes it.
fn uvarint(mut number: u64) -> Bytes {
    let mut bytes = Vec::with_capacity(2);
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes.into()
}
