use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::step;
use crate::workspace::Workspace;

/// `cargo xtask fuzz [TARGET…] [--seconds N]`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these: frames, json, protobuf, session, config; without any, all of them
    targets: Vec<String>,
    /// How long each is fed
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// The targets, which are binaries of `fuzz/`.
const TARGETS: [&str; 5] = ["frames", "json", "protobuf", "session", "config"];
/// What the process may use, in MiB: inputs are of 4 KiB, and what grows with more than them is found.
const MEMORY: u32 = 1024;
/// Bytes of the longest input: some WebSocket frames or a dozen commands.
const LONGEST: u32 = 4096;
/// Known to work with a stable compiler, without a sanitizer.
const CARGO_FUZZ: &str = "0.13.2";

impl Args {
    /// Installs cargo-fuzz if it is not there, builds the targets and feeds each for a while: what was found
    /// before first (in `target/fuzz/corpus`), and the seeds of the repository.
    ///
    /// # Errors
    /// When a target has panicked, taken too long or too much memory; libFuzzer has printed which input did
    /// it, and where it lies.
    pub(crate) fn run(self, workspace: &Workspace) -> Result<(), Error> {
        let chosen = if self.targets.is_empty() { TARGETS.map(str::to_owned).to_vec() } else { self.targets };
        if let Some(unknown) = chosen.iter().find(|name| !TARGETS.contains(&name.as_str())) {
            return Err(Error::Found(format!(
                "{unknown} is no target; expected one of {}",
                TARGETS.join(", ")
            )));
        }
        let tool = tool(workspace)?;
        for target in &chosen {
            step::run(&mut command(&tool, workspace, "build", target))?;
        }
        for target in &chosen {
            let corpus = workspace.target.join("fuzz/corpus").join(target);
            fs::create_dir_all(&corpus).map_err(Error::file(&corpus))?;
            let mut run = command(&tool, workspace, "run", target);
            run.args([&corpus, &folder(workspace).join("seeds").join(target)]).arg("--");
            run.arg(format!("-max_total_time={}", self.seconds));
            run.arg(format!("-rss_limit_mb={MEMORY}")).arg(format!("-max_len={LONGEST}"));
            run.args(["-timeout=10", "-print_final_stats=1"]);
            let words = folder(workspace).join("dictionaries").join(format!("{target}.dict"));
            if words.exists() {
                run.arg(format!("-dict={}", words.display()));
            }
            step::run(&mut run)?;
        }
        Ok(())
    }
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.root.join("fuzz")
}

/// cargo-fuzz, in cargo's target folder.
fn tool(workspace: &Workspace) -> Result<PathBuf, Error> {
    let root = workspace.target.join("tools");
    let tool = root.join("bin/cargo-fuzz");
    if !tool.exists() {
        let mut install = workspace.cargo(["install", "cargo-fuzz", "--locked", "--version", CARGO_FUZZ]);
        step::run(install.arg("--root").arg(&root))?;
    }
    Ok(tool)
}

/// `cargo fuzz <verb> … <target>`, as far as it is the same for all verbs.
fn command(tool: &Path, workspace: &Workspace, verb: &str, target: &str) -> Command {
    let mut command = Command::new(tool);
    command.args(["fuzz", verb, "--sanitizer", "none", "--fuzz-dir", "."]);
    command.arg("--target-dir").arg(workspace.target.join("fuzz"));
    if target != "config" {
        // Without the whole server, which takes minutes to build.
        command.arg("--no-default-features");
    }
    command.arg(target).current_dir(folder(workspace));
    // Linking for speed takes longer than it gives.
    command.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    command
}
