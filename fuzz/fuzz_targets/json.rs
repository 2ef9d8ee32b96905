//! JSON commands, for libFuzzer: `cargo xtask fuzz json`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| (tidegate_fuzz::find("json").run)(data));

#[cfg(not(fuzzing))]
fn main() {
    tidegate_fuzz::replay("json");
}
