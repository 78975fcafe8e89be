//! The pod's own CA and token, read from files and kept for a while. The only file access of this method.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use parking_lot::Mutex;
use secret::{SecretString, Time};
use tokio::io::AsyncReadExt;

use crate::limits::{LOCAL_CA_REUSE, LOCAL_FILE_MAX_BYTES, LOCAL_TOKEN_REUSE};

/// Where the kubelet puts a pod's token.
pub const LOCAL_TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Where the kubelet puts the cluster's CA.
pub const LOCAL_CA_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// Paths of the pod's own credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalPaths {
    /// The pod's service account token.
    pub token: PathBuf,
    /// The cluster's CA, PEM.
    pub ca: PathBuf,
}

impl Default for LocalPaths {
    fn default() -> Self {
        Self { token: LOCAL_TOKEN_PATH.into(), ca: LOCAL_CA_PATH.into() }
    }
}

/// A file cannot be used. The words are Go's, because clients see them (contract §1.2).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{action} {path}: {cause}")]
pub(crate) struct LocalFileError {
    action: &'static str,
    path: String,
    cause: String,
}

/// Both files with what was last read of them.
pub(crate) struct LocalFiles {
    token: LocalFile,
    ca: LocalFile,
}

impl LocalFiles {
    pub(crate) fn new(paths: LocalPaths) -> Self {
        Self { token: LocalFile::new(paths.token, LOCAL_TOKEN_REUSE), ca: LocalFile::new(paths.ca, LOCAL_CA_REUSE) }
    }

    /// The pod's token.
    pub(crate) async fn token(&self, now: Time) -> Result<SecretString, LocalFileError> {
        self.token.read(now).await
    }

    /// The cluster's CA.
    pub(crate) async fn ca(&self, now: Time) -> Result<SecretString, LocalFileError> {
        self.ca.read(now).await
    }
}

struct LocalFile {
    path: PathBuf,
    reuse: Duration,
    kept: Mutex<Option<(Time, SecretString)>>,
}

impl LocalFile {
    fn new(path: PathBuf, reuse: Duration) -> Self {
        Self { path, reuse, kept: Mutex::new(None) }
    }

    /// The text, from memory if it was read less than `reuse` ago. A failure is not kept.
    async fn read(&self, now: Time) -> Result<SecretString, LocalFileError> {
        if let Some((at, text)) = self.kept.lock().as_ref() {
            // A clock that was set back makes the copy stale, not eternal.
            if *at <= now && now.since(*at) < self.reuse {
                return Ok(text.clone());
            }
        }
        let text = SecretString::new(self.load().await?);
        *self.kept.lock() = Some((now, text.clone()));
        Ok(text)
    }

    async fn load(&self) -> Result<String, LocalFileError> {
        let failed = |action| {
            let path = self.path.display().to_string();
            move |e: io::Error| LocalFileError { action, path: path.clone(), cause: cause(&e) }
        };
        let file = tokio::fs::File::open(&self.path).await.map_err(failed("open"))?;
        let mut text = String::new();
        // One byte more than allowed tells a file that is too long from one that just fits.
        let read = file.take(LOCAL_FILE_MAX_BYTES + 1).read_to_string(&mut text).await.map_err(failed("read"))?;
        if u64::try_from(read).is_ok_and(|n| n > LOCAL_FILE_MAX_BYTES) {
            return Err(failed("read")(io::Error::other("file too large")));
        }
        Ok(text)
    }
}

fn cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_copy_is_used_for_its_time_and_then_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let files = LocalFiles::new(LocalPaths { token: path.clone(), ca: dir.path().join("ca.crt") });
        let at = |s: i64| Time::from_unix(1_800_000_000 + s);
        let missing = files.token(at(0)).await.unwrap_err();
        assert_eq!(missing.to_string(), format!("open {}: no such file or directory", path.display()));
        std::fs::write(&path, "one").unwrap();
        assert_eq!(files.token(at(0)).await.unwrap().expose(), "one", "a failure is not kept");
        std::fs::write(&path, "two").unwrap();
        for (second, want) in [(59, "one"), (60, "two"), (61, "two")] {
            assert_eq!(files.token(at(second)).await.unwrap().expose(), want, "{second}");
        }
        std::fs::write(&path, "three").unwrap();
        assert_eq!(files.token(at(-10)).await.unwrap().expose(), "three", "the clock was set back");
        std::fs::remove_file(&path).unwrap();
        assert!(files.token(at(200)).await.is_err(), "a stale copy does not stand in for a missing file");
    }

    #[tokio::test]
    async fn what_is_no_small_text_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.crt");
        let files = LocalFiles::new(LocalPaths { token: dir.path().to_owned(), ca: ca.clone() });
        let now = Time::from_unix(0);
        assert_eq!(files.token(now).await.unwrap_err().to_string(), format!("read {}: is a directory", dir.path().display()));
        std::fs::write(&ca, vec![b'x'; 1024 * 1024 + 1]).unwrap();
        assert_eq!(files.ca(now).await.unwrap_err().to_string(), format!("read {}: file too large", ca.display()));
        std::fs::write(&ca, [0xff, 0xfe]).unwrap();
        assert!(files.ca(now).await.is_err());
    }
}
