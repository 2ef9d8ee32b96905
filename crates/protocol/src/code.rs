//! The codes of the protocol, and their texts.
//!
//! An [`ErrorCode`] fails one command, an [`Unsubscribe`] ends one subscription, a [`Disconnect`] the
//! connection. The texts are what SDKs show, and in the case of a [`Disconnect`] what they act on.

mod disconnect;
mod error;
mod unsubscribe;

pub use disconnect::{Disconnect, InvalidDisconnect};
pub use error::{ErrorCode, InvalidErrorCode, error};
pub use unsubscribe::{InvalidUnsubscribe, Unsubscribe};

#[cfg(test)]
mod tests;
