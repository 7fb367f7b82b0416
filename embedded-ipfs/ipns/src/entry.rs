//! `IpnsEntry`, the protobuf around a record. Stricter than protobuf asks, since an entry that two readers read
//! differently is an attack: a known field may come once and only in its own wire type. Unknown fields are skipped.

/// The fields of an entry, borrowed from its bytes. The specification requires `signature_v2` and `data`; the rest but
/// `pub_key` repeats what `data` says, for readers of before 2021.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub value: Option<&'a [u8]>,
    pub signature_v1: Option<&'a [u8]>,
    pub validity_type: Option<u64>,
    pub validity: Option<&'a [u8]>,
    pub sequence: Option<u64>,
    pub ttl: Option<u64>,
    pub pub_key: Option<&'a [u8]>,
    pub signature_v2: Option<&'a [u8]>,
    pub data: Option<&'a [u8]>,
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

impl<'a> Entry<'a> {
    /// Reads an entry.
    ///
    /// # Errors
    /// The fault in words.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let mut entry = Self::default();
        let mut rest = Reader(bytes);
        while !rest.0.is_empty() {
            let tag = rest.varint()?;
            let (number, wire) = (tag >> 3, tag & 7);
            if number == 0 || tag > u64::from(u32::MAX) {
                return Err("a field has no valid number");
            }
            match (number, wire) {
                (1, BYTES) => once(&mut entry.value, rest.bytes()?)?,
                (2, BYTES) => once(&mut entry.signature_v1, rest.bytes()?)?,
                (3, VARINT) => once(&mut entry.validity_type, rest.varint()?)?,
                (4, BYTES) => once(&mut entry.validity, rest.bytes()?)?,
                (5, VARINT) => once(&mut entry.sequence, rest.varint()?)?,
                (6, VARINT) => once(&mut entry.ttl, rest.varint()?)?,
                (7, BYTES) => once(&mut entry.pub_key, rest.bytes()?)?,
                (8, BYTES) => once(&mut entry.signature_v2, rest.bytes()?)?,
                (9, BYTES) => once(&mut entry.data, rest.bytes()?)?,
                (1..=9, _) => return Err("a field has another type than its own"),
                (_, VARINT) => drop(rest.varint()?),
                (_, FIXED64) => drop(rest.take(8)?),
                (_, BYTES) => drop(rest.bytes()?),
                (_, FIXED32) => drop(rest.take(4)?),
                _ => return Err("a field has an unknown wire type"),
            }
        }
        Ok(entry)
    }

    /// The bytes, fields in the order of their numbers.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (number, bytes, integer) in [
            (1, self.value, None),
            (2, self.signature_v1, None),
            (3, None, self.validity_type),
            (4, self.validity, None),
            (5, None, self.sequence),
            (6, None, self.ttl),
            (7, self.pub_key, None),
            (8, self.signature_v2, None),
            (9, self.data, None),
        ] {
            if let Some(bytes) = bytes {
                put_varint(&mut out, number << 3 | BYTES);
                put_varint(&mut out, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
            if let Some(integer) = integer {
                put_varint(&mut out, number << 3 | VARINT);
                put_varint(&mut out, integer);
            }
        }
        out
    }
}

fn once<T>(field: &mut Option<T>, value: T) -> Result<(), &'static str> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err("a field is there twice"),
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: u64) -> Result<&'a [u8], &'static str> {
        let len = usize::try_from(len).map_err(|_| "a length is too large")?;
        let (taken, rest) = self.0.split_at_checked(len).ok_or("a field is cut off")?;
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, &'static str> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("an integer is too large")
    }

    fn bytes(&mut self) -> Result<&'a [u8], &'static str> {
        let len = self.varint()?;
        self.take(len)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn full() -> Entry<'static> {
        Entry {
            value: Some(b"/ipfs/bafkqaaa"),
            signature_v1: Some(b"one"),
            validity_type: Some(0),
            validity: Some(b"2030-01-01T00:00:00Z"),
            sequence: Some(u64::MAX),
            ttl: Some(300_000_000_000),
            pub_key: Some(b""),
            signature_v2: Some(b"two"),
            data: Some(&[0xa0]),
        }
    }

    #[test]
    fn an_entry_survives_its_encoding() {
        for entry in [full(), Entry::default()] {
            assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
        }
    }

    #[test]
    fn an_unknown_field_is_skipped_whatever_its_type() {
        let unknown = [
            &[0x52, 2, 1, 2][..],
            &[0x50, 0xff, 0x7f],
            &[0x59, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x5d, 1, 2, 3, 4],
            &[0xfa, 0xff, 0xff, 0xff, 0x0f, 0],
        ];
        for field in unknown {
            assert_eq!(Entry::decode(&[field, &full().encode(), field].concat()), Ok(full()));
        }
    }

    #[test]
    fn a_cut_or_ambiguous_entry_is_refused() {
        for bytes in [
            &[0x0a][..],                                                            // no length
            &[0x0a, 2, 1],                                                          // shorter than its length
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],       // a length of 2^64 - 1
            &[0x28, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],       // more than 64 bits
            &[0x28, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0], // longer than ten bytes
            &[0x28, 0x80],                                                          // an integer without end
            &[0x28, 1, 0x28, 1],                                                    // twice
            &[0x08, 1],                                                             // bytes as an integer
            &[0x2a, 1, 1],                                                          // an integer as bytes
            &[0x02, 0],                                                             // number 0
            &[0xfa, 0xff, 0xff, 0xff, 0x1f, 0],                                     // a number above 2^29
            &[0x53, 0x54],                                                          // a group
            &[0x5f],                                                                // wire type 7
            &[0x59, 1, 2, 3, 4, 5, 6, 7],                                           // 7 of 8 bytes
            &[0x5d, 1, 2, 3],                                                       // 3 of 4 bytes
        ] {
            assert!(Entry::decode(bytes).is_err(), "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(entry) = Entry::decode(&bytes) {
                let again = entry.encode();
                prop_assert_eq!(Entry::decode(&again), Ok(entry));
            }
        }
    }
}
