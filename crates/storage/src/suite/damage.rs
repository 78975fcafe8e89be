//! Damaged files and full disks: what was synced is there or the directory is refused; a lost unsynced tail is no reason
//! to refuse; no byte on disk makes a store panic or answer what was never written.
//!
//! Power loss is simulated on copies of a living directory: the tail behind the last sync is cut, or pages in it are zeroed
//! as if they had never been written. Deliberately absent: reordering below the file system (needs a block device of its own).

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::crash::{batch, verify};
use super::{Dice, Outcome, ensure, said};
use crate::{Batch, Durability, Space, Store, StoreError};

/// Batches before and after the last synced one.
const SYNCED: u64 = 120;
const UNSYNCED: u64 = 12;

/// Pages zeroed one by one; evenly spread over the tail, whose batch 127 fills 150.
const LOST_PAGES: usize = 40;

const PAGE_BYTES: usize = 4096;

type Open<'a, S> = dyn Fn(&Path) -> Result<S, StoreError> + 'a;

/// A copy of a living store's directory, as a crash would leave it, and where in its log the last sync ended.
struct Image {
    path: PathBuf,
    synced_end: u64,
    end: u64,
}

/// Cuts the log at many places. `log` answers the file that holds the newest writes.
///
/// # Errors
/// The first cut that panics, invents data, loses a synced batch silently, or refuses an unsynced loss.
pub fn torn_tail<S: Store>(scratch: &Path, open: &Open<'_, S>, log: &dyn Fn(&Path) -> PathBuf) -> Outcome {
    let image = image(scratch, open, log)?;
    let mut dice = Dice::new(1);
    let tail = image.end - image.synced_end;
    ensure!(tail > 0, "the unsynced batches left no trace in the log");
    let cuts = (0..20).map(|_| image.synced_end + dice.below(tail)).chain([image.synced_end, image.end - 1]);
    for at in cuts.chain((0..8).map(|i| image.synced_end * i / 8)) {
        let copy = fresh_copy(scratch, &image.path)?;
        File::options().write(true).open(log(&copy)).and_then(|file| file.set_len(at)).map_err(|e| e.to_string())?;
        after_damage(&copy, open, at >= image.synced_end)
            .map_err(|why| format!("cut at {at} of {}..{}: {why}", image.synced_end, image.end))?;
    }
    Ok(())
}

/// Zeroes pages behind the last sync, alone and in runs: writes that never reached the disk while later ones did.
///
/// # Errors
/// As [`torn_tail`].
pub fn lost_pages<S: Store>(scratch: &Path, open: &Open<'_, S>, log: &dyn Fn(&Path) -> PathBuf) -> Outcome {
    let image = image(scratch, open, log)?;
    let page = PAGE_BYTES as u64;
    // The page in which the last sync ended was written before; losing a later write to it leaves the older bytes.
    let first = image.synced_end.div_ceil(page);
    let pages: Vec<u64> = (first..image.end.div_ceil(page)).collect();
    ensure!(pages.len() >= 3, "the unsynced batches fill {} pages only", pages.len());
    for run in [1, 2] {
        for lost in pages.windows(run).step_by(pages.len().div_ceil(LOST_PAGES)) {
            let copy = fresh_copy(scratch, &image.path)?;
            let file = File::options().write(true).open(log(&copy)).map_err(|e| e.to_string())?;
            for number in lost {
                file.write_all_at(&[0; PAGE_BYTES], number * page).map_err(|e| e.to_string())?;
            }
            after_damage(&copy, open, true).map_err(|why| format!("lost pages {lost:?} of {pages:?}: {why}"))?;
        }
    }
    Ok(())
}

/// Flips single bits in every file of the engine.
///
/// # Errors
/// The first flip that panics, invents data or loses a synced batch silently.
pub fn flipped_bits<S: Store>(scratch: &Path, open: &Open<'_, S>, flips_per_file: u64) -> Outcome {
    let image = image(scratch, open, &|path| path.join("FORMAT"))?;
    let mut files = Vec::new();
    list(&image.path, &mut files)?;
    let mut dice = Dice::new(2);
    for file in files.iter().filter(|file| data_end(file).is_ok_and(|end| end > 0)) {
        let name = file.strip_prefix(&image.path).map_err(|e| e.to_string())?;
        let end = data_end(file)?;
        for _ in 0..flips_per_file {
            let (at, bit) = (dice.below(end), 1 << dice.below(8));
            let copy = fresh_copy(scratch, &image.path)?;
            flip(&copy.join(name), at, bit)?;
            after_damage(&copy, open, false)
                .map_err(|why| format!("bit {bit:#x} of byte {at} of {end} in {}: {why}", name.display()))?;
        }
    }
    Ok(())
}

