//! `bodies/token.rs`, driven by libFuzzer.
#![no_main]

#[path = "../bodies/token.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|input: (&str, &str, i64)| body::run(input));
