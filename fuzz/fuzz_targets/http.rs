//! `bodies/http.rs`, driven by libFuzzer.
#![no_main]

#[path = "../bodies/http.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|input: body::Input<'_>| body::run(input));
