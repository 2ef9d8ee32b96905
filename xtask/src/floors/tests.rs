use std::path::Path;

use super::{Room, breaches};
use crate::workspace::{Dependency, Workspace};

#[track_caller]
fn check(importer: &str, imported: &str, allowed: bool) {
    let room = |folder: &str| Room::of(Path::new(folder)).expect("the folder has a floor");
    assert_eq!(room(importer).may_import(room(imported)), allowed, "{importer} → {imported}");
}

#[test]
fn the_table_is_the_design() {
    check("crates/core", "crates/protocol", false);
    check("crates/protocol", "crates/core", true);
    check("crates/protocol", "crates/transport-ws", false);
    check("crates/transport-ws", "crates/core", true);
    check("crates/transport-quic", "crates/transport-ws", false);
    check("crates/broker-redis", "crates/core", true);
    check("crates/broker-nats", "crates/protocol", false);
    check("crates/client", "crates/protocol", true);
    check("crates/client", "crates/transport-ws", false);
    check("crates/bench", "crates/protocol", true);
    check("crates/bench", "crates/client", false);
    check("crates/server", "crates/bench", true);
    check("crates/server", "crates/client", true);
    check("crates/server", "examples/minimal", false);
    check("examples/minimal", "crates/server", true);
    check("examples/minimal", "examples/other", false);
    check("fuzz", "crates/server", true);
    check("examples/minimal", "fuzz", false);
    check("tests/attacks", "crates/server", true);
    check("tests/attacks", "examples/minimal", false);
    check("crates/server", "tests/attacks", false);
    check("xtask", "crates/core", false);
}

#[test]
fn an_unknown_folder_has_no_floor() {
    assert_eq!(Room::of(Path::new("crates/helpers")), None);
    assert_eq!(Room::of(Path::new("tools")), None);
}

#[test]
fn imports_of_this_workspace_go_down() {
    let workspace = Workspace::load().expect("cargo knows the workspace");
    assert_eq!(breaches(&workspace), Vec::<String>::new());
}

#[test]
fn an_upward_import_is_refused() {
    let line = "crates/core: depends on tidegate-protocol, expected no crate of this workspace";
    assert_eq!(breaches_if_core_imports("tidegate-protocol"), [line]);
}

#[test]
fn a_crate_may_import_itself_and_what_is_not_ours() {
    assert_eq!(breaches_if_core_imports("tidegate-core"), Vec::<String>::new());
    assert_eq!(breaches_if_core_imports("bytes"), Vec::<String>::new());
}

fn breaches_if_core_imports(name: &str) -> Vec<String> {
    let mut workspace = Workspace::load().expect("cargo knows the workspace");
    let core = workspace.packages.iter_mut().find(|package| package.name == "tidegate-core");
    core.expect("the workspace has a core").dependencies.push(Dependency { name: name.into() });
    breaches(&workspace)
}
