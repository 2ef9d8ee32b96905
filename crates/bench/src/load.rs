//! Subscribers and publishers at work.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Error;
use crate::connection::Connection;
use crate::http::Api;
use crate::options::{Load, Publish};
use crate::publisher::{Pace, Publisher, Publishing, Way};
use crate::report::{Deliveries, Published, Window};
use crate::subscriber::Subscriber;
use crate::tally::Wrong;
use crate::transport::Socket;
use crate::window::Moment;
use crate::world::{Channels, World};

/// All of them, and what they share.
pub(crate) struct Running<'a> {
    world: &'a World,
    load: Load,
    pub(crate) publishing: Arc<Publishing>,
    stalls: u64,
}

/// What was published, for the report.
pub(crate) fn described(load: &Load) -> Published {
    Published {
        size: load.size,
        publishers: load.publishers,
        in_flight: load.rate.is_none().then_some(load.in_flight),
        rate: load.rate,
        api: load.publish == Publish::Api,
    }
}

impl<'a> Running<'a> {
    /// Connects all subscribers, then publishers, who do not begin yet.
    pub(crate) fn connect(world: &'a World, load: &Load) -> Result<Self, Error> {
        let (all, publishers) = (load.subscribers, usize::from(load.publishers));
        let step = world.progress.count("connecting", all as u64);
        let plan = world.plan(all, Channels::OneOf(load.channels), Socket::default());
        let channels = load.channels;
        let connecting = world.crew.ask(move |thread, worker| {
            let plan = plan.clone();
            async move {
                for (number, connection) in plan.open_all(thread, &worker).await? {
                    let subscriber = Subscriber::new((number % channels) as u32, publishers);
                    let subscriber = subscriber.begin(connection, &worker);
                    worker.subscribers.borrow_mut().push(subscriber);
                }
                Ok(())
            }
        });
        let ready = || step.at(world.shared.ready.load(Ordering::Relaxed));
        connecting.wait(ready).into_iter().collect::<Result<(), Error>>()?;
        let names = (0..channels).map(|number| world.channel(number)).collect();
        let fan = (0..channels).map(|channel| (channel..all).step_by(channels).count() as u64).collect();
        let pace = load.rate.map_or(Pace::InFlight(load.in_flight), Pace::Rate);
        let publishing = Publishing::new(names, fan, publishers, pace, load.count);
        Ok(Self { world, load: load.clone(), publishing: Arc::new(publishing), stalls: 0 })
    }

    /// Connects the publishers, who begin at once.
    pub(crate) fn publish(&self) -> Result<(), Error> {
        let (target, common, load) = (self.world.target.clone(), self.publishing.clone(), self.load.clone());
        let threads = self.world.crew.threads();
        let connecting = self.world.crew.ask(move |thread, worker| {
            let (target, common, load) = (target.clone(), common.clone(), load.clone());
            async move {
                let mut publishers = Vec::new();
                for number in (thread..usize::from(load.publishers)).step_by(threads) {
                    let way = match load.publish {
                        Publish::Client => {
                            let number = load.subscribers + number;
                            let open = Connection::open(&target, number, Socket::default(), &worker);
                            Way::Client(Box::new(open.await?))
                        }
                        Publish::Api => {
                            let url = load.api_url.clone();
                            let url = url.unwrap_or_else(|| format!("http://{}/api", target.host));
                            Way::Api(Box::new(Api::open(&url, load.api_key.as_deref(), &target).await?))
                        }
                    };
                    publishers.push(Publisher::new(number, way, worker.clone(), common.clone()));
                }
                for publisher in publishers {
                    tokio::task::spawn_local(publisher.run());
                }
                Ok(())
            }
        });
        connecting.wait(|| ()).into_iter().collect()
    }

    /// Lets time pass, and keeps the load going.
    pub(crate) fn pass(&mut self, what: &str, time: Duration) {
        self.until(what, time, |_| false);
    }

    /// Measures for so long. `meanwhile` is called ten times a second.
    pub(crate) fn measure(&mut self, what: &str, time: Duration, mut meanwhile: impl FnMut()) -> Window {
        let begin = Moment::begin(self.world, &self.publishing);
        self.until(what, time, |_| {
            meanwhile();
            false
        });
        begin.end(self.world, &self.publishing)
    }

