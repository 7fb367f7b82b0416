//! Bugs that are planted in the store, to see that the model finds each.

use std::panic::{catch_unwind, AssertUnwindSafe};

use proptest::collection::vec;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::model::{act, live};
use super::*;

/// Histories that a bug may survive.
const HISTORIES: u8 = 12;

/// The history of a seed, and which steps of it are looked at.
fn history(seed: u8) -> (Vec<model::Act>, u32) {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    (vec(act(), 30..50), 1u32..5).new_tree(&mut runner).unwrap().current()
}

fn is_found(bug: Bug) {
    let survives = |seed: &u8| {
        let (acts, every) = history(*seed);
        catch_unwind(AssertUnwindSafe(|| live(acts, every, Some(bug)))).is_ok()
    };
    let survived = (0..HISTORIES).take_while(survives).count();
    println!("{bug:?} survived {survived} histories");
    assert!(survived < HISTORIES.into(), "{bug:?} is not found");
}

#[test]
fn without_a_bug_the_same_histories_end_well() {
    for (acts, every) in (0..HISTORIES).map(history) {
        live(acts, every, None);
    }
}

macro_rules! found {
    ($($name:ident: $bug:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                is_found(Bug::$bug);
            }
        )*
    };
}

found! {
    a_write_that_is_acknowledged_and_not_synced_is_found: SkipSync,
    a_pin_that_is_acknowledged_and_not_synced_is_found: SkipPinSync,
    rows_that_a_transaction_leaves_out_are_found: ForgetRows,
    a_living_record_that_a_compaction_forgets_is_found: ForgetLiving,
    a_sweep_that_takes_what_an_add_relies_on_is_found: IgnoreProtection,
    what_a_pin_relied_on_that_a_sweep_takes_is_found: ReleaseEarly,
    a_segment_that_is_left_over_is_found: KeepLeftOver,
    a_row_of_what_was_removed_is_found: KeepRow,
    a_damaged_block_that_is_not_dropped_is_found: KeepDamaged,
    a_torn_end_that_is_taken_for_a_record_is_found: TrustTail,
    a_damaged_block_that_is_given_away_is_found: TrustBytes,
    a_reading_of_everything_that_overlooks_damage_is_found: TrustRecords,
}