/// Flips every bit of the log's first bytes: the head of a record, which checksums of contents tend to leave out.
///
/// # Errors
/// As [`flipped_bits`].
pub fn flipped_head<S: Store>(scratch: &Path, open: &Open<'_, S>, log: &dyn Fn(&Path) -> PathBuf, bytes: u64) -> Outcome {
    let image = image(scratch, open, log)?;
    for at in 0..bytes.min(image.end) {
        for bit in 0..8 {
            let copy = fresh_copy(scratch, &image.path)?;
            flip(&log(&copy), at, 1 << bit)?;
            after_damage(&copy, open, false).map_err(|why| format!("bit {bit} of byte {at}: {why}"))?;
        }
    }
    Ok(())
}

/// Opens a damaged copy. Opened, it must hold one prefix with all that was synced, and go on from there.
fn after_damage<S: Store>(path: &Path, open: &Open<'_, S>, must_open: bool) -> Outcome {
    let store = match open(path) {
        Ok(store) => store,
        Err(error) if must_open => return Err(format!("a lost unsynced tail is refused: {error}")),
        Err(_) => return Ok(()),
    };
    let n = match verify(&store) {
        Ok(n) => n,
        // A read that reports damage is an answer; one that shows other data is not.
        Err(why) if !must_open && why.contains("unexpected error") => return Ok(()),
        Err(why) => return Err(why),
    };
    ensure!(n >= SYNCED, "batch {SYNCED} was synced, the store ends at {n}");
    if must_open {
        for i in n + 1..n + 4 {
            store.commit(batch(i), Durability::Synced).map_err(said)?;
        }
        drop(store);
        let store = open(path).map_err(|e| format!("after going on it does not open: {e}"))?;
        let again = verify(&store)?;
        ensure!(again == n + 3, "after going on to {} the store ends at {again}", n + 3);
    }
    Ok(())
}

fn image<S: Store>(scratch: &Path, open: &Open<'_, S>, log: &dyn Fn(&Path) -> PathBuf) -> Result<Image, String> {
    let living = scratch.join("living");
    let store = open(&living).map_err(said)?;
    for i in 1..=SYNCED {
        store.commit(batch(i), Durability::Buffered).map_err(said)?;
    }
    store.sync().map_err(said)?;
    let synced_end = data_end(&log(&living))?;
    for i in SYNCED + 1..=SYNCED + UNSYNCED {
        store.commit(batch(i), Durability::Buffered).map_err(said)?;
    }
    let end = data_end(&log(&living))?;
    let path = scratch.join("image");
    copy_directory(&living, &path)?;
    drop(store);
    Ok(Image { path, synced_end, end })
}

fn fresh_copy(scratch: &Path, image: &Path) -> Result<PathBuf, String> {
    let path = scratch.join("copy");
    if path.exists() {
        fs::remove_dir_all(&path).map_err(|e| e.to_string())?;
    }
    copy_directory(image, &path)?;
    Ok(path)
}

fn copy_directory(from: &Path, to: &Path) -> Outcome {
    let text = |e: std::io::Error| e.to_string();
    fs::create_dir(to).map_err(text)?;
    fs::set_permissions(to, fs::metadata(from).map_err(text)?.permissions()).map_err(text)?;
    for entry in fs::read_dir(from).map_err(text)? {
        let entry = entry.map_err(text)?;
        let target = to.join(entry.file_name());
        if entry.file_type().map_err(text)?.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            copy_sparse(&entry.path(), &target).map_err(text)?;
        }
    }
    Ok(())
}

/// Copies a file and keeps its holes: journals are 64 MiB long and mostly hole.
fn copy_sparse(from: &Path, to: &Path) -> std::io::Result<()> {
    let (source, target) = (File::open(from)?, File::create(to)?);
    let length = source.metadata()?.len();
    target.set_len(length)?;
    let mut at = 0;
    while let Ok(data) = rustix::fs::seek(&source, rustix::fs::SeekFrom::Data(at)) {
        let hole = rustix::fs::seek(&source, rustix::fs::SeekFrom::Hole(data))?;
        let mut bytes = vec![0; usize::try_from(hole - data).unwrap_or(0)];
        source.read_exact_at(&mut bytes, data)?;
        target.write_all_at(&bytes, data)?;
        at = hole;
    }
    Ok(())
}

