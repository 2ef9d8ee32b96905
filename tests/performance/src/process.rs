//! A server on a core of its own.

use std::fs::File;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::peers::Start;

/// A process that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts a server on this core, and waits until it takes connections.
    pub(crate) fn start(start: &Start, core: usize, folder: &Path) -> Result<Self, Failure> {
        let log = folder.join("server.log");
        let output = File::create(&log)?;
        let mut command = Command::new("taskset");
        command.args(["-c", &core.to_string()]).args(&start.command);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().map_err(|error| format!("taskset (of util-linux): {error}"))?;
        let mut process = Self(child);
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", start.port)).is_err() {
            if process.0.try_wait()?.is_some() || begin.elapsed() > PATIENCE {
                let said = std::fs::read_to_string(&log)?;
                return Err(format!("{:?} did not start; it said: {said}", start.command).into());
            }
            sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    /// `taskset` becomes what it starts.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Keeps this process, with the threads that it will have, on one core.
pub(crate) fn pin(core: usize) -> Result<(), Failure> {
    let own = std::process::id().to_string();
    let mut command = Command::new("taskset");
    command.args(["-cp", &core.to_string(), &own]).stdout(Stdio::null());
    let status = command.status().map_err(|error| format!("taskset (of util-linux): {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("taskset -cp {core} {own}: {status}").into()) }
}

/// For a server to start.
const PATIENCE: Duration = Duration::from_secs(20);
