//! How a connection ends: its last words, and the clean-up behind it.

use std::future::Future;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tidegate_core::Disconnect;
use tidegate_core::protocol::Push;
use tidegate_core::transport::Connection;

use super::contained::contained;
use super::life::forget;
use super::subscriptions::Held;
use super::work::Errand;
use super::{CLOSED, Driver, Phase};
use crate::app::App;
use crate::time::now;

/// How long a connection keeps its place during the clean-up behind it. 500 ms: after the second that a client
/// has to close, its place is another's within two.
const PLACE: Duration = Duration::from_millis(500);

/// How long what was published before somebody has to go may take to be read. 250 ms: a socket that takes anything takes
/// it at once.
pub(super) const LAST_READ: Duration = Duration::from_millis(250);

impl<C: Connection> Driver<C> {
    /// Begins to close, once what is there to be read is out: what was published before goes before. The first reason
    /// stands.
    pub(super) fn part(&mut self, why: Disconnect, now: Instant) {
        if self.is_leaving() {
            return;
        }
        self.resting = false;
        self.phase = Phase::Parting(Box::new(why), now + LAST_READ);
    }

    /// Begins to close at once. The first reason stands.
    pub(super) fn close(&mut self, why: Disconnect, now: Instant) {
        let repeated = self.is_closing();
        self.resting = false;
        let why = if let Phase::Parting(first, _) = &self.phase { (**first).clone() } else { why };
        self.app.meters.closing(repeated);
        if repeated {
            return;
        }
        tracing::debug!(client = self.id(), code = why.code, reason = %why.reason, "closing");
        self.cut_off();
        self.close_tracks(why.code);
        if why.code == CLOSED.code {
            // The code of a connection that is just gone. Said to an SDK, it would be another reason than a broken one.
            self.wind_up();
            drop(self.io.farewell(&why));
        } else {
            if let Some(push) = self.session.push(Push::Disconnect(&why)) {
                self.outbox.reply(push, None);
            }
            self.farewell(&why);
        }
        self.phase = Phase::Closing(Box::new(why), now + self.app.settings().close_timeout);
    }

    /// Writes nothing more of what was published, and counts what of it was not read.
    pub(super) fn cut_off(&mut self) {
        self.outbox.give_up();
        self.app.meters.missed(&self.outbox.take_losses());
        self.subscriptions.detach(&mut self.outbox);
    }

    /// It is to go: nothing that it or the application asks for is done any more.
    pub(super) fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Parting(..)) || self.is_closing()
    }

    /// Its last words are said, or being said.
    pub(super) fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing(..) | Phase::Waiting(..))
    }

    /// Says the last words, after which nothing more is begun.
    pub(super) fn farewell(&mut self, why: &Disconnect) {
        self.wind_up();
        let farewell = self.io.farewell(why);
        if !farewell.is_empty() {
            self.outbox.framed(farewell);
        }
    }

    /// Begins nothing more, and cancels what nobody waits for any longer.
    fn wind_up(&mut self) {
        self.held = None;
        self.ahead = None;
        self.keep_greeting();
        self.stop_prolonging();
        self.call = None;
    }

    /// Cancels the work; but what tells the application of the client goes on: it is to know whose end comes.
    fn keep_greeting(&mut self) {
        let work = self.work.take();
        if let Some(work) =
            work.filter(|_| std::mem::replace(&mut self.errand, Errand::Request) == Errand::Greeting)
        {
            // The others are of channels, and know their order among themselves.
            self.chores.push_front(Box::pin(async move {
                work.await;
            }));
        }
    }

    /// Goes from phase to phase of the end; ready when it is there.
    pub(super) fn finish(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Disconnect> {
        // Nobody waits for the authentication of who has not connected.
        let busy = (self.work.is_some() || self.held.is_some()) && self.client.is_some();
        if let Phase::Draining(why) | Phase::Parting(why, _) = &self.phase
            && (!busy || self.is_leaving())
            && self.outbox.is_idle()
            // Not yet rung, perhaps: the fan-out may still be on its way to this connection.
            && self.outbox.unread_publications() == 0
        {
            let why = (**why).clone();
            self.close(why, now);
            cx.waker().wake_by_ref();
        }
        if let Phase::Closing(why, until) = &self.phase
            && self.outbox.control_is_empty()
        {
            match self.io.poll_shutdown(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready((**why).clone()),
                Poll::Ready(Ok(())) => {
                    self.phase = Phase::Waiting(why.clone(), *until);
                    // To be read until the client closes.
                    cx.waker().wake_by_ref();
                }
            }
        }
        Poll::Pending
    }

    /// Cleans up behind a connection that has gone.
    pub(super) async fn leave(mut self, why: &Disconnect) {
        // Thousands may go at once: those who stay have their turns between a few of them each time. What waits
        // for brokers and hooks is no part of it.
        let app = self.app.clone();
        self.coming = None;
        self.end_flood();
        self.seat.worker().ranks.turn().await;
        let now = now();
        let closing = match &self.phase {
            Phase::Closing(_, until) | Phase::Waiting(_, until) => {
                // When it began is not kept, but when it has to be over.
                Some((now + self.app.settings().close_timeout).saturating_duration_since(*until))
            }
            _ => None,
        };
        self.app.meters.closed(why, self.times.life(self.app.started, now), closing);
        if closing.is_none() {
            self.outbox.give_up();
        }
        self.app.meters.missed(&self.outbox.take_losses());
        // What it still asked for is cancelled: nobody waits for the answer.
        (self.ahead, self.held, self.call) = (None, None, None);
        self.keep_greeting();
        self.subscriptions.detach(&mut self.outbox);
        let held = self.subscriptions.take();
        // The outbox goes last: it is what those wait for who wait for this connection's end.
        let Driver {
            io,
            session,
            client,
            mut registration,
            mut chores,
            announced,
            mut outbox,
            _permit: permit,
            ..
        } = self;
        if let Some(registration) = &mut registration {
            registration.retire();
        }
        // The socket, and what is large: a place is given back when its memory is free.
        drop((io, session));
        outbox.discard();
        let Some(client) = client else { return };
        tracing::debug!(client = %client.id, code = why.code, reason = %why.reason, "closed");
        let told = async {
            let channels = async {
                while let Some(chore) = chores.pop_front() {
                    contained(&client.id, "a broker", chore).await;
                }
                for Held { channel, known, .. } in held {
                    if let Some(known) = known {
                        contained(&client.id, "a broker", forget(&app, &channel, *known)).await;
                    }
                }
            };
            within(&app, &client.id, "presence and leaves", channels).await;
            if announced {
                let told = contained(&client.id, "a hook", app.hooks.disconnected(&client, why));
                within(&app, &client.id, "the disconnect hook", told).await;
            }
        };
        let mut told = std::pin::pin!(told);
        // A hook that hangs must not keep others out.
        let left = tokio::time::timeout(PLACE, told.as_mut()).await.is_ok();
        drop(permit);
        if !left {
            told.await;
        }
        drop(registration);
        drop(outbox);
    }
}

/// Waits for clean-up, but not for ever: what hangs must not keep the server from stopping.
async fn within(app: &App, client: &str, what: &str, work: impl Future<Output = ()>) {
    let (leave, close) = (app.settings().leave_timeout, app.settings().close_timeout);
    let enough = async {
        tokio::select! {
            () = tokio::time::sleep(leave) => {}
            () = async {
                app.cut.cancelled().await;
                tokio::time::sleep(close).await;
            } => {}
        }
    };
    tokio::select! {
        biased;
        () = work => {}
        () = enough => tracing::warn!(client, "clean-up took too long; given up: {what}"),
    }
}
