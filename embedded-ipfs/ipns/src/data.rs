//! The signed document inside a record: a DAG-CBOR map of five known keys.
//!
//! As strict as DAG-CBOR where two readers could differ (shortest integers, definite lengths, no key twice, nothing
//! behind the end, text that is UTF-8) and lenient in the order of keys, which changes nothing.

use std::collections::BTreeSet;

use cid::Cid;

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

    /// What follows the tag of a link: a 0, which stands for "no text", and the bytes of a CID.
    fn link(&mut self) -> Result<(), &'static str> {
        let cid = self.bytes()?.strip_prefix(&[0]);
        match cid.map(|bytes| (bytes, Cid::try_from(bytes))) {
            Some((bytes, Ok(cid))) if cid.to_bytes() == bytes => Ok(()),
            _ => Err("a link is no CID"),
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
                (TAG, LINK) => self.link().map(|()| 0)?,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The document of the published record of version 2.
    const PUBLISHED: &str = "a56354544c1b000001a3185c50006556616c756558242f697066732f6261666b71616474776769777736337\
        46d706571686\
        57a6c646e357a67696853657175656e6365006856616c6964697479581b323132332d30382d31345431323a31373a30332e3639\
        343035325a6c56616c69646974795479706500";

    fn hex(text: &str) -> Vec<u8> {
        hex::decode(text.replace(' ', "")).unwrap()
    }

    /// A map of the five fields and of others, given in hex; `pairs` counts all.
    fn with(pairs: u8, others: &str) -> Vec<u8> {
        let five = "6354544c 01 6556616c7565 4100 6853657175656e6365 02 6856616c6964697479 4130 \
            6c56616c696469747954797065 00";
        [vec![0xa0 | pairs], hex(five), hex(others)].concat()
    }

    #[test]
    fn the_published_document_is_read_and_written_again() {
        let document = Document::decode(&hex(PUBLISHED)).unwrap();
        let expected = Document {
            value: b"/ipfs/bafkqadtwgiww63tmpeqhezldn5zgi".to_vec(),
            validity: b"2123-08-14T12:17:03.694052Z".to_vec(),
            validity_type: 0,
            sequence: 0,
            ttl: 1_800_000_000_000,
        };
        assert_eq!(document, expected);
        assert_eq!(document.encode(), hex(PUBLISHED));
    }

    #[test]
    fn an_unknown_key_is_skipped_whatever_is_in_it() {
        let known = Document::decode(&with(5, "")).unwrap();
        for other in [
            "00",                               // 0
            "3b ffffffffffffffff",              // -2^64
            "40",                               // no bytes
            "62 c3a9",                          // "é"
            "80",                               // an empty list
            "83 01 82 02 03 a1 61 61 f6",       // lists and a map inside
            "a2 61 61 a1 61 62 81 f5 61 63 f4", // maps inside
            "d8 2a 45 0001550000",              // a link
            "fb 0000000000000000",              // 0.0
            "fb 400921fb54442d18",              // π
        ] {
            assert_eq!(Document::decode(&with(6, &format!("61 5f {other}"))), Ok(known.clone()), "{other}");
        }
    }

    #[test]
    fn any_nesting_is_passed_over() {
        let deep = ["81".repeat(10_000), "00".to_owned()].concat();
        assert!(Document::decode(&with(6, &format!("61 5f {deep}"))).is_ok());
    }

    #[test]
    fn the_order_of_keys_does_not_matter() {
        let first = Document::decode(&with(6, "61 5f 00"));
        let moved = [hex("a6 61 5f 00"), with(5, "")[1..].to_vec()].concat();
        assert_eq!(Document::decode(&moved), first);
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for (pairs, others) in [
            (6, "6354544c 01"),       // a known key twice
            (7, "61 5f 00 61 5f 00"), // an unknown key twice
            (5, "00"),                // bytes behind the end
            (6, ""),                  // a pair is missing
            (6, "61 5f"),             // a value is missing
            (6, "41 5f 00"),          // a key that is no text
            (6, "00 00"),             // a key that is a number
            (6, "61 ff 00"),          // a key that is not UTF-8
            (6, "61 5f 61 ff"),       // a text that is not UTF-8
            (6, "78 01 5f 00"),       // a length longer than it needs
            (6, "61 5f 18 17"),       // integers longer than they need
            (6, "61 5f 19 00ff"),
            (6, "61 5f 1a 0000ffff"),
            (6, "61 5f 1b 00000000ffffffff"),
            (6, "61 5f 9f 00 ff"),    // an indefinite list
            (6, "61 5f 5f 41 00 ff"), // indefinite bytes
            (6, "61 5f bf ff"),       // an indefinite map
            (6, "61 5f ff"),          // an end of nothing
            (6, "61 5f 1c"),          // a reserved length
            (6, "61 5f c1 00"),       // a tag that is no link
            (6, "61 5f d8 2a 00"),    // links that are no CID
            (6, "61 5f d8 2a 40"),
            (6, "61 5f d8 2a 44 01550000"),
            (6, "61 5f d8 2a 46 000155000000"),
            (6, "61 5f f7"), // undefined
            (6, "61 5f f0"), // a simple value without a meaning
            (6, "61 5f f8 20"),
            (6, "61 5f f9 3c00"), // floats of 16 and 32 bits
            (6, "61 5f fa 3f800000"),
            (6, "61 5f 9b ffffffffffffffff 00"), // more items than there are
            (6, "61 5f bb ffffffffffffffff 00"),
            (6, "61 5f 82 9b ffffffffffffffff 00"),
            (6, "61 5f 5b ffffffffffffffff 00"),
        ] {
            assert!(Document::decode(&with(pairs, others)).is_err(), "{others}");
        }
        for document in ["", "80", "a0", "bf ff", "f6", "00", "d8 2a a0"] {
            assert!(Document::decode(&hex(document)).is_err(), "{document}");
        }
    }

    #[test]
    fn a_field_that_is_missing_or_of_another_type_is_refused() {
        let full = with(5, "");
        // Each field renamed, in the order above: TTL, Value, Sequence, Validity, ValidityType.
        for (at, field) in
            [(2, "TTL"), (7, "Value"), (15, "Sequence"), (25, "Validity"), (36, "ValidityType")]
        {
            let mut renamed = full.clone();
            assert_eq!(&renamed[at..at + field.len()], field.as_bytes());
            renamed[at] = b'_';
            assert_eq!(Document::decode(&renamed), Err(format!("{field} is missing").leak() as &str));
        }
        for (from, to) in [
            ("54544c 01", "54544c 20"), // a negative TTL
            ("54544c 01", "54544c f5"), // a TTL that is true
            ("7565 4100", "7565 6161"), // a Value that is text
            ("6365 02", "6365 20"),     // a negative Sequence
            ("6365 02", "6365 4102"),   // a Sequence of bytes
            ("7479 4130", "7479 6130"), // a Validity that is text
            ("7065 00", "7065 20"),     // a negative ValidityType
        ] {
            let text = hex::encode(&full).replacen(&from.replace(' ', ""), &to.replace(' ', ""), 1);
            assert_ne!(hex(&text), full, "{from}");
            assert!(Document::decode(&hex(&text)).is_err(), "{to}");
        }
    }

    proptest! {
        #[test]
        fn a_document_survives_its_encoding(
            value in proptest::collection::vec(any::<u8>(), 0..600),
            validity in proptest::collection::vec(any::<u8>(), 0..40),
            shift in 0..64u32,
            numbers in any::<[u64; 3]>(),
        ) {
            let [validity_type, sequence, ttl] = numbers.map(|number| number >> shift);
            let document = Document { value, validity, validity_type, sequence, ttl };
            prop_assert_eq!(Document::decode(&document.encode()), Ok(document));
        }

        #[test]
        fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Document::decode(&bytes);
            let _ = Document::decode(&[with(6, "61 5f"), bytes].concat());
        }

        #[test]
        fn a_document_cut_anywhere_is_refused(len in 0..with(6, "61 5f 82 01 43 010203").len()) {
            let document = with(6, "61 5f 82 01 43 010203");
            prop_assert!(Document::decode(&document).is_ok());
            prop_assert!(Document::decode(&document[..len]).is_err());
        }
    }
}
