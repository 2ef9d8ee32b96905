use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::authenticator::Client;
use crate::outbox::Handle;
use crate::seeded::Seeded;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// The connections of a node, by their id and by their user.
///
/// An entry belongs to the [`Registration`] that made it: the late clean-up of an old connection cannot
/// remove its successor's.
#[derive(Debug)]
pub struct Registry {
    /// Sharded by user: all connections of a user stand in one shard.
    users: Box<[Shard<Vec<Member>>]>,
    /// Sharded by connection id.
    clients: Box<[Shard<Member>]>,
    seeded: Seeded,
    count: AtomicUsize,
    generation: AtomicUsize,
}

/// A connection, as the registry knows it.
#[derive(Clone, Debug)]
pub struct Member {
    /// Who it is.
    pub client: Arc<Client>,
    /// How to reach it.
    pub handle: Handle,
    generation: usize,
    /// It has gone, and is still cleaned up behind.
    leaving: bool,
}

/// A connection that has been entered.
#[derive(Debug)]
pub struct Entered {
    /// Its entry.
    pub registration: Registration,
    /// The other connections of the same user; none of the anonymous one.
    pub others: Vec<Member>,
    /// Those of the same user that have gone, but are still cleaned up behind.
    pub leaving: Vec<Handle>,
}

/// An entry of the registry. Dropping it removes the entry.
#[derive(Debug)]
pub struct Registration {
    registry: Arc<Registry>,
    member: Member,
}

/// A part of a map, by user or by connection id.
type Shard<T> = Mutex<HashMap<Arc<str>, T, Seeded>>;

/// Shards of each map, a power of two: many times the cores that contend for them.
const SHARDS: usize = if cfg!(loom) { 1 } else { 64 };

impl Registry {
    /// An empty registry.
    pub fn new() -> Arc<Self> {
        Self::seeded(RandomState::new().hash_one(0))
    }

    /// An empty registry, the order of whose visits comes from `seed`: for simulations. Users must not know
    /// it.
    pub fn seeded(seed: u64) -> Arc<Self> {
        let seeded = Seeded::new(seed);
        Arc::new(Self {
            users: (0..SHARDS).map(|_| Mutex::new(HashMap::with_hasher(seeded))).collect(),
            clients: (0..SHARDS).map(|_| Mutex::new(HashMap::with_hasher(seeded))).collect(),
            seeded,
            count: AtomicUsize::new(0),
            generation: AtomicUsize::new(0),
        })
    }

    /// Enters a connection, which has been authenticated. What becomes of the other connections of the same
    /// user is the caller's policy. `admit` is asked under the lock of the user's
    /// shard, with the number of these, so that two newcomers cannot both take the last place.
    ///
    /// # Errors
    /// The connection is not entered because `admit` said no.
    pub fn enter(
        self: &Arc<Self>,
        client: Arc<Client>,
        handle: Handle,
        admit: impl FnOnce(usize) -> bool,
    ) -> Result<Entered, Full> {
        let generation = self.generation.fetch_add(1, Ordering::Relaxed);
        let member = Member { client, handle, generation, leaving: false };
        let user = member.client.user();
        let (mut others, mut leaving) = (Vec::new(), Vec::new());
        if !user.is_empty() {
            let mut users = self.user_shard(user).lock();
            let same = users.entry(user.clone()).or_default();
            if !admit(same.iter().filter(|member| !member.leaving).count()) {
                if same.is_empty() {
                    users.remove(user);
                }
                return Err(Full);
            }
            for other in same.iter() {
                match other.leaving {
                    true => leaving.push(other.handle.clone()),
                    false => others.push(other.clone()),
                }
            }
            same.push(member.clone());
            same.shrink_to_fit();
        }
        self.client_shard(&member.client.id).lock().insert(member.client.id.clone(), member.clone());
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(Entered { registration: Registration { registry: self.clone(), member }, others, leaving })
    }

    /// How many connections are entered.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many different users are connected, anonymous ones not counted.
    pub fn users(&self) -> usize {
        let connected = |members: &&Vec<Member>| members.iter().any(|member| !member.leaving);
        self.users.iter().map(|shard| shard.lock().values().filter(connected).count()).sum()
    }

    /// The connection with this id.
    pub fn client(&self, id: &str) -> Option<Member> {
        self.client_shard(id).lock().get(id).cloned()
    }

    /// The connections of this user.
    pub fn user(&self, user: &str) -> Vec<Member> {
        let users = self.user_shard(user).lock();
        users.get(user).into_iter().flatten().filter(|member| !member.leaving).cloned().collect()
    }

    /// Visits every connection, in no order, holding no lock while doing so.
    pub fn visit(&self, visit: &mut dyn FnMut(&Member)) {
        for shard in &self.clients {
            let members: Vec<Member> = shard.lock().values().cloned().collect();
            members.iter().for_each(&mut *visit);
        }
    }

    fn user_shard(&self, user: &str) -> &Shard<Vec<Member>> {
        &self.users[self.seeded.shard(user, SHARDS)]
    }

    fn client_shard(&self, id: &str) -> &Shard<Member> {
        &self.clients[self.seeded.shard(id, SHARDS)]
    }
}

