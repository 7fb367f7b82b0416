//! A provider that refuses, keeps back, invents or repeats logs: the journal ends equal to the chain all the same.

use super::lying::{too_much, Lying};
use super::*;
use crate::domain::units::{BlockHash, ChainTime};
use crate::ports::chain::{Error, Said};
use crate::records::journal::Poison;
use crate::records::listening::Listening;
use crate::testkit::ManualClock;

/// A reader that lives on from poll to poll, in front of a provider that may lie.
struct Reading {
    world: World,
    provider: Rc<Lying>,
    clock: Rc<ManualClock>,
    reader: Reader,
}

impl Reading {
    fn of(world: World) -> Self {
        let (provider, clock) = (Lying::about(&world.chain), Rc::new(ManualClock::at(WallTime(1))));
        let ports = Ports { chain: provider.clone(), store: world.store.clone(), clock: clock.clone() };
        let reader = Reader::new(config(), ports, Outbox::default());
        Self { world, provider, clock, reader }
    }

    /// A chain of so many bids, a block each, and nothing read yet.
    fn of_bids(bids: u128) -> Self {
        let mut world = World::new();
        (1..=bids).for_each(|amount| world.bid(amount));
        Self::of(world)
    }

    async fn read_all(&self) {
        while self.reader.read().await.unwrap() {}
    }

    async fn agrees(&self) {
        self.read_all().await;
        self.world.agrees().await;
    }

    fn listening(&self) -> Listening {
        Listening::read(&*self.world.store).unwrap()
    }
}

fn blocks_of(span: Span) -> u64 {
    match span {
        Span::Range(first, last) => last.0 - first.0 + 1,
        Span::Block(..) => 1,
    }
}

#[test]
fn a_provider_that_answers_less_is_asked_for_less_and_every_event_is_read() {
    for (limit, told) in [(3, None), (1, None), (3, Some(3)), (5, Some(2)), (2, Some(1_000))] {
        on_paused_time(|| async move {
            let reading = Reading::of_bids(40);
            reading.provider.lie(move |span, truth| match blocks_of(span) > limit {
                true => Err(too_much(told)),
                false => Ok(truth),
            });
            reading.agrees().await;
            assert_eq!(*reading.provider.doubts.borrow(), [""; 0]);
        });
    }
}

#[test]
fn a_provider_that_refuses_even_one_block_is_left_for_another() {
    on_paused_time(|| async {
        let reading = Reading::of_bids(40);
        reading.provider.lie(|_, _| Err(too_much(None)));
        let trouble = reading.reader.read().await.unwrap_err();
        assert!(matches!(trouble, Trouble::Chain(Error::Untrustworthy { .. })), "{trouble}");
        assert_eq!(*reading.provider.doubts.borrow(), ["too much"]);
        assert_eq!(reading.listening().errors["untrustworthy"], 1);
        reading.provider.lie(|_, truth| Ok(truth));
        reading.agrees().await;
    });
}

#[test]
fn words_that_nobody_knows_shorten_the_range_from_poll_to_poll() {
    on_paused_time(|| async {
        let reading = Reading::of_bids(40);
        reading.provider.lie(|span, truth| match blocks_of(span) > 2 {
            true => Err(Error::Refused {
                url: "memory".into(),
                method: "eth_getLogs",
                code: -32_000,
                message: "zu viel".into(),
            }),
            false => Ok(truth),
        });
        let mut refusals = 0;
        while !matches!(reading.reader.read().await, Ok(false)) {
            refusals = reading.listening().errors.get("refused").copied().unwrap_or_default();
        }
        assert!((1..=20).contains(&refusals), "{refusals}");
        reading.world.agrees().await;
    });
}

#[test]
fn logs_that_cannot_be_right_enter_nothing_and_are_read_when_they_are() {
    type Lie = fn(&mut chain::Events);
    let lies: [Lie; 9] = [
        |told| told.logs[0].removed = true,
        |told| told.logs[0].by = Address([0xbb; 20]),
        |told| told.logs[0].at.hash = BlockHash([0xbb; 32]),
        |told| told.logs[0].at.block = BlockHeight(9_999),
        |told| told.logs[0].at.time = ChainTime(1),
        |told| told.logs.push(told.logs[0].clone()),
        |told| told.last = None,
        |told| told.first = None,
        |told| told.last.iter_mut().for_each(|last| last.number.0 -= 1),
    ];
    for lie in lies {
        on_paused_time(|| async move {
            let reading = Reading::of_bids(40);
            let mut next = 0;
            reading.provider.lie(move |_, mut told| {
                next += 1;
                if next % 3 == 2 && !told.logs.is_empty() {
                    lie(&mut told);
                }
                Ok(told)
            });
            for _ in 0..60 {
                let _trouble = reading.reader.read().await;
            }
            assert!(!reading.provider.doubts.borrow().is_empty());
            assert!(reading.listening().errors["untrustworthy"] > 0);
            reading.provider.lie(|_, truth| Ok(truth));
            reading.agrees().await;
        });
    }
}

#[test]
fn silence_about_a_block_that_names_us_is_believed_only_when_other_logs_explain_it() {
    on_paused_time(|| async {
        let reading = Reading::of_bids(6);
        // Nothing is final: every block is read alone.
        reading.world.chain.set_final_lag(Some(1_000));
        let mut asked = 0;
        reading.provider.lie(move |_, mut told| {
            asked += 1;
            if asked % 2 == 1 {
                told.logs.clear();
            }
            Ok(told)
        });
        reading.agrees().await;
        assert_eq!(*reading.provider.doubts.borrow(), [""; 0], "the second answer was whole");

        for filled in [Some(false), None] {
            let reading = Reading::of_bids(6);
            reading.world.chain.set_final_lag(Some(1_000));
            reading.provider.filled.set(filled);
            reading.provider.lie(|_, mut told| {
                told.logs.clear();
                Ok(told)
            });
            let trouble = reading.reader.read().await.unwrap_err();
            assert!(trouble.to_string().contains("bloom filter"), "{trouble}");
            assert_eq!(reading.world.standing(), []);
            reading.provider.filled.set(Some(true));
            reading.read_all().await;
            assert_eq!(reading.world.standing(), [], "the filter names us by chance");
        }
    });
}

