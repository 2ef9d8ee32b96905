//! What bytes from outside must never do, as functions that panic when they do it.
//!
//! Each of [`TARGETS`] is fed by libFuzzer (`cargo xtask fuzz`) and by the tests of this crate, which change
//! the seeds at random for a second or two. The seeds lie in `seeds/NAME`; an input that found something is
//! put there, and is tested ever after.

mod commands;
#[cfg(feature = "config")]
mod config;
mod frames;
mod session;
#[cfg(test)]
mod tests;

/// A function to be fed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What the binary and the folder of its seeds are called.
    pub name: &'static str,
    /// Takes any bytes; panics if what they did to the code under test was wrong.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "frames", run: frames::run },
    Target { name: "json", run: commands::json },
    Target { name: "protobuf", run: commands::protobuf },
    Target { name: "session", run: session::run },
    #[cfg(feature = "config")]
    Target { name: "config", run: config::run },
];

/// The target of this name.
///
/// # Panics
/// If there is none.
pub fn find(name: &str) -> Target {
    *TARGETS.iter().find(|target| target.name == name).expect("a binary is named after its target")
}

/// Feeds a target the files that the command line names, for looking at what a fuzzer has found without one.
///
/// # Panics
/// As the target does, and if a file cannot be read.
pub fn replay(name: &str) {
    let target = find(name);
    for path in std::env::args_os().skip(1) {
        let data = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (target.run)(&data);
        println!("{}: nothing found", path.display());
    }
}
