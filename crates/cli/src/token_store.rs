//! The token helper: `~/.vault-token` (mode 0600), or the program that `~/.vault` names.
//!
//! Deliberately absent: `erase`, the third verb of helper programs; no command forgets a token.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use client::Environment;
use secret::SecretString;

/// Why the helper does not help.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenStoreError {
    #[error("error getting home directory: HOME is not set")]
    NoHome,
    #[error("error parsing {0}: {1}")]
    Config(String, String),
    #[error("token_helper must be an absolute path: {0:?}")]
    RelativeHelper(String),
    #[error("Error running token helper {0:?}: {1}")]
    Helper(String, String),
    #[error("{0}")]
    File(#[from] io::Error),
}

/// Where tokens are kept between two calls.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TokenStore {
    File(PathBuf),
    Helper(PathBuf),
}

impl TokenStore {
    /// Reads `~/.vault` (or `VAULT_CONFIG_PATH`) for `token_helper`.
    pub(crate) fn open(env: &Environment) -> Result<Self, TokenStoreError> {
        let home = env.get("HOME").map(PathBuf::from);
        let config = env.get("VAULT_CONFIG_PATH").map(PathBuf::from).or_else(|| home.as_ref().map(|h| h.join(".vault")));
        if let Some(helper) = config.map(|path| helper_in(&path)).transpose()?.flatten() {
            let path = PathBuf::from(&helper);
            return if path.is_absolute() { Ok(Self::Helper(path)) } else { Err(TokenStoreError::RelativeHelper(helper)) };
        }
        home.map(|h| Self::File(h.join(".vault-token"))).ok_or(TokenStoreError::NoHome)
    }

    /// The stored token; `None` if there is none.
    pub(crate) fn get(&self) -> Result<Option<SecretString>, TokenStoreError> {
        let text = match self {
            Self::File(path) => match fs::read_to_string(path) {
                Ok(text) => text,
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(e.into()),
            },
            Self::Helper(path) => exec(path, "get", None)?,
        };
        let text = SecretString::new(text);
        let token = text.expose().trim();
        Ok(if token.is_empty() { None } else { Some(SecretString::from(token)) })
    }

    /// Keeps `token` instead of what was there. The file is replaced whole, so that nobody reads half a token.
    pub(crate) fn store(&self, token: &SecretString) -> Result<(), TokenStoreError> {
        match self {
            Self::Helper(path) => exec(path, "store", Some(token)).map(drop),
            Self::File(path) => {
                let mut name = path.as_os_str().to_owned();
                name.push(".tmp");
                let temporary = PathBuf::from(name);
                if let Err(e) = fs::remove_file(&temporary)
                    && e.kind() != io::ErrorKind::NotFound
                {
                    return Err(e.into());
                }
                let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
                file.write_all(token.expose().as_bytes())?;
                drop(file);
                Ok(fs::rename(&temporary, path)?)
            }
        }
    }
}

fn helper_in(path: &Path) -> Result<Option<String>, TokenStoreError> {
    let wrong = |cause: String| TokenStoreError::Config(path.display().to_string(), cause);
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let object = hcl1::parse(&text).map_err(|e| wrong(e.to_string()))?;
    Ok(object.attribute("token_helper").and_then(hcl1::Node::as_str).filter(|h| !h.is_empty()).map(str::to_owned))
}

fn exec(path: &Path, verb: &str, input: Option<&SecretString>) -> Result<String, TokenStoreError> {
    let failed = |cause: String| TokenStoreError::Helper(path.display().to_string(), cause);
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child = Command::new(path)
        .arg(verb)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| failed(e.to_string()))?;
    if let (Some(token), Some(mut pipe)) = (input, child.stdin.take()) {
        pipe.write_all(token.expose().as_bytes()).map_err(|e| failed(e.to_string()))?;
    }
    let output = child.wait_with_output().map_err(|e| failed(e.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    String::from_utf8(output.stdout).map_err(|_| failed("output is not text".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn home(dir: &Path) -> Environment {
        [("HOME", dir.to_str().unwrap())].into_iter().collect()
    }

    #[test]
    fn a_token_is_kept_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let store = TokenStore::open(&home(dir.path())).unwrap();
        assert!(store.get().unwrap().is_none());
        let file = dir.path().join(".vault-token");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        store.store(&SecretString::from("hvs.x")).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&file, "hvs.y \n").unwrap();
        assert!(store.get().unwrap().unwrap().ct_eq("hvs.y"));
    }

    #[test]
    fn a_helper_is_a_program() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("helper");
        let kept = dir.path().join("kept");
        let text = format!("#!/bin/sh\ncase $1 in get) cat {0} 2>/dev/null || true;; store) cat > {0};;  esac\n", kept.display());
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(dir.path().join(".vault"), format!("token_helper = \"{}\"\n", script.display())).unwrap();
        let store = TokenStore::open(&home(dir.path())).unwrap();
        assert!(store.get().unwrap().is_none());
        store.store(&SecretString::from("hvs.x")).unwrap();
        assert!(store.get().unwrap().unwrap().ct_eq("hvs.x"));
        fs::write(&script, "#!/bin/sh\necho no >&2; exit 3\n").unwrap();
        assert!(store.get().unwrap_err().to_string().ends_with(": no"));
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        assert!(matches!(TokenStore::open(&Environment::default()), Err(TokenStoreError::NoHome)));
        let dir = tempfile::tempdir().unwrap();
        for (text, words) in [("token_helper = \"rel\"", "absolute"), ("token_helper = {", "error parsing")] {
            fs::write(dir.path().join(".vault"), text).unwrap();
            let e = TokenStore::open(&home(dir.path())).unwrap_err().to_string();
            assert!(e.contains(words), "{e}");
        }
    }
}
