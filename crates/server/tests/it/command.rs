//! `tidegate sub` and `tidegate pub`, the real binary, against a server in this process.

use std::net::SocketAddr;
use std::process::{Output, Stdio};

use async_trait::async_trait;
use serde_json::Value;
use tidegate_server::api::{self, ApiOptions};
use tidegate_server::core::broker::PublishOptions;
use tidegate_server::core::request::{ConnectRequest, SubscribeRequest};
use tidegate_server::core::transport::Peer;
use tidegate_server::core::{
    Authenticator, Channel, Client, ClientError, HistoryBounds, Identity, Publication, PublishGrant, Refusal,
    SubscribeGrant,
};
use tidegate_server::transport_ws::Options;
use tidegate_server::{Bytes, http};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use crate::port::{Port, within};
use crate::site::Rules;

/// As [`Rules`] with history, but nobody may publish `"no"`.
struct Judge(Rules);

#[async_trait]
impl Authenticator for Judge {
    async fn connect(&self, request: &ConnectRequest, peer: &Peer) -> Result<Identity, Refusal> {
        self.0.connect(request, peer).await
    }

    async fn subscribe(
        &self,
        client: &Client,
        request: &SubscribeRequest,
    ) -> Result<SubscribeGrant, Refusal> {
        self.0.subscribe(client, request).await
    }

    async fn publish(
        &self,
        client: &Client,
        channel: &Channel,
        data: &Bytes,
        subscribed: bool,
    ) -> Result<PublishGrant, Refusal> {
        if data == r#""no""# {
            return Err(ClientError::PERMISSION_DENIED.into());
        }
        self.0.publish(client, channel, data, subscribed).await
    }

    async fn history(
        &self,
        client: &Client,
        channel: &Channel,
        subscribed: bool,
    ) -> Result<HistoryBounds, Refusal> {
        self.0.history(client, channel, subscribed).await
    }
}

struct Stand {
    port: Port,
    api: SocketAddr,
    history: HistoryBounds,
}

impl Stand {
    fn open() -> Self {
        let rules = Rules::with_history(100);
        let history = rules.history;
        let tcp = http::listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let api = tcp.local_addr().expect("an address");
        let options = ApiOptions { key: "key".to_owned().into(), ..ApiOptions::default() };
        let port = Port::open(Judge(rules), Options::default(), |builder| {
            builder.http(tcp, |handle| api::router(handle, options))
        });
        Self { port, api, history }
    }

    fn url(&self) -> String {
        format!("ws://{}/", self.port.listener)
    }

    async fn publish(&self, channel: &str, data: impl Into<Bytes>) -> String {
        let options = PublishOptions { history: self.history, ..Default::default() };
        let publication = Publication::new(data);
        let published = self.port.handle.publish_with(&channel.into(), publication, &options).await;
        published.expect("it is taken").position.epoch.to_string()
    }

    /// What a channel's history holds.
    async fn kept(&self, channel: &str) -> Vec<String> {
        let client = tidegate_client::Client::connect(self.url()).unwrap();
        let history = client.history(channel, tidegate_client::HistoryQuery::all()).await.unwrap();
        let text =
            |publication: tidegate_client::Publication| String::from_utf8(publication.data.to_vec()).unwrap();
        history.publications.into_iter().map(text).collect()
    }
}

fn tidegate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(arguments).env_remove("TIDEGATE_TOKEN").env_remove("TIDEGATE_API_KEY");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// A `tidegate sub` that runs.
struct Sub {
    child: Child,
    errors: BufReader<tokio::process::ChildStderr>,
}

impl Sub {
    /// Starts it, and waits until so many subscriptions are live.
    async fn start(arguments: &[&str], live: usize) -> Self {
        let mut child = tidegate(arguments).spawn().expect("the binary");
        let errors = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut sub = Self { child, errors };
        for _ in 0..live {
            sub.hear("subscribed").await;
        }
        sub
    }

    /// Waits for a line of standard error that has this in it.
    async fn hear(&mut self, what: &str) {
        let mut line = String::new();
        while !line.contains(what) {
            line.clear();
            let read = within(self.errors.read_line(&mut line)).await.expect("text");
            assert!(read > 0, "{what:?} was not said");
        }
    }

    /// Waits for its end: the code, standard output, and the rest of standard error.
    async fn end(mut self) -> (Option<i32>, String, String) {
        let mut errors = String::new();
        within(self.errors.read_to_string(&mut errors)).await.expect("text");
        let output = within(self.child.wait_with_output()).await.expect("an end");
        (output.status.code(), text(&output.stdout), errors)
    }
}

