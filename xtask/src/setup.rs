//! Installing what the tests need that is not Rust, under cargo's target folder; quick when it is there.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::process::Command;

use crate::error::Error;
use crate::step;
use crate::workspace::Workspace;

/// Everything at once.
///
/// # Errors
/// When an installer is missing or fails.
pub(crate) fn run(workspace: &Workspace) -> Result<(), Error> {
    node(workspace)?;
    python(workspace)?;
    chromium()?;
    prometheus()?;
    valgrind()?;
    faketime()
}

/// The packages of `tests/sdk/node`, exactly as locked.
///
/// # Errors
/// When npm is missing or fails.
pub(crate) fn node(workspace: &Workspace) -> Result<(), Error> {
    let (tests, installed) = (workspace.sdk().join("node"), workspace.installed("node"));
    let lock = read(&tests.join("package-lock.json"))?;
    unless_stamped(&installed, &lock, || {
        for name in ["package.json", "package-lock.json"] {
            fs::copy(tests.join(name), installed.join(name)).map_err(Error::file(tests.join(name)))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        step::run(npm.current_dir(&installed))
    })?;
    // Imports look for this name beside the importing file and above it, nowhere else.
    link(&installed.join("node_modules"), &tests.join("node_modules"))
}

/// A virtual environment with the requirements of `tests/sdk/python`.
///
/// # Errors
/// When python is missing or fails.
pub(crate) fn python(workspace: &Workspace) -> Result<(), Error> {
    let (requirements, venv) = (workspace.sdk().join("python/requirements.txt"), workspace.installed("venv"));
    let wanted = read(&requirements)?;
    unless_stamped(&venv, &wanted, || {
        step::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
        let mut pip = Command::new(venv.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
        step::run(pip.arg(&requirements))
    })
}

/// The browser for the page's test. Only root can install it; anybody else is told, and the test fails.
///
/// # Errors
/// When the installation fails.
pub(crate) fn chromium() -> Result<(), Error> {
    if std::env::var_os("CHROMIUM").is_some() {
        return Ok(());
    }
    debian("chromium", CHROMIUM, "or set CHROMIUM to its path; the page's test fails without")
}

/// Prometheus, for the test of what `deploy/grafana` asks of it; as [`chromium`].
///
/// # Errors
/// When the installation fails.
pub(crate) fn prometheus() -> Result<(), Error> {
    debian("prometheus", PROMETHEUS, "by hand; the test of the dashboard fails without")
}

/// Valgrind, for the counting of instructions; as [`chromium`].
///
/// # Errors
/// When the installation fails.
pub(crate) fn valgrind() -> Result<(), Error> {
    debian("valgrind", VALGRIND, "by hand; `cargo xtask ci` counts no instructions without")
}

/// A package of Debian's that brings the program `path`.
fn debian(package: &str, path: &str, otherwise: &str) -> Result<(), Error> {
    if Path::new(path).exists() {
        return Ok(());
    }
    if !may_install() {
        eprintln!("== {path} is missing: install {package} {otherwise}");
        return Ok(());
    }
    apt(package)
}

/// What lets the wall clock of one process jump. Only root can install it; anybody else is told, and the attack
/// that needs it is skipped.
///
/// # Errors
/// When the installation fails.
pub(crate) fn faketime() -> Result<(), Error> {
    let folders = fs::read_dir("/usr/lib").map_err(Error::file("/usr/lib"))?;
    let libraries = folders.flatten().map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    if libraries.into_iter().any(|library| library.exists()) {
        return Ok(());
    }
    if !may_install() {
        eprintln!("== libfaketime is missing: install faketime; the attack clock-jumps is skipped without");
        return Ok(());
    }
    apt("faketime")
}

fn may_install() -> bool {
    let root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    root && Path::new("/usr/bin/apt-get").exists()
}

fn apt(package: &str) -> Result<(), Error> {
    step::run(Command::new("apt-get").arg("update"))?;
    step::run(Command::new("apt-get").args(["install", "--yes", "--no-install-recommends", package]))
}

/// Runs `install` unless the last one into `folder` was for the same `wanted` text.
pub(crate) fn unless_stamped(
    folder: &Path,
    wanted: &str,
    install: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    let stamp = folder.join(".installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(Error::file(folder))?;
    install()?;
    fs::write(&stamp, wanted).map_err(Error::file(stamp))
}

fn link(target: &Path, name: &Path) -> Result<(), Error> {
    if fs::read_link(name).is_ok_and(|now| now == target) {
        return Ok(());
    }
    if name.is_symlink() {
        fs::remove_file(name).map_err(Error::file(name))?;
    }
    symlink(target, name).map_err(Error::file(name))
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(Error::file(path))
}

/// Where Debian's package puts it, and where the page's test looks for it.
const CHROMIUM: &str = "/usr/bin/chromium";
const VALGRIND: &str = "/usr/bin/valgrind";
const PROMETHEUS: &str = "/usr/bin/prometheus";