    /// Publishes all there is to publish, and measures until it is delivered, or given up.
    pub(crate) fn measure_all(&mut self) -> Result<Window, Error> {
        let begin = Moment::begin(self.world, &self.publishing);
        self.publish()?;
        self.until("publishing", FOREVER, |running| {
            running.publishing.is_over() && running.outstanding() == 0 || running.has_failed()
        });
        Ok(begin.end_with_last(self.world, &self.publishing))
    }

    /// Ends publishing, waits for what is on its way, and says what everybody got.
    pub(crate) fn finish(mut self) -> Deliveries {
        self.publishing.stop();
        self.world.shared.wake.notify_waiters();
        self.until("waiting for the rest", REST, |running| running.outstanding() == 0);
        // What comes twice may come a little later.
        sleep(AFTER);
        let common = self.publishing.clone();
        let tallies = self.world.crew.ask(move |_, worker| {
            let common = common.clone();
            async move {
                let mut wrong = Wrong::default();
                for subscriber in worker.subscribers.borrow().iter() {
                    wrong +=
                        subscriber.borrow().wrong(|publisher, channel| common.sequence(publisher, channel));
                }
                wrong
            }
        });
        let mut wrong = Wrong::default();
        tallies.wait(|| ()).into_iter().for_each(|some| wrong += some);
        let (shared, publishing) = (&self.world.shared, &self.publishing);
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::SeqCst);
        Deliveries {
            published: count(&publishing.published),
            expected: count(&publishing.expected),
            received: count(&shared.received),
            lost: wrong.lost,
            late: wrong.late,
            repeated: wrong.repeated,
            corrupt: count(&shared.corrupt),
            misplaced: count(&shared.misplaced),
            refused: count(&shared.refused),
            ended: count(&shared.ended) + count(&publishing.failed),
            stalls: self.stalls,
            first_fault: shared.first_wrong(),
        }
    }

    /// Waits until it is `over`, or time is. Where nothing comes for a second though something is on its way, that
    /// is lost, and no longer waited for; nor for long once a subscriber has gone, which explains it.
    fn until(&mut self, what: &str, time: Duration, mut over: impl FnMut(&Self) -> bool) {
        let step = match self.load.count {
            Some(count) if time == FOREVER => self.world.progress.count(what, count),
            _ => self.world.progress.time(what, time),
        };
        let received = || self.world.shared.received.load(Ordering::SeqCst);
        let end = Instant::now() + time;
        let (mut last, mut since) = (received(), Instant::now());
        loop {
            let now = Instant::now();
            if now >= end || over(self) {
                return;
            }
            sleep(TICK.min(end - now));
            let (so_far, elapsed) = (received(), since.elapsed());
            if self.load.count.is_some() && time == FOREVER {
                step.at(self.publishing.published.load(Ordering::Relaxed));
            } else if elapsed >= TICK {
                let rate = (so_far - last) as f64 / elapsed.as_secs_f64();
                step.say(format!("{:.0} deliveries/s", rate));
            }
            if so_far != last || self.outstanding() == 0 {
                (last, since) = (so_far, Instant::now());
            } else if elapsed
                >= if self.world.shared.ended.load(Ordering::Relaxed) == 0 { STALL } else { TICK }
            {
                self.publishing.forgiven.fetch_add(self.outstanding(), Ordering::SeqCst);
                self.world.shared.wake.notify_waiters();
                self.stalls += 1;
                since = Instant::now();
            }
        }
    }

    /// Deliveries that are on their way.
    fn outstanding(&self) -> u64 {
        let expected = self.publishing.expected.load(Ordering::SeqCst);
        let done = self.world.shared.received.load(Ordering::SeqCst)
            + self.publishing.forgiven.load(Ordering::SeqCst);
        expected.saturating_sub(done)
    }

    /// Nobody publishes any more.
    fn has_failed(&self) -> bool {
        self.publishing.failed.load(Ordering::SeqCst) >= u64::from(self.load.publishers)
    }
}

/// How often is looked.
const TICK: Duration = Duration::from_millis(100);
/// For a delivery to come after the one before it.
const STALL: Duration = Duration::from_secs(1);
/// For all that is on its way when publishing ends; a server that cannot keep up may have minutes of it.
const REST: Duration = Duration::from_secs(20);
/// For what comes twice.
const AFTER: Duration = Duration::from_millis(200);
/// Longer than anybody waits: a day.
const FOREVER: Duration = Duration::from_secs(24 * 3600);
