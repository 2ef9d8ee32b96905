use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How often a network may try a password.
///
/// Of each network it is kept until when its tries are paid for, one every [`EVERY`]. It may be [`AHEAD`].
#[derive(Debug, Default)]
pub(super) struct Attempts(HashMap<IpAddr, Instant>);

/// What a try costs. 6 s: ten a minute, and ten at once for those who mistype.
const EVERY: Duration = Duration::from_secs(6);
/// How far ahead a network may be.
const AHEAD: Duration = Duration::from_secs(60);
/// Networks that are remembered. 4,096, some 200 KiB; over it, the one that is free again soonest is forgotten.
const NETWORKS: usize = 4096;

impl Attempts {
    /// Takes a try.
    ///
    /// # Errors
    /// How long it takes until there is one.
    pub(super) fn take(&mut self, network: IpAddr, now: Instant) -> Result<(), Duration> {
        let paid = self.0.get(&network).copied().unwrap_or(now).max(now) + EVERY;
        let ahead = paid.saturating_duration_since(now);
        if ahead > AHEAD {
            return Err(ahead - AHEAD);
        }
        if self.0.len() >= NETWORKS && !self.0.contains_key(&network) {
            self.0.retain(|_, paid| *paid > now);
            if self.0.len() >= NETWORKS
                && let Some(first) = self.0.iter().min_by_key(|(_, paid)| **paid).map(|(network, _)| *network)
            {
                self.0.remove(&first);
            }
        }
        self.0.insert(network, paid);
        Ok(())
    }

    /// Somebody there knew the password.
    pub(super) fn forget(&mut self, network: IpAddr) {
        self.0.remove(&network);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn ten_at_once_and_ten_a_minute() {
        let (mut attempts, start) = (Attempts::default(), Instant::now());
        let tries = |attempts: &mut Attempts, second: u64| {
            let now = start + Duration::from_secs(second);
            (0..100).take_while(|_| attempts.take(address(1), now).is_ok()).count()
        };
        assert_eq!(tries(&mut attempts, 0), 10);
        assert_eq!(attempts.take(address(1), start), Err(EVERY));
        assert_eq!(tries(&mut attempts, 5), 0);
        assert_eq!(tries(&mut attempts, 6), 1);
        assert_eq!(tries(&mut attempts, 66), 10);
        assert!(attempts.take(address(2), start).is_ok(), "others may try");
        attempts.forget(address(1));
        assert_eq!(tries(&mut attempts, 66), 10);
    }

    #[test]
    fn many_networks_are_not_the_nodes_memory() {
        let (mut attempts, start) = (Attempts::default(), Instant::now());
        for _ in 0..10 {
            attempts.take(address(0), start).unwrap();
        }
        for number in 1..2 * NETWORKS as u32 {
            attempts.take(address(number), start).unwrap();
        }
        assert_eq!(attempts.0.len(), NETWORKS);
        // Who has tried most is remembered longest.
        assert!(attempts.take(address(0), start).is_err());
    }
}
