//! Completion for shells: the answer to `COMP_LINE`, and the line that a shell's start-up file needs for it.
//!
//! bash and zsh (through its bash emulation) call the program with the line typed so far and take one candidate a line.
//! Deliberately absent: asking a server for names, which a Tab key should not do.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use client::Environment;

use crate::commands::ALL;
use crate::flags::Kind;

/// Words of the program that this crate does not hold.
const ELSEWHERE: [&str; 1] = ["server"];

/// What may follow the line typed so far, sorted; `point` is where the cursor stands, in bytes.
pub(crate) fn candidates(line: &str, point: Option<usize>) -> Vec<String> {
    let typed = point.and_then(|p| line.get(..p)).unwrap_or(line);
    let mut words: Vec<&str> = typed.split_whitespace().skip(1).collect();
    let last = if typed.ends_with(char::is_whitespace) { "" } else { words.pop().unwrap_or_default() };
    let named: Vec<&str> = words.iter().copied().filter(|w| !w.starts_with('-')).collect();
    let command = (0..=named.len()).rev().find_map(|n| {
        let path = named.get(..n)?.join(" ");
        ALL.iter().find(|c| c.path == path).copied()
    });
    let mut found: Vec<String> = match command {
        Some(command) if last.starts_with('-') => {
            command.flags().map(|f| format!("-{}{}", f.name, if f.kind == Kind::Bool { "" } else { "=" })).collect()
        }
        Some(command) if command.run.is_none() => crate::help::below(command.path).map(|(name, _)| name.to_owned()).collect(),
        Some(_) => Vec::new(),
        None if named.is_empty() && !last.starts_with('-') => {
            ALL.iter().map(|c| c.path).filter(|p| !p.contains(' ')).chain(ELSEWHERE).map(str::to_owned).collect()
        }
        None => Vec::new(),
    };
    found.retain(|c| c.starts_with(last));
    found.sort_unstable();
    found.dedup();
    found
}

/// Adds the line to the start-up files of the shells that are in use. Gives the files that were changed.
pub(crate) fn install(env: &Environment, program: &str) -> io::Result<Vec<String>> {
    let executable = std::env::current_exe()?;
    let mut changed = Vec::new();
    for (file, lines) in files(env, program, &executable) {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let missing: Vec<&String> = lines.iter().filter(|l| !text.lines().any(|t| t == l.as_str())).collect();
        if missing.is_empty() {
            continue;
        }
        let mut out = OpenOptions::new().append(true).create(true).open(&file)?;
        if !text.is_empty() && !text.ends_with('\n') {
            writeln!(out)?;
        }
        for line in missing {
            writeln!(out, "{line}")?;
        }
        changed.push(file);
    }
    Ok(changed)
}

/// Takes the line out again. Gives the files that were changed.
pub(crate) fn uninstall(env: &Environment, program: &str) -> io::Result<Vec<String>> {
    let executable = std::env::current_exe()?;
    let mut changed = Vec::new();
    for (file, lines) in files(env, program, &executable) {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        // The line that switches zsh's emulation on may be somebody else's, too.
        let Some(own) = lines.last() else { continue };
        if text.lines().any(|l| l == own) {
            let kept: String = text.lines().filter(|l| *l != own.as_str()).map(|l| format!("{l}\n")).collect();
            fs::write(&file, kept)?;
            changed.push(file);
        }
    }
    Ok(changed)
}

/// The start-up files that are there, with what each needs; bash's is made if there is none.
fn files(env: &Environment, program: &str, executable: &Path) -> Vec<(String, Vec<String>)> {
    let home = env.get("HOME").unwrap_or_default();
    let call = format!("complete -o nospace -C {} {program}", executable.display());
    let mut out = Vec::new();
    let zsh = format!("{home}/.zshrc");
    if Path::new(&zsh).exists() {
        out.push((zsh, vec!["autoload -U +X bashcompinit && bashcompinit".to_owned(), call.clone()]));
    }
    let bash = [".bashrc", ".bash_profile"].iter().map(|f| format!("{home}/{f}")).find(|f| Path::new(f).exists());
    match bash {
        Some(file) => out.push((file, vec![call])),
        None if out.is_empty() => out.push((format!("{home}/.bashrc"), vec![call])),
        None => {}
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_flags() {
        for (line, expected) in [
            ("vault unw", vec!["unwrap"]),
            ("vault policy ", vec!["delete", "explain", "fmt", "lint", "list", "read", "write"]),
            ("vault kv metadata p", vec!["patch", "put"]),
            ("vault kv metadata get secret/x ", vec![]),
            ("vault kv get -form", vec!["-format="]),
            ("vault -", vec![]),
            ("vault nonsense x", vec![]),
            ("vault policy lint -off", vec!["-offline"]),
        ] {
            assert_eq!(candidates(line, None), expected, "{line}");
        }
        assert_eq!(candidates("vault unw kv", Some(9)), ["unwrap"]);
        assert!(candidates("vault ", None).contains(&"server".to_owned()));
        assert_eq!(candidates("vault ü", Some(7)).len(), candidates("vault ü", None).len());
    }

    #[test]
    fn the_line_is_put_in_once_and_taken_out_again() {
        let home = tempfile::tempdir().unwrap();
        let env: Environment = [("HOME", home.path().to_str().unwrap())].into_iter().collect();
        let rc = home.path().join(".bashrc");
        fs::write(&rc, "alias x=y").unwrap();
        assert_eq!(install(&env, "vault").unwrap().len(), 1);
        assert!(install(&env, "vault").unwrap().is_empty());
        let text = fs::read_to_string(&rc).unwrap();
        assert!(text.starts_with("alias x=y\ncomplete -o nospace -C /") && text.ends_with(" vault\n"), "{text}");
        assert_eq!(uninstall(&env, "vault").unwrap().len(), 1);
        assert_eq!(fs::read_to_string(&rc).unwrap(), "alias x=y\n");
        fs::write(home.path().join(".zshrc"), "").unwrap();
        assert_eq!(install(&env, "vault").unwrap().len(), 2);
        assert!(fs::read_to_string(home.path().join(".zshrc")).unwrap().contains("bashcompinit"));
    }
}
