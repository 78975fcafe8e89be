//! `bodies/policy.rs`, driven by libFuzzer.
#![no_main]

#[path = "../bodies/policy.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|input: (&str, &str, &str)| body::run(input));
