//! Registration against teardown.

use std::sync::Arc;

use loom::thread;

use crate::outbox::{Handle, Limits, Outbox};
use crate::registry::Registration;
use crate::{Client, ClientInfo, Registry};

/// Enters a connection of ada's; `None` if `admit` says no to so many others.
fn enter(
    registry: &Arc<Registry>,
    id: &str,
    handle: Handle,
    admit: impl FnOnce(usize) -> bool,
) -> Option<Registration> {
    let info = ClientInfo { user: "ada".into(), client: id.into(), ..ClientInfo::default() };
    let client = Client {
        id: id.into(),
        info: Arc::new(info),
        transport: "memory",
        address: None,
        meta: Default::default(),
        context: None,
    };
    registry.enter(Arc::new(client), handle, admit).ok().map(|entered| entered.registration)
}

/// The clean-up of an old connection meets its successor, of the same id and user: the successor stays, and
/// whoever looks finds one that is there.
#[test]
fn loom_registering_against_teardown() {
    loom::model(|| {
        let registry = Registry::seeded(1);
        let (old, new) = (Outbox::new(Limits::default()), Outbox::new(Limits::default()));
        let first = enter(&registry, "1", old.handle(), |_| true).expect("it is let in");
        let leaver = thread::spawn(move || drop((first, old)));
        let second = enter(&registry, "1", new.handle(), |_| true).expect("it is let in");
        assert!(registry.client("1").is_some_and(|member| member.handle.same(&new.handle())));
        leaver.join().expect("no panic");
        assert!(registry.client("1").is_some_and(|member| member.handle.same(&new.handle())));
        let user = registry.user("ada");
        assert!(user.len() == 1 && user[0].handle.same(&new.handle()));
        assert_eq!((registry.len(), registry.users()), (1, 1));
        drop(second);
        assert_eq!((registry.len(), registry.users()), (0, 0));
        assert!(registry.client("1").is_none() && registry.user("ada").is_empty());
    });
}

/// Two come for a user's last place, and one of them goes again: never are both in.
#[test]
fn loom_two_newcomers_for_one_place() {
    loom::model(|| {
        let registry = Registry::seeded(1);
        let other = thread::spawn({
            let registry = registry.clone();
            move || {
                let outbox = Outbox::new(Limits::default());
                let entered = enter(&registry, "1", outbox.handle(), |others| others == 0);
                let most = registry.user("ada").len();
                drop(entered);
                most
            }
        });
        let outbox = Outbox::new(Limits::default());
        let entered = enter(&registry, "2", outbox.handle(), |others| others == 0);
        let most = registry.user("ada").len();
        assert!(most <= 1 && other.join().expect("no panic") <= 1);
        assert_eq!(registry.user("ada").len(), usize::from(entered.is_some()));
        drop(entered);
        assert_eq!((registry.len(), registry.users()), (0, 0));
    });
}

/// Somebody calls a connection that is leaving: it is told, or the caller is; nobody panics.
#[test]
fn loom_calling_against_teardown() {
    loom::model(|| {
        let registry = Registry::seeded(1);
        let outbox = Outbox::new(Limits::default());
        let entered = enter(&registry, "1", outbox.handle(), |_| true).expect("it is let in");
        let leaver = thread::spawn(move || drop((entered, outbox)));
        if let Some(member) = registry.client("1") {
            let _ = member.handle.health(crate::Health::Draining);
        }
        leaver.join().expect("no panic");
        assert!(registry.is_empty() && registry.client("1").is_none());
    });
}
