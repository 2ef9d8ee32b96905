//! Variables as container files write them.

use super::{accepted, check, secs};
use crate::config::Config;

#[test]
fn elements_of_lists_have_variables_of_their_own() {
    let config = accepted(
        "",
        &[
            "TIDEGATE_CHANNEL_NAMESPACES=chat  team team-a x.y",
            "TIDEGATE_CHANNEL_NAMESPACES_CHAT_HISTORY_SIZE=2",
            "TIDEGATE_CHANNEL_NAMESPACES_CHAT_HISTORY_TTL=300s",
            "TIDEGATE_CHANNEL_NAMESPACES_CHAT_ALLOWED_DELTA_TYPES=fossil",
            "TIDEGATE_CHANNEL_NAMESPACES_TEAM_A_PRESENCE=1",
            "TIDEGATE_CHANNEL_NAMESPACES_X_Y_JOIN_LEAVE=T",
            // Set and empty is unset.
            "TIDEGATE_CHANNEL_NAMESPACES_CHAT_PRESENCE=",
            "TIDEGATE_RPC_NAMESPACES=rpc1 rpc2",
            "TIDEGATE_RPC_NAMESPACES_RPC1_PROXY_ENABLED=true",
            "TIDEGATE_RPC_NAMESPACES_RPC1_PROXY_NAME=backend",
            "TIDEGATE_PROXIES=backend",
            "TIDEGATE_PROXIES_BACKEND_ENDPOINT=http://127.0.0.1:3000",
            "TIDEGATE_PROXIES_BACKEND_TIMEOUT=300ms",
            "TIDEGATE_PROXIES_BACKEND_HTTP_STATIC_HEADERS={\"X-Key\":\"v\"}",
        ],
        &[],
    );
    let namespaces = &config.channel.namespaces;
    assert_eq!(namespaces.keys().collect::<Vec<_>>(), ["chat", "team", "team-a", "x.y"]);
    let chat = &namespaces["chat"];
    assert_eq!((chat.history_size, chat.history_ttl, chat.presence), (2, secs(300), false));
    assert_eq!(chat.allowed_delta_types.len(), 1);
    assert!(namespaces["team-a"].presence && !namespaces["team"].presence && namespaces["x.y"].join_leave);
    assert!(config.rpc.namespaces["rpc1"].proxy_enabled && !config.rpc.namespaces["rpc2"].proxy_enabled);
    let backend = &config.proxies["backend"];
    assert_eq!((&*backend.endpoint, backend.timeout.as_millis()), ("http://127.0.0.1:3000", 300));
    assert!(backend.http.static_headers["X-Key"].matches(b"v"));
}

#[test]
fn variables_go_before_a_file_for_its_elements_too() {
    let file =
        "a.json\n{\"channel\":{\"namespaces\":[{\"name\":\"chat\",\"history_size\":5,\"presence\":true}]}}";
    let chat = |environment: &[&str]| accepted(file, environment, &[]).channel.namespaces["chat"].clone();
    assert_eq!(chat(&[]).history_size, 5);
    let changed = chat(&["TIDEGATE_CHANNEL_NAMESPACES_CHAT_HISTORY_SIZE=7"]);
    assert_eq!((changed.history_size, changed.presence), (7, true));
    // A list of another's replaces that of the file, elements and all.
    let replaced = chat(&["TIDEGATE_CHANNEL_NAMESPACES=[{\"name\":\"chat\"}]"]);
    assert_eq!((replaced.history_size, replaced.presence), (0, false));
}

#[test]
fn what_is_about_no_element_is_named() {
    check(
        "",
        &[
            "TIDEGATE_CHANNEL_NAMESPACES=chat news",
            "TIDEGATE_CHANNEL_NAMESPACES_CHATS_PRESENCE=true",
            "TIDEGATE_CHANNEL_NAMESPACES_CHAT_PRESENSE=true",
            "TIDEGATE_PROXIES_BACKEND_ENDPOINT=x",
        ],
        &[],
        "
        environment: TIDEGATE_CHANNEL_NAMESPACES_CHATS_PRESENCE begins with no name of channel.namespaces (chat, news); it is ignored
        environment: TIDEGATE_CHANNEL_NAMESPACES_CHAT_PRESENSE is not a known variable; it is ignored; did you mean TIDEGATE_CHANNEL_NAMESPACES_CHAT_PRESENCE?
        environment: TIDEGATE_PROXIES_BACKEND_ENDPOINT begins with no name of proxies (which has none); it is ignored
        ",
    );
    check(
        "",
        &["TIDEGATE_CHANNEL_NAMESPACES=chat a", "TIDEGATE_CHANNEL_NAMESPACES_CHAT_HISTORY_TTL=300"],
        &[],
        r#"
        environment: TIDEGATE_CHANNEL_NAMESPACES[1].name is "a"; expected at least two letters, digits, hyphens, underscores or dots
        environment: TIDEGATE_CHANNEL_NAMESPACES_CHAT_HISTORY_TTL is "300"; expected a duration with a unit, such as 25s, 100ms or 1h30m
        "#,
    );
}

