//! A client of Tidegate, and of other servers that speak the Centrifuge protocol.
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tidegate_client::{Client, Event};
//!
//! let client = Client::connect("ws://localhost:8000/connection/websocket")?;
//! let mut news = client.subscribe("news")?;
//! client.publish("news", r#"{"text":"hello"}"#).await?;
//! while let Some(event) = news.next().await {
//!     match event {
//!         Event::Publication(publication) => println!("{:?}", publication.data),
//!         Event::Gap(gap) => println!("{gap}"),
//!         _ => {}
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! - A [`Client`] connects by itself and again after each loss, with growing pauses drawn at random, until it is
//!   [disconnected](Client::disconnect), its last handle is dropped, or the server says that it is of no use.
//! - A [`Subscription`] is a [`Stream`](futures_util::Stream) of [`Event`]s. It is taken up again with the
//!   connection, and what was missed meanwhile is recovered where the channel's history allows it. What is missing
//!   is told as an [`Event::Gap`], in its place: nothing is lost in silence.
//! - Each subscription has a bounded queue, and an [`Overflow`] policy for a program that reads it too slowly.
//! - Futures are cancel safe: a dropped one loses no event. A call that is dropped before it was sent is not sent.
//!
//! The URL says how: `ws://`, `wss://` or `quic://` (raw QUIC, where each subscription has a stream of its own and holds up
//! no other). [`Builder`] has the rest: tokens, encoding, times, certificates.
//!
//! # Tokens
//!
//! A token that ends is replaced by a source of new ones:
//!
//! ```no_run
//! # async fn fetch() -> Result<String, std::io::Error> { Ok(String::new()) }
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tidegate_client::{Client, TokenError};
//!
//! let client = Client::builder("wss://example.com/connection/websocket")
//!     .token_source(|| async { fetch().await.map_err(TokenError::unavailable) })
//!     .connect()?;
//! # Ok(()) }
//! ```
//!
//! # States
//!
//! They are those of the Centrifuge SDKs: a client is connecting, connected or disconnected ([`State`]), a subscription
//! subscribing, subscribed or unsubscribed (by its events). One thing differs: a client that is disconnected stays so, and
//! its subscriptions end, so that a program that reads a stream to its end does not wait for ever. Another client may
//! go on from a [position](Subscription::position), by [`Subscribe::since`].

mod builder;
mod client;
mod driver;
mod error;
mod event;
mod events;
mod filter;
mod machine;
mod options;
mod position;
mod publication;
mod queue;
mod shared;
mod subscribe;
mod subscription;
mod token;
mod transport;

pub use builder::Builder;
pub use client::{Client, State};
pub use error::{BuildError, CallError, SubscribeError};
pub use event::{ClientEvent, Connected, Event, Gap, GapCause, Health, Subscribed, Trouble, Why};
pub use events::Events;
pub use filter::Filter;
pub use position::{ParsePositionError, Position};
pub use publication::{ClientInfo, History, HistoryQuery, PresenceStats, Publication};
pub use queue::Overflow;
pub use subscribe::Subscribe;
pub use subscription::Subscription;
pub use tidegate_protocol::Encoding;
pub use token::TokenError;
pub use transport::Trust;
