//! The `user_lockout` stanzas: when failed logins lock a name, for all auth methods or for one type of them.

use hcl1::Object;
use lockout::{Defaults, Settings};

use super::env_or;
use super::read::{ConfigError, Reader};

/// What a stanza may be for, besides `all`.
const TYPES: [&str; 3] = ["approle", "ldap", "userpass"];
const KEYS: [&str; 5] =
    ["lockout_threshold", "lockout_duration", "lockout_counter_reset", "lockout_counter_reset_duration", "disable_lockout"];

/// Reads the stanzas; of two with the same label the later one counts. `VAULT_DISABLE_USER_LOCKOUT` switches everything off.
pub(super) fn read(root: &mut Reader<'_>) -> Result<Defaults, ConfigError> {
    let off = matches!(env_or("VAULT_DISABLE_USER_LOCKOUT", None).to_lowercase().as_str(), "1" | "t" | "true");
    let mut defaults = Defaults { off, ..Defaults::default() };
    for block in root.object().blocks("user_lockout", 1)? {
        let settings = stanza(root, block.body)?;
        match block.labels.first().map_or("", |l| l.text.as_str()) {
            "all" => defaults.all = settings,
            name if TYPES.contains(&name) => {
                defaults.by_type.insert(name.to_owned(), settings);
            }
            other => {
                let text = format!("user_lockout {other:?} is for no auth method that locks: all, {} are", TYPES.join(", "));
                return Err(ConfigError::Invalid(text));
            }
        }
    }
    Ok(defaults)
}

fn stanza(root: &mut Reader<'_>, object: &Object) -> Result<Settings, ConfigError> {
    let mut r = Reader::new("user_lockout.", object);
    let reset = match r.duration("lockout_counter_reset")? {
        None => r.duration("lockout_counter_reset_duration")?,
        given => given,
    };
    for key in object.unknown_keys(&KEYS) {
        root.warn(super::unknown("user_lockout.", key));
    }
    Ok(Settings {
        threshold: r.number("lockout_threshold")?.map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
        duration: r.duration("lockout_duration")?,
        counter_reset: reset,
        disabled: r.flag("disable_lockout")?,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parsed(text: &str) -> Result<(Defaults, Vec<String>), String> {
        let object = hcl1::parse(text).map_err(|e| e.to_string())?;
        let mut root = Reader::new("", &object);
        let defaults = read(&mut root).map_err(|e| e.to_string())?;
        Ok((defaults, root.into_warnings()))
    }

    #[test]
    fn a_stanza_for_all_and_one_for_a_type_are_told_apart() {
        let (defaults, warnings) = parsed(
            r#"user_lockout "all" { lockout_threshold = "10" lockout_duration = "10m" lockout_counter_reset = 60 }
               user_lockout "userpass" { lockout_threshold = 25 disable_lockout = "false" lock = 1 }
               user_lockout "approle" { disable_lockout = true }"#,
        )
        .unwrap();
        assert_eq!((warnings.len(), warnings[0].contains("user_lockout.lock at line 2")), (1, true), "{warnings:?}");
        let rule = |t| defaults.rule(t, &Settings::default());
        let ldap = rule("ldap");
        assert_eq!((ldap.threshold, ldap.duration.as_secs(), ldap.counter_reset.as_secs(), ldap.disabled), (10, 600, 60, false));
        let userpass = rule("userpass");
        assert_eq!((userpass.threshold, userpass.duration, userpass.disabled), (25, Duration::from_secs(600), false));
        assert!(rule("approle").disabled);
        assert_eq!(parsed("").unwrap().0, Defaults::default());
    }

    #[test]
    fn mistakes_name_the_key() {
        for (text, part) in [
            (r#"user_lockout "token" {}"#, "user_lockout \"token\""),
            (r#"user_lockout "kubernetes" { lockout_threshold = 3 }"#, "user_lockout \"kubernetes\""),
            (r#"user_lockout "all" { lockout_threshold = "many" }"#, "user_lockout.lockout_threshold must be a whole number"),
            (r#"user_lockout "all" { lockout_threshold = -1 }"#, "user_lockout.lockout_threshold"),
            (r#"user_lockout "all" { lockout_duration = "soon" }"#, "user_lockout.lockout_duration"),
            (r#"user_lockout "all" { lockout_duration = "-5m" }"#, "user_lockout.lockout_duration"),
            (r#"user_lockout "all" { lockout_counter_reset = [] }"#, "user_lockout.lockout_counter_reset"),
            (r#"user_lockout "all" { disable_lockout = "perhaps" }"#, "user_lockout.disable_lockout"),
        ] {
            let e = parsed(text).unwrap_err();
            assert!(e.contains(part), "{text}: {e}");
        }
    }
}
