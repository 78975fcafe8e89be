//! Just enough DER for keys: definite lengths, a few tags. Reading is bounded by the input and never panics.

/// Tag of INTEGER.
pub(crate) const INTEGER: u8 = 0x02;
/// Tag of BIT STRING.
pub(crate) const BIT_STRING: u8 = 0x03;
/// Tag of OCTET STRING.
pub(crate) const OCTET_STRING: u8 = 0x04;
/// Tag of OBJECT IDENTIFIER.
pub(crate) const OBJECT_ID: u8 = 0x06;
/// Tag of SEQUENCE.
pub(crate) const SEQUENCE: u8 = 0x30;
/// NULL, whole.
pub(crate) const NULL: &[u8] = &[0x05, 0x00];

/// rsaEncryption, 1.2.840.113549.1.1.1, without tag.
pub(crate) const OID_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// id-ecPublicKey, 1.2.840.10045.2.1, without tag.
pub(crate) const OID_EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// id-Ed25519, 1.3.101.112, without tag.
pub(crate) const OID_ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// One value with its tag and length.
pub(crate) fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 6);
    out.push(tag);
    let n = content.len();
    match u8::try_from(n) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes: Vec<u8> = n.to_be_bytes().into_iter().skip_while(|b| *b == 0).collect();
            out.push(0x80 | u8::try_from(bytes.len()).unwrap_or(0x08));
            out.extend(bytes);
        }
    }
    out.extend_from_slice(content);
    out
}

/// A SEQUENCE of whole values.
pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    value(SEQUENCE, &parts.concat())
}

/// A non-negative INTEGER from big-endian bytes.
pub(crate) fn integer(big_endian: &[u8]) -> Vec<u8> {
    let trimmed: Vec<u8> = big_endian.iter().copied().skip_while(|b| *b == 0).collect();
    let mut content = Vec::with_capacity(trimmed.len() + 1);
    if trimmed.first().is_none_or(|b| *b >= 0x80) {
        content.push(0);
    }
    content.extend(trimmed);
    value(INTEGER, &content)
}

/// A BIT STRING of whole bytes.
pub(crate) fn bit_string(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::with_capacity(bytes.len() + 1);
    content.push(0);
    content.extend_from_slice(bytes);
    value(BIT_STRING, &content)
}

/// Reads values one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Nothing is left.
    pub(crate) fn done(&self) -> bool {
        self.0.is_empty()
    }

    /// The next value, whatever it is: tag, content, and the whole of it.
    pub(crate) fn any(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            // DER: the shortest form, and never the indefinite one.
            if bytes.is_empty() || bytes.len() > 4 || bytes.first() == Some(&0) {
                return None;
            }
            let length = bytes.iter().fold(0usize, |n, b| (n << 8) | usize::from(*b));
            if length < 0x80 {
                return None;
            }
            (length, rest)
        };
        let (content, rest) = rest.split_at_checked(length)?;
        let whole = self.0.get(..self.0.len() - rest.len())?;
        self.0 = rest;
        Some((tag, content, whole))
    }

    /// The content of the next value, if it has this tag.
    pub(crate) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let (found, content, _) = ahead.any()?;
        if found != tag {
            return None;
        }
        *self = ahead;
        Some(content)
    }

    /// The next value as a SEQUENCE.
    pub(crate) fn sequence(&mut self) -> Option<Reader<'a>> {
        self.take(SEQUENCE).map(Reader)
    }

    /// The next value as a non-negative INTEGER, big-endian and without leading zeros.
    pub(crate) fn unsigned(&mut self) -> Option<&'a [u8]> {
        let content = self.take(INTEGER)?;
        match content {
            [] => None,
            [0] => Some(&[]),
            [0, second, ..] if *second < 0x80 => None,
            [0, rest @ ..] => Some(rest),
            [first, ..] if *first >= 0x80 => None,
            all => Some(all),
        }
    }

    /// The next value as a BIT STRING of whole bytes.
    pub(crate) fn bits(&mut self) -> Option<&'a [u8]> {
        match self.take(BIT_STRING)? {
            [0, rest @ ..] => Some(rest),
            _ => None,
        }
    }
}

/// The parts of a SubjectPublicKeyInfo: algorithm, its parameters (whole), key.
pub(crate) fn public_key_parts(spki: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut outer = Reader::new(spki);
    let mut inner = outer.sequence()?;
    if !outer.done() {
        return None;
    }
    let mut algorithm = inner.sequence()?;
    let id = algorithm.take(OBJECT_ID)?;
    let parameters = if algorithm.done() { &[] } else { algorithm.any()?.2 };
    let key = inner.bits()?;
    inner.done().then_some((id, parameters, key))
}

/// The parts of a PKCS#8 PrivateKeyInfo: algorithm and the key inside.
pub(crate) fn private_key_parts(pkcs8: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut inner = Reader::new(pkcs8).sequence()?;
    inner.unsigned()?;
    let id = inner.sequence()?.take(OBJECT_ID)?;
    Some((id, inner.take(OCTET_STRING)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn values_read_back_and_garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let number: Vec<u8> = bytes.iter().copied().skip_while(|b| *b == 0).collect();
            let written = sequence(&[&integer(&bytes), &bit_string(&bytes), &value(OCTET_STRING, &bytes)]);
            let mut outer = Reader::new(&written);
            let mut r = outer.sequence().unwrap();
            prop_assert_eq!(r.unsigned().unwrap(), number);
            prop_assert_eq!(r.bits().unwrap(), bytes.clone());
            prop_assert_eq!(r.take(OCTET_STRING).unwrap(), bytes.clone());
            prop_assert!(r.done() && outer.done());
            let _ = public_key_parts(&bytes);
            let _ = private_key_parts(&bytes);
        }
    }

    #[test]
    fn what_is_not_der_is_refused() {
        for bytes in [
            &[][..],
            &[0x30],
            &[0x30, 0x80, 0x00, 0x00],
            &[0x30, 0x81, 0x01, 0x00],
            &[0x30, 0x82, 0x00, 0x01, 0x00],
            &[0x30, 0x02, 0x00],
            &[0x30, 0x85, 1, 1, 1, 1, 1],
        ] {
            assert!(Reader::new(bytes).any().is_none(), "{bytes:?}");
        }
        for bytes in [&[0x02, 0x00][..], &[0x02, 0x01, 0x80], &[0x02, 0x02, 0x00, 0x01]] {
            assert!(Reader::new(bytes).unsigned().is_none(), "{bytes:?}");
        }
    }
}
