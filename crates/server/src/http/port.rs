use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use tokio::net::TcpListener;

use super::Tls;

/// A port that HTTP is served on.
#[derive(Debug)]
pub struct Port {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<Arc<Tls>>,
}

impl Port {
    /// The port, with TLS. The caller keeps a clone to replace certificates.
    pub fn tls(mut self, tls: Arc<Tls>) -> Self {
        self.tls = Some(tls);
        self
    }
}

impl From<TcpListener> for Port {
    fn from(listener: TcpListener) -> Self {
        Self { listener, tls: None }
    }
}

/// What a port answers. It can be replaced while it is served: requests that have begun go on with the old.
#[derive(Clone, Default)]
pub struct Routes(Arc<ArcSwap<Router>>);

impl Routes {
    /// Answers by `router` from now on, at all ports that have a clone of these routes.
    pub fn replace(&self, router: Router) {
        self.0.store(Arc::new(router));
    }

    pub(crate) fn current(&self) -> Router {
        self.0.load().as_ref().clone()
    }
}

impl From<Router> for Routes {
    fn from(router: Router) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(router)))
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Routes")
    }
}
