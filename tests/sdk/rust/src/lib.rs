//! A tidegate process under test.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A server that is ready. Dropping it kills it; [`Server::stop`] is how a test ends well.
#[derive(Debug)]
pub struct Server {
    port: u16,
    folder: PathBuf,
    key: String,
    process: Option<Child>,
}

impl Server {
    /// Starts a server with `../config.json`, without the `keys` of `channel.without_namespace`.
    pub fn start(keys: &[&str]) -> Self {
        let port = free_port();
        let mut config: Value =
            serde_json::from_str(include_str!("../../config.json")).expect("config.json is JSON");
        config["http_server"]["port"] = json!(port);
        for key in keys {
            config["channel"]["without_namespace"][key] = json!(false);
        }
        let folder = std::env::temp_dir().join(format!("tidegate-{}-{port}", std::process::id()));
        fs::create_dir_all(&folder).expect("the temporary folder can be written");
        fs::write(folder.join("config.json"), config.to_string())
            .expect("the temporary folder can be written");
        let key = config["http_api"]["key"].as_str().expect("config.json has a key").to_owned();
        let mut server = Self { port, folder, key, process: None };
        server.resume();
        server
    }

    /// Where clients connect to.
    pub fn websocket(&self) -> String {
        format!("ws://127.0.0.1:{}/connection/websocket", self.port)
    }

    /// Calls the HTTP API and returns its `result`.
    pub fn api(&self, method: &str, request: &Value) -> Value {
        let (status, body) =
            self.http("POST", &format!("/api/{method}"), &request.to_string()).expect("it answers");
        assert_eq!(status, 200, "{method}: {body}");
        let mut reply: Value = serde_json::from_str(&body).expect("the API answers JSON");
        assert_eq!(reply["error"], Value::Null, "{method}: {body}");
        reply["result"].take()
    }

    /// Publishes over the HTTP API.
    pub fn publish(&self, channel: &str, data: Value) {
        self.api("publish", &json!({ "channel": channel, "data": data }));
    }

    /// Ends the process, which must end well; [`Server::resume`] starts it again on the same port.
    pub fn halt(&mut self) {
        let mut process = self.process.take().expect("the server runs");
        let term = Command::new("kill").args(["-TERM", &process.id().to_string()]).status();
        assert!(term.is_ok_and(|status| status.success()), "the server takes signals");
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = process.try_wait().expect("a child can be waited for") {
                assert!(status.success(), "the server ended with {status}:\n{}", self.log());
                return;
            }
            sleep(Duration::from_millis(10));
        }
        let _ = process.kill();
        let _ = process.wait();
        panic!("the server did not end:\n{}", self.log());
    }

    /// Starts the process and waits until it is ready.
    pub fn resume(&mut self) {
        let log = fs::File::create(self.folder.join("log")).expect("the temporary folder can be written");
        let mut command =
            Command::new(std::env::var_os("TIDEGATE_BIN").expect("TIDEGATE_BIN names the server"));
        command.arg("serve").arg("--config").arg(self.folder.join("config.json"));
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file has handles")).stderr(log);
        let process = self.process.insert(command.spawn().expect("TIDEGATE_BIN starts"));
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ended = process.try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "the server did not start:\n{}", log_in(&self.folder));
            if ready(self.port) {
                return;
            }
            assert!(Instant::now() < deadline, "the server did not get ready:\n{}", log_in(&self.folder));
            sleep(Duration::from_millis(20));
        }
    }

    /// Ends the process, which must end well.
    pub fn stop(mut self) {
        self.halt();
    }

    fn http(&self, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
        http(self.port, method, path, &self.key, body)
    }

    fn log(&self) -> String {
        log_in(&self.folder)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            eprintln!("{}", self.log());
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn ready(port: u16) -> bool {
    http(port, "GET", "/ready", "", "").is_ok_and(|(status, _)| status == 200)
}

/// One HTTP/1.0 request; status and body.
fn http(port: u16, method: &str, path: &str, key: &str, body: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // HTTP/1.0 has no chunks and no second request: the body ends where the stream does.
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nX-API-Key: {key}\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    let (head, body) = reply.split_once("\r\n\r\n").ok_or(ErrorKind::UnexpectedEof)?;
    let status =
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(ErrorKind::InvalidData)?;
    Ok((status, body.to_owned()))
}

/// Below the ports that outgoing connections take, so that a restarted server finds its own free.
fn free_port() -> u16 {
    loop {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (std::process::id() as u16).wrapping_mul(37).wrapping_add(n) % 20_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn log_in(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

/// Longest wait for the server to get ready, or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Counts ports, so that no two tests of this process ask for the same.
static NEXT: AtomicU16 = AtomicU16::new(0);
