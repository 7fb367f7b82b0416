//! The market's words as calldata: the one place that makes it, for simulating and for signing.

use ethers::abi::AbiEncode;
use ethers::types::{H160, U256};
use ethers::utils::id;
use scatter_actors::domain::market::MarketCall;
use scatter_actors::domain::units::{Address, BidId, Wei};

/// A call of a contract, or a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Whom it calls.
    pub to: Address,
    /// What it carries.
    pub value: Wei,
    /// What it says; empty for a transfer.
    pub data: Vec<u8>,
}

/// Why a call cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unencodable {
    /// The interface has a narrower type for it.
    #[error("{what} {number} does not fit the market's interface")]
    TooLarge {
        /// Which argument.
        what: &'static str,
        /// Its value.
        number: u64,
    },
    /// Nobody said where the Register is.
    #[error("the register's address is not known")]
    NoRegister,
}

/// The call of the market at `market` (or of the Register at `register`) that `from` wants to send.
///
/// # Errors
/// If an argument does not fit, or the Register is needed and not known.
pub fn encode(
    call: &MarketCall,
    from: Address,
    market: Address,
    register: Option<Address>,
) -> Result<Call, Unencodable> {
    let (to, data) = match call {
        MarketCall::Bid { file, size, duration, amount, pool, min_validations } => {
            let size = fits("size", size.0, i64::MAX as u64)?;
            let votes = fits("votes", u64::from(*min_validations), i16::MAX as u64)?;
            let arguments = (file.0, size, U256::from(*duration), amount.0, pool.0, votes);
            (market, with("bid(bytes32,int64,uint256,uint256,uint256,int16)", arguments))
        }
        MarketCall::Accept(bid) => (market, of_bid("accept(int256)", *bid)),
        MarketCall::Pinned(bid) => (market, of_bid("pinned(int256)", *bid)),
        MarketCall::Vote { bid, valid, evidence } => {
            let function = if *valid { "validate(int256)" } else { "invalidate(int256)" };
            let mut data = of_bid(function, *bid);
            data.extend(evidence.0);
            (market, data)
        }
        MarketCall::Settle(bid) => (market, of_bid("settle(int256)", *bid)),
        MarketCall::Withdraw => (market, selector("withdraw()")),
        MarketCall::Register(file) => {
            (register.ok_or(Unencodable::NoRegister)?, with("register(bytes32)", (file.0,)))
        }
        MarketCall::NoOp => (from, Vec::new()),
    };
    Ok(Call { to, value: call.value(), data })
}

/// `function`, which takes nothing.
pub(super) fn selector(function: &str) -> Vec<u8> {
    id(function).to_vec()
}

/// `function` with its arguments.
pub(super) fn with(function: &str, arguments: impl AbiEncode) -> Vec<u8> {
    let mut data = selector(function);
    data.extend(arguments.encode());
    data
}

/// `function` with one address.
pub(super) fn of_address(function: &str, who: Address) -> Vec<u8> {
    with(function, (H160(who.0),))
}

/// `function` with a bid.
pub(super) fn of_bid(function: &str, bid: BidId) -> Vec<u8> {
    with(function, (U256::from(bid.0),))
}

/// A word of the ABI that holds `number`, which is at most `most`: below that, signed and unsigned are the same.
fn fits(what: &'static str, number: u64, most: u64) -> Result<U256, Unencodable> {
    (number <= most).then(|| U256::from(number)).ok_or(Unencodable::TooLarge { what, number })
}

#[cfg(test)]
mod tests {
    use super::*;
    use scatter_actors::domain::units::{ByteSize, Digest, FileHash};

    const ME: Address = Address([1; 20]);
    const MARKET: Address = Address([2; 20]);
    const REGISTER: Address = Address([3; 20]);

    fn made(call: MarketCall) -> Call {
        encode(&call, ME, MARKET, Some(REGISTER)).unwrap()
    }

    fn bid(size: u64, min_validations: u32) -> MarketCall {
        MarketCall::Bid {
            file: FileHash([9; 32]),
            size: ByteSize(size),
            duration: 600,
            amount: Wei::from(5u128),
            pool: Wei::from(4u128),
            min_validations,
        }
    }

    #[test]
    fn each_call_goes_to_its_contract_with_its_selector() {
        let of_seven = format!("{:064x}", 7);
        // Each selector stands in its contract's byte code.
        for (call, to, data) in [
            (MarketCall::Accept(BidId(7)), MARKET, format!("bef725ac{of_seven}")),
            (MarketCall::Withdraw, MARKET, "3ccfd60b".to_owned()),
            (MarketCall::Register(FileHash([9; 32])), REGISTER, format!("e1fa8e84{}", "09".repeat(32))),
            (MarketCall::NoOp, ME, String::new()),
        ] {
            let made = made(call);
            assert_eq!((made.to, hex::encode(made.data), made.value), (to, data, Wei::ZERO));
        }
    }

    #[test]
    fn a_bid_carries_what_it_promises() {
        let made = made(bid(1000, 2));
        assert_eq!(made.value, Wei::from(9u128));
        assert_eq!(made.data.len(), 4 + 6 * 32);
        assert_eq!(made.data[4..36], [9; 32]);
        assert_eq!(U256::from_big_endian(&made.data[36..68]), U256::from(1000));
        assert_eq!(U256::from_big_endian(&made.data[164..196]), U256::from(2));
    }

    #[test]
    fn the_evidence_stands_behind_the_votes_argument() {
        let vote = |valid| made(MarketCall::Vote { bid: BidId(7), valid, evidence: Digest([8; 32]) }).data;
        assert_eq!(vote(true).len(), 4 + 32 + 32);
        assert_eq!(vote(true)[36..], [8; 32]);
        assert_eq!(vote(true)[4..], vote(false)[4..]);
        assert_ne!(vote(true)[..4], vote(false)[..4]);
    }

    #[test]
    fn what_does_not_fit_the_interface_is_refused() {
        let refused = |call| encode(&call, ME, MARKET, None).unwrap_err();
        assert!(matches!(refused(bid(1 << 63, 2)), Unencodable::TooLarge { what: "size", .. }));
        assert!(matches!(refused(bid(1, 1 << 15)), Unencodable::TooLarge { what: "votes", .. }));
        assert_eq!(refused(MarketCall::Register(FileHash([1; 32]))), Unencodable::NoRegister);
    }
}
