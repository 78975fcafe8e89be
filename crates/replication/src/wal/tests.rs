//! What survives in the log's files, and which damage refuses them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::os::unix::fs::FileExt;

use super::*;

fn at(index: u64) -> Position {
    Position { term: 1, index }
}

fn entries(range: std::ops::Range<u64>, bytes: usize) -> Vec<(Position, Vec<u8>)> {
    range.map(|index| (at(index), vec![u8::try_from(index % 251).unwrap(); bytes])).collect()
}

fn open(dir: &Path) -> Result<Wal, StoreError> {
    Wal::open(dir, || Ok((None, Vec::new())))
}

/// All that can be read, as (index, first byte, length).
fn held(wal: &Wal) -> Vec<(u64, u8, usize)> {
    let mut found = Vec::new();
    wal.read(0, u64::MAX, usize::MAX, &mut |index, bytes| {
        found.push((index, bytes.first().copied().unwrap_or(0), bytes.len()));
        Ok(())
    })
    .unwrap();
    found
}

fn expected(range: std::ops::Range<u64>, bytes: usize) -> Vec<(u64, u8, usize)> {
    range.map(|index| (index, u8::try_from(index % 251).unwrap(), bytes)).collect()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    list(dir).unwrap().into_iter().map(|(_, path)| path).collect()
}

fn flip(path: &Path, offset: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
}

#[test]
fn what_was_appended_is_there_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path()).unwrap();
    assert_eq!(wal.ends(), (None, None));
    wal.append(&entries(0..3, 100)).unwrap();
    wal.append(&entries(3..4, 9000)).unwrap();
    wal.append(&[]).unwrap();
    drop(wal);
    let wal = open(dir.path()).unwrap();
    assert_eq!(wal.ends(), (None, Some(at(3))));
    assert_eq!(held(&wal), [expected(0..3, 100), expected(3..4, 9000)].concat());
    wal.append(&entries(4..5, 0)).unwrap();
    assert_eq!(held(&wal).len(), 5);
    let mut some = Vec::new();
    let read = wal.read(1, 4, 150, &mut |index, _| {
        some.push(index);
        Ok(())
    });
    assert_eq!((read.unwrap(), some), (200, vec![1, 2]));
}

#[test]
fn a_new_log_takes_over_what_it_is_given_and_asks_only_once() {
    let dir = tempfile::tempdir().unwrap();
    let wal = Wal::open(dir.path(), || Ok((Some(at(6)), entries(7..9, 2 * 1024 * 1024)))).unwrap();
    assert_eq!(wal.ends(), (Some(at(6)), Some(at(8))));
    drop(wal);
    let wal = Wal::open(dir.path(), || Err(corrupt("seed", "asked again".to_owned()))).unwrap();
    assert_eq!(held(&wal), expected(7..9, 2 * 1024 * 1024));
}

#[test]
fn cuts_hold_over_files_and_openings() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path()).unwrap();
    wal.append(&entries(0..4, 700_000)).unwrap();
    wal.truncate(Some(at(1))).unwrap();
    wal.append(&[(Position { term: 2, index: 2 }, vec![9; 5])]).unwrap();
    let now = [expected(0..2, 700_000), vec![(2, 9, 5)]].concat();
    assert_eq!(held(&wal), now);
    drop(wal);
    let wal = open(dir.path()).unwrap();
    assert_eq!(held(&wal), now);
    assert_eq!(wal.ends().1, Some(Position { term: 2, index: 2 }));
    wal.truncate(None).unwrap();
    drop(wal);
    assert_eq!(open(dir.path()).unwrap().ends(), (None, None));
}

#[test]
fn purging_lets_files_go_and_uses_one_again() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path()).unwrap();
    for i in 0..40 {
        wal.append(&entries(i..i + 1, 100_000)).unwrap();
    }
    let before = files(dir.path()).len();
    assert!(before >= 4);
    wal.purge(at(30)).unwrap();
    assert_eq!(held(&wal), expected(31..40, 100_000));
    assert!(files(dir.path()).len() < before && dir.path().join(SPARE).exists());
    wal.purge(at(20)).unwrap(); // already gone
    for i in 40..60 {
        wal.append(&entries(i..i + 1, 100_000)).unwrap();
    }
    drop(wal);
    let wal = open(dir.path()).unwrap();
    let (purged, last) = wal.ends();
    assert!(purged.unwrap().index <= 30 && last == Some(at(59)));
    assert_eq!(held(&wal), expected(purged.unwrap().index + 1..60, 100_000));
}