/// The user has as many connections as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the user has as many connections as it may have")]
pub struct Full;

impl Registration {
    /// Takes the connection out of what can be found and counted: it has gone. Until this is dropped, those
    /// of the same user that are entered are told that it is still cleaned up behind.
    pub fn retire(&mut self) {
        if std::mem::replace(&mut self.member.leaving, true) {
            return;
        }
        let gone = self.remove_client();
        let Member { client, generation, .. } = &self.member;
        if !client.user().is_empty() {
            let mut users = self.registry.user_shard(client.user()).lock();
            let same = users.get_mut(client.user()).into_iter().flatten();
            same.filter(|member| member.generation == *generation).for_each(|member| member.leaving = true);
        }
        self.registry.count.fetch_sub(1, Ordering::Relaxed);
        drop(gone);
    }

    /// Takes its own entry out of the map by id; its successor's stays.
    fn remove_client(&self) -> Option<Member> {
        let Member { client, generation, .. } = &self.member;
        let mut clients = self.registry.client_shard(&client.id).lock();
        let own = clients.get(&client.id).is_some_and(|member| member.generation == *generation);
        if own { clients.remove(&client.id) } else { None }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.retire();
        let Member { client, generation, .. } = &self.member;
        // What is removed is dropped when the lock is free.
        let mut gone = Vec::new();
        if !client.user().is_empty() {
            let mut users = self.registry.user_shard(client.user()).lock();
            if let Some(same) = users.get_mut(client.user()) {
                gone.extend(same.extract_if(.., |m| m.generation == *generation));
                if same.is_empty() {
                    users.remove(client.user());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ClientInfo;
    use crate::outbox::{Limits, Outbox};

    fn client(user: &str, id: &str) -> Arc<Client> {
        let info = ClientInfo { user: user.into(), client: id.into(), ..ClientInfo::default() };
        Arc::new(Client {
            id: id.into(),
            info: Arc::new(info),
            transport: "memory",
            address: None,
            meta: Default::default(),
            context: None,
        })
    }

    #[test]
    fn a_late_clean_up_does_not_remove_the_successor() {
        let registry = Registry::new();
        let (old, new) = (Outbox::new(Limits::default()), Outbox::new(Limits::default()));
        let first = registry.enter(client("ada", "1"), old.handle(), |_| true).unwrap();
        let second = registry.enter(client("ada", "1"), new.handle(), |_| true).unwrap();
        assert!(first.others.is_empty());
        assert!(second.others[0].handle.same(&old.handle()));
        drop(first);
        assert!(registry.client("1").unwrap().handle.same(&new.handle()));
        assert_eq!(registry.user("ada").len(), 1);
        assert!(registry.user("ada")[0].handle.same(&new.handle()));
        drop(second);
        assert_eq!((registry.len(), registry.users()), (0, 0));
        assert!(registry.client("1").is_none());
    }

    #[test]
    fn who_is_leaving_is_not_found_and_not_counted_but_told_of() {
        let registry = Registry::new();
        let (old, new) = (Outbox::new(Limits::default()), Outbox::new(Limits::default()));
        let mut first = registry.enter(client("ada", "1"), old.handle(), |_| true).unwrap();
        first.registration.retire();
        first.registration.retire();
        assert_eq!((registry.len(), registry.users()), (0, 0));
        assert!(registry.user("ada").is_empty() && registry.client("1").is_none());
        let second = registry.enter(client("ada", "2"), new.handle(), |others| others == 0).unwrap();
        assert!(second.others.is_empty());
        assert!(second.leaving[0].same(&old.handle()));
        drop(first);
        assert_eq!((registry.len(), registry.users()), (1, 1));
        let third = registry.enter(client("ada", "3"), new.handle(), |_| true).unwrap();
        assert_eq!((third.others.len(), third.leaving.len()), (1, 0));
        drop((second, third));
        assert!(registry.is_empty());
        assert!(registry.users.iter().all(|shard| shard.lock().is_empty()));
    }

    #[test]
    fn who_is_not_admitted_leaves_no_trace() {
        let registry = Registry::new();
        let outbox = Outbox::new(Limits::default());
        let refused = registry.enter(client("ada", "1"), outbox.handle(), |others| others > 0);
        assert_eq!(refused.unwrap_err(), Full);
        assert_eq!((registry.len(), registry.users()), (0, 0));
    }

    /// Two newcomers cannot both take a user's last place, whatever their threads do.
    #[test]
    fn a_cap_per_user_holds_under_concurrent_entering() {
        let registry = Registry::new();
        let most = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (registry, most) = (&registry, &most);
                scope.spawn(move || {
                    for i in 0..500 {
                        let outbox = Outbox::new(Limits::default());
                        let id = format!("{thread}-{i}");
                        let entered = registry.enter(client("ada", &id), outbox.handle(), |n| n < 2);
                        most.fetch_max(registry.user("ada").len(), std::sync::atomic::Ordering::Relaxed);
                        drop(entered);
                    }
                });
            }
        });
        assert!(most.into_inner() <= 2);
        assert!(registry.is_empty() && registry.users() == 0);
    }
}
