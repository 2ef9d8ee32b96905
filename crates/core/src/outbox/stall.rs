use std::time::{Duration, Instant};

/// A socket, or a track, that takes nothing, or too little. Time is an argument.
#[derive(Clone, Copy, Debug)]
pub struct Stall {
    since: Instant,
    /// When the policies were asked last, or when it took something after that.
    judged: Instant,
    /// What it has taken since, in bytes.
    taken: usize,
}

/// What a stall has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// The policies are to be asked: it has lasted so long.
    Judgement(Duration),
    /// It has lasted as long as it may: so long.
    End(Duration),
}

impl Stall {
    /// When it began.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// One that begins.
    pub fn new(now: Instant) -> Self {
        Self { since: now, judged: now, taken: 0 }
    }

    /// How long it has lasted.
    pub fn lasted(&self, now: Instant) -> Duration {
        now - self.since
    }

    /// Notes that `taken` bytes were taken, and says whether that ends it: where the peer has `caught_up`, or has
    /// taken `enough` since it began. A byte now and then is not enough.
    pub fn progress(&mut self, taken: usize, caught_up: bool, enough: usize, now: Instant) -> bool {
        if taken == 0 {
            return false;
        }
        self.taken += taken;
        self.judged = now;
        caught_up || self.taken >= enough
    }

    /// What is due, where the policies are asked `every` so often, and the end comes after `most`.
    pub fn due(&mut self, now: Instant, every: Duration, most: Duration) -> Due {
        let lasted = self.lasted(now);
        let over = now >= self.since + most;
        if !over && now < self.judged + every {
            return Due::Nothing;
        }
        self.judged = now;
        if over { Due::End(lasted) } else { Due::Judgement(lasted) }
    }

    /// When something is due.
    pub fn deadline(&self, every: Duration, most: Duration) -> Instant {
        (self.judged + every).min(self.since + most)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Due, Stall};

    #[test]
    fn a_stall_is_judged_until_it_is_over() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let [every, most] = [2, 5].map(Duration::from_secs);
        let mut stall = Stall::new(begin);
        assert_eq!(stall.deadline(every, most), at(2));
        assert_eq!(stall.due(at(1), every, most), Due::Nothing);
        assert_eq!(stall.due(at(2), every, most), Due::Judgement(Duration::from_secs(2)));
        assert!(!stall.progress(0, true, 10, at(3)), "nothing was taken");
        assert_eq!(stall.deadline(every, most), at(4));
        assert!(!stall.progress(9, false, 10, at(3)), "too little");
        assert_eq!(stall.due(at(4), every, most), Due::Nothing);
        assert_eq!(stall.deadline(every, most), at(5));
        assert_eq!(stall.due(at(5), every, most), Due::End(Duration::from_secs(5)));
        assert!(stall.progress(1, false, 10, at(5)), "enough");
        assert!(Stall::new(begin).progress(1, true, 10, at(1)), "all there is");
    }
}
