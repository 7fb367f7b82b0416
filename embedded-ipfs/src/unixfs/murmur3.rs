//! MurmurHash3 x64 128 with seed 0, of which sharded directories use the first 64 bits: they decide where a name lies.
//!
//! Source: <https://github.com/aappleby/smhasher/blob/master/src/MurmurHash3.cpp> (public domain).

const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

/// The first 64 bits, the bits of the first level of a directory in front.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let (mut h1, mut h2) = (0u64, 0u64);
    let mut blocks = bytes.chunks_exact(16);
    for block in &mut blocks {
        h1 ^= mix1(word(&block[..8]));
        h1 = h1.rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 ^= mix2(word(&block[8..]));
        h2 = h2.rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let (low, high) = blocks.remainder().split_at(blocks.remainder().len().min(8));
    h1 ^= mix1(word(low)) ^ bytes.len() as u64;
    h2 ^= mix2(word(high)) ^ bytes.len() as u64;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    finish(h1).wrapping_add(finish(h2))
}

/// Up to eight bytes, little-endian.
fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

fn mix1(k: u64) -> u64 {
    k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

fn mix2(k: u64) -> u64 {
    k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

fn finish(mut k: u64) -> u64 {
    k = (k ^ k >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    k = (k ^ k >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    k ^ k >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_every_tail_are_those_of_the_reference() {
        let text: Vec<u8> = (0..40).collect();
        let cases = [
            (0, 0),
            (1, 0x4610_abe5_6eff_5cb5),
            (7, 0xbd4c_6987_ca4b_0d68),
            (8, 0x47a7_e1bd_d68e_2fc8),
            (9, 0xfbb4_cb0f_6e81_2d32),
            (15, 0x4723_1598_fd49_25e9),
            (16, 0x4449_24b5_9190_3f30),
            (17, 0x5c76_f40f_9fe7_c20e),
            (31, 0x053d_d3e1_a32c_d094),
            (33, 0x7d41_281b_faba_4612),
            (40, 0xc3a0_54d8_418c_8064),
        ];
        for (length, expected) in cases {
            assert_eq!(hash(&text[..length]), expected, "{length} bytes");
        }
    }
}
