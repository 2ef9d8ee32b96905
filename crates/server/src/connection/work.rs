//! What a connection does, and what waits for it.

use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

use tidegate_core::Position;
use tidegate_core::call::Call;
use tidegate_core::request::Request;

use super::requests::Step;

/// What is being done, up to what comes of it.
pub(super) type Work = Pin<Box<dyn Future<Output = Step> + Send>>;

/// What a piece of work is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// Something that others wait for.
    Request,
    /// A request that changes nothing of the connection: what the application asks for goes beside it.
    Aside,
    /// To tell the application that the client has connected: it is not cancelled.
    Greeting,
}

/// What waits for its turn.
pub(super) enum Waiting {
    /// A request, until the replies before it are on their way.
    Request(Request),
    /// A request that is being done [aside](Errand::Aside), until what the application asks for is done.
    Work(Work),
    /// What came of it meanwhile.
    Step(Step),
}

/// What the application asks for.
pub(super) struct Asked {
    pub(super) call: Call,
    /// Until when it waits for what is to go before it, and up to which place of the channel's log that is.
    pub(super) until: Option<(Instant, Position)>,
}

/// Something that is to be told to others.
pub(super) type Chore = Pin<Box<dyn Future<Output = ()> + Send>>;
