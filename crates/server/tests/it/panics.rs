//! A panic concerns one connection, and leaves nothing behind.

use std::sync::Arc;
use std::time::Duration;

use tidegate_server::Settings;
use tidegate_server::core::{Backpressure, Behind, Caps, SubscribeGrant, Verdict};

use crate::site::{Rules, Site, empty, farewell, free, push, settle};

const ASKED: [&str; 2] =
    [r#"{"id":3,"rpc":{"method":"panic"}}"#, r#"{"id":3,"subscribe":{"channel":"panic"}}"#];

fn present() -> SubscribeGrant {
    SubscribeGrant { presence: true, announce: true, join_leave: true, ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn whoever_panics_for_a_client_others_see_it_leave() {
    let rules = Rules { grant: present(), ..Rules::default() };
    let caps = Caps { total: Some(2), ..Default::default() };
    let site = Site::start(rules, |b| b.caps(caps));
    let mut bob = site.client("bob").await;
    bob.say(r#"{"id":2,"subscribe":{"channel":"news"}}"#).await;
    bob.hear_all().await;
    for i in 0..300 {
        let mut ada = site.client("ada").await;
        ada.say(r#"{"id":2,"subscribe":{"channel":"news"}}"#).await;
        assert!(bob.hear_awake().await.contains("join"));
        ada.say(ASKED[i % 2]).await;
        let [told, end] = farewell(3004, "internal server error");
        let mut heard = String::new();
        while heard != told {
            heard = ada.hear().await;
        }
        ada.hears(&[&end]).await;
        drop(ada);
        let left = bob.hear_awake().await;
        assert!(left.contains(r#""leave":{"info":{"user":"ada""#), "{left}");
    }
    settle().await;
    free(&site.handle, 1);
    assert_eq!(site.handle.hub().registry().len(), 1);
    let stats = r#"{"id":3,"presence_stats":{"channel":"news"}}"#;
    bob.ask(stats, &[r#"{"id":3,"presence_stats":{"num_clients":1,"num_users":1}}"#]).await;
    site.publish("news", "1").await;
    bob.hears(&[&push("news", r#""pub":{"data":1}"#)]).await;
    let diary = site.rules.diary.read();
    assert_eq!(diary.iter().filter(|line| *line == "ada disconnected 3004").count(), 300);
    assert_eq!(diary.iter().filter(|line| *line == "ada connected").count(), 300);
    site.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_hooks_of_coming_and_going_leaves_no_trace() {
    let rules = Rules { grant: present(), channels: vec!["news"], ..Rules::default() };
    let site = Site::start(rules, |b| b);
    let mut guest = site.knock();
    guest.say(r#"{"id":1,"connect":{"token":"it panics"}}"#).await;
    while !guest.hear().await.starts_with("end 3004") {}
    drop(guest);
    settle().await;
    empty(&site.handle);
    // Both were told of it, though both panicked.
    assert_eq!(site.rules.diary.read(), ["it panics connected", "it panics disconnected 3004"]);
    let mut bob = site.client("bob").await;
    bob.hear_all().await;
    let stats = r#"{"id":3,"presence_stats":{"channel":"news"}}"#;
    bob.ask(stats, &[r#"{"id":3,"presence_stats":{"num_clients":1,"num_users":1}}"#]).await;
    site.end().await;
}

/// Judges nothing.
struct Broken;

impl Backpressure for Broken {
    fn judge(&self, behind: &Behind) -> Verdict {
        assert_eq!(behind.publications, 0, "the policy panics, as the test wants");
        Verdict::Read
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_middle_of_writing_ends_that_connection_alone() {
    let mut rules = Rules::default();
    let site = Site::start(rules.clone(), |b| b.settings(Settings::default()));
    let mut bob = site.client("bob").await;
    bob.subscribe("news").await;
    rules.grant.policy = Arc::new(Broken);
    let broken = Site::start(rules, |b| b);
    let mut ada = broken.client("ada").await;
    ada.subscribe("news").await;
    let mut eve = broken.client("eve").await;
    broken.publish("news", "1").await;
    let [told, end] = farewell(3004, "internal server error");
    ada.hears(&[&told, &end]).await;
    drop(ada);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(broken.handle.hub().budget().used(), 0);
    assert_eq!(broken.handle.channels(), []);
    // The thread's batch, and the neighbour, are whole.
    eve.ask(r#"{"id":2,"rpc":{"data":1}}"#, &[r#"{"id":2,"rpc":{"data":1}}"#]).await;
    site.publish("news", "2").await;
    bob.hears(&[&push("news", r#""pub":{"data":2}"#)]).await;
    broken.end().await;
    site.end().await;
}

#[test]
#[ignore = "what the next test runs in a process of its own"]
fn logged() {
    tracing_subscriber::fmt().json().with_writer(std::io::stderr).init();
    tidegate_server::panics::log();
    for _ in 0..3 {
        std::panic::catch_unwind(|| panic!("one of {}", 3)).expect_err("it panics");
    }
    std::panic::catch_unwind(|| panic!("another")).expect_err("it panics");
}

#[test]
fn a_panic_is_logged_and_the_first_of_its_place_with_a_backtrace() {
    let panics = |backtrace: &str| {
        let mut command = std::process::Command::new(std::env::current_exe().expect("this test"));
        command.args(["panics::logged", "--exact", "--ignored", "--nocapture"]);
        let output = command.env("RUST_BACKTRACE", backtrace).output().expect("it runs");
        assert!(output.status.success(), "{output:?}");
        let log = String::from_utf8(output.stderr).expect("text");
        let fields =
            |line: &str| serde_json::from_str::<serde_json::Value>(line).expect(line)["fields"].clone();
        log.lines().map(fields).collect::<Vec<_>>()
    };
    for (variable, expected) in [("1", [true, false, false, true]), ("0", [false; 4])] {
        let panics = panics(variable);
        let texts = ["one of 3", "one of 3", "one of 3", "another"];
        for (panic, text) in panics.iter().zip(texts) {
            let message = panic["message"].as_str().expect("a message");
            assert!(message.starts_with("panicked at crates/server/tests/it/panics.rs:"), "{message}");
            assert!(message.ends_with(&format!(": {text}")), "{message}");
        }
        let backtraces = panics.iter().map(|panic| panic["backtrace"].is_string());
        assert_eq!(backtraces.collect::<Vec<_>>(), expected);
    }
}
