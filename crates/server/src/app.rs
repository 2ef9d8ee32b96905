use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tidegate_core::{Admission, Authenticator, Hooks, Hub, Protocol};
use tokio_util::task::TaskTracker;

use crate::handle::Node;
use crate::ids::Ids;
use crate::meters::Meters;
use crate::roster::Roster;
use crate::server::Shutdown;
use crate::settings::Settings;
use crate::wheel::Wheel;

/// What all connections of a server share.
pub(crate) struct App {
    pub(crate) hub: Hub,
    pub(crate) ids: Ids,
    pub(crate) authenticator: ArcSwap<Arc<dyn Authenticator>>,
    pub(crate) hooks: Arc<dyn Hooks>,
    pub(crate) protocols: Vec<Arc<dyn Protocol>>,
    pub(crate) settings: ArcSwap<Settings>,
    pub(crate) shutdown: ArcSwap<Shutdown>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) wheel: Arc<Wheel>,
    pub(crate) meters: Meters,
    /// Every connection's task: the server ends after the last one.
    pub(crate) tasks: TaskTracker,
    /// Every open connection.
    pub(crate) roster: Arc<Roster>,
    pub(crate) started: std::time::Instant,
    pub(crate) node: Node,
    /// The node is stopping: nothing new is taken.
    pub(crate) draining: std::sync::atomic::AtomicBool,
}

impl App {
    /// The bounds of this moment. Ask for them where they are used: they may be replaced.
    pub(crate) fn settings(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// Who judges clients at this moment.
    pub(crate) fn authenticator(&self) -> Arc<dyn Authenticator> {
        self.authenticator.load().as_ref().clone()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("hub", &self.hub).finish_non_exhaustive()
    }
}
