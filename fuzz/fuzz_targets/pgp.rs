//! `bodies/pgp.rs`, driven by libFuzzer.
#![no_main]

#[path = "../bodies/pgp.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|input: &[u8]| body::run(input));
