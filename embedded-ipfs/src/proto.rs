//! The protobuf wire format, as far as bitswap, dag-pb and UnixFS need it: varints and length-delimited fields.
//! Fields are read lazily and borrow from the message, so a hostile message costs no more memory than its bytes.

/// The message is not protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// A fixed32 or fixed64, which none of our formats uses.
    Fixed,
}

impl<'a> Value<'a> {
    pub(crate) fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Varint(_) | Value::Fixed => Err(Malformed),
        }
    }

    pub(crate) fn varint(self) -> Result<u64, Malformed> {
        match self {
            Value::Varint(n) => Ok(n),
            Value::Bytes(_) | Value::Fixed => Err(Malformed),
        }
    }
}

/// The fields of a message in their order on the wire. Ends after the first malformed one.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

pub(crate) fn fields(message: &[u8]) -> Fields<'_> {
    Fields { rest: message }
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, Malformed> {
        let (n, rest) = unsigned_varint::decode::u64(self.rest)
            .or_else(|_| lax_varint(self.rest))
            .map_err(|_| Malformed)?;
        self.rest = rest;
        Ok(n)
    }

    fn take(&mut self, n: u64) -> Result<&'a [u8], Malformed> {
        let n = usize::try_from(n).map_err(|_| Malformed)?;
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), Malformed> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let n = self.varint()?;
                Value::Bytes(self.take(n)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(Malformed),
        };
        Ok((tag >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// Protobuf, unlike multiformats, allows varints that are longer than needed, and ten bytes for a negative int32.
fn lax_varint(bytes: &[u8]) -> Result<(u64, &[u8]), Malformed> {
    let mut n = 0u64;
    for (i, byte) in bytes.iter().enumerate().take(10) {
        n |= u64::from(byte & 0x7f).checked_shl(7 * i as u32).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Ok((n, &bytes[i + 1..]));
        }
    }
    Err(Malformed)
}

pub(crate) fn put_varint(out: &mut Vec<u8>, n: u64) {
    let mut buffer = unsigned_varint::encode::u64_buffer();
    out.extend_from_slice(unsigned_varint::encode::u64(n, &mut buffer));
}

/// Writes an integer field, zero included.
pub(crate) fn put_int(out: &mut Vec<u8>, field: u64, n: u64) {
    put_varint(out, field << 3);
    put_varint(out, n);
}

/// Writes a length-delimited field, empty included.
pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_come_back_in_the_order_in_which_they_were_written() {
        let mut out = Vec::new();
        put_int(&mut out, 3, 300);
        put_bytes(&mut out, 1, b"abc");
        put_bytes(&mut out, 2, b"");
        let read: Result<Vec<_>, _> = fields(&out).collect();
        assert_eq!(
            read.unwrap(),
            [(3, Value::Varint(300)), (1, Value::Bytes(b"abc")), (2, Value::Bytes(b""))]
        );
    }

    #[test]
    fn a_negative_priority_of_ten_bytes_is_read() {
        let minus_one = [0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(fields(&minus_one).next(), Some(Ok((2, Value::Varint(u64::MAX)))));
    }

    #[test]
    fn a_length_beyond_the_message_is_malformed() {
        assert_eq!(fields(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f, 1]).next(), Some(Err(Malformed)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let count = fields(&bytes).count();
            prop_assert!(count <= bytes.len());
        }
    }
}
