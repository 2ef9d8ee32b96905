//! Tidegate's heart: logs, cursors, outboxes and the traits around them.
//!
//! # The one idea
//! A channel is a log, and a subscription is a cursor. A [`Log`] is a channel's live window: the
//! publications that somebody has yet to read, once, whoever reads them. A subscriber holds no queue but a
//! position. It is *parked*, having read everything, or *behind*; appending wakes exactly those that were
//! parked, so that a slow subscriber costs a publisher nothing, and a stalled one costs the node its cursor.
//!
//! A connection pulls. Its [`Outbox`](outbox::Outbox) fills a batch, control messages first and then the
//! subscriptions in turn, straight from the logs; what the socket did not take is *unread*, that is, read
//! again later. A window is bounded, and so is what all windows hold together ([`Budget`]): who falls out of
//! one is told by arithmetic how many publications it missed, and its [`Backpressure`] policy decides what
//! becomes of it.
//!
//! Nothing here opens a socket, reads a clock, spawns a task or knows a wire format. Time is an argument;
//! transports ([`transport`]), protocols ([`protocol`]), what joins nodes ([`Broker`]) and who may do what
//! ([`Authenticator`]) are traits; whoever writes pulls the outbox the same way.
//!
//! # A whole server
//! Clients send lines, `subscribe CHANNEL` and `publish CHANNEL TEXT`, over the [in-memory
//! transport](memory); any other would do.
//!
//! ```
//! use std::{collections::HashMap, future::poll_fn, sync::{Arc, Mutex}, task::Poll, time::Instant};
//! use tidegate_core::{*, outbox::*, transport::{Connection, Incoming, Listener, Received}};
//!
//! /// How a subscription's entries become messages.
//! struct Plain;
//! impl Subscription for Plain {
//!     fn write(&mut self, entry: &Entry, _: bool, out: &mut Batch) {
//!         if let Some(publication) = entry.publication() { out.message(&publication.data) }
//!     }
//!     fn gap(&mut self, gap: &Gap, out: &mut Batch) {
//!         out.message(&format!("missed {}", gap.publications()).into())
//!     }
//! }
//!
//! /// The channels of this server, all in one budget of 64 MiB.
//! struct Channels { logs: Mutex<HashMap<String, Arc<Log>>>, fanout: Arc<Fanout>, budget: Arc<Budget> }
//! impl Channels {
//!     fn log(&self, name: &str) -> Arc<Log> {
//!         let new = || Log::new(name.into(), Window::default(), self.fanout.clone(), self.budget.clone());
//!         self.logs.lock().unwrap().entry(name.into()).or_insert_with(new).clone()
//!     }
//!     /// Does what a line asks, and replies.
//!     fn command(&self, line: &str, outbox: &mut Outbox) {
//!         let mut words = line.splitn(3, ' ');
//!         match (words.next(), words.next(), words.next()) {
//!             (Some("subscribe"), Some(channel), None) => {
//!                 outbox.subscribe(&self.log(channel), Box::new(Plain), Arc::new(SkipToOldest)).unwrap();
//!                 outbox.reply("subscribed".into(), None);
//!             }
//!             (Some("publish"), Some(channel), Some(text)) => {
//!                 let publication = Publication::new(text.to_owned());
//!                 match self.log(channel).append(Kind::Publication(publication), Instant::now()) {
//!                     Ok(_) => outbox.reply("published".into(), None),
//!                     Err(refused) => outbox.reply(refused.to_string().into(), None),
//!                 }
//!             }
//!             _ => outbox.reply("expected `subscribe CHANNEL` or `publish CHANNEL TEXT`".into(), None),
//!         }
//!     }
//! }
//!
//! /// Serves one connection, in both directions, until it ends.
//! async fn serve(mut connection: impl Connection, channels: Arc<Channels>) {
//!     let mut outbox = Outbox::new(Limits::default());
//!     let mut batch = Batch::new();
//!     poll_fn(|cx| loop {
//!         // A client that does not read its replies is not read either.
//!         if !outbox.full() && let Poll::Ready(received) = connection.poll_receive(cx) {
//!             let Ok(Received::Message(line)) = received else { return Poll::Ready(()) };
//!             channels.command(&String::from_utf8_lossy(&line), &mut outbox);
//!             continue;
//!         }
//!         batch.begin(connection.framing());
//!         match outbox.poll_fill(cx, 65536, &mut batch) {
//!             Poll::Pending => return Poll::Pending,
//!             Poll::Ready(Fill::Event(_)) => return Poll::Ready(()), // Nobody asks anything but to close.
//!             Poll::Ready(Fill::Batch) => {}
//!         }
//!         // Nothing to write: the subscriptions wanted none of what they read.
//!         let written = if batch.is_empty() { Poll::Ready(Ok(0)) } else { connection.poll_write(cx, &batch) };
//!         let taken = match &written { Poll::Ready(Ok(taken)) => *taken, _ => 0 };
//!         outbox.unread(&mut batch, taken);
//!         match written {
//!             Poll::Ready(Ok(_)) => {}
//!             Poll::Ready(Err(_)) => return Poll::Ready(()),
//!             Poll::Pending => return Poll::Pending,
//!         }
//!     })
//!     .await
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let (mut listener, address) = memory::listener(memory::Limits::default());
//! let channels =
//!     Arc::new(Channels { logs: Mutex::default(), fanout: Fanout::new(), budget: Budget::new(64 << 20) });
//! let server = tokio::spawn(async move {
//!     let mut connections = tokio::task::JoinSet::new();
//!     while let Some(incoming) = listener.accept().await {
//!         let channels = channels.clone();
//!         connections.spawn(async move {
//!             if let Ok((connection, _peer)) = incoming.handshake().await {
//!                 serve(connection, channels).await
//!             }
//!         });
//!     }
//!     connections.join_all().await;
//! });
//!
//! let mut alice = address.connect()?;
//! alice.send("subscribe news").await?;
//! assert_eq!(alice.recv().await.unwrap(), "subscribed");
//! let mut bob = address.connect()?;
//! bob.send("publish news hello").await?;
//! assert_eq!(bob.recv().await.unwrap(), "published");
//! assert_eq!(alice.recv().await.unwrap(), "hello");
//!
//! drop((alice, bob));
//! address.close();
//! server.await?;
//! # Ok(())
//! # }
//! ```

