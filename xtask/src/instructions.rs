//! How many instructions a delivery takes: a figure that no other load on the machine changes.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::Error;
use crate::step;
use crate::workspace::Workspace;

/// `cargo xtask instructions`
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Write what is counted into the baseline
    #[arg(long)]
    update: bool,
}

impl Args {
    /// Counts under callgrind, and compares with the baseline.
    ///
    /// # Errors
    /// When a case takes more than the baseline and [`TOLERANCE`], or valgrind is missing.
    pub(crate) fn run(self, workspace: &Workspace) -> Result<(), Error> {
        if !is_there() {
            return Err(Error::Found("valgrind is missing: install it (apt install valgrind)".into()));
        }
        let baseline = workspace.root.join(BASELINE);
        let text = fs::read_to_string(&baseline).map_err(Error::file(&baseline))?;
        let (known, counted) = (Counts::parse(&text), count(workspace)?);
        if self.update {
            fs::write(&baseline, counted.text()).map_err(Error::file(&baseline))?;
            print!("{}", counted.text());
            return Ok(());
        }
        let (said, failed) = compare(&known, &counted);
        print!("{said}");
        if failed { Err(Error::Found(format!("deliveries take more than {BASELINE} says"))) } else { Ok(()) }
    }
}

/// The same as a part of everything: where valgrind is missing, that is said.
///
/// # Errors
/// Those of [`Args::run`].
pub(crate) fn check(workspace: &Workspace) -> Result<(), Error> {
    if is_there() {
        return Args::default().run(workspace);
    }
    eprintln!("== valgrind is missing: instructions are not counted");
    Ok(())
}

/// Instructions per delivery, by case, and what counted them.
#[derive(Debug, Default, PartialEq)]
struct Counts {
    /// What else changes the figures.
    compiler: String,
    cases: Vec<(String, f64)>,
}

impl Counts {
    fn parse(text: &str) -> Self {
        let mut counts = Self::default();
        for (name, value) in text.lines().filter_map(|line| line.split_once('\t')) {
            match value.parse() {
                Ok(value) => counts.cases.push((name.to_owned(), value)),
                Err(_) => counts.compiler = value.to_owned(),
            }
        }
        counts
    }

    fn text(&self) -> String {
        let mut text = format!("{HEAD}compiler\t{}\n", self.compiler);
        for (name, value) in &self.cases {
            let _ = writeln!(text, "{name}\t{value:.1}");
        }
        text
    }

    fn get(&self, name: &str) -> Option<f64> {
        self.cases.iter().find(|(case, _)| case == name).map(|(_, value)| *value)
    }
}

/// What people are told, and whether it is bad.
fn compare(known: &Counts, counted: &Counts) -> (String, bool) {
    let (mut said, mut worse, mut other) = (String::new(), false, false);
    for (name, value) in &counted.cases {
        let Some(before) = known.get(name) else {
            let _ = writeln!(said, "{name:20} {value:10.1}  not in the baseline");
            other = true;
            continue;
        };
        let change = value / before - 1.0;
        let _ = writeln!(said, "{name:20} {value:10.1}  {:+.1} % of {before:.1}", 100.0 * change);
        worse |= change > TOLERANCE;
        other |= change.abs() > TOLERANCE;
    }
    for (name, _) in known.cases.iter().filter(|(name, _)| counted.get(name).is_none()) {
        let _ = writeln!(said, "{name:20} is in the baseline only");
        other = true;
    }
    if known.compiler != counted.compiler {
        let _ = writeln!(
            said,
            "{BASELINE} was counted with {}, this with {}: nothing is judged",
            known.compiler, counted.compiler
        );
    }
    let judged = known.compiler == counted.compiler;
    if other && judged {
        let _ = writeln!(
            said,
            "If the change is meant, `cargo xtask instructions --update` writes it down; say why in the commit."
        );
    }
    (said, worse && judged)
}

