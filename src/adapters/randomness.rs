//! The operating system's randomness.

use rand::rngs::OsRng;
use rand::RngCore;
use scatter_actors::ports::randomness::Randomness;

/// `getrandom(2)`, fit for secrets.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsRandomness;

impl Randomness for OsRandomness {
    fn secret(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        // A kernel without randomness can keep no secret: dying is the right answer, and OsRng does so.
        OsRng.fill_bytes(&mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_repeat() {
        let secrets: std::collections::BTreeSet<_> = (0..100).map(|_| OsRandomness.secret()).collect();
        assert_eq!(secrets.len(), 100);
    }
}
