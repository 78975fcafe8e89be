//! The `strongroom` program: the server, and every other command by way of the `cli` room.
//!
//! Called through a link named `vault` it does the same. Deliberately absent: everything that is not wiring.

mod cluster_port;
mod config;
mod dev;
mod join_client;
mod log_levels;
mod log_stream;
mod recover;
mod seals;
mod server;
mod store;
mod telemetry;

use std::process::ExitCode;

/// A request makes and drops some fifty small values; glibc's allocator was a fifth of a read's time (docs/decisions/0004).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The allocator asks for huge pages, and each small arena would then cost 2 MiB: 19 MiB on an idle server. Where the kernel
    // refuses, memory is only larger.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let args: Vec<std::ffi::OsString> = std::env::args_os().collect();
    let begins = |words: &[&str]| words.iter().enumerate().all(|(i, w)| args.get(i + 1).is_some_and(|a| a == w));
    let rest = |from: usize| args.iter().skip(from).map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>();
    let code = if begins(&["server"]) {
        server::run(&rest(2))
    } else if begins(&["operator", "raft", "recover"]) {
        recover::run(&rest(4))
    } else {
        cli::run(args, std::env::vars_os().collect())
    };
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}
