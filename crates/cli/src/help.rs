//! Help texts out of the table of commands. Pure.

use crate::command::Command;
use crate::commands::ALL;
use crate::flags::{Flag, Kind};

/// Commands that the main help lists first.
const COMMON: [&str; 9] = ["read", "write", "delete", "list", "login", "agent", "server", "status", "unwrap"];

/// Commands of the program that this crate does not hold.
const ELSEWHERE: [(&str, &str); 2] = [("agent", "Start an agent"), ("server", "Start a server")];

/// Width of the help text.
const WIDTH: usize = 80;

/// `vault -h`.
#[must_use]
pub fn main_help(program: &str) -> String {
    let top: Vec<(&str, &str)> =
        ALL.iter().filter(|c| !c.path.contains(' ')).map(|c| (c.path, c.synopsis)).chain(ELSEWHERE).collect();
    let common: Vec<(&str, &str)> = COMMON.iter().filter_map(|name| top.iter().find(|(path, _)| path == name).copied()).collect();
    let mut others: Vec<(&str, &str)> = top.into_iter().filter(|(path, _)| !COMMON.contains(path)).collect();
    others.sort_unstable();
    format!("Usage: {program} <command> [args]\n\nCommon commands:\n{}\nOther commands:\n{}", lines(&common), lines(&others))
}

/// `vault kv get -h`.
#[must_use]
pub fn command_help(program: &str, command: &Command) -> String {
    let mut out = format!("Usage: {program} {} {}\n\n", command.path, command.operands);
    for line in command.about.replace("{bin}", program).lines() {
        out.push_str(&if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") });
    }
    let below: Vec<(&str, &str)> = below(command.path).map(|(name, c)| (name, c.synopsis)).collect();
    if !below.is_empty() {
        out.push_str("\nSubcommands:\n");
        out.push_str(&lines(&below));
    }
    for set in command.sets {
        out.push_str(&format!("\n{}:\n", set.title));
        for flag in set.flags {
            out.push_str(&flag_help(flag));
        }
    }
    out
}

/// The direct subcommands of a group, by name.
pub(crate) fn below(path: &str) -> impl Iterator<Item = (&'static str, &'static Command)> {
    let prefix = format!("{path} ");
    let mut found: Vec<_> = ALL
        .iter()
        .filter_map(|c| c.path.strip_prefix(prefix.as_str()).map(|name| (name, *c)))
        .filter(|(name, _)| !name.contains(' '))
        .collect();
    found.sort_unstable_by_key(|(name, _)| *name);
    found.into_iter()
}

fn lines(commands: &[(&str, &str)]) -> String {
    let width = commands.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    commands.iter().map(|(name, synopsis)| format!("    {name:<width$}    {synopsis}\n")).collect()
}

fn flag_help(flag: &Flag) -> String {
    let value = match flag.kind {
        Kind::Bool => "",
        Kind::Int => "=<int>",
        Kind::Duration => "=<duration>",
        Kind::Map => "=<key=value>",
        Kind::Text | Kind::List => "=<string>",
    };
    let mut text = flag.help.to_owned();
    if !flag.default.is_empty() {
        text.push_str(&format!(" The default is {}.", flag.default));
    }
    if !flag.env.is_empty() {
        text.push_str(&format!(" This can also be specified via the {} environment variable.", flag.env));
    }
    if !flag.alias.is_empty() {
        text.push_str(&format!(" This is aliased as \"-{}\".", flag.alias));
    }
    format!("\n  -{}{value}\n{}", flag.name, wrap(&text, 6))
}

/// Breaks text into lines of [`WIDTH`], each indented.
fn wrap(text: &str, indent: usize) -> String {
    let blank = " ".repeat(indent);
    let (mut out, mut line) = (String::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && indent + line.len() + 1 + word.len() > WIDTH {
            out.push_str(&format!("{blank}{line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        out.push_str(&format!("{blank}{line}\n"));
    }
    out
}
