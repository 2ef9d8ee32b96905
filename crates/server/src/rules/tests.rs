mod channels;
mod connect;
mod explain;
mod proxies;
mod subscribe;

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_core::request::{ConnectRequest, SubscribeRequest};
use tidegate_core::transport::Peer;
use tidegate_core::{Authenticator, Client, ClientInfo, Refusal};

use super::*;
use crate::config::{Sources, load};
use crate::token::tests::signed;

const SECRET: &str = "a secret that nobody guesses";

/// The rules of flags, separated by spaces: `client.insecure=true`. Options of channels without a namespace
/// are `+history_size=10`; there is a namespace `chat` with the options of `chat+`.
fn rules(flags: &str) -> Rules {
    Rules::new(&config(flags)).unwrap_or_else(|error| panic!("{error}"))
}

fn config(flags: &str) -> Config {
    let mut chat = json!({"name": "chat"});
    let mut all = vec![("client.token.hmac_secret_key".to_owned(), SECRET.to_owned())];
    for flag in flags.split_whitespace() {
        let (name, value) = flag.split_once('=').unwrap_or((flag, "true"));
        if let Some(name) = name.strip_prefix("chat+") {
            chat[name] = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        } else {
            let name = name.strip_prefix('+').map(|name| format!("channel.without_namespace.{name}"));
            let name = name.unwrap_or_else(|| flag.split('=').next().unwrap_or_default().to_owned());
            all.push((name, value.to_owned()));
        }
    }
    all.push(("channel.namespaces".to_owned(), json!([chat]).to_string()));
    load(&Sources { flags: all, ..Sources::default() }).unwrap_or_else(|error| panic!("{error}")).config
}

fn client(user: &str) -> Client {
    let info = ClientInfo {
        user: user.into(),
        client: "c1".into(),
        connection: Default::default(),
        channel: Default::default(),
    };
    Client {
        id: "c1".into(),
        info: Arc::new(info),
        transport: "memory",
        address: None,
        meta: Default::default(),
        context: None,
    }
}

pub(crate) fn subscribe_to(channel: &str) -> SubscribeRequest {
    SubscribeRequest {
        channel: channel.into(),
        token: String::new(),
        data: Default::default(),
        recover: None,
        positioned: false,
        recoverable: false,
        join_leave: false,
        delta: false,
        refuse_unrecoverable: false,
        filter: None,
    }
}

fn token(claims: Value) -> String {
    signed(SECRET, &claims)
}

/// `ok`, or the code that a client gets: errors are below 3000, disconnects above.
fn code<T>(outcome: &Result<T, Refusal>) -> String {
    match outcome {
        Ok(_) => "ok".to_owned(),
        Err(Refusal::Error(error)) => error.code.to_string(),
        Err(Refusal::Disconnect(why)) => why.code.to_string(),
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// Seconds since 1970, this many from now.
fn at(from_now: i64) -> i64 {
    unix_now() + from_now
}

#[test]
fn rules_show_nothing() {
    let shown = format!("{:?}", rules(""));
    assert_eq!(shown, "Rules { insecure: false, namespaces: {\"chat\"}, .. }");
}

#[test]
fn values_that_make_no_sense_are_named() {
    #[track_caller]
    fn check(flags: &str, expected: &str) {
        let said = Rules::new(&config(flags)).map(|_| ()).expect_err(expected).to_string();
        assert_eq!(said, expected);
    }
    check(
        "+channel_regex=(",
        "channel.without_namespace.channel_regex is \"(\"; expected a regular expression, without look-around and back-references",
    );
    check(
        "+history_size=10",
        "channel.without_namespace.history_ttl is 0; expected more, because history_size is set: there is no history without both",
    );
    check(
        "chat+force_recovery=true",
        "channel.namespaces.chat.force_recovery is true; expected false without history_size and history_ttl",
    );
    check(
        "client.subscription_token.enabled client.subscription_token.rsa_public_key=x",
        "client.subscription_token.rsa_public_key is something else; expected an RSA public key as PEM",
    );
}
