//! The server under attack: the real binary, with a configuration, a log and a port of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::Failure;
use crate::http::{API_KEY, Http, Response, api, get};
use crate::metrics::Metrics;
use crate::process::Process;

/// How a server is started.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// Its configuration.
    pub(crate) config: Value,
    /// Another program than the server, which takes no configuration.
    pub(crate) program: Option<PathBuf>,
    /// Variables set for it.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// Descriptors it may have.
    pub(crate) descriptors: Option<u32>,
}

impl Launch {
    /// A server as a careful person would set it up.
    pub(crate) fn new() -> Self {
        let config = json!({
            "http_server": { "address": "127.0.0.1", "port": 0 },
            "log": { "level": "info" },
            "http_api": { "key": API_KEY },
            "client": {
                "allowed_origins": ["https://good.example"],
                "allow_anonymous_connect_without_token": true,
            },
            "channel": { "without_namespace": {
                "allow_subscribe_for_client": true,
                "allow_subscribe_for_anonymous": true,
                "allow_publish_for_client": true,
                "allow_publish_for_anonymous": true,
            }},
            "node": { "memory_limit": MEMORY_LIMIT },
            "shutdown": { "timeout": "10s" },
        });
        Self { config, program: None, environment: Vec::new(), descriptors: None }
    }

    /// Sets a key, such as `client.connection_limit`.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<Value>) {
        let mut at = &mut self.config;
        for part in key.split('.') {
            at = &mut at[part];
        }
        *at = value.into();
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    folder: PathBuf,
}

impl Server {
    /// Starts one, and waits until it serves.
    ///
    /// # Errors
    /// It does not serve within 20 s.
    pub(crate) async fn start(launch: &Launch) -> Result<Self, Failure> {
        let folder = folder()?;
        let config = folder.join("tidegate.json");
        fs::write(&config, serde_json::to_vec_pretty(&launch.config)?)?;
        let program = match &launch.program {
            Some(program) => program.clone(),
            None => {
                std::env::var_os("TIDEGATE_BIN").ok_or("TIDEGATE_BIN is not set; expected a path")?.into()
            }
        };
        let mut command = match launch.descriptors {
            Some(most) => {
                let mut limited = Command::new("prlimit");
                limited.arg(format!("--nofile={most}:{most}")).arg(&program);
                limited
            }
            None => Command::new(&program),
        };
        if launch.program.is_none() {
            command.arg("--config").arg(&config);
        }
        let log = fs::File::create(folder.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        // A backtrace reads all of the debug information: that is not the server's memory.
        command
            .env("NO_COLOR", "1")
            .env("RUST_BACKTRACE", "0")
            .env_remove("TIDEGATE_BIN")
            .envs(launch.environment.iter().map(|(name, value)| (name, value)));
        let child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
        let process = Process(child.id().ok_or("the server ended at once")?);
        let mut server = Self { child, process, address: ([127, 0, 0, 1], 0).into(), folder };
        server.address = server.announced().await?;
        Ok(server)
    }

    /// The address that its log tells.
    async fn announced(&mut self) -> Result<SocketAddr, Failure> {
        let begin = Instant::now();
        while begin.elapsed() < START {
            let log = self.log();
            let address = log.split("serving http://").nth(1).and_then(|rest| rest.split_whitespace().next());
            if let Some(address) = address {
                return Ok(address.replace("localhost", "127.0.0.1").parse()?);
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the server did not start: {status}\n{log}").into());
            }
            sleep(Duration::from_millis(10)).await;
        }
        Err(format!("the server does not serve after {START:?}\n{}", self.log()).into())
    }

    /// Everything it has logged.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.join("log")).unwrap_or_default()).into_owned()
    }

    /// Where its configuration and its log lie.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What `/metrics` says.
    pub(crate) async fn metrics(&self) -> Result<Metrics, Failure> {
        Ok(Metrics::parse(&self.metrics_text().await?))
    }

    /// What `/metrics` says, as it is written.
    pub(crate) async fn metrics_text(&self) -> Result<String, Failure> {
        let response = get(self.address, "/metrics").await?;
        if response.status != 200 {
            return Err(format!("/metrics: expected 200, got {response:?}").into());
        }
        Ok(response.text())
    }

    /// One call of the API, on a connection of its own.
    pub(crate) async fn api(&self, method: &str, body: &str) -> Result<Response, Failure> {
        let mut http = Http::open(self.address).await?;
        http.write(api(method, body)).await?;
        Ok(http.response().await?)
    }

    /// Whether it is there.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_none())
    }

    /// Asks it to stop.
    pub(crate) async fn terminate(&self) -> Result<(), Failure> {
        let kill = Command::new("kill").arg("-TERM").arg(self.process.0.to_string()).status().await?;
        if kill.success() { Ok(()) } else { Err("the server is gone already".into()) }
    }

    /// Ends it at once: `kill -9`.
    pub(crate) async fn kill(&mut self) -> Result<(), Failure> {
        Ok(self.child.kill().await?)
    }

    /// Waits until it has ended, and returns its exit code: `None` for a signal.
    ///
    /// # Errors
    /// It has not ended within `patience`; it is killed then.
    pub(crate) async fn ended(&mut self, patience: Duration) -> Result<Option<i32>, Failure> {
        match timeout(patience, self.child.wait()).await {
            Ok(status) => Ok(status?.code()),
            Err(_) => {
                self.child.kill().await?;
                Err(format!("the server did not end within {patience:?}").into())
            }
        }
    }

    /// Forgets its folder: nothing in it is of interest.
    pub(crate) fn clean(&self) {
        // It is a folder for what is temporary.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A new folder.
fn folder() -> Result<PathBuf, Failure> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("tidegate-attacks-{}-{number}", std::process::id()));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Bytes that all windows of the server hold at most.
pub(crate) const MEMORY_LIMIT: u64 = 32 << 20;
const START: Duration = Duration::from_secs(20);
