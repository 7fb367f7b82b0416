//! The signed document inside a record: a DAG-CBOR map of five known keys.
//!
//! As strict as DAG-CBOR where two readers could differ (shortest integers, definite lengths, no key twice, nothing
//! behind the end, text that is UTF-8) and lenient in the order of keys, which changes nothing.

use std::collections::BTreeSet;

use crate::time::Timestamp;

/// What the owner of a name signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    pub value: Vec<u8>,
    /// RFC 3339 text of the end of life, as it was signed.
    pub validity: Vec<u8>,
    /// 0: `validity` is an end of life. No other is known.
    pub validity_type: u64,
    pub sequence: u64,
    /// Nanoseconds.
    pub ttl: u64,
}

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const SIMPLE: u8 = 7;
/// The only tag of DAG-CBOR: a CID.
const LINK: u64 = 42;
/// The only float of DAG-CBOR: 64 bits.
const FLOAT: u64 = 27;

impl Document {
    /// A document that ends at `eol`.
    pub fn until(value: &[u8], sequence: u64, eol: Timestamp, ttl: u64) -> Self {
        let validity = eol.to_string().into_bytes();
        Self { value: value.to_vec(), validity, validity_type: 0, sequence, ttl }
    }

    /// Reads a document. Unknown keys are skipped.
    ///
    /// # Errors
    /// The fault in words.
    pub fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut rest = Reader(bytes);
        let pairs = match rest.head()? {
            (MAP, pairs) => pairs,
            _ => return Err("it is no map"),
        };
        let (mut value, mut validity, mut validity_type, mut sequence, mut ttl) =
            (None, None, None, None, None);
        let mut keys = BTreeSet::new();
        for _ in 0..pairs {
            let key = rest.text()?;
            if !keys.insert(key) {
                return Err("a key is there twice");
            }
            match key {
                "Value" => value = Some(rest.bytes()?),
                "Validity" => validity = Some(rest.bytes()?),
                "ValidityType" => validity_type = Some(rest.unsigned()?),
                "Sequence" => sequence = Some(rest.unsigned()?),
                "TTL" => ttl = Some(rest.unsigned()?),
                _ => rest.skip()?,
            }
        }
        if !rest.0.is_empty() {
            return Err("bytes follow its end");
        }
        Ok(Self {
            value: value.ok_or("Value is missing")?.to_vec(),
            validity: validity.ok_or("Validity is missing")?.to_vec(),
            validity_type: validity_type.ok_or("ValidityType is missing")?,
            sequence: sequence.ok_or("Sequence is missing")?,
            ttl: ttl.ok_or("TTL is missing")?,
        })
    }

    /// The canonical bytes: keys by length, then by letters.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_head(&mut out, MAP, 5);
        put_string(&mut out, TEXT, b"TTL");
        put_head(&mut out, UNSIGNED, self.ttl);
        put_string(&mut out, TEXT, b"Value");
        put_string(&mut out, BYTES, &self.value);
        put_string(&mut out, TEXT, b"Sequence");
        put_head(&mut out, UNSIGNED, self.sequence);
        put_string(&mut out, TEXT, b"Validity");
        put_string(&mut out, BYTES, &self.validity);
        put_string(&mut out, TEXT, b"ValidityType");
        put_head(&mut out, UNSIGNED, self.validity_type);
        out
    }
}

fn put_string(out: &mut Vec<u8>, major: u8, bytes: &[u8]) {
    put_head(out, major, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    let bytes = argument.to_be_bytes();
    match argument {
        0..=23 => out.push(major | argument as u8),
        24..=0xff => out.extend_from_slice(&[major | 24, argument as u8]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend_from_slice(&bytes[6..]);
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend_from_slice(&bytes[4..]);
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&bytes);
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: u64) -> Result<&'a [u8], &'static str> {
        let len = usize::try_from(len).map_err(|_| "a length is too large")?;
        let (taken, rest) = self.0.split_at_checked(len).ok_or("it is cut off")?;
        self.0 = rest;
        Ok(taken)
    }

    /// The major type and the argument of the next item; a float's bits are passed over, its argument is [`FLOAT`].
    fn head(&mut self) -> Result<(u8, u64), &'static str> {
        let first = self.take(1)?[0];
        let (major, info) = (first >> 5, first & 0x1f);
        let len = match info {
            0..=23 => return Ok((major, u64::from(info))),
            24..=27 => 1u64 << (info - 24),
            31 => return Err("a length is indefinite"),
            _ => return Err("an item has a reserved length"),
        };
        let argument = self.take(len)?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        // What fits into half the bytes has to be there: 24 is the least for one byte, then 2^8, 2^16, 2^32.
        let least = if len == 1 { 24 } else { 1 << (len * 4) };
        match major {
            SIMPLE if info == FLOAT as u8 => Ok((SIMPLE, FLOAT)),
            SIMPLE => Err("a float has not 64 bits"),
            _ if argument < least => Err("an integer is not in its shortest form"),
            _ => Ok((major, argument)),
        }
    }

    fn unsigned(&mut self) -> Result<u64, &'static str> {
        match self.head()? {
            (UNSIGNED, value) => Ok(value),
            (NEGATIVE, _) => Err("an integer is negative"),
            _ => Err("a field has another type than its own"),
        }
    }

    fn bytes(&mut self) -> Result<&'a [u8], &'static str> {
        match self.head()? {
            (BYTES, len) => self.take(len),
            _ => Err("a field has another type than its own"),
        }
    }

    fn text(&mut self) -> Result<&'a str, &'static str> {
        match self.head()? {
            (TEXT, len) => std::str::from_utf8(self.take(len)?).map_err(|_| "a text is not UTF-8"),
            _ => Err("a key is no text"),
        }
    }

    /// Passes over one item with all that is in it. Counting what is still to come needs no recursion, so no nesting
    /// is too deep.
    fn skip(&mut self) -> Result<(), &'static str> {
        let mut pending = 1u64;
        while pending > 0 {
            pending -= 1;
            let inner = match self.head()? {
                (UNSIGNED | NEGATIVE, _) => 0,
                (BYTES, len) => self.take(len).map(|_| 0)?,
                (TEXT, len) => {
                    std::str::from_utf8(self.take(len)?).map(|_| 0).map_err(|_| "a text is not UTF-8")?
                }
                (ARRAY, len) => len,
                (MAP, pairs) => pairs.checked_mul(2).ok_or("a length is too large")?,
                (TAG, LINK) => 1,
                (TAG, _) => return Err("a tag is no link"),
                // False, true and null.
                (SIMPLE, 20..=22 | FLOAT) => 0,
                _ => return Err("an item is of no type that DAG-CBOR has"),
            };
            pending = pending.checked_add(inner).ok_or("a length is too large")?;
        }
        Ok(())
    }
}