#[test]
fn purging_all_keeps_no_byte_and_the_log_goes_on_behind_it() {
    for upto in [9, 100] {
        let dir = tempfile::tempdir().unwrap();
        let wal = open(dir.path()).unwrap();
        wal.append(&entries(0..10, 200_000)).unwrap();
        wal.purge(at(upto)).unwrap();
        assert_eq!(wal.ends(), (Some(at(upto)), Some(at(upto))));
        assert_eq!(files(dir.path()).len(), 1);
        assert!(std::fs::read(&files(dir.path())[0]).unwrap()[PAGE_BYTES..].iter().all(|byte| *byte == 0));
        wal.append(&entries(upto + 1..upto + 2, 5)).unwrap();
        drop(wal);
        assert_eq!(held(&open(dir.path()).unwrap()), expected(upto + 1..upto + 2, 5));
    }
}

#[test]
fn an_interrupted_new_beginning_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path()).unwrap();
    wal.append(&entries(0..3, 10)).unwrap();
    let old = files(dir.path())[0].clone();
    let kept = std::fs::read(&old).unwrap();
    wal.purge(at(50)).unwrap();
    drop(wal);
    std::fs::write(&old, kept).unwrap(); // as if it had not been removed yet
    let wal = open(dir.path()).unwrap();
    assert_eq!(wal.ends(), (Some(at(50)), Some(at(50))));
    assert_eq!(files(dir.path()).len(), 1);
}

#[test]
fn a_torn_last_group_is_passed_over_and_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path()).unwrap();
    wal.append(&entries(0..2, 10)).unwrap();
    wal.append(&entries(2..3, 20_000)).unwrap();
    drop(wal);
    // The third page of the last group never reached the disk.
    let file = File::options().write(true).open(&files(dir.path())[0]).unwrap();
    file.write_all_at(&[0; PAGE_BYTES], 4 * PAGE_BYTES as u64).unwrap();
    let wal = open(dir.path()).unwrap();
    assert_eq!(held(&wal), expected(0..2, 10));
    wal.append(&entries(2..3, 30)).unwrap();
    drop(wal);
    assert_eq!(held(&open(dir.path()).unwrap()).len(), 3);
}

#[test]
fn damage_before_a_later_group_is_refused_wherever_it_is() {
    for offset in [0, 5, 9, 20, 4096, 4100, 4110, 4125, 4130, 4150] {
        let dir = tempfile::tempdir().unwrap();
        let wal = open(dir.path()).unwrap();
        wal.append(&entries(0..1, 100)).unwrap();
        wal.append(&entries(1..2, 100)).unwrap();
        drop(wal);
        flip(&files(dir.path())[0], offset);
        let refused = open(dir.path()).err().map(|e| e.to_string());
        assert!(refused.is_some_and(|text| text.contains("corrupt data")), "a flipped bit at {offset} was not noticed");
    }
}

#[test]
fn a_missing_file_is_refused() {
    for missing in [1, 2] {
        let dir = tempfile::tempdir().unwrap();
        let wal = open(dir.path()).unwrap();
        for i in 0..4 {
            wal.append(&entries(i..i + 1, 900_000)).unwrap();
        }
        drop(wal);
        std::fs::remove_file(&files(dir.path())[missing]).unwrap();
        assert!(matches!(open(dir.path()), Err(StoreError::Corrupt { .. })), "file {missing} may be missing");
    }
}

#[test]
fn a_newer_format_is_refused_by_number() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let file = File::options().write(true).open(&files(dir.path())[0]).unwrap();
    file.write_all_at(&[9], 5).unwrap();
    let text = open(dir.path()).err().unwrap().to_string();
    assert!(text.contains("format 9") && text.contains("formats up to 1"), "{text}");
}

#[test]
fn at_every_length_of_the_last_write_the_log_is_one_of_the_two() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path()).unwrap();
    wal.append(&entries(0..1, 50)).unwrap();
    wal.append(&entries(1..3, 5000)).unwrap();
    drop(wal);
    let path = files(dir.path())[0].clone();
    let whole = std::fs::read(&path).unwrap();
    for kept in (2 * PAGE_BYTES..6 * PAGE_BYTES).step_by(509) {
        let mut torn = whole.clone();
        torn[kept..].fill(0);
        std::fs::write(&path, torn).unwrap();
        let found = held(&open(dir.path()).unwrap());
        assert!([expected(0..1, 50), [expected(0..1, 50), expected(1..3, 5000)].concat()].contains(&found), "cut at {kept}");
    }
}