/// Position behind the last byte that is not zero.
fn data_end(file: &Path) -> Result<u64, String> {
    let mut end = 0;
    let mut position = 0;
    let mut source = File::open(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let mut page = [0; PAGE_BYTES];
    loop {
        let read = source.read(&mut page).map_err(|e| e.to_string())?;
        if read == 0 {
            return Ok(end);
        }
        let bytes = page.get(..read).unwrap_or_default();
        // Comparing whole pages first keeps this fast over holes, even without optimisation.
        if bytes != [0; PAGE_BYTES] {
            end = bytes.iter().rposition(|byte| *byte != 0).map_or(end, |i| position + i as u64 + 1);
        }
        position += read as u64;
    }
}

fn list(path: &Path, files: &mut Vec<PathBuf>) -> Outcome {
    const OURS: [&str; 3] = ["LOCK", "FORMAT", "SYNCED"];
    for entry in fs::read_dir(path).map_err(|e| e.to_string())? {
        let path = entry.map_err(|e| e.to_string())?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else if !OURS.iter().any(|name| path.ends_with(name)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}

fn flip(file: &Path, at: u64, bit: u8) -> Outcome {
    let file = File::options().read(true).write(true).open(file).map_err(|e| e.to_string())?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).map_err(|e| e.to_string())?;
    file.write_all_at(&byte.map(|byte| byte ^ bit), at).map_err(|e| e.to_string())
}

/// Fills a small disk: `Full` keeps nothing of the refused batch, reads go on, and so do commits once there is room.
///
/// # Errors
/// What does not hold, or that the small disk could not be mounted (the tests run as root).
pub fn full_disk<S: Store>(scratch: &Path, open: &Open<'_, S>) -> Outcome {
    let disk = SmallDisk::mount(&scratch.join("small-disk"), "size=128m")?;
    let path = disk.0.join("data");
    let ballast = disk.0.join("ballast");
    let mut file = File::create(&ballast).map_err(|e| e.to_string())?;
    for _ in 0..64 {
        file.write_all(&vec![1; 1 << 20]).map_err(|e| e.to_string())?;
    }
    drop(file);
    let store = open(&path).map_err(said)?;
    let body = vec![7; 64 * 1024];
    let write = |i: u32, durability| {
        let mut batch = Batch::default();
        batch.put(Space::State, i.to_be_bytes(), body.clone());
        batch.put(Space::Log, i.to_be_bytes(), i.to_be_bytes());
        store.commit(batch, durability)
    };
    let mut refused = None;
    for i in 0..4096 {
        match write(i, if i % 4 == 0 { Durability::Synced } else { Durability::Buffered }) {
            Ok(()) => {}
            Err(StoreError::Full(at)) => {
                ensure!(at == path, "the error names {}", at.display());
                refused = Some(i);
                break;
            }
            Err(other) => return Err(format!("batch {i} on a filling disk: {other}")),
        }
    }
    let Some(refused) = refused else { return Err("a disk of 128 MiB took 256 MiB".to_owned()) };
    ensure!(refused > 4, "refused at batch {refused}");
    ensure!(matches!(write(refused, Durability::Synced), Err(StoreError::Full(_))), "a second try did not say full");
    let holds = |store: &S, up_to: u32| {
        for i in 0..=up_to {
            let (state, log) = (store.get(Space::State, &i.to_be_bytes()), store.get(Space::Log, &i.to_be_bytes()));
            let there = (state.map_err(said)?.is_some(), log.map_err(said)?.is_some());
            ensure!(there == (i < up_to, i < up_to), "batch {i} of {up_to}: {there:?}");
        }
        Ok(())
    };
    holds(&store, refused)?;
    store.sync().map_err(said)?;
    fs::remove_file(&ballast).map_err(|e| e.to_string())?;
    write(refused, Durability::Synced).map_err(|e| format!("with room again: {e}"))?;
    holds(&store, refused + 1)?;
    drop(store);
    let store = open(&path).map_err(|e| format!("reopening after a full disk: {e}"))?;
    holds(&store, refused + 1)
}

/// Takes away all inodes, so that an engine cannot make a new file although there is room: as [`full_disk`].
///
/// # Errors
/// As [`full_disk`].
pub fn no_new_files<S: Store>(scratch: &Path, open: &Open<'_, S>) -> Outcome {
    let disk = SmallDisk::mount(&scratch.join("few-files"), "size=512m,nr_inodes=200")?;
    let path = disk.0.join("data");
    let store = open(&path).map_err(said)?;
    for i in 1..=40 {
        store.commit(batch(i), Durability::Synced).map_err(said)?;
    }
    let fillers: Vec<PathBuf> =
        (0..300).map(|n| disk.0.join(format!("filler-{n}"))).take_while(|name| File::create(name).is_ok()).collect();
    ensure!(fillers.len() < 300, "the disk has more than 200 inodes");
    for _ in 0..3 {
        let refused = store.commit(batch(41), Durability::Synced);
        ensure!(matches!(refused, Err(StoreError::Full(_))), "without inodes it said {refused:?}");
    }
    ensure!(verify(&store)? == 40, "a refused batch left a trace");
    for filler in fillers {
        fs::remove_file(filler).map_err(|e| e.to_string())?;
    }
    for i in 41..=200 {
        store.commit(batch(i), Durability::Synced).map_err(|e| format!("batch {i}, with inodes again: {e}"))?;
    }
    drop(store);
    let store = open(&path).map_err(|e| format!("reopening: {e}"))?;
    let n = verify(&store)?;
    ensure!(n == 200, "batch 200 was acknowledged, the store ends at {n}");
    Ok(())
}

/// A tmpfs, unmounted on drop.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, options: &str) -> Result<Self, String> {
        fs::create_dir(at).map_err(|e| e.to_string())?;
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output().map_err(|e| e.to_string())?;
        ensure!(mounted.status.success(), "cannot mount a small disk: {}", String::from_utf8_lossy(&mounted.stderr));
        Ok(Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the store under test may still close its files.
        let _unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
