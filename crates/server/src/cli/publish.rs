//! `tidegate pub`: publishes from the command line, or a line of standard input at a time.

use std::error::Error;
use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use futures_util::StreamExt;
use serde_json::Value;
use tidegate_client::Client;
use tokio::sync::mpsc;

use super::connect::{Connect, URL, connected};
use super::line;
use crate::fail;

/// Publish to a channel.
#[derive(Debug, Args)]
#[command(
    after_help = "What is JSON is published as it is, anything else as a JSON string: `tidegate pub news hello` \
    publishes \"hello\". Without DATA each line of standard input is a message; empty lines are passed over. Lines are \
    published in order.\n\n\
    As a client by default, which has to be allowed to publish; with --api-key over the HTTP API, as the application \
    does. It ends with code 1 at the first message that is refused, and says which; of a message whose answer did not \
    come nobody knows whether it was published.\n\n\
    Examples:\n  \
    tidegate pub news '{\"text\":\"hello\"}'\n  \
    seq 100 | tidegate pub numbers\n  \
    tidegate pub news hello --url http://localhost:8000/api --api-key \"$KEY\""
)]
pub(crate) struct Pub {
    /// The channel
    channel: String,
    /// The message; without it, each line of standard input is one
    data: Option<String>,
    /// The server, ws://, wss:// or quic://; with --api-key the HTTP API, http:// or https:// [default:
    /// ws://localhost:8000/connection/websocket, or http://localhost:8000/api]
    #[arg(long)]
    url: Option<String>,
    #[command(flatten)]
    connect: Connect,
    /// Publish over the HTTP API, with this key. In the environment it is not seen by other users
    #[arg(long, value_name = "KEY", env = "TIDEGATE_API_KEY", hide_env_values = true)]
    #[arg(conflicts_with_all = ["protobuf", "ca_file", "cert_hash"])]
    api_key: Option<String>,
    /// The messages are text, also where they look like JSON
    #[arg(long)]
    text: bool,
}

/// Where the HTTP API of a server in development mode is.
const API: &str = "http://localhost:8000/api";

/// Messages whose answers are waited for at once. 64: a round trip then costs little for each.
const WINDOW: usize = 64;

/// How long an answer of the HTTP API may take. 5 s, as for a client.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A message, and the line it stands in.
type Line = (Option<u64>, Result<String, String>);

/// Runs it.
pub(crate) fn run(publish: &Pub) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let done = runtime.block_on(publish.run());
    // The thread that reads standard input may wait for a line that never comes.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&line::safe(&error.to_string())),
    }
}

impl Pub {
    async fn run(&self) -> Result<(), Box<dyn Error>> {
        match &self.api_key {
            Some(key) => self.over_api(key).await,
            None => self.as_client().await,
        }
    }

    async fn as_client(&self) -> Result<(), Box<dyn Error>> {
        let url = self.url.as_deref().unwrap_or(URL);
        let client = self.connect.builder(url)?.connect()?;
        connected(&client, url).await?;
        let publish = |(number, data): Line| {
            let (client, channel) = (client.clone(), self.channel.clone());
            async move {
                let data = data.map_err(|error| at(number, error))?;
                client.publish(channel, data).await.map_err(|error| at(number, error))
            }
        };
        let mut lines = self.lines();
        let lines = futures_util::stream::poll_fn(|cx| lines.poll_recv(cx));
        let mut published = std::pin::pin!(lines.map(publish).buffered(WINDOW));
        while let Some(published) = published.next().await {
            published.map_err(|error| told(&client, error))?;
        }
        client.disconnect().await;
        Ok(())
    }

    async fn over_api(&self, key: &str) -> Result<(), Box<dyn Error>> {
        let url = self.url.as_deref().unwrap_or(API).trim_end_matches('/');
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(format!("--url is {url:?}; expected http:// or https:// with --api-key").into());
        }
        let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
        let mut lines = self.lines();
        while let Some((number, data)) = lines.recv().await {
            let data = data.map_err(|error| at(number, error))?;
            // As it is: parsing might change it.
            let body = format!(r#"{{"channel":{},"data":{data}}}"#, Value::from(&*self.channel));
            let request = client.post(format!("{url}/publish")).header("X-API-Key", key);
            let request = request.header("Content-Type", "application/json").body(body);
            let answer = request.send().await.map_err(|error| at(number, describe(url, &error)))?;
            let status = answer.status();
            let body = answer.bytes().await.map_err(|error| at(number, describe(url, &error)))?;
            judge(url, status, &body).map_err(|error| at(number, error))?;
        }
        Ok(())
    }

    /// The messages, as they come.
    fn lines(&self) -> mpsc::Receiver<Line> {
        let (sender, lines) = mpsc::channel(WINDOW);
        if let Some(data) = &self.data {
            let message = (None, Ok(self.message(data)));
            sender.try_send(message).expect("there is room for one");
            return lines;
        }
        let text = self.text;
        // Ends with the process: a read that waits for a line cannot be cut short.
        std::thread::spawn(move || {
            let input = std::io::stdin();
            if input.is_terminal() {
                eprintln!("A message per line; end the input (Ctrl-D) to end:");
            }
            for (number, line) in (1..).zip(input.lock().lines()) {
                let line = line.map_err(|error| format!("reading standard input: {error}"));
                let failed = line.is_err();
                if line.as_ref().is_ok_and(String::is_empty) {
                    continue;
                }
                let message = line.map(|line| json(&line, text));
                if sender.blocking_send((Some(number), message)).is_err() || failed {
                    break;
                }
            }
        });
        lines
    }

    fn message(&self, data: &str) -> String {
        json(data, self.text)
    }
}

/// The JSON that a message is.
fn json(data: &str, text: bool) -> String {
    if !text && tidegate_server::protocol::is_json(data.as_bytes()) {
        data.trim().to_owned()
    } else {
        Value::from(data).to_string()
    }
}

/// The error of a message, with its line.
fn at(number: Option<u64>, error: impl std::fmt::Display) -> String {
    match number {
        Some(number) => format!("line {number}: {error}"),
        None => error.to_string(),
    }
}

/// The error, with why the client ended, if it did.
fn told(client: &Client, error: String) -> String {
    match client.state() {
        tidegate_client::State::Disconnected(why) if !error.contains(&why.reason) => {
            format!("{error}: {why}")
        }
        _ => error,
    }
}

/// What went wrong with the request, to the bottom of it.
fn describe(url: &str, error: &reqwest::Error) -> String {
    let mut text = format!("{url}: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// What the HTTP API says of a publication.
fn judge(url: &str, status: reqwest::StatusCode, body: &[u8]) -> Result<(), String> {
    if status == reqwest::StatusCode::UNAUTHORIZED {
        return Err(format!("{url}: the server does not take this API key (HTTP 401)"));
    }
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    if let Some(error) = answer.get("error") {
        let message = error["message"].as_str().unwrap_or("it does not say why");
        return Err(format!("the server refused: {message} (error {})", error["code"]));
    }
    if status.is_success() && answer.get("result").is_some() {
        return Ok(());
    }
    Err(format!("{url}: expected the answer of Tidegate's HTTP API, got something else (HTTP {status})"))
}