/// Runs it to its end.
async fn run(arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut child = tidegate(arguments).stdin(Stdio::piped()).spawn().expect("the binary");
    let mut stdin = child.stdin.take().expect("a pipe");
    // It may not read all of it.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let Output { status, stdout, stderr } = within(child.wait_with_output()).await.expect("an end");
    (status.code(), text(&stdout), text(&stderr))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[tokio::test]
async fn sub_prints_a_line_for_each_publication() {
    let stand = Stand::open();
    let sub = Sub::start(&["sub", "news", "--url", &stand.url(), "--count", "2"], 1).await;
    stand.publish("news", r#"{"text":"hello"}"#).await;
    let epoch = stand.publish("news", "\"\\u001b[2J\"").await;
    let (code, out, errors) = sub.end().await;
    assert_eq!((code, &*out), (Some(0), "{\"text\":\"hello\"}\n\"\\u001b[2J\"\n"));
    assert!(errors.contains(&format!("news: read up to 2:{epoch} (--since)")), "{errors}");

    let arguments = ["sub", "news", "sports", "--url", &stand.url(), "--count", "2"];
    let sub = Sub::start(&arguments, 2).await;
    stand.publish("sports", "1").await;
    stand.publish("news", "2").await;
    let (_, out, _) = sub.end().await;
    let mut lines: Vec<_> = out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["news: 2", "sports: 1"]);
    stand.port.close().await;
}

#[tokio::test]
async fn sub_prints_objects_for_programs() {
    let stand = Stand::open();
    let arguments =
        ["sub", "news", "--json", "--protobuf", "--url", &stand.url(), "--count", "2", "--token", "ann"];
    let sub = Sub::start(&arguments, 1).await;
    stand.publish("news", "{\"n\":12345678901234567890123}").await;
    stand.publish("news", &[0xff][..]).await;
    let (code, out, _) = sub.end().await;
    assert_eq!(code, Some(0));
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[0], r#"{"channel":"news","offset":1,"data":{"n":12345678901234567890123}}"#);
    let second: Value = serde_json::from_str(lines[1]).unwrap();
    assert_eq!(second["b64data"], "/w==");
    stand.port.close().await;
}

#[tokio::test]
async fn sub_goes_on_from_where_it_was() {
    let stand = Stand::open();
    stand.publish("news", "1").await;
    stand.publish("news", "2").await;
    let epoch = stand.publish("news", "3").await;
    let since = format!("1:{epoch}");
    let sub = Sub::start(&["sub", "news", "--since", &since, "--url", &stand.url(), "--count", "2"], 0).await;
    assert_eq!(sub.end().await.1, "2\n3\n");
    // More than there is: what is missing is said.
    let sub =
        Sub::start(&["sub", "news", "--since", "1:other", "--url", &stand.url(), "--count", "1"], 1).await;
    stand.publish("news", "4").await;
    let (_, out, errors) = sub.end().await;
    assert_eq!(out, "4\n");
    assert!(errors.contains("an unknown number of publications missed"), "{errors}");
    stand.port.close().await;
}

#[tokio::test]
async fn sub_ends_with_code_0_on_an_interrupt() {
    let stand = Stand::open();
    let sub = Sub::start(&["sub", "news", "--url", &stand.url()], 1).await;
    let id = sub.child.id().expect("it runs").to_string();
    let killed = Command::new("kill").args(["-INT", &id]).status().await.expect("kill");
    assert!(killed.success());
    assert_eq!(sub.end().await.0, Some(0));
    stand.port.close().await;
}

#[tokio::test]
async fn sub_says_why_it_is_refused() {
    let stand = Stand::open();
    let (code, out, errors) = run(&["sub", "forbidden", "--url", &stand.url()], "").await;
    assert_eq!((code, &*out), (Some(1), ""));
    assert!(errors.contains("forbidden: the server refused: permission denied (code 103)"), "{errors}");
    let (code, _, errors) = run(&["sub", "news", "--url", &stand.url(), "--token", "invalid"], "").await;
    assert_eq!(code, Some(1));
    assert!(errors.contains("the server refused: invalid token (code 3500)"), "{errors}");
    let (code, _, errors) = run(&["sub", "news", "--url", "http://localhost:1"], "").await;
    assert_eq!(code, Some(1));
    assert!(errors.contains("expected ws:// in place of http://"), "{errors}");
    let (code, _, errors) = run(&["sub", "a", "b", "--since", "1:x"], "").await;
    assert_eq!(code, Some(1));
    assert!(errors.contains("--since is given with 2 channels; expected one"), "{errors}");
    stand.port.close().await;
}

#[tokio::test]
async fn pub_publishes_its_argument_or_each_line() {
    let stand = Stand::open();
    let url = stand.url();
    for (arguments, kept) in [
        (vec!["pub", "a", "{\"n\":1}"], "{\"n\":1}"),
        (vec!["pub", "b", "hello"], "\"hello\""),
        (vec!["pub", "c", "5", "--text"], "\"5\""),
        (vec!["pub", "d", "5", "--protobuf"], "5"),
    ] {
        let (code, out, errors) = run(&[&arguments[..], &["--url", &url]].concat(), "").await;
        assert_eq!((code, &*out, &*errors), (Some(0), "", ""));
        assert_eq!(stand.kept(arguments[1]).await, [kept]);
    }
    let lines: String = (0..100).map(|n| format!("{n}\n\n")).collect();
    assert_eq!(run(&["pub", "lines", "--url", &url], &lines).await.0, Some(0));
    assert_eq!(stand.kept("lines").await, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
    stand.port.close().await;
}

#[tokio::test]
async fn pub_says_which_line_was_refused_and_why() {
    let stand = Stand::open();
    let url = stand.url();
    let (code, _, errors) = run(&["pub", "news", "--url", &url], "yes\n\nno\nyes\n").await;
    assert_eq!(code, Some(1));
    assert_eq!(errors, "tidegate: line 3: the server refused: permission denied (error 103)\n");
    let (code, _, errors) = run(&["pub", "news", "1", "--url", &url, "--token", "invalid"], "").await;
    assert_eq!(code, Some(1));
    assert!(errors.contains("the server refused: invalid token (code 3500)"), "{errors}");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", nobody.local_addr().unwrap());
    drop(nobody);
    let (code, _, errors) = run(&["pub", "news", "1", "--url", &url], "").await;
    assert_eq!(code, Some(1));
    assert!(errors.contains(&url) && errors.contains("connecting failed"), "{errors}");
    stand.port.close().await;
}

#[tokio::test]
async fn pub_publishes_over_the_api_with_a_key() {
    let stand = Stand::open();
    let api = format!("http://{}/api", stand.api);
    let client = tidegate_client::Client::connect(stand.url()).unwrap();
    let mut news = client.subscribe("news").unwrap();
    while !matches!(within(news.next()).await, Some(tidegate_client::Event::Subscribed(_))) {}
    let (code, _, errors) = run(&["pub", "news", "--url", &api, "--api-key", "key"], "no\n2\n").await;
    assert_eq!((code, &*errors), (Some(0), ""));
    for expected in ["\"no\"", "2"] {
        let Some(tidegate_client::Event::Publication(publication)) = within(news.next()).await else {
            panic!("a publication");
        };
        assert_eq!(publication.data, expected, "the application may publish what clients may not");
    }
    let (code, _, errors) = run(&["pub", "news", "1", "--url", &api, "--api-key", "wrong"], "").await;
    assert_eq!(code, Some(1));
    assert!(errors.contains("does not take this API key (HTTP 401)"), "{errors}");
    let (code, _, errors) = run(&["pub", "", "1", "--url", &api, "--api-key", "key"], "").await;
    assert_eq!(code, Some(1));
    assert!(errors.contains("the server refused: "), "{errors}");
    let (code, _, errors) = run(&["pub", "news", "1", "--url", &stand.url(), "--api-key", "key"], "").await;
    assert_eq!(code, Some(1));
    assert!(errors.contains("expected http:// or https:// with --api-key"), "{errors}");
    client.disconnect().await;
    stand.port.close().await;
}

#[tokio::test]
async fn help_names_every_flag() {
    for (command, flags) in [
        (
            "sub",
            "--url --token --protobuf --ca-file --cert-hash --channel-token --since --recover --join-leave --delta --filter --json --count",
        ),
        ("pub", "--url --token --protobuf --ca-file --cert-hash --api-key --text"),
    ] {
        let (code, out, _) = run(&[command, "--help"], "").await;
        assert_eq!(code, Some(0));
        for flag in flags.split(' ') {
            assert!(out.contains(flag), "{command}: {flag}\n{out}");
        }
        assert!(out.contains("Examples:"));
    }
}

#[tokio::test]
async fn a_log_that_nobody_reads_any_more_stops_nothing() {
    let mut server = tidegate(&["serve", "--dev", "--http_server.port", "0", "--log.level", "debug"])
        .spawn()
        .expect("the binary");
    let mut log = BufReader::new(server.stderr.take().expect("a pipe"));
    let mut line = String::new();
    let address = loop {
        line.clear();
        assert!(within(log.read_line(&mut line)).await.expect("text") > 0, "it does not say where it serves");
        if let Some((_, rest)) = line.split_once("serving http://") {
            break rest.split_whitespace().next().expect("an address").to_owned();
        }
    };
    drop(log);
    for _ in 0..3 {
        let client =
            tidegate_client::Client::connect(format!("ws://{address}/connection/websocket")).unwrap();
        let told = within(client.rpc("nothing", "1")).await.expect_err("nobody answers it");
        assert!(told.to_string().contains("not available"), "{told}");
    }
    assert!(server.try_wait().expect("its state").is_none(), "it lives");
}
