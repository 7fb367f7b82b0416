//! Random lives: whatever the network, the chain and the operator do, money moves as it should.

use std::cell::Cell;
use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};

use super::*;
use crate::ports::store::Table;
use crate::records::wallet::Attempt;
use crate::testkit::chain::Trouble;

/// What happens next.
#[derive(Debug, Clone)]
enum Happening {
    Wish { bid: u64, patience: Option<u64> },
    Block,
    EmptyBlocks(u64),
    Reorg(u64),
    Evicted,
    Restart,
    BaseFee(u128),
    Time(u64),
    Cancel(u64),
    Bump(u64),
    Trouble(&'static str, Trouble, u32),
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    let method = prop::sample::select(vec![
        "submit", "submit", "simulate", "receipt", "header", "nonce", "head", "fees",
    ]);
    let trouble = prop_oneof![
        3 => Just(self::Trouble::Lost),
        3 => Just(self::Trouble::AnswerLost),
        1 => Just(self::Trouble::Says("bad gateway")),
        1 => Just(self::Trouble::Says("nonce too low: next nonce 9")),
        1 => Just(self::Trouble::Says("replacement transaction underpriced")),
        1 => Just(self::Trouble::Says("exceeds block gas limit")),
        2 => (1u64..6).prop_map(self::Trouble::Lags),
    ];
    prop_oneof![
        4 => (1u64..12, prop::option::weighted(0.3, 1u64..10)).prop_map(|(bid, patience)| Wish { bid, patience }),
        6 => Just(Block),
        1 => (1u64..4).prop_map(EmptyBlocks),
        1 => (1u64..6).prop_map(Reorg),
        1 => Just(Evicted),
        2 => Just(Restart),
        1 => (1u128..6_000_000_000).prop_map(BaseFee),
        3 => (1u64..90).prop_map(Time),
        1 => (1u64..12).prop_map(Cancel),
        1 => (1u64..12).prop_map(Bump),
        3 => (method, trouble, 1u32..4).prop_map(|(method, trouble, times)| Trouble(method, trouble, times)),
    ]
}

/// Every transaction that the store has ever seen signed, read as it is handed over.
fn watch(rig: &Rig) -> Rc<Cell<bool>> {
    let (store, all_durable) = (rig.store.clone(), Rc::new(Cell::new(true)));
    let verdict = all_durable.clone();
    rig.chain.watch(move |tx| {
        let stored: Vec<Attempt> = store::list_from(store.as_ref(), &[], 1_000).unwrap();
        verdict.set(verdict.get() && stored.iter().any(|attempt| attempt.tx == tx));
    });
    all_durable
}

async fn live(happenings: Vec<Happening>, day_cap: u128, legacy: bool) -> Result<(), TestCaseError> {
    let mut rig = Rig::another();
    if legacy {
        rig.chain.set_legacy();
    }
    rig.config.max_spend_per_day = Wei::from(day_cap);
    rig.config.poll_ms = 12_000;
    let all_durable = watch(&rig);
    rig.start();
    let mut wishes = BTreeSet::new();
    for happening in happenings {
        match happening {
            Happening::Wish { bid, patience } => {
                let time = 1_700_000_000 + rig.chain.height() * BLOCK_SECONDS;
                rig.accept_until(bid, patience.map(|blocks| ChainTime(time + blocks * BLOCK_SECONDS)));
                wishes.insert(bid);
            }
            Happening::Block => rig.blocks(1).await,
            Happening::EmptyBlocks(blocks) => rig.chain.mine_empty(blocks),
            // Finality lags 10 blocks, and nothing final is undone.
            Happening::Reorg(depth) => {
                let depth = depth.min(rig.chain.height());
                rig.chain.reorg(depth);
                rig.chain.mine_empty(depth + 1);
            }
            Happening::Evicted => rig.chain.evict(),
            Happening::Restart => rig.restart().await,
            Happening::BaseFee(wei) => rig.chain.set_base_fee(wei),
            Happening::Time(seconds) => rig.pass(seconds).await,
            Happening::Cancel(bid) => {
                let _whatever_it_says = rig.cancel(&format!("accept:{bid}")).await;
            }
            Happening::Bump(bid) => {
                let _whatever_it_says = rig.bump(&format!("accept:{bid}"), None).await;
            }
            Happening::Trouble(method, trouble, times) => {
                let left = Cell::new(times);
                rig.chain.trouble(move |asked| {
                    let now = asked == method && left.replace(left.get().saturating_sub(1)) > 0;
                    now.then(|| trouble.clone())
                });
            }
        }
        let calls: Vec<MarketCall> = rig.mined().into_iter().map(|(_, call)| call).collect();
        for bid in &wishes {
            let times = calls.iter().filter(|call| **call == accept(*bid)).count();
            prop_assert!(times <= 1, "I1: bid {bid} was accepted {times} times");
        }
        prop_assert!(all_durable.get(), "I2: sent before it was durable");
        prop_assert!(rig.spent() <= Wei::from(day_cap), "I4: {:?} spent of {day_cap}", rig.spent());
    }
    rig.chain.heal();
    rig.chain.set_base_fee(1_000_000_000);
    rig.pass(100).await;
    let capped = |status: &WalletStatus| {
        status.alerts.iter().any(|alert| alert.about == "spend" || alert.about == "ceiling")
    };
    let mut status = rig.status().await;
    // Near the cap one waits for the other to be final.
    for _ in 0..12 {
        rig.blocks(15).await;
        status = rig.status().await;
        if status.pending.is_empty() && (status.queued == 0 || capped(&status)) {
            break;
        }
    }
    let capped = capped(&status);
    let calls: Vec<MarketCall> = rig.mined().into_iter().map(|(_, call)| call).collect();
    prop_assert!(capped || (status.pending.is_empty() && status.queued == 0), "I3: {status:?}");
    prop_assert!(rig.spent() <= Wei::from(day_cap), "I4: {:?} spent of {day_cap}", rig.spent());
    prop_assert_eq!(status.spent_today, rig.spent());
    for bid in wishes {
        let key = format!("accept:{bid}");
        let told = rig.results(&key).last().map(|result| result == "mined");
        let mined = calls.contains(&accept(bid));
        prop_assert!(rig.state(&key) == IntentState::Done || capped, "{key} {:?}", rig.state(&key));
        prop_assert!(told == Some(mined) || capped, "{key}: told {told:?}, mined {mined}");
    }
    let unreadable = rig.store.dump().iter().any(|(_, _, doc)| doc == b"null");
    prop_assert!(!unreadable && rig.store.get(Table::Attempts, &[]).is_ok());
    Ok(())
}

fn run(cases: u32, day_cap: u128, legacy: bool) {
    let cases = Cases { cases, failure_persistence: None, ..Cases::default() };
    let lives = prop::collection::vec(happening(), 1..40);
    let outcome = TestRunner::new(cases).run(&lives, |happenings| {
        actix_rt::System::new().block_on(async {
            tokio::time::pause();
            live(happenings, day_cap, legacy).await
        })
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
fn whatever_happens_each_wish_is_mined_at_most_once_and_told_truly() {
    run(40, u128::MAX >> 1, false);
}

#[test]
fn whatever_happens_a_days_spending_stays_below_its_cap() {
    run(20, 900_000_000_000_000, false);
}

#[test]
fn whatever_happens_on_a_chain_without_eip_1559_the_same_holds() {
    run(15, u128::MAX >> 1, true);
}
