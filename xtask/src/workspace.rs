use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::error::Error;
use crate::step;

/// What `cargo metadata` tells about this workspace.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Workspace {
    /// The folder of the root `Cargo.toml`.
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    /// Cargo's target folder, `CARGO_TARGET_DIR` included.
    #[serde(rename = "target_directory")]
    pub(crate) target: PathBuf,
    /// The members.
    pub(crate) packages: Vec<Package>,
}

/// A member of the workspace.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    manifest_path: PathBuf,
    /// Normal, build and development dependencies alike.
    pub(crate) dependencies: Vec<Dependency>,
}

/// One line of a `[dependencies]` table.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Dependency {
    /// The package's own name, also where it is renamed.
    pub(crate) name: String,
}

impl Workspace {
    /// Asks cargo.
    ///
    /// # Errors
    /// When a manifest of the workspace is not valid.
    pub(crate) fn load() -> Result<Self, Error> {
        let mut metadata = cargo();
        metadata.args(["metadata", "--no-deps", "--format-version", "1"]);
        metadata.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
        Ok(serde_json::from_slice(&step::output(&mut metadata)?)?)
    }

    /// `cargo <arguments>`, run at the root.
    pub(crate) fn cargo<const N: usize>(&self, arguments: [&str; N]) -> Command {
        let mut command = cargo();
        command.args(arguments).current_dir(&self.root);
        command
    }

    /// The folder with the tests of the SDKs.
    pub(crate) fn sdk(&self) -> PathBuf {
        self.root.join("tests/sdk")
    }

    /// A folder for what the tests of the SDKs install.
    pub(crate) fn installed(&self, name: &str) -> PathBuf {
        self.target.join("sdk").join(name)
    }

    /// The folder of a member, from the root: `crates/core`.
    pub(crate) fn folder<'a>(&self, package: &'a Package) -> &'a Path {
        let folder = package.manifest_path.parent().expect("a manifest lies in a folder");
        folder.strip_prefix(&self.root).unwrap_or(folder)
    }
}

/// The cargo that runs this program, so that a `+toolchain` is kept.
fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
