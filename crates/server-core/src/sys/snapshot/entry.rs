//! The records in `state.bin`: Vault's form (contract §9.4), `length (uvarint) ‖ StorageEntry`, a protobuf message of 1 key (text),
//! 2 value (bytes) and 3 seal_wrap. A sealed name is no text, so it stands there in base64url; the public records stand under
//! their own names, which have a slash. Deliberately absent: versions, which belong to a log.

use std::io::{self, ErrorKind, Read, Write};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use storage::PublicRecord;

/// Longest record that is believed: the greatest change that the log takes, with room for its key.
const RECORD_BYTES_MAX: u64 = replication::MAX_CHANGE_BYTES as u64 + (256 << 10);

const KEY: u8 = 1 << 3 | 2;
const VALUE: u8 = 2 << 3 | 2;
const SEAL_WRAP: u8 = 3 << 3;

/// First byte of every sealed name.
const SEALED: u8 = 1;

/// The public records without which nothing opens.
pub(super) const NEEDED: [PublicRecord; 3] = [PublicRecord::SealConfig, PublicRecord::RootKey, PublicRecord::Keyring];

/// Writes a record.
pub(super) fn write(out: &mut dyn Write, name: &[u8], value: &[u8]) -> io::Result<()> {
    let text;
    let key = if PublicRecord::ALL.iter().any(|record| record.name() == name) {
        name
    } else {
        text = BASE64_URL_SAFE_NO_PAD.encode(name);
        text.as_bytes()
    };
    let mut head = Vec::with_capacity(32 + key.len());
    let length =
        1 + uvarint_bytes(key.len() as u64) + key.len() as u64 + 1 + uvarint_bytes(value.len() as u64) + value.len() as u64;
    put_uvarint(&mut head, length);
    head.push(KEY);
    put_uvarint(&mut head, key.len() as u64);
    head.extend_from_slice(key);
    head.push(VALUE);
    put_uvarint(&mut head, value.len() as u64);
    out.write_all(&head)?;
    out.write_all(value)
}

/// Reads the next record into `buffer` and answers its stored name and value; `None` at the end.
pub(super) fn read<'a>(input: &mut dyn Read, buffer: &'a mut Vec<u8>) -> io::Result<Option<(Vec<u8>, &'a [u8])>> {
    let Some(length) = read_uvarint(input)? else { return Ok(None) };
    if length == 0 || length > RECORD_BYTES_MAX {
        return Err(wrong());
    }
    buffer.clear();
    // Grows with what comes, not with what is announced.
    if input.take(length).read_to_end(buffer)? as u64 != length {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let (mut key, mut value) = (None, &[][..]);
    let mut rest = buffer.as_slice();
    while let Some((field, after)) = rest.split_first() {
        rest = after;
        let number = read_uvarint(&mut rest)?.ok_or_else(wrong)?;
        if *field == SEAL_WRAP {
            continue;
        }
        let (bytes, after) = usize::try_from(number).ok().and_then(|n| rest.split_at_checked(n)).ok_or_else(wrong)?;
        rest = after;
        match *field {
            KEY => key = Some(bytes),
            VALUE => value = bytes,
            _ => return Err(wrong()),
        }
    }
    Ok(Some((stored_name(key.ok_or_else(wrong)?)?, value)))
}

fn stored_name(key: &[u8]) -> io::Result<Vec<u8>> {
    if PublicRecord::ALL.iter().any(|record| record.name() == key) {
        return Ok(key.to_vec());
    }
    BASE64_URL_SAFE_NO_PAD
        .decode(key)
        .ok()
        .filter(|name| name.first() == Some(&SEALED))
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "it has records of another program"))
}

fn wrong() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "it is no list of records")
}

fn put_uvarint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n.to_le_bytes()[0] | 0x80);
        n >>= 7;
    }
    out.push(n.to_le_bytes()[0]);
}

fn uvarint_bytes(n: u64) -> u64 {
    u64::from((64 - (n | 1).leading_zeros()).div_ceil(7))
}

fn read_uvarint(input: &mut dyn Read) -> io::Result<Option<u64>> {
    let mut n = 0u64;
    for shift in (0..63).step_by(7) {
        let mut byte = [0u8];
        match input.read_exact(&mut byte) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::UnexpectedEof && shift == 0 => return Ok(None),
            Err(e) => return Err(e),
        }
        n |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            return Ok(Some(n));
        }
    }
    Err(wrong())
}

/// A message that holds only the bytes of its field 1: how Vault frames what a seal made (`BlobInfo`).
pub(super) fn blob(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![KEY];
    put_uvarint(&mut out, bytes.len() as u64);
    out.extend_from_slice(bytes);
    out
}

/// The reverse of [`blob`].
pub(super) fn unblob(message: &[u8]) -> Option<&[u8]> {
    let (field, mut rest) = message.split_first()?;
    let length = read_uvarint(&mut rest).ok()??;
    (*field == KEY).then_some(rest).filter(|rest| rest.len() as u64 == length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut input: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let (mut buffer, mut found) = (Vec::new(), Vec::new());
        while let Some((name, value)) = read(&mut input, &mut buffer)? {
            found.push((name, value.to_vec()));
        }
        Ok(found)
    }

    #[test]
    fn what_is_written_is_read() {
        let mut records: Vec<_> = PublicRecord::ALL.map(|record| (record.name().to_vec(), b"x".to_vec())).into();
        records.extend([(vec![1, 0, 255, 7], vec![0; 300]), ([vec![1], vec![9; 20_000]].concat(), Vec::new())]);
        let mut out = Vec::new();
        for (name, value) in &records {
            write(&mut out, name, value).unwrap();
        }
        assert_eq!(all(&out).unwrap(), records);
        for cut in [1, 2, 5, out.len() - 1] {
            assert!(all(&out[..cut]).is_err() || cut == out.len(), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_record_of_ours_is_refused() {
        let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x03];
        let endless = [0xff; 12];
        let of_vault = [&[16, KEY, 9][..], b"logical/x", &[VALUE, 3, 1, 2, 3]].concat();
        let unnamed = [3, VALUE, 1, 7];
        let unknown = [2, 0x2a, 0];
        for bytes in [&[0][..], &huge, &endless, &of_vault, &unnamed, &unknown, &[2, KEY, 9], &[2, KEY, 0]] {
            assert!(all(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_blob_is_one_field() {
        assert_eq!(unblob(&blob(&[7; 200])), Some(&[7; 200][..]));
        for bad in [&[][..], &[KEY], &[KEY, 3, 1], &[VALUE, 1, 1], &[KEY, 1, 1, 1]] {
            assert_eq!(unblob(bad), None);
        }
    }
}
