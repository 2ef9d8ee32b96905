//! The session, for libFuzzer: `cargo xtask fuzz session`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| (tidegate_fuzz::find("session").run)(data));

#[cfg(not(fuzzing))]
fn main() {
    tidegate_fuzz::replay("session");
}
