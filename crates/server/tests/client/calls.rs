use tidegate_client::{CallError, Encoding, Event, HistoryQuery};

use crate::site::{ENCODINGS, Rules, Site, data, live, next, quick, within};

#[tokio::test]
async fn everything_that_can_be_asked_is_answered() {
    let mut rules = Rules::with_history(100);
    rules.grant.presence = true;
    let site = Site::start(rules);
    for encoding in ENCODINGS {
        let client = quick(&site.url()).token("ann").encoding(encoding).connect().unwrap();
        let channel = format!("{encoding:?}");
        let mut news = client.subscribe(&channel).unwrap();
        let subscribed = live(&mut news).await;
        assert!(subscribed.recoverable && subscribed.positioned && !subscribed.was_recovering);

        client.publish(&channel, r#"{"n":1}"#).await.unwrap();
        client.publish(&channel, r#"{"n":2}"#).await.unwrap();
        let Event::Publication(first) = next(&mut news).await else { panic!("a publication") };
        assert_eq!((&first.data[..], first.offset), (&br#"{"n":1}"#[..], 1));
        assert_eq!(first.info.clone().map(|info| info.user).as_deref(), Some("ann"));
        assert_eq!(first.json::<serde_json::Value>().unwrap()["n"], 1);
        assert_eq!(data(&mut news).await, r#"{"n":2}"#);
        assert_eq!(news.position().map(|position| position.offset), Some(2));

        let history = client.history(&channel, HistoryQuery::limit(1).reverse()).await.unwrap();
        assert_eq!((history.publications[0].offset, history.position.offset), (2, 2));
        let since = HistoryQuery::all().since(tidegate_client::Position::new(1, history.position.epoch));
        assert_eq!(client.history(&channel, since).await.unwrap().publications.len(), 1);
        assert_eq!(client.history(&channel, HistoryQuery::default()).await.unwrap().publications, []);

        let presence = client.presence(&channel).await.unwrap();
        assert_eq!(presence.values().next().map(|info| &*info.user), Some("ann"));
        let stats = client.presence_stats(&channel).await.unwrap();
        assert_eq!((stats.clients, stats.users), (1, 1));

        assert_eq!(client.rpc("echo", "[1]").await.unwrap(), "[1]");
        client.send(r#""sent""#).await.unwrap();
        // Commands are done in order: once this is answered, that was done.
        client.rpc("echo", "1").await.unwrap();
        assert_eq!(site.rules.refreshed.lock().unwrap().pop().as_deref(), Some(r#""sent""#));
        client.disconnect().await;
    }
    site.stop().await;
}

#[tokio::test]
async fn refusals_say_what_the_server_said() {
    let site = Site::start(Rules::default());
    let client = site.client();
    let error = client.publish("forbidden", "1").await.unwrap_err();
    assert_eq!(error.to_string(), "the server refused: permission denied (error 103)");
    let error = client.rpc("unknown", "1").await.unwrap_err();
    assert!(matches!(error, CallError::Refused { code: 104, temporary: false, .. }), "{error:?}");
    let mut forbidden = client.subscribe("forbidden").unwrap();
    assert!(matches!(next(&mut forbidden).await, Event::Subscribing(_)));
    let Event::Unsubscribed(why) = next(&mut forbidden).await else { panic!("the end") };
    assert_eq!(why.code, 103);
    assert_eq!(within(forbidden.next()).await, None, "nothing behind the end");
    client.subscribe("forbidden").expect("the channel is free again");
    site.stop().await;
}

#[tokio::test]
async fn payloads_are_looked_at_before_they_are_sent() {
    let site = Site::start(Rules::default());
    let client = site.client();
    assert_eq!(client.publish("news", "no json").await, Err(CallError::NotJson));
    assert_eq!(client.publish("news", "1\n2").await, Err(CallError::NotJson));
    client.publish("news", "{\n}").await.expect("white space is none of the protocol's business");
    let binary = quick(&site.url()).encoding(Encoding::Protobuf).connect().unwrap();
    let mut news = binary.subscribe("binary").unwrap();
    live(&mut news).await;
    binary.publish("binary", &[0xff, 0][..]).await.unwrap();
    let Event::Publication(publication) = next(&mut news).await else { panic!("a publication") };
    assert_eq!(publication.data, &[0xff, 0][..]);
    site.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_not_waited_for() {
    let site = Site::start(Rules::default());
    let client = site.client();
    assert_eq!(client.rpc("never", "1").await, Err(CallError::Timeout));
}

#[tokio::test]
async fn many_calls_at_once_keep_their_order_and_find_their_answers() {
    let site = Site::start(Rules::default());
    for encoding in ENCODINGS {
        let client = quick(&site.url()).encoding(encoding).connect().unwrap();
        let calls = (0..2000).map(|n| {
            let client = client.clone();
            async move { (n, client.rpc("echo", n.to_string()).await) }
        });
        for (n, answer) in futures_util::future::join_all(calls).await {
            assert_eq!(answer.unwrap(), n.to_string());
        }
        let mut news = client.subscribe("many").unwrap();
        live(&mut news).await;
        let published = (0..500).map(|n| client.publish("many", n.to_string()));
        for published in futures_util::future::join_all(published).await {
            published.unwrap();
        }
        for n in 0..500 {
            assert_eq!(data(&mut news).await, n.to_string());
        }
    }
    site.stop().await;
}