#[test]
fn a_machine_that_lags_behind_the_one_that_told_the_head_is_not_believed() {
    on_paused_time(|| async {
        let mut world = World::new();
        world.chain.trouble(|method| (method == "events").then_some(Fault::Lags(3)));
        for amount in 1..=30 {
            world.bid(amount);
            let _trouble = world.poll().await;
        }
        world.chain.heal();
        while world.poll().await.unwrap() {}
        world.agrees().await;
    });
}

#[test]
fn ranges_are_read_side_by_side_and_taken_in_their_order() {
    on_paused_time(|| async {
        let reading = Reading::of_bids(100);
        reading.agrees().await;
        assert_eq!(reading.provider.side_by_side.get(), 4);
        let facts = store::list::<Fact>(&*reading.world.store, &[], Order::Ascending, usize::MAX).unwrap();
        assert!(facts.windows(2).all(|two| two[0].at.block < two[1].at.block));
    });
}

#[test]
fn a_log_that_does_not_decode_is_parked_once_and_the_rest_is_read() {
    on_paused_time(|| async {
        let mut reading = Reading::of_bids(30);
        reading.provider.lie(|_, mut told| {
            for log in told.logs.iter_mut().filter(|log| log.at.block.0 % 10 == 5) {
                log.said = Said::Poison { topics: vec![], data: vec![7; 5_000] };
            }
            Ok(told)
        });
        reading.read_all().await;
        let parked = || store::list::<Poison>(&*reading.world.store, &[], Order::Ascending, 99).unwrap();
        let blocks: Vec<_> = parked().iter().map(|poison| poison.at.block.0).collect();
        assert_eq!(blocks, [5, 15, 25]);
        assert_eq!(parked()[0].data.len(), 2 * Poison::LONGEST);
        let status = ChainStatus::read(&*reading.world.store).unwrap().unwrap();
        assert_eq!((status.poison, reading.world.standing().len()), (3, 25));
        // A reorg takes what was parked above its root with it.
        reading.world.chain.reorg(6);
        reading.world.chain.evict();
        reading.world.chain.mine_empty(12);
        reading.read_all().await;
        let store = Rc::clone(&reading.world.store);
        reading.world = World::new();
        let left = store::list::<Poison>(&*store, &[], Order::Ascending, 99).unwrap();
        assert_eq!(left.len(), 2);
    });
}

#[test]
fn an_event_that_was_kept_back_is_found_by_the_second_reading_once() {
    on_paused_time(|| async {
        let mut reading = Reading::of_bids(40);
        reading.provider.lie(|_, mut told| {
            told.logs.retain(|log| log.at.block.0 != 11 && log.at.block.0 != 23);
            Ok(told)
        });
        reading.read_all().await;
        assert_eq!(reading.world.standing().len(), 36);
        reading.provider.lie(|_, truth| Ok(truth));
        for _ in 0..50 {
            reading.clock.advance(second_reading::REST_MS);
            reading.read_all().await;
        }
        reading.world.agrees().await;
        let so_far = reading.listening().second_reading;
        assert_eq!((so_far.missed, so_far.vanished), (2, 0), "{so_far:?}");
        assert!(so_far.passes >= 2, "{so_far:?}");
        // What was found late stays, and a reorg still finds its way through the journal.
        reading.world.chain.reorg(6);
        reading.world.chain.evict();
        let nonce = reading.world.chain.nonce(BIDDER.address(), chain::At::Latest).await.unwrap();
        reading.world.nonce = nonce;
        (200..212).for_each(|amount| reading.world.bid(amount));
        reading.agrees().await;
    });
}

#[test]
fn an_event_that_is_not_shown_again_is_told_and_stays() {
    on_paused_time(|| async {
        let reading = Reading::of_bids(40);
        reading.read_all().await;
        reading.provider.lie(|_, mut told| {
            told.logs.retain(|log| log.at.block.0 != 11);
            Ok(told)
        });
        while reading.listening().second_reading.passes == 0 {
            reading.clock.advance(second_reading::REST_MS);
            reading.read_all().await;
        }
        assert_eq!(reading.listening().second_reading.vanished, 1);
        reading.world.agrees().await;
    });
}

#[test]
fn a_block_with_very_many_logs_and_very_many_blocks_with_none_are_read() {
    on_paused_time(|| async {
        let mut world = World::new();
        world.bid(1);
        world.chain.mine_empty(3_000);
        let reading = Reading::of(world);
        reading.provider.lie(|_, mut told| {
            if let Some(first) = told.logs.first().cloned() {
                for log in 1..20_000 {
                    let at = crate::domain::market::Position { log, ..first.at };
                    told.logs.push(chain::Event { at, ..first.clone() });
                }
            }
            Ok(told)
        });
        reading.read_all().await;
        let last = crate::records::journal::next_seq::<Fact>(&*reading.world.store).unwrap() - 1;
        assert_eq!(last, 20_000);
        let newest = newest_block(&*reading.world.store).unwrap().unwrap().number.0;
        assert_eq!(newest, reading.world.chain.height() - DEPTH);
    });
}
