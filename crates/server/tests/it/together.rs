//! Many at once, and ordinary calls from many threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tidegate_server::core::Health;
use tidegate_server::{Settings, Target};
use tokio::time::Instant;

use crate::site::{Dice, Guest, Rules, Site, call, push, settle};

fn quiet() -> Settings {
    Settings { ping_interval: Duration::ZERO, ..Default::default() }
}

async fn audience(site: &Site, count: usize) -> Vec<Guest> {
    let mut guests = Vec::new();
    for i in 0..count {
        let mut guest = site.client(&format!("user {i}")).await;
        guest.subscribe("news").await;
        guests.push(guest);
    }
    guests
}

/// That it takes linear time is counted in `tidegate_core`'s own tests; here it is done.
#[tokio::test(start_paused = true)]
async fn five_thousand_leave_one_channel_at_once() {
    let site = Site::start(Rules::default(), |b| b.settings(quiet()));
    let mut stays = site.client("zoe").await;
    stays.subscribe("news").await;
    stays.subscribe("calm").await;
    for end in ["vanish", "delete", "disconnect"] {
        let mut guests = audience(&site, 5_000 / 3).await;
        site.publish("news", "1").await;
        let since = std::time::Instant::now();
        match end {
            "vanish" => drop(guests),
            "delete" => {
                site.handle.remove(&"news".into());
                site.handle.remove(&"news".into());
                let pushed = push("news", r#""pub":{"data":1}"#);
                let told = push("news", r#""unsubscribe":{"code":2000,"reason":"server unsubscribe"}"#);
                for guest in &mut guests {
                    guest.hears(&[&pushed, &told]).await;
                }
                stays.hear_all().await;
                stays.subscribe("news").await;
                drop(guests);
            }
            _ => {
                for i in 0..guests.len() {
                    let target = Target { user: format!("user {i}"), ..Default::default() };
                    assert_eq!(site.handle.disconnect(&target, None), 1);
                }
                for guest in &mut guests {
                    while !guest.hear().await.starts_with("end 3503") {}
                }
                drop(guests);
            }
        }
        settle().await;
        println!("{end}: {:?}", since.elapsed());
        assert_eq!(site.handle.hub().registry().len(), 1);
        let figures = site.handle.channels().into_iter().find(|(channel, _)| channel.as_str() == "news");
        assert_eq!(figures.unwrap().1.subscribers, 1);
        stays.hear_all().await;
        site.publish("calm", "1").await;
        stays.hears(&[&push("calm", r#""pub":{"data":1}"#)]).await;
    }
    site.end().await;
}

/// Whatever is called, however often, from wherever: nobody else notices, nothing is left, nothing panics.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_from_many_threads_are_ordinary_while_clients_churn_and_the_server_stops() {
    let mut rules = Rules::default();
    (rules.grant.presence, rules.grant.announce) = (true, true);
    let site = Site::start(rules, |b| b.settings(quiet()));
    let mut calm = site.client("zoe").await;
    calm.subscribe("calm").await;
    let over = Arc::new(AtomicBool::new(false));
    let calls = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..3_u64)
        .map(|seed| {
            let (handle, over, calls) = (site.handle.clone(), over.clone(), calls.clone());
            thread::spawn(move || {
                let mut dice = Dice::new(seed);
                while !over.load(Ordering::Relaxed) {
                    let channel = ["a", "b"][dice.below(2) as usize];
                    let user = ["ada", "bob", "eve"][dice.below(3) as usize];
                    let target = Target { user: user.into(), ..Default::default() };
                    match dice.below(8) {
                        0 | 1 => handle.remove(&channel.into()),
                        2 => drop(handle.unsubscribe(&target, &channel.into(), None)),
                        3 => drop(handle.subscribe(&target, call(channel))),
                        4 => drop(handle.disconnect(&target, None)),
                        5 => drop(handle.send(&target, "1")),
                        6 => handle.broadcast_health(Health::Degraded),
                        _ => drop(handle.info()),
                    }
                    calls.fetch_add(1, Ordering::Relaxed);
                    thread::yield_now();
                }
            })
        })
        .collect();
    let churning: Vec<_> = (0..20_u64)
        .map(|seed| {
            let (address, over) = (site.address.clone(), over.clone());
            tokio::spawn(async move {
                let mut dice = Dice::new(100 + seed);
                while !over.load(Ordering::Relaxed) {
                    let Ok(mut wire) = address.connect() else { return };
                    let user = ["ada", "bob", "eve"][dice.below(3) as usize];
                    let mut commands = format!(r#"{{"id":1,"connect":{{"token":"{user}"}}}}"#);
                    for id in 2..10 {
                        let channel = ["a", "b"][dice.below(2) as usize];
                        let what = ["subscribe", "unsubscribe"][dice.below(2) as usize];
                        commands += &format!("\n{{\"id\":{id},\"{what}\":{{\"channel\":\"{channel}\"}}}}");
                    }
                    let _ = wire.send(commands).await;
                    for _ in 0..dice.below(12) {
                        if wire.recv().await.is_none() {
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    let mut published = 0..;
    while calls.load(Ordering::Relaxed) < 3_000 {
        let i: u64 = published.next().unwrap();
        site.publish("calm", i.to_string()).await;
        calm.hears(&[&push("calm", &format!(r#""pub":{{"data":{i}}}"#))]).await;
    }
    let since = Instant::now();
    drop(calm);
    let (stopped, _) = site.stop().wait_while(&over).await;
    assert_eq!(stopped.cut, 0, "after {:?}", since.elapsed());
    for client in churning {
        client.await.unwrap();
    }
    for caller in callers {
        caller.join().unwrap();
    }
}
