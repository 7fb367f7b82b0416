//! All chance of a history comes from its seed, one stream a purpose: another draw for one leaves the rest alone.

use scatter_actors::ports::randomness::Randomness;
use scatter_actors::testkit::SeededRandomness;
use sha2::{Digest, Sha256};

/// A stream of chance.
pub struct Dice(SeededRandomness);

impl Dice {
    /// The seed's stream for that purpose.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let digest = Sha256::new().chain_update(seed.to_be_bytes()).chain_update(purpose).finalize();
        let mut word = [0; 8];
        word.copy_from_slice(&digest[..8]);
        Self(SeededRandomness::new(u64::from_be_bytes(word)))
    }
    /// A number from `from` to `to`, both included.
    pub fn between(&self, from: u64, to: u64) -> u64 {
        from + self.0.below(to - from + 1)
    }
    /// Whether something of that probability happens.
    pub fn chance(&self, percent: u64) -> bool {
        self.0.below(100) < percent
    }
    /// One of several.
    pub fn pick<'a, T>(&self, among: &'a [T]) -> &'a T {
        &among[self.between(0, among.len() as u64 - 1) as usize]
    }
    /// So many bytes.
    pub fn bytes(&self, len: usize) -> Vec<u8> {
        (0..len.div_ceil(32)).flat_map(|_| self.0.secret()).take(len).collect()
    }
}
