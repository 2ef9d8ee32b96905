//! What goes over the wire, command by command, in JSON and in Protobuf, by the rules of a configuration: what
//! Centrifugo v6 answers.

mod channels;
mod life;
mod server_side;
mod streams;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::{Map, Value, json};
use tidegate_server::api::{self, ApiOptions};
use tidegate_server::config::{Config, Sources, load};
use tidegate_server::core::memory::{Address, Client, Limits, listener};
use tidegate_server::core::transport::Peer;
use tidegate_server::protocol::{Command, Encoding};
use tidegate_server::token::Signer;
use tidegate_server::{Bytes, Rules, Server};
use tokio::time::timeout;
use tower::ServiceExt;

/// Plays a script against a server with this configuration, in either encoding.
///
/// Configuration: `key=value`, separated by spaces; `true` may be left out. `+key` is of channels without a namespace,
/// `ns+key` of the namespace `ns`.
///
/// Script, a line each:
/// - `a: ann` connects the client `a` with a token of the user `ann`, `a: ?` with one of the anonymous user, `a: -` without
///   one.
/// - `a> {…} {…}` has it send commands in one frame. `TOKEN({claims})` is a token.
/// - `a< {…}` is what it reads next: ids of clients are `A`, `B`…, epochs `E`; versions are left out.
/// - `a< end 3501 bad request` is how its connection ends, `a< -` that nothing comes.
/// - `api METHOD {…} => {…}` is a request to the API, and its reply.
/// - `wait` lets everybody do what there is to be done.
async fn check(flags: &str, script: &str) {
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        let mut play = Play::start(&config(flags), encoding);
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            play.line(line).await;
        }
    }
}

/// Plays a script as [`check`] does. Of all publications that come then to `a`, whether they are patches, in either
/// encoding.
async fn patches(flags: &str, script: &str) -> Vec<Vec<bool>> {
    let mut all = Vec::new();
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        let mut play = Play::start(&config(flags), encoding);
        for line in script.lines() {
            play.line(line.trim()).await;
        }
        let mut patched = Vec::new();
        // A patch is no JSON, so what is in a frame is looked at, and not its payloads.
        let guest = play.clients.get_mut("a").expect("a client");
        while let Ok(Some(message)) = timeout(Duration::from_secs(2), guest.wire.recv()).await {
            let replies = encoding.replies(&message).map(|reply| reply.expect("a reply"));
            patched.extend(replies.filter_map(|reply| Some(reply.push?.publication?.delta)));
        }
        all.push(patched);
    }
    all
}

const SECRET: &str = "a secret that nobody guesses";

struct Play {
    encoding: Encoding,
    address: Address,
    api: axum::Router,
    clients: BTreeMap<String, Guest>,
    /// Names of clients by their ids.
    names: Vec<(String, String)>,
}

/// A client, and what it has read and not been asked for.
struct Guest {
    wire: Client,
    read: Vec<Value>,
}

impl Play {
    fn start(config: &Config, encoding: Encoding) -> Self {
        let rules = Arc::new(Rules::new(config).unwrap_or_else(|error| panic!("{error}")));
        let (listener, address) = listener(Limits { capacity: 1 << 16, ..Default::default() });
        let server = Server::builder(rules.clone()).hooks(rules.clone()).listen(listener).build();
        let options = ApiOptions { insecure: true, channels: rules, ..Default::default() };
        let api = api::router(server.handle(), options);
        tokio::spawn(server.run(std::future::pending()));
        Self { encoding, address, api, clients: BTreeMap::new(), names: Vec::new() }
    }

    async fn line(&mut self, line: &str) {
        let at = format!("{:?}: {line}", self.encoding);
        if line == "wait" {
            tokio::time::sleep(Duration::from_millis(100)).await;
        } else if let Some(request) = line.strip_prefix("api ") {
            let (method, rest) = request.split_once(' ').expect("api METHOD {…} => {…}");
            let (body, expected) = rest.split_once(" => ").expect("api METHOD {…} => {…}");
            let said = self.api(method, body).await;
            assert_eq!(said, parse(expected), "{at}");
        } else if let Some((name, user)) = line.split_once(": ").filter(|(name, _)| name.len() == 1) {
            let token = match user {
                "-" => String::new(),
                "?" => token(&json!({})),
                user => token(&json!({ "sub": user })),
            };
            self.say(name, &json!({"id": 1, "connect": {"token": token}}).to_string()).await;
            let reply = self.hear(name).await.unwrap_or_else(|end| panic!("{at}: {end}"));
            assert_eq!(reply["connect"]["client"], name.to_uppercase(), "{at}");
        } else if let Some((name, commands)) = line.split_once("> ") {
            self.say(name, commands).await;
        } else if let Some((name, expected)) = line.split_once("< ") {
            match (self.hear(name).await, expected) {
                (Err(end), expected) => assert_eq!(end, expected, "{at}"),
                (Ok(said), expected) => assert_eq!(said, parse(expected), "{at}"),
            }
        } else {
            panic!("{at}: not a line of a script");
        }
    }

