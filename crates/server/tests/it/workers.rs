//! Servers whose connections are served by workers: who serves whom, and that nobody notices.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;

use async_trait::async_trait;
use tidegate_server::core::{Client, Disconnect, Hooks};
use tidegate_server::transport_ws::Options;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Duration, sleep};

use crate::port::{self, Port};
use crate::site::{Rules, Site, push};
use crate::socket::{read_frame, write_text};

/// Which threads clients are on as they connect and as they go, and how many are there.
#[derive(Clone, Default)]
struct Threads(Arc<Mutex<BTreeMap<String, i32>>>);

impl Threads {
    fn count(&self, change: i32) {
        let name = thread::current().name().unwrap_or_default().to_owned();
        *self.0.lock().unwrap().entry(name).or_default() += change;
    }

    /// How many clients each thread has, of those that ever had one.
    fn read(&self) -> Vec<(String, i32)> {
        self.0.lock().unwrap().clone().into_iter().collect()
    }

    /// Asserts that there are two workers with so many clients each, and no other thread with any.
    #[track_caller]
    fn are(&self, each: i32) {
        assert_eq!(self.read(), [("worker-0".to_owned(), each), ("worker-1".to_owned(), each)]);
    }
}

#[async_trait]
impl Hooks for Threads {
    async fn connected(&self, _: &Client) {
        self.count(1);
    }

    async fn disconnected(&self, _: &Client, _: &Disconnect) {
        self.count(-1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_of_all_workers_read_is_the_same() {
    let threads = Threads::default();
    let site = Site::start(Rules::with_history(1000), |builder| {
        builder.workers(2).expect("threads").hooks(threads.clone())
    });
    assert_eq!(site.handle.runtimes().len(), 2);
    let mut guests = Vec::new();
    for i in 0..8 {
        let mut guest = site.client(&format!("u{i}")).await;
        guest.subscribe("news").await;
        guests.push(guest);
    }
    threads.are(4);
    let channels = site.handle.channels();
    assert_eq!(channels.iter().map(|(_, figures)| figures.subscribers).collect::<Vec<_>>(), [8]);
    // One of them publishes, others on its own worker and on the other one read.
    guests[0].say(r#"{"id":3,"publish":{"channel":"news","data":0}}"#).await;
    let (own, reply) = (guests[0].hear_awake().await, guests[0].hear_awake().await);
    assert!(own.contains(r#""data":0,"#) && reply == r#"{"id":3,"publish":{}}"#, "{own} {reply}");
    for n in 1..=300 {
        site.publish("news", n.to_string()).await;
    }
    for (i, guest) in guests.iter_mut().enumerate() {
        let first = usize::from(i == 0);
        for n in first..=300 {
            let heard = guest.hear_awake().await;
            assert!(heard.contains(&format!(r#""data":{n},"#)), "{i}: expected {n}, came {heard}");
        }
    }
    // One end for all of them, whoever serves them.
    site.handle.remove(&"news".into());
    for guest in &mut guests {
        let expected = push("news", r#""unsubscribe":{"code":2000,"reason":"server unsubscribe"}"#);
        assert_eq!(guest.hear_awake().await, expected);
    }
    drop(guests);
    site.end().await;
    threads.are(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_of_all_ports_are_dealt_to_workers() {
    for mount in [0, 1] {
        let threads = Threads::default();
        let port = Port::open(Rules::default(), Options::default(), |builder| {
            builder.workers(2).expect("threads").hooks(threads.clone())
        });
        let address = port.mounts()[mount];
        let mut clients = Vec::new();
        for _ in 0..6 {
            // Whoever comes and goes between two clients does not leave all of them to one worker.
            if mount == 0 {
                let request = "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
                let mut asking = port::connect(address).await;
                asking.write_all(request.as_bytes()).await.unwrap();
                port::within(asking.read_to_end(&mut Vec::new())).await.unwrap();
                sleep(Duration::from_millis(20)).await;
            }
            let mut client = port::upgrade(address).await.unwrap();
            write_text(&mut client, r#"{"id":1,"connect":{"token":"ada"}}"#).await.unwrap();
            let (_, reply) = port::within(read_frame(&mut client)).await.unwrap();
            assert!(reply.contains("connect"), "{reply}");
            write_text(&mut client, r#"{"id":2,"subscribe":{"channel":"news"}}"#).await.unwrap();
            port::within(read_frame(&mut client)).await.unwrap();
            clients.push(client);
        }
        threads.are(3);
        port.handle.publish("news", "1").await.unwrap();
        for client in &mut clients {
            let (_, publication) = port::within(read_frame(client)).await.unwrap();
            assert_eq!(publication, push("news", r#""pub":{"data":1}"#));
        }
        drop(clients);
        port.close().await;
        threads.are(0);
    }
}

#[tokio::test]
async fn a_server_that_was_never_run_leaves_no_threads() {
    let server = tidegate_server::Server::builder(Rules::default()).workers(2).expect("threads").build();
    let runtimes = server.handle().runtimes();
    let (sender, gone) = tokio::sync::oneshot::channel::<()>();
    // It holds the sender for ever, or until its runtime ends.
    runtimes[1].spawn(async move {
        std::future::pending::<()>().await;
        drop(sender);
    });
    drop(server);
    assert!(port::within(gone).await.is_err());
}
