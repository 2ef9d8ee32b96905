//! The house: crates stand on floors, and imports only go down.

use std::path::Path;

use crate::error::Error;
use crate::workspace::{Package, Workspace};

#[cfg(test)]
mod tests;

/// Checks every member of the workspace.
///
/// # Errors
/// [`Error::Floors`] with a line for each import that is not allowed.
pub(crate) fn run(workspace: &Workspace) -> Result<(), Error> {
    let wrong = breaches(workspace);
    if wrong.is_empty() { Ok(()) } else { Err(Error::Floors(wrong.join("\n"))) }
}

/// A line for each import between members that is not allowed, and for each folder without a floor.
fn breaches(workspace: &Workspace) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in &workspace.packages {
        let folder = workspace.folder(package);
        let Some(room) = Room::of(folder) else {
            wrong.push(format!("{}: no floor is known for this folder", folder.display()));
            continue;
        };
        for dependency in &package.dependencies {
            // Other people's crates stand outside the house; a crate may take itself with more features for its tests.
            let other = |member: &&Package| member.name == dependency.name && member.name != package.name;
            let Some(below) = workspace.packages.iter().find(other) else { continue };
            let target = Room::of(workspace.folder(below));
            if !target.is_some_and(|target| room.may_import(target)) {
                wrong.push(format!(
                    "{}: depends on {}, expected {}",
                    folder.display(),
                    below.name,
                    room.imports()
                ));
            }
        }
    }
    wrong
}

/// What a crate is for; its folder says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Core,
    Protocol,
    Transport,
    Broker,
    Client,
    Bench,
    Server,
    Example,
    Fuzz,
    Test,
    Xtask,
}

impl Room {
    fn of(folder: &Path) -> Option<Self> {
        let folder = folder.to_str()?;
        Some(match folder.strip_prefix("crates/") {
            Some("core") => Self::Core,
            Some("protocol") => Self::Protocol,
            Some("client") => Self::Client,
            Some("bench") => Self::Bench,
            Some("server") => Self::Server,
            Some(name) if name.starts_with("transport-") => Self::Transport,
            Some(name) if name.starts_with("broker-") => Self::Broker,
            Some(_) => return None,
            None if folder == "fuzz" => Self::Fuzz,
            None if folder == "xtask" => Self::Xtask,
            None if folder.starts_with("examples/") => Self::Example,
            None if folder.starts_with("tests/") => Self::Test,
            None => return None,
        })
    }

    fn may_import(self, target: Self) -> bool {
        match self {
            Self::Core | Self::Xtask => false,
            Self::Protocol | Self::Transport | Self::Broker => target == Self::Core,
            Self::Client | Self::Bench => matches!(target, Self::Core | Self::Protocol),
            Self::Server => {
                !matches!(target, Self::Server | Self::Example | Self::Fuzz | Self::Test | Self::Xtask)
            }
            Self::Example | Self::Fuzz | Self::Test => {
                !matches!(target, Self::Example | Self::Fuzz | Self::Test | Self::Xtask)
            }
        }
    }

    fn imports(self) -> &'static str {
        match self {
            Self::Core | Self::Xtask => "no crate of this workspace",
            Self::Protocol | Self::Transport | Self::Broker => "tidegate-core only",
            Self::Client | Self::Bench => "tidegate-protocol and tidegate-core only",
            Self::Server => "a crate below crates/server",
            Self::Example | Self::Fuzz | Self::Test => "a crate below examples/ and tests/",
        }
    }
}
