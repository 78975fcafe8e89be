//! Go's flag grammar, turned into clap's: `-name`, `-name=v`, `-name v`, `--name` and so on become `--name=v`, and the first word
//! that is no flag ends the flags. Pure.

use crate::flags::{Flag, Kind};

/// Arguments in a form that clap reads without guessing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Normal {
    /// Each `--name=value`.
    pub(crate) flags: Vec<String>,
    /// What stood behind the flags.
    pub(crate) args: Vec<String>,
    /// Arguments that look like flags but came too late.
    pub(crate) late: Vec<String>,
}

/// Why arguments cannot be read, in the words of Go's `flag` package.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FlagError {
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    #[error("flag provided but not defined: -{0}")]
    Unknown(String),
    #[error("flag needs an argument: -{0}")]
    NoValue(String),
    #[error("invalid boolean value {1:?} for -{0}: parse error")]
    Bool(String, String),
    #[error("invalid value {1:?} for flag -{0}: {2}")]
    Value(String, String, String),
}

/// Reads `args` by the definitions of `known`.
pub(crate) fn normalise<'a>(args: &[String], known: impl Fn(&str) -> Option<&'a Flag>) -> Result<Normal, FlagError> {
    let mut flags = Vec::new();
    let mut words = args.iter();
    let mut rest: Vec<String> = Vec::new();
    while let Some(word) = words.next() {
        if word == "--" {
            break;
        }
        let Some(body) = word.strip_prefix('-').filter(|b| !b.is_empty()) else {
            rest.push(word.clone());
            break;
        };
        let body = body.strip_prefix('-').unwrap_or(body);
        if body.is_empty() || body.starts_with(['-', '=']) {
            return Err(FlagError::Syntax(word.clone()));
        }
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (body, None),
        };
        let flag = known(name).ok_or_else(|| FlagError::Unknown(name.to_owned()))?;
        let value = match (value, flag.kind) {
            (Some(value), _) => value,
            (None, Kind::Bool) => "true",
            (None, _) => words.next().ok_or_else(|| FlagError::NoValue(name.to_owned()))?,
        };
        flag.check(value).map_err(|why| match flag.kind {
            Kind::Bool => FlagError::Bool(name.to_owned(), value.to_owned()),
            _ => FlagError::Value(name.to_owned(), value.to_owned(), why),
        })?;
        flags.push(format!("--{}={value}", flag.name));
    }
    rest.extend(words.cloned());
    let late = rest.iter().filter(|w| looks_like_flag(w, &known)).cloned().collect();
    Ok(Normal { flags, args: rest, late })
}

fn looks_like_flag<'a>(word: &str, known: &impl Fn(&str) -> Option<&'a Flag>) -> bool {
    let Some(body) = word.strip_prefix('-') else { return false };
    let body = body.strip_prefix('-').unwrap_or(body);
    let name = body.split_once('=').map_or(body, |(name, _)| name);
    known(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{int, list, map, period, switch, text};

    static FLAGS: [Flag; 6] = [
        switch("force", ""),
        text("field", "").alias("f"),
        int("cas", ""),
        period("ttl", ""),
        list("policy", ""),
        map("meta", ""),
    ];

    fn known(name: &str) -> Option<&'static Flag> {
        FLAGS.iter().find(|f| f.name == name || (!f.alias.is_empty() && f.alias == name))
    }

    fn read(words: &str) -> Result<Normal, String> {
        let words: Vec<String> = words.split(' ').filter(|w| !w.is_empty()).map(str::to_owned).collect();
        normalise(&words, known).map_err(|e| e.to_string())
    }

    #[test]
    fn every_spelling_of_go() {
        for (words, flags, args) in [
            ("", vec![], vec![]),
            ("a b", vec![], vec!["a", "b"]),
            ("-force a", vec!["--force=true"], vec!["a"]),
            ("--force a", vec!["--force=true"], vec!["a"]),
            ("-force=false", vec!["--force=false"], vec![]),
            ("-force=F", vec!["--force=F"], vec![]),
            ("-field=x a", vec!["--field=x"], vec!["a"]),
            ("-field x a", vec!["--field=x"], vec!["a"]),
            ("--field x", vec!["--field=x"], vec![]),
            ("-f=x", vec!["--field=x"], vec![]),
            ("-field=", vec!["--field="], vec![]),
            ("-field -force", vec!["--field=-force"], vec![]),
            ("-field=a=b", vec!["--field=a=b"], vec![]),
            ("-cas -1 a", vec!["--cas=-1"], vec!["a"]),
            ("-cas=0", vec!["--cas=0"], vec![]),
            ("-policy=a -policy=b", vec!["--policy=a", "--policy=b"], vec![]),
            ("-meta=k=v=w", vec!["--meta=k=v=w"], vec![]),
            ("-ttl=30 -ttl=2d -ttl=1h30m -ttl=system", vec!["--ttl=30", "--ttl=2d", "--ttl=1h30m", "--ttl=system"], vec![]),
            ("- k=v", vec![], vec!["-", "k=v"]),
            ("a -", vec![], vec!["a", "-"]),
            ("-- -force", vec![], vec!["-force"]),
            ("-force -- a --", vec!["--force=true"], vec!["a", "--"]),
        ] {
            let normal = read(words).unwrap();
            assert_eq!((normal.flags, normal.args), (own(&flags), own(&args)), "{words}");
        }
    }

    fn own(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    #[test]
    fn flags_behind_arguments_are_arguments_but_noticed() {
        let normal = read("a -force -x --field=y -").unwrap();
        assert_eq!(normal.args, own(&["a", "-force", "-x", "--field=y", "-"]));
        assert_eq!(normal.late, own(&["-force", "--field=y"]));
    }

    #[test]
    fn refusals_in_gos_words() {
        for (words, text) in [
            ("-x", "flag provided but not defined: -x"),
            ("--bogus=1", "flag provided but not defined: -bogus"),
            ("-field", "flag needs an argument: -field"),
            ("-force=perhaps", "invalid boolean value \"perhaps\" for -force: parse error"),
            ("-force=", "invalid boolean value \"\" for -force: parse error"),
            ("-cas=x", "invalid value \"x\" for flag -cas: strconv.ParseInt: parsing \"x\": invalid syntax"),
            ("-cas=1.5", "invalid value \"1.5\" for flag -cas: strconv.ParseInt: parsing \"1.5\": invalid syntax"),
            ("-ttl=soon", "invalid value \"soon\" for flag -ttl: time: invalid duration \"soon\""),
            ("-meta=k", "invalid value \"k\" for flag -meta: missing = in KV pair: \"k\""),
            ("---force", "bad flag syntax: ---force"),
            ("-=x", "bad flag syntax: -=x"),
        ] {
            assert_eq!(read(words).unwrap_err(), text, "{words}");
        }
    }
}
