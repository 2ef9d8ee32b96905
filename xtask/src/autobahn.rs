use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::Deserialize;
use serde_json::json;

use crate::error::Error;
use crate::setup::unless_stamped;
use crate::step;
use crate::workspace::Workspace;

/// `cargo xtask autobahn`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A Python 2.7 with pip, which is what the suite runs on; pyenv's by default
    #[arg(long, env = "PYTHON2")]
    python: Option<PathBuf>,
    /// Only these cases, such as `6.*`
    #[arg(long, default_value = "*")]
    cases: String,
}

const SUITE: &str = "autobahntestsuite==0.8.2";
/// Where pyenv puts the last Python 2, below the home folder.
const PYENV: &str = ".pyenv/versions/2.7.18/bin/python";
/// Runs the suite from a folder that is no virtual environment: Python 2's namespace packages want that said.
const START: &str = "import site, sys; site.addsitedir(sys.argv.pop(1)); \
                     from autobahntestsuite.wstest import run; run()";
/// Compression, which the transport does not offer.
const EXCLUDED: [&str; 2] = ["12.*", "13.*"];
/// Results that pass: the second is right but later than it might be, the third has no right answer.
const PASSING: [&str; 3] = ["OK", "NON-STRICT", "INFORMATIONAL"];

/// What the suite says of a case.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    behavior: String,
    behavior_close: String,
}

impl Args {
    /// Installs the suite if it is not there, runs it against the transport's example `echo`, and counts.
    ///
    /// # Errors
    /// When there is no Python 2.7, and when a case has failed.
    pub(crate) fn run(self, workspace: &Workspace) -> Result<(), Error> {
        let python = self.python()?;
        let folder = workspace.target.join("autobahn");
        let site = folder.join("site");
        unless_stamped(&site, SUITE, || {
            let mut pip = Command::new(&python);
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]);
            step::run(pip.arg(&site).arg(SUITE))
        })?;
        let echo = ["build", "-p", "tidegate-transport-ws", "--example", "echo"];
        step::run(&mut workspace.cargo(echo))?;
        let server = Echo::start(&workspace.target.join("debug/examples/echo"))?;
        let reports = folder.join("reports");
        let specification = json!({
            "outdir": reports,
            "servers": [{ "agent": AGENT, "url": format!("ws://{}", server.address) }],
            "cases": [self.cases],
            "exclude-cases": EXCLUDED,
            "exclude-agent-cases": {},
        });
        let file = folder.join("fuzzingclient.json");
        fs::write(&file, specification.to_string()).map_err(Error::file(&file))?;
        let mut suite = Command::new(&python);
        suite.args(["-c", START]).arg(&site).args(["-m", "fuzzingclient", "-s"]).arg(&file);
        step::run(suite.current_dir(&folder).stdout(Stdio::null()))?;
        drop(server);
        judge(&reports)
    }

    fn python(&self) -> Result<PathBuf, Error> {
        let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(PYENV));
        let python = self.python.clone().or(home.filter(|python| python.exists()));
        python.ok_or_else(|| {
            Error::Found(format!(
                "{SUITE} runs on Python 2.7, and there is none at ~/{PYENV}: `pyenv install 2.7.18`, or name one \
                 with --python"
            ))
        })
    }
}

const AGENT: &str = "tidegate";

/// Counts the results, and names those that are not good enough.
fn judge(reports: &Path) -> Result<(), Error> {
    let index = reports.join("index.json");
    let text = fs::read_to_string(&index).map_err(Error::file(&index))?;
    let agents: BTreeMap<String, BTreeMap<String, Outcome>> = serde_json::from_str(&text)?;
    let cases = agents.get(AGENT).filter(|cases| !cases.is_empty());
    let Some(cases) = cases else {
        return Err(Error::Found(format!("{}: no case was run", index.display())));
    };
    let mut counts = BTreeMap::<&str, usize>::new();
    let mut failed = Vec::new();
    for (case, outcome) in cases {
        *counts.entry(&outcome.behavior).or_default() += 1;
        let good = |behavior: &String| PASSING.contains(&behavior.as_str());
        if !good(&outcome.behavior) || !good(&outcome.behavior_close) {
            failed.push(format!("{case}: {}, closing {}", outcome.behavior, outcome.behavior_close));
        }
    }
    let counts: Vec<_> = counts.iter().map(|(behavior, count)| format!("{count} {behavior}")).collect();
    println!(
        "{} cases: {}; details: {}",
        cases.len(),
        counts.join(", "),
        reports.join("index.html").display()
    );
    if failed.is_empty() { Ok(()) } else { Err(Error::Found(failed.join("\n"))) }
}

/// The example under test, which ends with this.
struct Echo {
    process: Child,
    address: String,
}

impl Echo {
    fn start(program: &Path) -> Result<Self, Error> {
        let mut command = Command::new(program);
        command.arg("127.0.0.1:0").stdout(Stdio::piped());
        let mut process = command.spawn().map_err(step::not_started(&command))?;
        let mut address = String::new();
        let output = process.stdout.take().expect("standard output is piped");
        let read = BufReader::new(output).read_line(&mut address);
        let server = Self { process, address: address.trim().to_owned() };
        read.map_err(Error::file("standard output of the example echo"))?;
        Ok(server)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // Gone already: as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
