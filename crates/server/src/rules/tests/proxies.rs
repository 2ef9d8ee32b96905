use tidegate_core::Hooks;

use super::*;
use crate::proxy::tests::Backend;

/// What a connect with this token, or the outcome, comes to.
async fn connect(rules: &Rules, token: &str) -> String {
    let request = ConnectRequest { token: token.to_owned(), ..ConnectRequest::default() };
    match rules.connect(&request, &Peer::default()).await {
        Ok(identity) => {
            let channels: Vec<_> = identity.channels.iter().map(|call| call.channel.as_str()).collect();
            format!(
                "{} {} {} {}",
                identity.user,
                identity.expire_at,
                identity.client_refresh,
                channels.join(",")
            )
        }
        outcome => code(&outcome),
    }
}

#[tokio::test]
async fn the_backend_says_who_connects_without_a_token() {
    let backend = Backend::saying(
        r#"{"result":{"user":"bob","expire_at":4000000000,"channels":["a","b"],"subs":{"b":{"info":1}}}}"#,
    )
    .await;
    let flags = format!("client.proxy.connect.enabled client.proxy.connect.endpoint={}", backend.url);
    let rules = rules(&flags);
    assert_eq!(connect(&rules, "").await, "bob 4000000000 true a,b");
    assert_eq!(connect(&rules, &token(json!({"sub": "ann"}))).await, "ann 0 true ");
    assert_eq!(connect(&rules, "nonsense").await, "3500");
    assert_eq!(backend.asked().len(), 1, "a token needs nobody");

    // Who is let in otherwise is asked for, too, and is not let in against the backend's word.
    let no = Backend::saying(r#"{"disconnect":{"code":4501,"reason":"no"}}"#).await;
    let flags = format!(
        "client.proxy.connect.enabled client.proxy.connect.endpoint={} client.allow_anonymous_connect_without_token client.insecure",
        no.url
    );
    assert_eq!(connect(&super::rules(&flags), "").await, "4501");

    let unknown = Backend::saying(r#"{"result":{"channels":["nowhere:a"]}}"#).await;
    let flags = format!("client.proxy.connect.enabled client.proxy.connect.endpoint={}", unknown.url);
    assert_eq!(connect(&super::rules(&flags), "").await, "102");
    let over = Backend::saying(r#"{"result":{"expire_at":1}}"#).await;
    let flags = format!("client.proxy.connect.enabled client.proxy.connect.endpoint={}", over.url);
    assert_eq!(connect(&super::rules(&flags), "").await, "110");
}

#[tokio::test]
async fn lives_are_prolonged_by_the_backend_where_it_is_asked() {
    let backend = Backend::saying(r#"{"result":{"expire_at":4000000000}}"#).await;
    let flags = format!(
        "client.proxy.refresh.enabled client.proxy.refresh.endpoint={0} chat+sub_refresh_proxy_enabled=true channel.proxy.sub_refresh.endpoint={0}",
        backend.url
    );
    let (with, without, ann) = (rules(&flags), rules(""), client("ann"));
    assert_eq!(
        connect(&with, &token(json!({"sub": "ann", "exp": at(60)}))).await,
        format!("ann {} false ", at(60))
    );
    let life = |refreshed: Result<tidegate_core::Refreshed, Refusal>| {
        refreshed.map(|life| if life.expired { 0 } else { life.expire_at }).map_err(|_| ())
    };
    assert_eq!(life(with.refresh_server_side(&ann).await), Ok(4_000_000_000));
    assert_eq!(life(without.refresh_server_side(&ann).await), Ok(0));
    // The client has no say: 3501, whatever token it has.
    let good = token(json!({"sub": "ann", "exp": at(60)}));
    for token in ["", "nonsense", &good] {
        assert_eq!(code(&with.refresh(&ann, token).await), "3501");
    }
    let (chat, other) = ("chat:a".into(), "other".into());
    assert_eq!(life(with.sub_refresh_server_side(&ann, &chat).await), Ok(4_000_000_000));
    assert_eq!(life(with.sub_refresh_server_side(&ann, &other).await), Ok(0));
    let mut request = subscribe_to("chat:a");
    request.token = token(json!({"sub": "ann", "channel": "chat:a", "exp": at(60)}));
    for token in ["", "nonsense", &request.token] {
        assert_eq!(code(&with.sub_refresh(&ann, &chat, token).await), "3501");
    }
    assert!(!with.subscribe(&ann, &request).await.expect("a good token").client_refresh);
    assert!(without.subscribe(&ann, &request).await.expect("a good token").client_refresh);
}

#[tokio::test]
async fn the_backend_is_asked_about_channels_behind_tokens_and_names() {
    let backend = Backend::saying(r#"{"result":{"expire_at":4000000000,"data":[1]}}"#).await;
    let proxies = json!([{"name": "mine", "endpoint": backend.url}]);
    let flags = format!(
        "proxies={proxies} chat+subscribe_proxy_enabled=true chat+subscribe_proxy_name=mine chat+publish_proxy_enabled=true chat+publish_proxy_name=mine chat+allow_user_limited_channels=true"
    );
    let (rules, ann) = (rules(&flags), client("ann"));
    let grant = rules.subscribe(&ann, &subscribe_to("chat:a")).await.expect("allowed");
    assert_eq!((grant.expire_at, &grant.data[..]), (4_000_000_000, &b"[1]"[..]));
    assert!(rules.subscribe(&ann, &subscribe_to("chat:a#ann")).await.is_ok());
    assert_eq!(code(&rules.subscribe(&ann, &subscribe_to("chat:a#bob")).await), "103");
    assert_eq!(code(&rules.subscribe(&ann, &subscribe_to("other")).await), "103");
    assert_eq!(backend.asked().len(), 1);
    let grant = rules.publish(&ann, &"chat:a".into(), &"1".into(), false).await.expect("allowed");
    assert_eq!(grant.data.as_deref(), Some(&b"[1]"[..]));
    assert_eq!(code(&rules.publish(&ann, &"other".into(), &"1".into(), false).await), "103");
    assert_eq!(backend.asked().len(), 2);
    let no = Backend::saying(r#"{"error":{"code":403,"message":"no"}}"#).await;
    let flags = format!(
        "+subscribe_proxy_enabled=true channel.proxy.subscribe.endpoint={} +allow_subscribe_for_client=true client.insecure",
        no.url
    );
    assert_eq!(code(&super::rules(&flags).subscribe(&ann, &subscribe_to("a")).await), "403");
}

#[tokio::test]
async fn calls_go_where_their_namespace_says() {
    let backend = Backend::saying(r#"{"result":{"data":[7]}}"#).await;
    let namespaces = json!([{"name": "sun", "proxy_enabled": true}, {"name": "moon"}]);
    let flags = format!(
        "rpc.proxy.endpoint={} rpc.namespaces={namespaces} rpc.ping.enabled rpc.ping.method=are:you",
        backend.url
    );
    let (rules, ann) = (rules(&flags), client("ann"));
    for (method, expected) in
        [("sun:rise", "ok"), ("moon:rise", "108"), ("mars:rise", "104"), ("rise", "108"), ("are:you", "ok")]
    {
        assert_eq!(code(&rules.rpc(&ann, method, "1".into()).await), expected, "{method}");
    }
    assert_eq!(backend.asked().len(), 1);
    assert_eq!(code(&super::rules("").rpc(&ann, "mars:rise", "1".into()).await), "108");
}

#[test]
fn proxies_that_are_not_there_are_named() {
    #[track_caller]
    fn check(flags: &str, expected: &str) {
        let said = Rules::new(&config(flags)).map(|_| ()).expect_err(expected).to_string();
        assert_eq!(said, expected);
    }
    check(
        "chat+publish_proxy_enabled=true chat+publish_proxy_name=mine",
        "channel.namespaces.chat.publish_proxy_name is \"mine\"; expected \"default\", or the name of one of proxies",
    );
    check(
        "rpc.without_namespace.proxy_enabled",
        "rpc.proxy.endpoint is not set; expected a URL that starts with http:// or https://",
    );
    check(
        "client.proxy.connect.enabled client.proxy.connect.endpoint=grpc://backend",
        "client.proxy.connect.endpoint is one of gRPC, which this version does not implement; expected a URL that starts with http:// or https://",
    );
}
