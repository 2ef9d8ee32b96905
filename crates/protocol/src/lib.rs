//! The Centrifuge client protocol: messages, codecs and the sans-IO session.
//!
//! - [`message`]: every message of the protocol, for both encodings.
//! - [`Encoding`]: frames into commands, replies and pushes into bytes.
//! - [`Centrifuge`]: the protocol, whose [`Session`](tidegate_core::protocol::Session) turns commands into requests.
//! - Patches, in [`delta`].
//! - [`code`]: the codes of errors, disconnects and unsubscribes, and their texts.
//!
//! Nothing here does I/O or reads a clock.

pub mod code;
mod codec;
mod convert;
pub mod delta;
pub mod message;
mod session;
mod subscription;

pub use code::{Disconnect, ErrorCode, Unsubscribe};
pub use codec::{Commands, Encoding, Malformed, Messages, NotJson, Pushes, Replies, is_json};
pub use convert::publication;
pub use message::{Command, Publication, Push, Reply};
pub use session::{Centrifuge, Options, is_protobuf};
