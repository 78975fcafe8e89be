//! Prints the figures of decision record 0001 for fjall: `measure_fjall [directory on the disk to measure]`.

use storage_fjall::{FjallOptions, FjallStore};

#[expect(clippy::print_stdout, reason = "a command that prints figures")]
fn main() -> Result<(), String> {
    let parent = std::env::args().nth(1).unwrap_or_else(|| "/tmp".to_owned());
    let scratch = tempfile::tempdir_in(parent).map_err(|e| e.to_string())?;
    for (name, figure) in
        storage::suite::measure::measure(scratch.path(), &|path| FjallStore::open(path, FjallOptions::default()))?
    {
        println!("{name:<40} {figure}");
    }
    Ok(())
}
