//! What is read: in its turn, or ahead of it while a request is being done.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_core::Disconnect;
use tidegate_core::transport::{Connection, Received};

use super::turn::Turn;
use super::{CLOSED, Driver, Phase};

/// What has come of a client while its request was being done, in order.
#[derive(Default)]
pub(super) struct Ahead {
    messages: VecDeque<Bytes>,
    bytes: usize,
    /// It has gone: with which code, and until when what it asked for may take.
    gone: Option<(Option<u16>, Instant)>,
}

/// How many there were in this second.
pub(super) struct Rate {
    since: Instant,
    count: u32,
}

const UNFINISHED: Disconnect = Disconnect::new(3008, "message took too long");
const CONTROL_FLOOD: Disconnect = Disconnect::new(3013, "too many control frames");
/// What a waiting message costs beside its bytes.
const OVERHEAD: usize = size_of::<Bytes>();

impl<C: Connection> Driver<C> {
    /// Reads one message, if there is room for it; false if there was nothing to do.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        turn: &mut Turn,
    ) -> Result<bool, Disconnect> {
        if self.deaf {
            return match self.io.poll_drain(cx) {
                Poll::Pending => Ok(false),
                // Nothing more to read; there are last words to write.
                Poll::Ready(()) if matches!(self.phase, Phase::Closing(..)) => Ok(false),
                Poll::Ready(()) => Err(self.reason(CLOSED)),
            };
        }
        let taking = (self.resting || !self.session.busy()) && self.takes_requests();
        if self.is_open() {
            if let Some(ahead) = &mut self.ahead {
                if !taking {
                    if ahead.gone.is_some() || ahead.bytes >= self.app.settings().read_ahead {
                        // It is not the client that makes the message wait.
                        self.unfinished = None;
                        let gone = ahead.gone.is_some();
                        let broken = self.io.push(cx).is_err();
                        if !gone && (broken || self.io.poll_gone(cx).is_ready()) {
                            return self.hung_up(None, now).map(|()| true);
                        }
                        return Ok(false);
                    }
                } else if let Some(message) = ahead.pop() {
                    self.session.receive(message, now);
                    return Ok(true);
                } else {
                    let gone = ahead.gone;
                    self.ahead = None;
                    if let Some((code, _)) = gone {
                        return self.gone(code, now).map(|()| true);
                    }
                }
            }
        } else if self.outbox.full() {
            return Ok(false);
        }
        match self.io.poll_receive(cx) {
            Poll::Pending => {
                if self.is_open() && self.io.unfinished() > 0 {
                    self.unfinished.get_or_insert_with(|| Box::new(now));
                }
                Ok(false)
            }
            Poll::Ready(Ok(received)) => {
                self.seat.worker().tally.received.add(1);
                self.receive(received, taking, now, turn)?;
                Ok(true)
            }
            Poll::Ready(Err(error)) if !self.is_open() && !matches!(self.phase, Phase::Linger(_)) => {
                tracing::debug!(client = self.id(), %error, "gone");
                Err(self.reason(CLOSED))
            }
            Poll::Ready(Err(error)) => match error.close() {
                Some(why) => {
                    tracing::debug!(client = self.id(), %error, "closing: the peer broke a rule");
                    self.deaf = true;
                    self.close(why.clone(), now);
                    Ok(true)
                }
                None => self.hung_up(None, now).map(|()| true),
            },
        }
    }

    fn receive(
        &mut self,
        received: Received,
        taking: bool,
        now: Instant,
        turn: &mut Turn,
    ) -> Result<(), Disconnect> {
        match received {
            Received::Message(message) => {
                turn.read += message.len();
                self.unfinished = None;
                if !self.is_open() {
                    // What comes after the end is not looked at.
                } else if taking {
                    self.session.receive(message, now);
                } else if !self.session.receive_ahead(&message) {
                    self.ahead.get_or_insert_default().push(message);
                }
            }
            Received::Answer(bytes) => {
                if self.control_frame(now) {
                    self.outbox.answer(bytes);
                }
            }
            Received::Pong => {
                if self.control_frame(now) {
                    self.session.ponged(now);
                }
            }
            Received::Closed(code) => self.hung_up(code, now)?,
        }
        Ok(())
    }

    /// Counts a control frame; false if nothing is to be made of it.
    fn control_frame(&mut self, now: Instant) -> bool {
        let limit = self.app.settings().control_frame_limit;
        if self.is_closing() {
            // After a close frame nothing is sent (RFC 6455 §5.5.1).
            return false;
        }
        let control = self.control.get_or_insert_with(|| Box::new(Rate::new(now)));
        if limit.is_some_and(|limit| !control.take(limit, now)) {
            self.deaf = true;
            self.close(CONTROL_FLOOD, now);
            return false;
        }
        true
    }

    /// The client has closed, or has vanished. What it asked for before that is done first, but not for long.
    fn hung_up(&mut self, code: Option<u16>, now: Instant) -> Result<(), Disconnect> {
        if self.is_open() && (self.session.busy() || self.work.is_some() || self.ahead.is_some()) {
            let until = now + self.app.settings().close_timeout;
            self.unfinished = None;
            self.ahead.get_or_insert_default().gone = Some((code, until));
            return Ok(());
        }
        self.gone(code, now)
    }

    fn gone(&mut self, code: Option<u16>, now: Instant) -> Result<(), Disconnect> {
        let Some(code) = code.filter(|_| !self.is_closing()) else { return Err(self.reason(CLOSED)) };
        // The client closes: answer its close frame (RFC 6455 §5.5.1), and do not wait.
        self.deaf = true;
        if self.is_leaving() {
            self.cut_off();
        }
        self.farewell(&Disconnect { code, reason: "".into() });
        self.phase = Phase::Closing(Box::new(self.reason(CLOSED)), now + self.app.settings().close_timeout);
        Ok(())
    }

    /// Looks at what the client is to have sent by now, or at what it has left behind.
    pub(super) fn judge_reading(&mut self, now: Instant) -> Poll<Disconnect> {
        if !self.is_open() {
            return Poll::Pending;
        }
        if let Some((code, until)) = self.ahead.as_ref().and_then(|ahead| ahead.gone)
            && until <= now
        {
            tracing::debug!(client = self.id(), "what a client asked for is given up: it has gone");
            self.ahead = None;
            if let Err(why) = self.gone(code, now) {
                return Poll::Ready(why);
            }
        }
        if self.unfinished.as_ref().is_some_and(|since| **since + self.app.settings().message_timeout <= now)
        {
            self.deaf = true;
            self.close(UNFINISHED, now);
        }
        Poll::Pending
    }

    pub(super) fn reading_deadline(&self) -> Option<Instant> {
        if !self.is_open() {
            return None;
        }
        let gone = self.ahead.as_ref().and_then(|ahead| ahead.gone).map(|(_, until)| until);
        gone.or_else(|| self.unfinished.as_ref().map(|since| **since + self.app.settings().message_timeout))
    }

    /// Whether what the client sends is still looked at.
    fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Live | Phase::Draining(_))
    }
}

impl Ahead {
    fn push(&mut self, message: Bytes) {
        self.bytes += message.len() + OVERHEAD;
        self.messages.push_back(message);
    }

    fn pop(&mut self) -> Option<Bytes> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.len() + OVERHEAD;
        Some(message)
    }
}

impl Rate {
    fn new(now: Instant) -> Self {
        Self { since: now, count: 0 }
    }

    /// Counts one more; false if there were `limit` in this second already.
    fn take(&mut self, limit: u32, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            *self = Self::new(now);
        }
        self.count = self.count.saturating_add(1);
        self.count <= limit
    }
}
