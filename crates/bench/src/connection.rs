//! One client.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use crate::Error;
use crate::crew::Worker;
use crate::protocol::{Heard, Protocol, Who};
use crate::target::Target;
use crate::transport::{Read, Socket, Stream, quic};
use crate::websocket::{Decoder, Frame, Outgoing};

/// An open connection, which is somebody to the server.
pub(crate) struct Connection {
    stream: Stream,
    protocol: Box<dyn Protocol>,
    decoder: Decoder,
    out: Outgoing,
    /// The beginning of a message whose rest is in frames to come.
    rest: Vec<u8>,
}

/// Why a connection came to its end, in words.
pub(crate) struct Ended(pub(crate) String);

impl From<&'static str> for Ended {
    fn from(why: &'static str) -> Self {
        Self(why.into())
    }
}

impl From<String> for Ended {
    fn from(why: String) -> Self {
        Self(why)
    }
}

impl Connection {
    /// Connects, and waits until the server knows who it is. `number` is its own among the run's connections.
    pub(crate) async fn open(
        target: &Target,
        number: usize,
        socket: Socket,
        worker: &Worker,
    ) -> Result<Self, Error> {
        within(target, "connect", async {
            let protocol = (target.dialect.begin)();
            let (stream, rest) = Stream::open(target, number, socket, protocol.subprotocol(), worker).await?;
            let out = match &stream {
                Stream::Tcp(_) | Stream::Tls(_) => Outgoing::new(protocol.text()),
                Stream::Quic(_) => Outgoing::plain(protocol.text()),
            };
            let decoder = Decoder::new(protocol.pieces());
            let mut connection = Self { stream, protocol, decoder, out, rest: Vec::new() };
            let name = format!("bench-{}-{number}", target.run);
            let who = Who { name: &name, token: target.token.as_deref() };
            connection.protocol.connect(&who, &mut connection.out);
            let (mut connected, mut refused) = (false, None);
            let mut ended = connection.take(&rest, &mut answer(&mut connected, &mut refused));
            while !connected && refused.is_none() && ended.is_ok() {
                ended = connection.turn(worker, &mut answer(&mut connected, &mut refused)).await;
            }
            if let Some(said) = refused {
                return Err(Error::Refused { address: target.address, what: "connect", said });
            }
            let said = |Ended(said)| Error::Refused { address: target.address, what: "connect", said };
            ended.map(|()| connection).map_err(said)
        })
        .await
    }