#[test]
fn what_is_not_implemented_of_an_element_is_named_as_it_was_written() {
    let namespaces =
        "a.json\n{\"channel\":{\"namespaces\":[{\"name\":\"chat\",\"subscription_type\":\"map\"}]}}";
    check(
        namespaces,
        &["TIDEGATE_CHANNEL_NAMESPACES_CHAT_MAP_MODE=recoverable"],
        &[],
        "
        a.json: channel.namespaces[0].subscription_type is set, but this version does not implement it; it is ignored
        environment: TIDEGATE_CHANNEL_NAMESPACES_CHAT_MAP_MODE is set, but this version does not implement it; it is ignored
        ",
    );
    check(
        "",
        &["TIDEGATE_CHANNEL_NAMESPACES=news chat", "TIDEGATE_CHANNEL_NAMESPACES_CHAT_MAP_PUBLISH_PROXY_ENABLED=true"],
        &[],
        "
        environment: TIDEGATE_CHANNEL_NAMESPACES_CHAT_MAP_PUBLISH_PROXY_ENABLED is true, which this version does not implement; ignoring it would mean that the proxy is not asked
        ",
    );
    // Another's list has elements of its own.
    check(
        "",
        &["TIDEGATE_CHANNEL_NAMESPACES=news", "TIDEGATE_CHANNEL_NAMESPACES_NEWS_SUBSCRIPTION_TYPE=map"],
        &[r#"channel.namespaces=[{"name":"news","subscription_type":"map"}]"#],
        "
        flags: --channel.namespaces[0].subscription_type is set, but this version does not implement it; it is ignored
        ",
    );
}

#[test]
fn variables_of_v6_are_taken_too() {
    fn keys(config: &Config) -> (bool, u16) {
        (config.client.insecure, config.http_server.port)
    }
    let config = check(
        "",
        &[
            "CENTRIFUGO_CLIENT_INSECURE=true",
            "CENTRIFUGO_HTTP_SERVER_PORT=9001",
            "CENTRIFUGO_CHANNEL_NAMESPACES=recovery",
            "CENTRIFUGO_CHANNEL_NAMESPACES_RECOVERY_FORCE_RECOVERY=true",
            "CENTRIFUGO_CHANNEL_NAMESPACES_RECOVERY_HISTORY_SIZE=100",
            "CENTRIFUGO_CHANNEL_NAMESPACES_RECOVERY_HISTORY_TTL=300s",
            "TIDEGATE_HTTP_SERVER_PORT=9000",
        ],
        &[],
        "environment: variables named CENTRIFUGO_… are read as if they were named TIDEGATE_…, which go before them: 6",
    )
    .expect("a warning, and no error");
    assert_eq!(keys(&config), (true, 9000));
    let recovery = &config.channel.namespaces["recovery"];
    assert_eq!((recovery.force_recovery, recovery.history_size), (true, 100));
}

#[test]
fn names_of_older_versions_find_those_of_today() {
    check(
        "a.json\n{\"namespaces\":[],\"presence\":true,\"history_size\":10,\"api_key\":\"k\",\"token_hmac_secret_key\":\"s\",\"admin\":true,\"port\":8000}",
        &[],
        &[],
        "
        a.json: admin is true or false; expected a table of keys
        a.json: api_key is not a known key; did you mean http_api.key?
        a.json: history_size is not a known key; did you mean channel.without_namespace.history_size?
        a.json: namespaces is not a known key; did you mean channel.namespaces?
        a.json: port is not a known key; did you mean http_server.port?
        a.json: presence is not a known key; did you mean channel.without_namespace.presence?
        a.json: token_hmac_secret_key is not a known key; did you mean client.token.hmac_secret_key?
        ",
    );
    check(
        "",
        &["CENTRIFUGO_TOKEN_HMAC_SECRET_KEY=s", "CENTRIFUGO_ALLOWED_ORIGINS=*", "TIDEGATE_API_KEY=k"],
        &[],
        "
        environment: CENTRIFUGO_TOKEN_HMAC_SECRET_KEY is not a known variable; it is ignored; did you mean TIDEGATE_CLIENT_TOKEN_HMAC_SECRET_KEY?
        environment: CENTRIFUGO_ALLOWED_ORIGINS is not a known variable; it is ignored; did you mean TIDEGATE_CLIENT_ALLOWED_ORIGINS?
        environment: TIDEGATE_API_KEY is not a known variable; it is ignored; did you mean TIDEGATE_HTTP_API_KEY?
        ",
    );
}
