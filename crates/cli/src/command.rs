//! A command as data, and its parsed flags.

use clap::{Arg, ArgAction, ArgMatches};

use crate::exit::Outcome;
use crate::flags::{Flag, FlagSet, Kind, truth};
use crate::normalise::{FlagError, normalise};
use crate::session::Session;

/// A command, or a group of commands if `run` is `None`.
#[derive(Debug)]
pub struct Command {
    /// The words that call it: `kv metadata get`.
    pub path: &'static str,
    /// One line for the list of commands.
    pub synopsis: &'static str,
    /// What follows the path in the usage line: `[options] KEY`.
    pub operands: &'static str,
    /// The help text; `{bin}` stands for the program's name.
    pub about: &'static str,
    /// Its flags.
    pub sets: &'static [&'static FlagSet],
    /// What it does.
    pub run: Option<fn(&mut Session<'_, '_>) -> Outcome>,
}

impl Command {
    /// All flags.
    pub fn flags(&self) -> impl Iterator<Item = &'static Flag> {
        self.sets.iter().flat_map(|set| set.flags)
    }

    /// The flag of this name or alias.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<&'static Flag> {
        self.flags().find(|f| f.name == name || (!f.alias.is_empty() && f.alias == name))
    }

    /// Reads arguments, and says what to warn about.
    pub(crate) fn parse(&self, args: &[String]) -> Result<(Flags, Vec<String>, Vec<String>), FlagError> {
        let normal = normalise(args, |name| self.flag(name))?;
        let mut clap = clap::Command::new(self.path).no_binary_name(true).disable_help_flag(true).disable_version_flag(true);
        for flag in self.flags() {
            let arg = Arg::new(flag.name).long(flag.name).num_args(1).require_equals(true);
            clap = clap.arg(match flag.kind {
                Kind::List | Kind::Map => arg.action(ArgAction::Append),
                _ => arg.action(ArgAction::Set).overrides_with(flag.name),
            });
        }
        let clap = clap.arg(Arg::new(REST).num_args(0..).last(true));
        let words = normal.flags.iter().map(String::as_str).chain(["--"]).chain(normal.args.iter().map(String::as_str));
        let matches = clap.try_get_matches_from(words).map_err(|e| FlagError::Syntax(e.to_string()))?;
        Ok((Flags { matches }, normal.args, normal.late))
    }
}

const REST: &str = "ARGS";

/// The flags that were given.
#[derive(Debug)]
pub struct Flags {
    matches: ArgMatches,
}

impl Flags {
    /// The value, if the command has this flag and it was given.
    #[must_use]
    pub fn given(&self, name: &str) -> Option<&str> {
        self.matches.try_get_one::<String>(name).ok().flatten().map(String::as_str)
    }

    /// All values of a repeatable flag.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.matches.try_get_many::<String>(name).ok().flatten().map(|v| v.map(String::as_str).collect()).unwrap_or_default()
    }

    /// Whether a switch is on.
    #[must_use]
    pub fn on(&self, name: &str) -> bool {
        self.given(name).and_then(truth).unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{list, switch, text};

    static SET: FlagSet =
        FlagSet { title: "Command Options", flags: &[switch("force", ""), text("field", ""), list("policy", "")] };
    static COMMAND: Command = Command { path: "x", synopsis: "", operands: "", about: "", sets: &[&SET], run: None };

    #[test]
    fn the_last_value_counts_and_lists_add_up() {
        let words: Vec<String> =
            "-field=a -field=-b -policy=p -policy q -force a --weird -x".split(' ').map(str::to_owned).collect();
        let (flags, args, _) = COMMAND.parse(&words).unwrap();
        assert_eq!((flags.given("field"), flags.all("policy"), flags.on("force")), (Some("-b"), vec!["p", "q"], true));
        assert_eq!(args, ["a", "--weird", "-x"]);
        assert_eq!((flags.given("nothing"), flags.on("nothing")), (None, false));
    }
}
