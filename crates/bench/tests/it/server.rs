use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt as _, StreamExt as _};
use tidegate_protocol::message::{ConnectResult, PublishResult};
use tidegate_protocol::{Command, Encoding, Publication, Reply};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Bytes, Message, Utf8Bytes};

/// What the server does wrong, once to each subscriber.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    None,
    Lose,
    Swap,
    Repeat,
    Corrupt,
    Misplace,
    Close,
}

/// A hub that keeps everything in queues, with a fault. It runs until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

type Queue = mpsc::UnboundedSender<Message>;
type Channels = Arc<Mutex<HashMap<String, Vec<Subscriber>>>>;

struct Subscriber {
    queue: Queue,
    heard: u64,
    held: Option<Message>,
}

impl Server {
    pub(crate) fn start(fault: Fault) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let channels = Channels::default();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, channels.clone(), fault));
            }
        });
        Self { address, _runtime: runtime }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(stream: TcpStream, channels: Channels, fault: Fault) {
    let Ok(socket) = accept_async(stream).await else { return };
    let (mut write, mut read) = socket.split();
    let (queue, mut queued) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(message) = queued.recv().await {
            if write.send(message).await.is_err() {
                return;
            }
        }
    });
    while let Some(Ok(Message::Text(frame))) = read.next().await {
        for command in Encoding::Json.commands(frame.as_bytes()) {
            let reply = command_done(command.unwrap(), &queue, &channels, fault);
            let _ = queue.send(text(Encoding::Json.encode_reply(&reply).unwrap()));
        }
    }
}

fn command_done(command: Command, queue: &Queue, channels: &Channels, fault: Fault) -> Reply {
    let mut channels = channels.lock().unwrap();
    let mut reply = Reply { id: command.id, ..Default::default() };
    if command.connect.is_some() {
        reply.connect = Some(ConnectResult { client: "c".into(), ..Default::default() }.into());
    } else if let Some(subscribe) = command.subscribe {
        let subscriber = Subscriber { queue: queue.clone(), heard: 0, held: None };
        channels.entry(subscribe.channel).or_default().push(subscriber);
        reply.subscribe = Some(Box::default());
    } else if let Some(publish) = command.publish {
        for subscriber in channels.entry(publish.channel.clone()).or_default() {
            subscriber.deliver(&publish.channel, &publish.data, fault);
        }
        reply.publish = Some(PublishResult::default());
    }
    reply
}

impl Subscriber {
    fn deliver(&mut self, channel: &str, data: &Bytes, fault: Fault) {
        let push = |data: Bytes| {
            let publication = Publication { data, ..Default::default() };
            text(Encoding::Json.publication_push(channel, &publication).unwrap())
        };
        self.heard += 1;
        let message = push(data.clone());
        if let Some(held) = self.held.take() {
            self.send(message);
            return self.send(held);
        }
        match fault {
            // Not the first, lest the fault be that nothing was heard at all; and publishers take turns.
            _ if self.heard != 5 => self.send(message),
            Fault::None => self.send(message),
            Fault::Lose => {}
            Fault::Repeat => {
                self.send(message.clone());
                self.send(message);
            }
            Fault::Swap => self.held = Some(message),
            Fault::Corrupt => self.send(push(changed(data, STAMP + 20, b'z'))),
            // The last digit of its channel.
            Fault::Misplace => self.send(push(changed(data, STAMP + 15, b'h'))),
            Fault::Close => {
                let frame = CloseFrame { code: 3008.into(), reason: Utf8Bytes::from_static("slow") };
                self.send(Message::Close(Some(frame)));
            }
        }
    }

    fn send(&self, message: Message) {
        let _ = self.queue.send(message);
    }
}

/// The payload with another letter at one place.
fn changed(data: &Bytes, at: usize, letter: u8) -> Bytes {
    let mut data = data.to_vec();
    data[at] = letter;
    data.into()
}

fn text(bytes: Bytes) -> Message {
    Message::Text(Utf8Bytes::try_from(bytes).unwrap())
}

/// Where it stands in a payload what that is.
const STAMP: usize = br#"{"bench":""#.len();
