//! Running other programs, said aloud.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::error::Error;

/// Says a command line, runs it to its end, and says how long it took.
///
/// # Errors
/// [`Error::Start`] and [`Error::Failed`].
pub(crate) fn run(command: &mut Command) -> Result<(), Error> {
    timed(&line(command), || {
        let status = command.status().map_err(not_started(command))?;
        if status.success() { Ok(()) } else { Err(Error::Failed { command: line(command), status }) }
    })
}

/// Like [`run`], without a word, for what the program prints on its standard output.
///
/// # Errors
/// [`Error::Start`] and [`Error::Failed`].
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>, Error> {
    let output = command.stderr(Stdio::inherit()).output().map_err(not_started(command))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(Error::Failed { command: line(command), status: output.status })
    }
}

/// Like [`run`]; what the program prints is shown as it comes, and returned with whether it succeeded.
///
/// # Errors
/// [`Error::Start`], and [`Error::File`] when its output breaks off.
pub(crate) fn tee(command: &mut Command) -> Result<(bool, String), Error> {
    timed(&line(command), || {
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(not_started(command))?;
        let mut output = BufReader::new(child.stdout.take().expect("standard output is piped"));
        let mut text = String::new();
        let mut raw = Vec::new();
        while output.read_until(b'\n', &mut raw).map_err(Error::file("standard output"))? > 0 {
            let line = String::from_utf8_lossy(&raw);
            print!("{line}");
            text.push_str(&line);
            raw.clear();
        }
        let status = child.wait().map_err(not_started(command))?;
        Ok((status.success(), text))
    })
}

/// Says `what`, does it, and says how long it took.
///
/// # Errors
/// Those of `work`.
pub(crate) fn timed<T>(what: &str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    eprintln!("== {what}");
    let begin = Instant::now();
    let done = work();
    let end = if done.is_ok() { "done" } else { "failed" };
    eprintln!("== {what}: {end} after {:.1} s", begin.elapsed().as_secs_f64());
    done
}

/// For `map_err` after starting `command`.
pub(crate) fn not_started(command: &Command) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let command = line(command);
    move |source| Error::Start { command, source }
}

/// A command as one would type it: variables set for it, the program without its folder, arguments.
fn line(command: &Command) -> String {
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={}", name.to_string_lossy(), quoted(value?))));
    let program = Path::new(command.get_program()).file_name().map(quoted);
    let words = variables.chain(program).chain(command.get_args().map(quoted));
    words.collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    if word.contains(' ') { format!("'{word}'") } else { word.into_owned() }
}
