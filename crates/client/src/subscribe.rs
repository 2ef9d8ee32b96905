use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::client::Handle;
use crate::machine::SubOptions;
use crate::queue::{Bounds, Overflow, Queue};
use crate::shared::{Want, Wanted};
use crate::token::TokenSource;
use crate::{Filter, Position, SubscribeError, Subscription, TokenError};

/// How to subscribe. Everything but the channel has a default.
///
/// ```no_run
/// # fn example(client: &tidegate_client::Client) -> Result<(), tidegate_client::SubscribeError> {
/// use tidegate_client::Overflow;
///
/// let prices = client
///     .subscription("prices")
///     .recoverable()
///     .buffer(10_000, 16 << 20)
///     .overflow(Overflow::Recover)
///     .subscribe()?;
/// # Ok(()) }
/// ```
#[must_use = "nothing is subscribed to until `subscribe`"]
pub struct Subscribe {
    handle: Arc<Handle>,
    channel: String,
    options: SubOptions,
    token_source: Option<TokenSource>,
    bounds: Bounds,
}

/// Publications that wait to be read, unless said otherwise. 1,024.
const ITEMS: usize = 1024;

/// Their bytes, unless said otherwise. 4 MiB.
const BYTES: usize = 4 << 20;

impl Subscribe {
    pub(crate) fn new(handle: Arc<Handle>, channel: String) -> Self {
        Self {
            handle,
            channel,
            options: SubOptions::default(),
            token_source: None,
            bounds: Bounds { items: ITEMS, bytes: BYTES, overflow: Overflow::default() },
        }
    }

    /// A JWT that allows the subscription. None by default.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.options.token = token.into();
        self
    }

    /// Where new tokens come from: asked before subscribing if there is no [`token`](Self::token), and whenever one ends
    /// or was refused as expired. It is polled by the client's task, and must not block.
    pub fn token_source<F>(mut self, source: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<String, TokenError>> + Send + 'static,
    {
        self.options.token_source = true;
        self.token_source = Some(TokenSource::new(source));
        self
    }

    /// What the application's backend, or Tidegate, is told with the subscribe command.
    pub fn data(mut self, data: impl Into<Bytes>) -> Self {
        self.options.data = data.into();
        self
    }

    /// Begins behind this position, with what was published since. What history has no more is told as a
    /// [gap](crate::Event::Gap).
    pub fn since(mut self, position: Position) -> Self {
        self.options.since = Some(position);
        self.options.recoverable = true;
        self
    }

    /// Asks for a subscription of which nothing is lost while the connection is away, as far as history reaches. The
    /// channel's namespace may give it unasked.
    pub fn recoverable(mut self) -> Self {
        self.options.recoverable = true;
        self
    }

    /// Asks the server to watch that nothing is lost in between. The channel's namespace may do it unasked.
    pub fn positioned(mut self) -> Self {
        self.options.positioned = true;
        self
    }

    /// Asks to be told who subscribes and leaves.
    pub fn join_leave(mut self) -> Self {
        self.options.join_leave = true;
        self
    }

    /// Offers to take publications as patches of the one before, which the client applies, if the channel's namespace
    /// allows it: less to carry where they resemble each other.
    pub fn delta(mut self) -> Self {
        self.options.delta = true;
        self
    }

    /// Only publications with such tags.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.options.filter = Some(filter.into_node());
        self
    }

    /// How many publications, joins and leaves wait to be read, and how many bytes of them (each counts 128 more than
    /// its payload). 1,024 and 4 MiB by default. What one reply of the server brings may be over it for a moment under
    /// [`Overflow::Recover`] and [`Overflow::Wait`].
    pub fn buffer(mut self, events: usize, bytes: usize) -> Self {
        self.bounds.items = events.max(1);
        self.bounds.bytes = bytes;
        self
    }

    /// What happens when the program reads too slowly. By default the oldest go, and it is told how many.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.bounds.overflow = overflow;
        self
    }

    /// Subscribes. Returns at once; the subscription tells when it is live.
    ///
    /// # Errors
    /// [`SubscribeError`]. What the server says of it comes as an event.
    pub fn subscribe(self) -> Result<Subscription, SubscribeError> {
        let Self { handle, channel, options, token_source, bounds } = self;
        if channel.is_empty() {
            return Err(SubscribeError::NoChannel);
        }
        if !options.data.is_empty() && !handle.encoding.carries(&options.data) {
            return Err(SubscribeError::NotJson);
        }
        if let Some(why) = handle.over() {
            return Err(SubscribeError::Disconnected(why));
        }
        let id = handle.next_sub();
        if !handle.shared.claim(&channel, id) {
            return Err(SubscribeError::AlreadySubscribed(channel));
        }
        let queue = Arc::new(Queue::new(bounds));
        let wanted = Wanted { id, channel: channel.clone(), options, token_source, queue: queue.clone() };
        if !handle.shared.want(Want::Subscribe(Box::new(wanted))) {
            return Err(SubscribeError::Disconnected(handle.over().unwrap_or_default()));
        }
        Ok(Subscription::new(handle, id, channel, queue))
    }
}

impl fmt::Debug for Subscribe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscribe")
            .field("channel", &self.channel)
            .field("options", &self.options)
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}
