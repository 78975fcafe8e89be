//! `bodies/jws.rs`, driven by libFuzzer.
#![no_main]

#[path = "../bodies/jws.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|input: (&str, &[u8])| body::run(input));
