//! `bodies/hcl1.rs`, driven by libFuzzer.
#![no_main]

#[path = "../bodies/hcl1.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|input: &str| body::run(input));
