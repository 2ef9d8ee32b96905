use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::stream::Pipe;

/// The connections that are found by the id of their session: those that post what they write, and those
/// that only read.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<HashMap<Arc<str>, Entry>>);

struct Entry {
    /// Where its messages go; `None` where it sends none.
    pipe: Option<Arc<Pipe>>,
    client: Option<Arc<str>>,
}

/// A session's entry. Dropping it removes the entry.
pub(crate) struct Name {
    sessions: Arc<Sessions>,
    id: Arc<str>,
}

/// The session of a stream.
pub(super) struct Session {
    name: Name,
    pipe: Arc<Pipe>,
}

impl Sessions {
    /// A new session with this id, which nobody is to guess; `posts`: its client may post messages to it.
    pub(super) fn open(self: &Arc<Self>, id: Arc<str>, posts: bool) -> Session {
        let pipe = Pipe::new();
        let entry = Entry { pipe: posts.then(|| pipe.clone()), client: None };
        Session { name: self.enter(id, entry), pipe }
    }

    /// A new session with this id, which nobody is to guess, of a client that has connected by other ways.
    pub(crate) fn name(self: &Arc<Self>, id: Arc<str>, client: Arc<str>) -> Name {
        self.enter(id, Entry { pipe: None, client: Some(client) })
    }

    fn enter(self: &Arc<Self>, id: Arc<str>, entry: Entry) -> Name {
        self.lock().insert(id.clone(), entry);
        Name { sessions: self.clone(), id }
    }

    /// Where messages of this session's client go.
    pub(super) fn pipe(&self, id: &str) -> Option<Arc<Pipe>> {
        self.lock().get(id)?.pipe.clone()
    }

    /// Notes which client has connected.
    pub(crate) fn connected(&self, id: &str, client: &Arc<str>) {
        if let Some(entry) = self.lock().get_mut(id) {
            entry.client = Some(client.clone());
        }
    }

    /// The client of this session, if it has connected.
    pub(crate) fn client(&self, id: &str) -> Option<Arc<str>> {
        self.lock().get(id)?.client.clone()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Entry>> {
        // Nothing in here panics half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sessions").field(&self.len()).finish()
    }
}

impl Name {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Who knows the id may speak for the client.
        f.debug_struct("Name").finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn id(&self) -> &str {
        self.name.id()
    }

    pub(super) fn pipe(&self) -> &Arc<Pipe> {
        &self.pipe
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let entry = self.sessions.lock().remove(&self.id);
        drop(entry);
    }
}
