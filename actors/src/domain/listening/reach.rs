//! How many blocks are asked for at once: as many as the provider answers, found by asking.

/// Logs of one answer that are plenty: ranges are kept as short as that, so that answers stay small in memory.
const PLENTY: u64 = 5_000;
/// Ranges that are asked for at the same time once their size is known to do.
const SIDE_BY_SIDE: usize = 4;
/// Whole ranges in a row before a limit that was met is tried again.
const PATIENCE: u32 = 64;
/// Nearer to a limit than this part of the range nothing is gained by finding it exactly.
const NEAR: u64 = 16;

/// Not even one block is answered, so there is nothing less to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hopeless;

/// The range that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    now: u64,
    /// The most that may be answered, as far as is known.
    ceiling: u64,
    most: u64,
    /// The last range that was answered whole; 0 after one like it was refused.
    good: u64,
    /// Whole ranges since the ceiling was reached.
    calm: u32,
}

impl Reach {
    /// Begins with the most that is ever asked for, in blocks.
    pub fn new(most: u64) -> Self {
        let most = most.max(1);
        Self { now: most, ceiling: most, most, good: 0, calm: 0 }
    }

    /// Blocks to ask for.
    pub fn blocks(&self) -> u64 {
        self.now
    }

    /// How many ranges may be asked for side by side: one until an answer shows that they are not too large, so that
    /// what waits to be taken stays small.
    pub fn side_by_side(&self) -> usize {
        if self.good == 0 {
            1
        } else {
            SIDE_BY_SIDE
        }
    }

    /// A range of so many blocks was answered with so many logs: the next may be longer, or should be shorter.
    pub fn answered(&mut self, blocks: u64, logs: u64) {
        if logs > PLENTY {
            let fewer = u128::from(blocks) * u128::from(PLENTY) / u128::from(logs);
            self.now = u64::try_from(fewer).unwrap_or(blocks).max(1);
            self.good = 0;
            return;
        }
        if blocks < self.now {
            return;
        }
        self.good = blocks;
        let gap = self.ceiling.saturating_sub(self.now);
        if logs > PLENTY * 7 / 8 {
            // The next would bring too many of them.
        } else if gap > self.now / NEAR {
            self.now += (self.now / 8 + 1).min(gap.div_ceil(2));
        } else if self.calm < PATIENCE {
            self.calm += 1;
        } else {
            self.calm = 0;
            self.ceiling = self.ceiling.saturating_mul(2).min(self.most);
        }
    }

    /// A range of so many blocks was too much. The next is what the provider told, else what it answered before,
    /// else half.
    ///
    /// # Errors
    /// If it was one block.
    pub fn refused(&mut self, blocks: u64, told: Option<u64>) -> Result<(), Hopeless> {
        if blocks <= 1 {
            return Err(Hopeless);
        }
        self.calm = 0;
        self.ceiling = self.ceiling.min(blocks - 1);
        if self.good >= blocks {
            self.good = 0;
        }
        let less = told.filter(|told| *told < blocks).unwrap_or((blocks / 2).max(self.good)).max(1);
        self.now = self.now.min(less);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks a provider with a limit for so many ranges; gives the lengths and whether each was answered.
    fn asked(reach: &mut Reach, limit: u64, times: usize) -> Vec<(u64, bool)> {
        let mut asked = Vec::new();
        for _ in 0..times {
            let blocks = reach.blocks();
            asked.push((blocks, blocks <= limit));
            match blocks <= limit {
                true => reach.answered(blocks, 0),
                false => reach.refused(blocks, None).unwrap(),
            }
        }
        asked
    }

    #[test]
    fn a_refused_range_is_halved_until_it_is_answered_and_grows_back_to_the_limit() {
        let mut reach = Reach::new(2_000);
        let first: Vec<_> = asked(&mut reach, 300, 5);
        assert_eq!(first, [(2_000, false), (1_000, false), (500, false), (250, true), (282, true)]);
        let later = asked(&mut reach, 300, 500);
        let refused = later.iter().filter(|(_, answered)| !answered).count();
        assert!(refused <= 25, "a limit that is known is met seldom: {refused} of 500");
        assert!(later.iter().filter(|(blocks, _)| *blocks >= 270).count() > 400, "and nearly used up");
        let freed = asked(&mut reach, u64::MAX, 300);
        assert!(
            freed.last().unwrap().0 > 1_800,
            "a limit that is gone is found to be gone: {:?}",
            freed.last()
        );
    }

    #[test]
    fn the_range_that_the_provider_tells_is_taken_if_it_is_less() {
        let mut reach = Reach::new(2_000);
        reach.refused(2_000, Some(800)).unwrap();
        assert_eq!(reach.blocks(), 800);
        reach.refused(800, Some(5_000)).unwrap();
        assert_eq!(reach.blocks(), 400);
        reach.refused(400, Some(0)).unwrap();
        assert_eq!(reach.blocks(), 1);
        assert_eq!(reach.refused(1, Some(10)), Err(Hopeless));
    }

    #[test]
    fn a_late_refusal_of_a_range_that_was_asked_for_before_does_not_lengthen_the_next() {
        let mut reach = Reach::new(2_000);
        reach.refused(2_000, Some(10)).unwrap();
        reach.refused(2_000, None).unwrap();
        assert_eq!(reach.blocks(), 10);
    }

    #[test]
    fn dense_blocks_are_asked_for_by_few() {
        let mut reach = Reach::new(2_000);
        reach.answered(2_000, 20_000);
        assert_eq!(reach.blocks(), 500);
        reach.answered(500, 5_000);
        assert_eq!(reach.blocks(), 500, "what is plenty stays");
        reach.answered(500, u64::MAX);
        assert_eq!(reach.blocks(), 1, "a block with very many logs is still read, alone");
        (0..200).for_each(|_| reach.answered(reach.blocks(), 0));
        assert!(reach.blocks() > 1_800);
    }
}