/// Who may connect.
pub mod admission;
mod authenticator;
mod backpressure;
pub mod broker;
mod budget;
/// What the application asks of connections.
pub mod call;
mod channel;
mod disconnect;
mod entry;
mod fanout;
/// Which publications a subscriber wants.
pub mod filter;
mod health;
mod hub;
pub mod journal;
mod log;
#[cfg(all(test, loom))]
mod loom_models;
pub mod memory;
pub mod memory_broker;
/// What a connection is to write.
pub mod outbox;
mod position;
pub mod protocol;
mod publication;
/// Subscribers without a connection.
pub mod reader;
mod refusal;
/// The connections of a node.
pub mod registry;
pub mod request;
/// How channels find their logs.
pub mod router;
mod seeded;
mod segment;
mod slim_list;
mod slim_queue;
mod subscription;
mod sync;
pub mod transport;
mod window;

pub use admission::{Admission, Caps, NotAdmitted, Permit};
pub use authenticator::{
    Authenticator, Client, ClientContext, HistoryBounds, Hooks, Identity, NoHooks, PublishGrant, Refreshed,
    SubscribeGrant,
};
pub use backpressure::{
    Backpressure, CloseConnection, EndSubscription, Lag, LatestPerKey, SkipToLatest, SkipToOldest, Verdict,
};
pub use broker::Broker;
pub use budget::Budget;
pub use channel::Channel;
pub use disconnect::Disconnect;
pub use entry::{Base, Entry, FORMATS, Format, Kind};
pub use fanout::Fanout;
pub use filter::Filter;
pub use health::Health;
pub use hub::Hub;
pub use log::{Behind, Cause, Cursor, End, Figures, Gap, Log, Owner, Refused, Room};
pub use memory_broker::MemoryBroker;
pub use position::Position;
pub use protocol::Protocol;
pub use publication::{ClientInfo, Publication};
pub use reader::Reader;
pub use refusal::{ClientError, Refusal};
pub use registry::Registry;
pub use router::{ExactRouter, Router};
pub use slim_list::reserve_one;
pub use slim_queue::SlimQueue;
pub use subscription::Subscription;
pub use window::Window;
