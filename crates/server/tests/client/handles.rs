use tidegate_client::{CallError, Client, ClientEvent, Event, State, SubscribeError};

use crate::site::{Rules, Site, event, live, next, quick, until, within};

#[tokio::test]
async fn dropping_a_subscription_leaves_the_channel_and_another_may_come() {
    let site = Site::start(Rules::default());
    let client = site.client();
    let mut first = client.subscribe("news").unwrap();
    live(&mut first).await;
    assert_eq!(client.subscribe("news").unwrap_err(), SubscribeError::AlreadySubscribed("news".to_owned()));
    drop(first);
    let mut second = client.subscribe("news").unwrap();
    live(&mut second).await;
    client.publish("news", "1").await.unwrap();
    assert!(matches!(next(&mut second).await, Event::Publication(_)));
    drop(second);
    // Done in order: once this is answered, the channel was left.
    let _ = client.rpc("echo", "1").await;
    assert_eq!(site.handle.channels(), []);
    assert_eq!(client.subscribe("").unwrap_err(), SubscribeError::NoChannel);
    site.stop().await;
}

#[tokio::test]
async fn the_last_handle_disconnects() {
    let site = Site::start(Rules::default());
    let client = site.client();
    let mut events = client.events();
    let mut news = client.subscribe("news").unwrap();
    drop(client.clone());
    drop(client);
    live(&mut news).await;
    site.publish("news", "1").await;
    assert!(matches!(next(&mut news).await, Event::Publication(_)), "a subscription keeps it alive");
    drop(news);
    let disconnected = |event| match event {
        ClientEvent::Disconnected(why) => Some(why.code),
        _ => None,
    };
    assert_eq!(event(&mut events, disconnected).await, 0);
    assert_eq!(within(events.next()).await, None);
    until(|| site.handle.holdings().permits == 0).await;
    site.stop().await;
}

#[tokio::test]
async fn disconnecting_ends_streams_and_calls_and_is_seen_by_the_server() {
    let site = Site::start(Rules::default());
    let client = site.client();
    client.connected().await.unwrap();
    assert_eq!(client.state(), State::Connected);
    let mut news = client.subscribe("news").unwrap();
    live(&mut news).await;
    client.disconnect().await;
    assert!(matches!(next(&mut news).await, Event::Unsubscribed(why) if why.code == 0));
    assert_eq!(within(news.next()).await, None);
    assert!(matches!(client.state(), State::Disconnected(why) if why.code == 0));
    assert!(matches!(client.publish("news", "1").await, Err(CallError::Disconnected(_))));
    assert!(matches!(client.subscribe("other"), Err(SubscribeError::Disconnected(_))));
    assert!(client.connected().await.is_err());
    let mut late = client.events();
    assert!(matches!(within(late.next()).await, Some(ClientEvent::Disconnected(_))));
    assert_eq!(within(late.next()).await, None);
    client.disconnect().await;
    until(|| site.handle.holdings().permits == 0).await;
    site.stop().await;
}

#[tokio::test]
async fn a_server_that_says_it_is_of_no_use_is_believed() {
    let site = Site::start(Rules::default());
    let client = quick(&site.url()).token("invalid").connect().unwrap();
    let mut news = client.subscribe("news").unwrap();
    let error = client.connected().await.unwrap_err();
    assert_eq!(error.to_string(), "the client is disconnected: invalid token (code 3500)");
    loop {
        match within(news.next()).await {
            Some(Event::Unsubscribed(why)) => assert_eq!(why.code, 3500),
            Some(_) => {}
            None => break,
        }
    }
    site.stop().await;
}

#[tokio::test]
async fn when_the_programs_own_code_panics_nobody_waits_for_ever() {
    let site = Site::start(Rules::default());
    let panics = || -> std::future::Ready<Result<String, tidegate_client::TokenError>> {
        panic!("the token source panics, as the test wants")
    };
    let client = quick(&site.url()).token_source(panics).connect().unwrap();
    let mut news = client.subscribe("news").unwrap();
    assert!(within(client.connected()).await.is_err());
    while within(news.next()).await.is_some() {}
    assert!(matches!(client.state(), State::Disconnected(why) if why.code == 52));
    assert!(client.publish("news", "1").await.is_err());
    site.stop().await;
}

#[tokio::test]
async fn a_url_that_names_no_server_is_refused_at_once() {
    let error = Client::connect("http://localhost:8000").unwrap_err();
    assert_eq!(error.to_string(), r#"URL is "http://localhost:8000": expected ws:// in place of http://"#);
    let error = Client::builder("ws://localhost").data("no json").connect().unwrap_err();
    assert!(error.to_string().contains("JSON"));
}