/// Builds the program that delivers, and runs each of its cases twice: what more rounds take is theirs alone.
fn count(workspace: &Workspace) -> Result<Counts, Error> {
    let arguments =
        ["build", "-p", "tidegate-protocol", "--example", "deliveries", "--profile", "instructions"];
    step::run(&mut workspace.cargo(arguments))?;
    let program = workspace.target.join("instructions/examples/deliveries");
    let cases = words(step::output(Command::new(&program).arg("list"))?);
    let mut counts = Counts { compiler: compiler()?, ..Counts::default() };
    for case in cases {
        let (few, _) = callgrind(workspace, &program, &case, ROUNDS[0])?;
        let (many, deliveries) = callgrind(workspace, &program, &case, ROUNDS[1])?;
        let deliveries = deliveries * (ROUNDS[1] - ROUNDS[0]) as f64;
        counts.cases.push((case, (many - few) / deliveries));
    }
    Ok(counts)
}

/// All instructions of a run, and how many deliveries each of its rounds has.
fn callgrind(workspace: &Workspace, program: &Path, case: &str, rounds: u32) -> Result<(f64, f64), Error> {
    let file: PathBuf = workspace.target.join(format!("instructions/callgrind.{case}.{rounds}"));
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind"]).arg(format!("--callgrind-out-file={}", file.display()));
    valgrind.arg(program).args([case, &rounds.to_string()]);
    let deliveries = words(step::output(&mut valgrind)?);
    let text = fs::read_to_string(&file).map_err(Error::file(&file))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse::<f64>().ok());
    let deliveries = deliveries.first().and_then(|word| word.parse().ok());
    let nothing = || Error::Found(format!("{}: expected a line of totals", file.display()));
    total.zip(deliveries).ok_or_else(nothing)
}

fn compiler() -> Result<String, Error> {
    let version = words(step::output(Command::new("rustc").arg("--version"))?);
    Ok(version.into_iter().take(2).collect::<Vec<_>>().join(" ") + " " + std::env::consts::ARCH)
}

fn words(output: Vec<u8>) -> Vec<String> {
    String::from_utf8_lossy(&output).split_whitespace().map(str::to_owned).collect()
}

fn is_there() -> bool {
    Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

const BASELINE: &str = "crates/protocol/instructions.tsv";
/// What a delivery may take more than the baseline says, as a part of that.
const TOLERANCE: f64 = 0.05;
/// Enough for the first round's growing of buffers not to matter.
const ROUNDS: [u32; 2] = [20, 60];
const HEAD: &str = "# Instructions per delivery, by `cargo xtask instructions --update`.\n";

#[cfg(test)]
mod tests {
    use super::{Counts, compare};

    fn counts(compiler: &str, cases: &[(&str, f64)]) -> Counts {
        let cases = cases.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Counts { compiler: compiler.to_owned(), cases }
    }

    #[track_caller]
    fn check(known: &Counts, counted: &Counts, failed: bool, said: &str) {
        let (text, bad) = compare(known, counted);
        assert_eq!(bad, failed, "{text}");
        assert!(text.contains(said), "{text}");
    }

    #[test]
    fn more_is_a_failure_and_less_a_reason_to_update() {
        let known = counts("rustc 1", &[("a", 100.0), ("b", 50.0)]);
        check(&known, &counts("rustc 1", &[("a", 104.0), ("b", 50.0)]), false, "+4.0 %");
        check(&known, &counts("rustc 1", &[("a", 106.0), ("b", 50.0)]), true, "--update");
        check(&known, &counts("rustc 1", &[("a", 90.0), ("b", 50.0)]), false, "--update");
        check(&known, &counts("rustc 1", &[("a", 100.0)]), false, "baseline only");
        check(&known, &counts("rustc 1", &[("c", 100.0)]), false, "not in the baseline");
        check(&known, &counts("rustc 2", &[("a", 200.0), ("b", 50.0)]), false, "nothing is judged");
    }

    #[test]
    fn a_baseline_is_read_as_it_is_written() {
        let counts = counts("rustc 1.95.0 x86_64", &[("a", 100.5), ("b", 50.0)]);
        assert_eq!(Counts::parse(&counts.text()), counts);
    }
}
