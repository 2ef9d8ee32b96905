//! Protobuf commands, for libFuzzer: `cargo xtask fuzz protobuf`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| (tidegate_fuzz::find("protobuf").run)(data));

#[cfg(not(fuzzing))]
fn main() {
    tidegate_fuzz::replay("protobuf");
}
