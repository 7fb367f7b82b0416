use super::*;
use crate::domain::units::TxHash;

const OURS: Address = Address([1; 20]);

fn header(number: u64) -> Header {
    let hash = |number: u64| BlockHash([number as u8; 32]);
    Header {
        number: BlockHeight(number),
        hash: hash(number),
        parent: hash(number.wrapping_sub(1)),
        time: ChainTime(1_000 + number * 12),
        base_fee: None,
    }
}

fn log(block: u64, log: u32) -> Event {
    let Header { number, hash, time, .. } = header(block);
    let at = Position { block: number, log, hash, time, tx: TxHash([9; 32]) };
    let said = Said::Known(MarketEvent::AcceptWait { seconds: 1 });
    Event { at, by: OURS, removed: false, said }
}

/// Two logs in block 5 and one each in blocks 6 and 8.
fn range() -> (Span, Events) {
    let logs = vec![log(5, 0), log(5, 3), log(6, 0), log(8, 7)];
    let (first, last) = (Some(header(5)), Some(header(8)));
    let span = Span::Range(BlockHeight(5), BlockHeight(8));
    (span, Events { logs, contracts: vec![OURS], first, last, named: false })
}

fn block() -> (Span, Events) {
    let (first, last) = (Some(header(5)), Some(header(5)));
    let span = Span::Block(header(5).hash, BlockHeight(5));
    (span, Events { logs: vec![log(5, 0), log(5, 3)], contracts: vec![OURS], first, last, named: true })
}

#[test]
fn an_answer_that_can_be_right_is_put_in_order() {
    let (span, told) = range();
    let whole = examine(span, told.clone()).unwrap();
    assert_eq!(whole, (header(5), told.logs.clone(), header(8)));
    let backwards = Events { logs: told.logs.into_iter().rev().collect(), ..range().1 };
    assert_eq!(examine(span, backwards).unwrap(), whole);
    let (span, told) = block();
    assert_eq!(examine(span, told.clone()).unwrap().1, told.logs);
    let quiet = Events { logs: Vec::new(), named: false, ..told };
    assert_eq!(examine(span, quiet).unwrap().1, []);
}

#[test]
fn each_way_to_be_wrong_is_a_doubt_of_its_own() {
    type Lie = fn(&mut Events);
    let lies: [(&str, Lie); 12] = [
        ("removed", |told| told.logs[1].removed = true),
        ("which nobody asked for", |told| told.logs[2].by = Address([2; 20])),
        ("not in the span", |told| told.logs[3] = log(9, 0)),
        ("not in the span", |told| told.logs[0] = log(4, 0)),
        ("not in the span", |told| told.logs[3].at.hash = BlockHash([0xee; 32])),
        ("two logs 0", |told| told.logs.push(log(6, 0))),
        ("and 0xee", |told| {
            told.logs.push(log(6, 1));
            told.logs[4].at.hash = BlockHash([0xee; 32]);
        }),
        ("which can't be", |told| told.logs[2].at.time = ChainTime(1)),
        ("which can't be", |told| told.logs[2].at.time = header(9).time),
        ("block 8 is not known", |told| told.last = None),
        ("block 8 is not known", |told| told.last = Some(header(7))),
        ("block 8 is not known", |told| told.first = None),
    ];
    for (words, lie) in lies {
        let (span, mut told) = range();
        lie(&mut told);
        let doubt = examine(span, told).unwrap_err().to_string();
        assert!(doubt.contains(words), "{doubt}");
    }
}

#[test]
fn a_block_must_be_the_very_one_and_must_not_keep_silent_when_its_filter_names_us() {
    let (span, told) = block();
    let silent = Events { logs: Vec::new(), ..told.clone() };
    assert_eq!(examine(span, silent), Err(Doubt::Silent(BlockHeight(5))));
    let other = Span::Block(header(6).hash, BlockHeight(5));
    assert_eq!(examine(other, told.clone()), Err(Doubt::Unknown(BlockHeight(5))));
    let mut mixed = told;
    mixed.logs[1].at.time = ChainTime(1_061);
    assert!(examine(span, mixed).is_err());
}
