use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The user may not, now or later: the connection or subscription ends with the reason "unauthorized".
    #[error("unauthorized")]
    Unauthorized,
    /// There is none at the moment: it is asked for again, after a while.
    #[error("no token at the moment: {0}")]
    Unavailable(String),
}

impl TokenError {
    /// There is none at the moment, because of this.
    pub fn unavailable(cause: impl fmt::Display) -> Self {
        Self::Unavailable(cause.to_string())
    }
}

/// A token that is being fetched.
pub(crate) type Fetch = Pin<Box<dyn Future<Output = Result<String, TokenError>> + Send>>;

/// Where tokens come from.
#[derive(Clone)]
pub(crate) struct TokenSource(Arc<dyn Fn() -> Fetch + Send + Sync>);

impl TokenSource {
    pub(crate) fn new<F>(source: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<String, TokenError>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(source())))
    }

    pub(crate) fn fetch(&self) -> Fetch {
        (self.0)()
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSource")
    }
}
