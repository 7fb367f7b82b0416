//! Randomness: jitter and secrets.

/// A source of random bytes.
pub trait Randomness {
    /// 32 fresh bytes, fit for a secret.
    fn secret(&self) -> [u8; 32];
    /// A number below `bound` (0 for a bound of 0).
    fn below(&self, bound: u64) -> u64 {
        let bytes = self.secret();
        let mut word = [0; 16];
        word.copy_from_slice(&bytes[..16]);
        (u128::from_be_bytes(word) % u128::from(bound.max(1))) as u64
    }
}
