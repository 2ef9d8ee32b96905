use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the connections of one user may take over from each other.
///
/// Two devices that share a user and connect again whenever they are displaced would evict each other for
/// ever. The first [`limit`](Takeover::limit) takeovers are free; after each further one the next newcomer is
/// refused for a pause that doubles each time. A user's count is forgotten once it was quiet for the window
/// and the pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Takeover {
    /// Takeovers that are free, one after the other. 5: a phone that changes between networks for a while.
    pub limit: u32,
    /// The quiet time after which a user starts anew. 1 min: longer than the SDKs' longest delay between
    /// attempts, which is 20 s.
    pub window: Duration,
    /// The first pause. 1 s.
    pub backoff: Duration,
    /// The longest pause. 1 min: nobody who has lost a device is locked out for longer.
    pub backoff_max: Duration,
}

impl Default for Takeover {
    fn default() -> Self {
        Self {
            limit: 5,
            window: Duration::from_secs(60),
            backoff: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
        }
    }
}

/// The recent takeovers of a server's users.
#[derive(Debug, Default)]
pub(crate) struct Takeovers {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    users: HashMap<Arc<str>, Record>,
    /// Users at which those that are quiet are looked for.
    sweep_at: usize,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    count: u32,
    last: Instant,
}

/// Users that are remembered at most: over it, one more starts anew each time, which harms nobody else.
/// About 6 MiB.
const USERS: usize = 65_536;
/// The shortest list that is swept.
const SWEEP: usize = 64;

impl Takeovers {
    /// Whether somebody may take over from another connection of `user` at `now`; counted, if so.
    pub(crate) fn allow(&self, rules: &Takeover, user: &Arc<str>, now: Instant) -> bool {
        // Nothing in here panics half way through a change.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { users, sweep_at } = &mut *state;
        if let Some(record) = users.get_mut(user) {
            let quiet = now.saturating_duration_since(record.last);
            let pause = rules.pause(record.count);
            if quiet < pause {
                return false;
            }
            let count = if quiet >= pause + rules.window { 0 } else { record.count };
            *record = Record { count: count.saturating_add(1), last: now };
            return true;
        }
        if users.len() >= (*sweep_at).max(SWEEP) {
            users.retain(|_, record| {
                now.saturating_duration_since(record.last) < rules.pause(record.count) + rules.window
            });
            // Half as many again before the next sweep: each takeover pays for a few.
            *sweep_at = (users.len() * 3 / 2).min(USERS);
        }
        if users.len() < USERS {
            users.insert(user.clone(), Record { count: 1, last: now });
        }
        true
    }
}

impl Takeover {
    /// How long after the last of `count` takeovers the next is refused.
    fn pause(&self, count: u32) -> Duration {
        match count.checked_sub(self.limit) {
            None => Duration::ZERO,
            Some(over) => {
                let factor = 1_u32.checked_shl(over).unwrap_or(u32::MAX);
                self.backoff.saturating_mul(factor).min(self.backoff_max)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Takeover = Takeover {
        limit: 3,
        window: Duration::from_secs(60),
        backoff: Duration::from_secs(1),
        backoff_max: Duration::from_secs(8),
    };

    /// Somebody tries at each of these seconds; the seconds at which it was let in.
    fn check(tries: impl IntoIterator<Item = u64>, expected: &[u64]) {
        let (takeovers, start) = (Takeovers::default(), Instant::now());
        let allowed = |at: &u64| takeovers.allow(&RULES, &"ada".into(), start + Duration::from_secs(*at));
        let let_in: Vec<u64> = tries.into_iter().filter(allowed).collect();
        assert_eq!(let_in, expected);
    }

    #[test]
    fn the_first_are_free_and_then_pauses_grow_up_to_a_bound() {
        check([0, 0, 0, 0], &[0, 0, 0]);
        check(0..40, &[0, 1, 2, 3, 5, 9, 17, 25, 33]);
        // Those who were refused have not made it longer.
        check([0, 0, 0, 0, 0, 0, 1], &[0, 0, 0, 1]);
    }

    #[test]
    fn a_quiet_user_starts_anew() {
        check([0, 0, 0, 61, 61, 61, 61], &[0, 0, 0, 61, 61, 61]);
        check([0, 0, 0, 60, 60, 61], &[0, 0, 0, 60]);
    }

    #[test]
    fn users_do_not_concern_each_other_and_are_forgotten() {
        let (takeovers, start) = (Takeovers::default(), Instant::now());
        for i in 0..10_000_u64 {
            let now = start + Duration::from_secs(i);
            assert!(takeovers.allow(&RULES, &format!("user {i}").into(), now));
        }
        let held = takeovers.state.lock().unwrap().users.len();
        assert!(held < 200, "{held}");
        let now = start + Duration::from_secs(20_000);
        for i in 0..USERS + 10 {
            assert!(takeovers.allow(&RULES, &format!("user {i}").into(), now));
        }
        assert_eq!(takeovers.state.lock().unwrap().users.len(), USERS);
    }
}
