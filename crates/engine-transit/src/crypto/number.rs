//! Large numbers as stored records and backups have them: JSON numbers in decimal, as Go writes `big.Int`.

use crypto_bigint::BoxedUint;
use secret::SecretBytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use zeroize::Zeroizing;

/// Most digits of a number that is read: more than an RSA key of 8192 bits needs. A bound on work, since the conversion is
/// quadratic.
const DIGITS_MAX: usize = 2600;

/// A non-negative number that may be secret: big-endian, wiped on drop, redacted in `Debug`.
#[derive(Debug, Clone)]
pub(crate) struct Number(SecretBytes);

impl Number {
    /// From big-endian bytes; leading zeros go.
    pub(crate) fn new(big_endian: &[u8]) -> Self {
        Self(SecretBytes::new(big_endian.iter().copied().skip_while(|b| *b == 0).collect()))
    }

    /// Big-endian without leading zeros; nothing for zero.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.expose()
    }

    /// Big-endian, filled with zeros to `length`; as it is if it is longer.
    pub(crate) fn padded(&self, length: usize) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(vec![0; length.saturating_sub(self.bytes().len())]);
        out.extend_from_slice(self.bytes());
        out
    }

    /// For arithmetic, with room for `bits`.
    pub(crate) fn wide(&self, bits: u32) -> Option<BoxedUint> {
        BoxedUint::from_be_slice(self.bytes(), bits).ok()
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits = Zeroizing::new(BoxedUint::from_be_slice_vartime(self.bytes()).to_string_radix_vartime(10));
        let number: serde_json::Number = digits.parse().map_err(|_| ser::Error::custom("number"))?;
        number.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let digits = Zeroizing::new(serde_json::Number::deserialize(deserializer)?.to_string());
        if digits.len() > DIGITS_MAX || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(de::Error::custom("expected a whole number"));
        }
        let number = BoxedUint::from_str_radix_vartime(&digits, 10).map_err(|_| de::Error::custom("expected a whole number"))?;
        Ok(Self::new(&number.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decimal_goes_both_ways(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let text = serde_json::to_string(&Number::new(&bytes)).unwrap();
            let back: Number = serde_json::from_str(&text).unwrap();
            let want: Vec<u8> = bytes.iter().copied().skip_while(|b| *b == 0).collect();
            prop_assert_eq!(back.bytes(), want);
        }
    }

    #[test]
    fn known_numbers_and_what_is_no_number() {
        for (text, want) in
            [("0", &[][..]), ("255", &[255]), ("65537", &[1, 0, 1]), ("18446744073709551616", &[1, 0, 0, 0, 0, 0, 0, 0, 0])]
        {
            assert_eq!(serde_json::from_str::<Number>(text).unwrap().bytes(), want, "{text}");
        }
        for wrong in ["-1", "1.5", "1e3", "\"7\"", "null", "{}"] {
            assert!(serde_json::from_str::<Number>(wrong).is_err(), "{wrong}");
        }
        assert!(serde_json::from_str::<Number>(&"9".repeat(DIGITS_MAX + 1)).is_err());
        assert_eq!(*Number::new(&[1]).padded(3), [0, 0, 1]);
        assert!(!format!("{:?}", Number::new(&[0xab, 0xcd])).contains("171"));
    }
}
