//! The package of `debug`: a folder, or the same as a gzipped tar.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde_json::Value;

use crate::exit::Failure;
use crate::render;

/// Size of a tar block.
const BLOCK_BYTES: usize = 512;

/// A time that is fit for a file name: `2026-11-24T17-05-00Z`.
pub(super) fn file_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H-%M-%SZ").to_string()
}

/// Nothing may be overwritten.
pub(super) fn absent(path: &str) -> Result<(), Failure> {
    match Path::new(path).symlink_metadata() {
        Ok(_) => Err(Failure::Local(format!("Error during validation: output path already exists: {path}"))),
        Err(_) => Ok(()),
    }
}

/// Writes all files, readable by their owner only.
pub(super) fn write(path: &str, compress: bool, files: &[(String, Value)], time: Timestamp) -> Result<(), Failure> {
    let wrong = |e: io::Error| Failure::Local(format!("Error during bundling: {path}: {e}"));
    let mut texts = Vec::new();
    for (name, value) in files {
        texts.push((name.as_str(), render::json(value).map_err(|e| Failure::Local(e.to_string()))? + "\n"));
    }
    if compress { pack(path, &texts, time) } else { lay_out(path, &texts) }.map_err(wrong)
}

fn lay_out(path: &str, files: &[(&str, String)]) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)?;
    for (name, text) in files {
        create(&Path::new(path).join(name))?.write_all(text.as_bytes())?;
    }
    Ok(())
}

fn pack(path: &str, files: &[(&str, String)], time: Timestamp) -> io::Result<()> {
    let name = Path::new(path).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let folder = name.trim_end_matches(".tar.gz").trim_end_matches(".tgz");
    let mut gz = GzEncoder::new(create(Path::new(path))?, Compression::default());
    for (file, text) in files {
        gz.write_all(&header(&format!("{folder}/{file}"), text.len(), time))?;
        gz.write_all(text.as_bytes())?;
        gz.write_all(&vec![0; text.len().next_multiple_of(BLOCK_BYTES) - text.len()])?;
    }
    gz.write_all(&[0; 2 * BLOCK_BYTES])?;
    gz.finish()?.sync_all()
}

fn create(path: &Path) -> io::Result<fs::File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// A ustar header: name, mode, owner, size, time, checksum, type, magic.
fn header(name: &str, size: usize, time: Timestamp) -> Vec<u8> {
    let fixed = |text: &str, width: usize| {
        let mut bytes: Vec<u8> = text.bytes().take(width).collect();
        bytes.resize(width, 0);
        bytes
    };
    let before = [fixed(name, 100), fixed("0000600", 8), fixed("0000000", 8), fixed("0000000", 8)].concat();
    let numbers = [fixed(&format!("{size:011o}"), 12), fixed(&format!("{:011o}", time.as_second().max(0)), 12)].concat();
    let after = [fixed("0", 1), fixed("", 100), fixed("ustar\x0000", 8)].concat();
    let rest = vec![0; BLOCK_BYTES - before.len() - numbers.len() - 8 - after.len()];
    let sum: u32 = before.iter().chain(&numbers).chain(b"        ").chain(&after).map(|b| u32::from(*b)).sum();
    [before, numbers, fixed(&format!("{sum:06o}\0 "), 8), after, rest].concat()
}