    async fn api(&self, method: &str, body: &str) -> Value {
        let body = self.names.iter().fold(body.to_owned(), |body, (id, name)| {
            body.replace(&format!("\"{name}\""), &format!("\"{id}\""))
        });
        let request = Request::post(format!("/api/{method}")).body(Body::from(body)).unwrap();
        let response = self.api.clone().oneshot(request).await.expect("a router does not fail");
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        self.plain(serde_json::from_slice(&body).expect("JSON"))
    }

    async fn say(&mut self, name: &str, commands: &str) {
        let address = &self.address;
        let query = if self.encoding == Encoding::Json { "" } else { "cf_protocol=protobuf" };
        let guest = self.clients.entry(name.to_owned()).or_insert_with(|| {
            let peer = Peer { query: query.into(), ..Default::default() };
            Guest { wire: address.connect_as(peer).expect("a listener"), read: Vec::new() }
        });
        let commands = tokens(commands);
        let commands = serde_json::Deserializer::from_str(&commands).into_iter::<Value>();
        let frame: Vec<Bytes> = commands
            .map(|command| {
                let command = command.expect("JSON").to_string();
                match self.encoding {
                    Encoding::Json => format!("{command}\n").into(),
                    Encoding::Protobuf => {
                        let command: Command = serde_json::from_str(&command).expect("a command");
                        self.encoding.encode_command(&command).expect("JSON payloads")
                    }
                }
            })
            .collect();
        guest.wire.send(frame.concat()).await.expect("a server that listens");
    }

    /// What a client reads next, but for pings, which it answers; or how its connection ends.
    async fn hear(&mut self, name: &str) -> Result<Value, String> {
        let encoding = self.encoding;
        let guest = self.clients.get_mut(name).expect("a client that has said something");
        loop {
            if guest.read.is_empty() {
                let Ok(next) = timeout(Duration::from_secs(2), guest.wire.recv()).await else {
                    return Err("-".to_owned());
                };
                let Some(message) = next else {
                    let why = guest.wire.closed();
                    return Err(why.map_or("end".to_owned(), |why| format!("end {why}")));
                };
                guest.read = match encoding {
                    Encoding::Json => message
                        .split(|byte| *byte == b'\n')
                        .map(|line| serde_json::from_slice(line).expect("JSON"))
                        .collect(),
                    Encoding::Protobuf => encoding
                        .replies(&message)
                        .map(|reply| serde_json::to_value(reply.expect("Protobuf")).expect("JSON payloads"))
                        .collect(),
                };
            }
            let next = guest.read.remove(0);
            if next == json!({}) {
                guest.wire.send(encoding.ping()).await.expect("a server that listens");
                continue;
            }
            if next["push"]["disconnect"].is_object() {
                // The end says the same.
                continue;
            }
            if let Some(id) = next["connect"]["client"].as_str() {
                self.names.push((id.to_owned(), name.to_uppercase()));
            }
            return Ok(self.plain(next));
        }
    }

    /// What is said, with names for what is different each time.
    fn plain(&self, value: Value) -> Value {
        let text = self.names.iter().fold(value.to_string(), |text, (id, name)| text.replace(id, name));
        let mut value = serde_json::from_str(&text).expect("JSON");
        hide(&mut value);
        value
    }
}

fn hide(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, value| name != "version" || !value.is_string());
            for (name, value) in members {
                if name == "epoch" && value.is_string() {
                    *value = "E".into();
                } else {
                    hide(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        _ => {}
    }
}

/// Text of a script with its tokens made.
fn tokens(text: &str) -> String {
    let mut parts = text.split("TOKEN(");
    let mut made = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (claims, rest) = part.split_once(')').expect("TOKEN({…})");
        made.push_str(&token(&parse(claims)));
        made.push_str(rest);
    }
    made
}

fn token(claims: &Value) -> String {
    let claims: Map<String, Value> = claims.as_object().expect("claims").clone();
    let signer = Signer::secret(SECRET.as_bytes(), None).unwrap_or_else(|error| panic!("{error}"));
    signer.sign(&claims, None).unwrap_or_else(|error| panic!("{error}"))
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn config(flags: &str) -> Config {
    let mut namespaces: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let mut all = vec![("client.token.hmac_secret_key".to_owned(), SECRET.to_owned())];
    for flag in flags.split_whitespace() {
        let (name, value) = flag.split_once('=').unwrap_or((flag, "true"));
        match name.split_once('+') {
            None => all.push((name.to_owned(), value.to_owned())),
            Some(("", name)) => all.push((format!("channel.without_namespace.{name}"), value.to_owned())),
            Some((namespace, name)) => {
                let options = namespaces.entry(namespace).or_default();
                options.insert("name".to_owned(), namespace.into());
                let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
                options.insert(name.to_owned(), value);
            }
        }
    }
    let namespaces: Vec<_> = namespaces.into_values().collect();
    all.push(("channel.namespaces".to_owned(), json!(namespaces).to_string()));
    load(&Sources { flags: all, ..Sources::default() }).unwrap_or_else(|error| panic!("{error}")).config
}
