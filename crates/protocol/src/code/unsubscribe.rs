use std::borrow::Cow;

use crate::message;

/// Why the server ends a subscription, which also says whether the client is to subscribe again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Unsubscribe {
    code: u32,
    reason: Cow<'static, str>,
}

/// The protocol's own, in ascending order.
impl Unsubscribe {
    /// An operator ended the subscription.
    pub const SERVER: Self = Self::of_protocol(2000, "server unsubscribe");
    /// A publication was missed.
    pub const INSUFFICIENT_STATE: Self = Self::of_protocol(2500, "insufficient state");
    /// The subscription was not refreshed in time.
    pub const EXPIRED: Self = Self::of_protocol(2501, "subscription expired");
    /// What the server knew of the subscription no longer holds.
    pub const STATE_INVALIDATED: Self = Self::of_protocol(2502, "state invalidated");

    /// All of the above.
    pub const ALL: &[Self] =
        &[Self::SERVER, Self::INSUFFICIENT_STATE, Self::EXPIRED, Self::STATE_INVALIDATED];

    const fn of_protocol(code: u32, reason: &'static str) -> Self {
        Self { code, reason: Cow::Borrowed(reason) }
    }
}

impl Unsubscribe {
    /// An unsubscribe with a code or a reason of the application's own.
    ///
    /// # Errors
    /// [`InvalidUnsubscribe`] if the code is not one of 2000 to 2999.
    pub fn new(code: u32, reason: impl Into<Cow<'static, str>>) -> Result<Self, InvalidUnsubscribe> {
        if !(2000..=2999).contains(&code) {
            return Err(InvalidUnsubscribe(code));
        }
        Ok(Self { code, reason: reason.into() })
    }

    /// The number on the wire.
    pub const fn code(&self) -> u32 {
        self.code
    }

    /// The text on the wire.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether SDKs subscribe again by themselves.
    pub const fn resubscribes(&self) -> bool {
        self.code >= 2500
    }
}

impl From<&Unsubscribe> for message::Unsubscribe {
    fn from(unsubscribe: &Unsubscribe) -> Self {
        Self { code: unsubscribe.code, reason: unsubscribe.reason.clone().into_owned() }
    }
}

/// A code that SDKs do not take for the end of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unsubscribe code is {0}; expected 2000 to 2999")]
pub struct InvalidUnsubscribe(u32);
