//! From the command line to an exit code: finds the command, reads its flags, runs it, says what went wrong.

use std::ffi::OsString;
use std::io::IsTerminal;

use client::Environment;
use secret::SystemEntropy;

use crate::command::Command;
use crate::commands::ALL;
use crate::complete;
use crate::exit::{Failure, Outcome};
use crate::help;
use crate::host::{Host, Output, Terminal};
use crate::session::Session;
use crate::transport::HttpConnect;

/// A word that names no command: what Vault's program exits with.
const NO_SUCH_COMMAND: i32 = 127;

/// Runs one command of the process: `args` with the program's own name first. Gives the exit code: 0 fine, 1 the caller's mistake,
/// 2 the server said no (`status`: 2 sealed), 127 no such command.
#[must_use]
pub fn run(args: Vec<OsString>, env: Environment) -> i32 {
    let mut words = args.into_iter().map(|a| a.to_string_lossy().into_owned());
    let program = words.next().unwrap_or_default();
    let (stdout, stderr, stdin) = (std::io::stdout(), std::io::stderr(), std::io::stdin());
    let out_is_terminal = stdout.is_terminal();
    let mut host = Host {
        program: program_name(&program),
        env,
        output: Output { out: &mut stdout.lock(), err: &mut stderr.lock() },
        out_is_terminal,
        input: &mut stdin.lock(),
        prompt: &mut Terminal,
        connect: &mut HttpConnect,
        entropy: &SystemEntropy,
    };
    run_on(&mut host, &words.collect::<Vec<_>>())
}

/// The same in a given world; `args` without the program's name. What cannot be written (a closed pipe) changes the code only.
#[must_use]
pub fn run_on(host: &mut Host<'_>, args: &[String]) -> i32 {
    if let Some(line) = host.env.get("COMP_LINE") {
        let point = host.env.get("COMP_POINT").and_then(|p| p.parse().ok());
        let text: String = complete::candidates(line, point).iter().map(|c| format!("{c}\n")).collect();
        return i32::from(host.output.out.write_all(text.as_bytes()).is_err());
    }
    let outcome = dispatch(host, args);
    let (code, written) = match outcome {
        Ok(code) => (code, Ok(())),
        Err(Failure::Code(code)) => (code, Ok(())),
        Err(Failure::Instead(text)) => (0, writeln!(host.output.out, "{text}")),
        Err(Failure::Local(text)) => (1, writeln!(host.output.err, "{text}")),
        Err(Failure::Server(text)) => (2, writeln!(host.output.err, "{text}")),
    };
    match written.and_then(|()| host.output.out.flush()) {
        Ok(()) => code,
        Err(_) => code.max(1),
    }
}

/// `vault` when called by that name (through a link), else our own.
fn program_name(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    if name == "vault" { "vault".to_owned() } else { "strongroom".to_owned() }
}

fn dispatch(host: &mut Host<'_>, args: &[String]) -> Outcome {
    let flags_end = args.iter().position(|a| a == "--").unwrap_or(args.len());
    let wants_help = args.iter().take(flags_end).any(|a| matches!(a.as_str(), "-h" | "-help" | "--help"));
    let args: Vec<String> = args
        .iter()
        .enumerate()
        .filter(|(i, a)| *i >= flags_end || !matches!(a.as_str(), "-h" | "-help" | "--help"))
        .map(|(_, a)| a.clone())
        .collect();
    let Some((command, rest)) = find(&args) else { return no_command(host, &args, wants_help) };
    let text = help::command_help(&host.program, command);
    if wants_help {
        write!(host.output.out, "{text}")?;
        return Ok(0);
    }
    let Some(run) = command.run else {
        write!(host.output.err, "{text}")?;
        return Err(Failure::Code(1));
    };
    let (flags, words, late) = command.parse(rest).map_err(|e| Failure::Local(e.to_string()))?;
    let mut session = Session::new(host, command, flags, words)?;
    if !late.is_empty() {
        session.warn(&format!(
            "Command flags must be provided before positional arguments. The following arguments will not be parsed as flags: [{}]",
            late.join(",")
        ))?;
    }
    run(&mut session)
}

/// The command with the longest path that `args` begin with.
fn find(args: &[String]) -> Option<(&'static Command, &[String])> {
    ALL.iter()
        .filter_map(|command| {
            let words = command.path.split(' ').count();
            let (head, rest) = args.split_at_checked(words)?;
            head.iter().map(String::as_str).eq(command.path.split(' ')).then_some((words, *command, rest))
        })
        .max_by_key(|(words, ..)| *words)
        .map(|(_, command, rest)| (command, rest))
}

fn no_command(host: &mut Host<'_>, args: &[String], wants_help: bool) -> Outcome {
    if matches!(args.first().map(String::as_str), Some("-v" | "-version" | "--version")) {
        writeln!(host.output.out, "{}", crate::commands::version_line(&host.program))?;
        return Ok(0);
    }
    if let Some(way @ ("-autocomplete-install" | "-autocomplete-uninstall")) = args.first().map(String::as_str) {
        return shell_completion(host, way);
    }
    let text = help::main_help(&host.program);
    if wants_help {
        write!(host.output.out, "{text}")?;
        return Ok(0);
    }
    if args.first().is_some_and(|a| a.starts_with('-')) {
        writeln!(
            host.output.err,
            "Invalid flags before the subcommand. If these flags are for\nthe subcommand, please put them after the subcommand.\n"
        )?;
        write!(host.output.err, "{text}")?;
        return Err(Failure::Code(1));
    }
    write!(host.output.err, "{text}")?;
    Err(Failure::Code(NO_SUCH_COMMAND))
}

/// Puts completion into the shells' start-up files, or takes it out.
fn shell_completion(host: &mut Host<'_>, way: &str) -> Outcome {
    let install = way == "-autocomplete-install";
    let change = if install { complete::install } else { complete::uninstall };
    let changed =
        change(&host.env, &host.program).map_err(|e| Failure::Local(format!("Error changing the shell's files: {e}")))?;
    let done = if install { "installed in" } else { "removed from" };
    match changed.as_slice() {
        [] => writeln!(host.output.out, "Nothing to change.")?,
        files => writeln!(host.output.out, "Completion was {done} {}; it counts for new shells.", files.join(", "))?,
    }
    Ok(0)
}