    /// Subscribes, and waits until all subscriptions are there.
    pub(crate) async fn subscribe(
        &mut self,
        target: &Target,
        channels: &[String],
        worker: &Worker,
    ) -> Result<(), Error> {
        within(target, "subscribe", async {
            self.protocol.subscribe(channels, &mut self.out);
            let (mut there, mut refused) = (0, None);
            while there < channels.len() {
                let mut hear = |heard: Heard<'_>| match heard {
                    Heard::Subscribed => there += 1,
                    Heard::Refused(why) => refused = Some(why),
                    _ => {}
                };
                let ended = self.turn(worker, &mut hear).await.err().map(|Ended(why)| why);
                if let Some(said) = refused.take().or(ended) {
                    return Err(Error::Refused { address: target.address, what: "subscribe", said });
                }
            }
            Ok(())
        })
        .await
    }

    /// Puts a publication where the next [turn](Self::turn) sends it from.
    pub(crate) fn publish(&mut self, channel: &str, payload: &[u8]) {
        self.protocol.publish(channel, payload, &mut self.out);
    }

    /// Bytes that wait to be sent.
    pub(crate) fn waiting(&self) -> usize {
        self.out.bytes.len() - self.out.taken
    }

    /// Sends what there is to send, until something was read.
    ///
    /// Cancel safe: what was read was heard.
    pub(crate) async fn turn(
        &mut self,
        worker: &Worker,
        hear: &mut dyn FnMut(Heard<'_>),
    ) -> Result<(), Ended> {
        poll_fn(|cx| {
            if let Poll::Ready(Err(ended)) = self.poll_send(cx) {
                return Poll::Ready(Err(ended));
            }
            self.poll_read(cx, worker, hear)
        })
        .await
    }

    /// Sends all there is to send, and reads meanwhile, lest the server wait for that.
    pub(crate) async fn flush(
        &mut self,
        worker: &Worker,
        hear: &mut dyn FnMut(Heard<'_>),
    ) -> Result<(), Ended> {
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(sent) = self.poll_send(cx) {
                    return Poll::Ready(sent);
                }
                ready!(self.poll_read(cx, worker, hear))?;
            }
        })
        .await
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        while !self.out.is_empty() {
            let taken = ready!(self.stream.poll_write(cx, &self.out.bytes[self.out.taken..]));
            self.out.took(taken.map_err(|error| Ended(error.to_string()))?);
        }
        self.stream.poll_flush(cx).map_err(|error| Ended(error.to_string()))
    }

    /// One read into the thread's buffer. A short one ends with the socket's readiness, by which tokio saves the
    /// call that would only say that nothing is there.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        hear: &mut dyn FnMut(Heard<'_>),
    ) -> Poll<Result<(), Ended>> {
        let mut buffer = worker.buffer.borrow_mut();
        let taken = match ready!(self.stream.poll_read(cx, &mut buffer)).map_err(Ended)? {
            Read::Frames(0) => return Poll::Ready(Err("the server closed the connection".into())),
            Read::Frames(read) => {
                worker.has_read(read);
                self.take(&buffer[..read], hear)
            }
            Read::Streams(came) => {
                worker.has_read(came.read);
                self.take_messages(&came, &buffer[came.at.clone()], hear)
            }
        };
        worker.has_noted();
        Poll::Ready(taken)
    }

    fn take_messages(
        &mut self,
        came: &quic::Came,
        bytes: &[u8],
        hear: &mut dyn FnMut(Heard<'_>),
    ) -> Result<(), Ended> {
        let (whole, rest) = bytes.split_at(quic::whole(self.protocol.text(), bytes));
        match came.of {
            Some(id) => self.protocol.receive_own(id, whole, hear)?,
            None => {
                self.protocol.receive(whole, &mut self.out, hear)?;
            }
        }
        if let Stream::Quic(quic) = &mut self.stream {
            quic.keep(came, rest);
        }
        Ok(())
    }

    #[inline]
    fn take(&mut self, bytes: &[u8], hear: &mut dyn FnMut(Heard<'_>)) -> Result<(), Ended> {
        let Self { protocol, out, rest, .. } = self;
        self.decoder.feed(bytes, |frame| match frame {
            Frame::Data(data) if rest.is_empty() => {
                let read = protocol.receive(data, out, hear)?;
                rest.extend_from_slice(&data[read..]);
                Ok(())
            }
            Frame::Data(data) => {
                rest.extend_from_slice(data);
                let read = protocol.receive(rest, out, hear)?;
                rest.drain(..read);
                if rest.is_empty() {
                    // An idle connection holds no buffer.
                    *rest = Vec::new();
                }
                Ok(())
            }
            Frame::Ping(payload) => {
                out.pong(payload);
                Ok(())
            }
            Frame::Close(code, reason) => Err(Ended(format!("closed with {code}: {reason}"))),
        })
    }
}

/// Listens for the answer to a connect.
fn answer<'a>(connected: &'a mut bool, refused: &'a mut Option<String>) -> impl FnMut(Heard<'_>) + 'a {
    |heard| match heard {
        Heard::Connected => *connected = true,
        Heard::Refused(why) => *refused = Some(why),
        _ => {}
    }
}

async fn within<T>(
    target: &Target,
    what: &'static str,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(target.timeout, work).await {
        Ok(done) => done,
        Err(_) => Err(Error::Late { address: target.address, what, within: target.timeout }),
    }
}
