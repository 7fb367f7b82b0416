//! What a provider's answer to a handed-over transaction means. Providers only have words, so the words of the
//! common clients are matched, in an order that matters; a message that nobody knows means an unknown fate.

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call would revert; the provider did not take it.
    Reverts,
    /// The provider has the transaction already: a success.
    AlreadyKnown,
    /// Another transaction holds the nonce and this one does not pay a tenth more.
    ReplacementUnderpriced,
    /// It pays less than the provider wants.
    Underpriced,
    /// The nonce is used: by one of our hashes, or by somebody else with our key.
    NonceTooLow,
    /// The account cannot pay for it.
    InsufficientFunds,
    /// It can never be taken as it is.
    Rejected,
    /// Its fate is unknown: the same bytes go out again.
    Unknown,
}

use Fault::{
    AlreadyKnown, InsufficientFunds, NonceTooLow, Rejected, ReplacementUnderpriced, Reverts, Underpriced,
};

/// In this order: the first phrase that a message contains decides. Lower case; behind each the file and the name
/// under which its client says so. A phrase that is part of another's message stands behind that.
///
/// What is not here is an unknown fate on purpose: "nonce too high", "txpool is full", "account limit exceeded",
/// "in-flight transaction limit reached" and "sequencer temporarily not available" pass by themselves, and an
/// "invalid chain id" or "invalid sender" speaks of a provider that serves another chain, not of the transaction.
const PHRASES: &[(&str, Fault, &str)] = &[
    // Reth, Anvil and Arbitrum say it as geth does.
    ("execution reverted", Reverts, "geth core/vm/errors.go ErrExecutionReverted"),
    ("already known", AlreadyKnown, "geth core/txpool/errors.go ErrAlreadyKnown"),
    ("existing txn with same hash", AlreadyKnown, "erigon txpoolcfg.go DuplicateHash"),
    ("existing tx with same hash", AlreadyKnown, "erigon before 3.0 txpoolcfg.go DuplicateHash"),
    ("alreadyknown", AlreadyKnown, "nethermind before 2026 AcceptTxResult.cs AlreadyKnown"),
    ("known transaction", AlreadyKnown, "besu RpcErrorType.java ETH_SEND_TX_ALREADY_KNOWN"),
    ("already imported", AlreadyKnown, "anvil eth/error.rs PoolError::AlreadyImported"),
    (
        "replacement transaction underpriced",
        ReplacementUnderpriced,
        "geth core/txpool/errors.go ErrReplaceUnderpriced; besu RpcErrorType.java ETH_SEND_TX_REPLACEMENT_UNDERPRICED",
    ),
    ("could not replace existing tx", ReplacementUnderpriced, "erigon txpoolcfg.go NotReplaced"),
    ("replacementnotallowed", ReplacementUnderpriced, "nethermind before 2026 AcceptTxResult.cs"),
    (
        "insufficient gas price to replace existing transaction",
        ReplacementUnderpriced,
        "anvil eth/error.rs PoolError::ReplacementUnderpriced",
    ),
    ("replacement fee too low", ReplacementUnderpriced, "ethers.js logger REPLACEMENT_UNDERPRICED, heard through proxies"),
    ("underpriced", Underpriced, "geth core/txpool/errors.go ErrUnderpriced; erigon txpoolcfg.go UnderPriced"),
    ("max fee per gas less than block base fee", Underpriced, "geth core/error.go ErrFeeCapTooLow"),
    ("fee cap less than block base fee", Underpriced, "geth of the London fork core/error.go ErrFeeCapTooLow"),
    ("transaction gas price below minimum", Underpriced, "geth core/txpool/errors.go ErrTxGasPriceTooLow"),
    ("below minimum required priority fee", Underpriced, "reth rpc-eth-types PriorityFeeBelowMinimum"),
    ("fee too low", Underpriced, "erigon txpoolcfg.go FeeTooLow"),
    ("feetoolow", Underpriced, "nethermind before 2026 AcceptTxResult.cs FeeTooLow, FeeTooLowToCompete"),
    ("gas price below configured minimum", Underpriced, "besu RpcErrorType.java GAS_PRICE_TOO_LOW"),
    ("gas price below current base fee", Underpriced, "besu RpcErrorType.java GAS_PRICE_BELOW_CURRENT_BASE_FEE"),
    ("gas price too low", Underpriced, "arbitrum before nitro"),
    ("nonce too low", NonceTooLow, "geth core/error.go ErrNonceTooLow; besu RpcErrorType.java NONCE_TOO_LOW"),
    ("nonce is too low", NonceTooLow, "parity rpc/src/v1/helpers/errors.rs, still in proxies"),
    ("oldnonce", NonceTooLow, "nethermind before 2026 AcceptTxResult.cs OldNonce"),
    ("insufficient funds", InsufficientFunds, "geth core/error.go ErrInsufficientFunds; erigon InsufficientFunds"),
    ("insufficientfunds", InsufficientFunds, "nethermind before 2026 AcceptTxResult.cs InsufficientFunds"),
    (
        "upfront cost exceeds account balance",
        InsufficientFunds,
        "besu RpcErrorType.java TRANSACTION_UPFRONT_COST_EXCEEDS_BALANCE",
    ),
    ("exceeds block gas limit", Rejected, "geth core/txpool/errors.go ErrGasLimit; besu EXCEEDS_BLOCK_GAS_LIMIT"),
    ("exceeds maximum per-transaction gas limit", Rejected, "op-geth core/txpool/errors.go ErrTxGasLimitExceeded"),
    ("exceeds the configured cap", Rejected, "geth internal/ethapi/api.go checkTxFee"),
    ("fee cap exceeded", Rejected, "besu RpcErrorType.java TX_FEECAP_EXCEEDED"),
    ("gas limit cap exceeded", Rejected, "besu RpcErrorType.java EXCEEDS_TRANSACTION_GAS_LIMIT"),
    ("gas limit is too high", Rejected, "erigon txpoolcfg.go GasLimitTooHigh"),
    ("gas limit too high", Rejected, "reth rpc-eth-types GasLimitTooHigh"),
    ("gas limit reached", Rejected, "nethermind TxPoolErrorMessages.cs GasLimitReached"),
    ("gaslimitexceeded", Rejected, "nethermind before 2026 AcceptTxResult.cs GasLimitExceeded"),
    ("greater than the block gas limit", Rejected, "anvil eth/error.rs TxGasLimitGreaterThanCap"),
    ("intrinsic gas too low", Rejected, "geth core/error.go ErrIntrinsicGas"),
    ("intrinsic gas too high", Rejected, "reth rpc-eth-types GasTooHigh; anvil eth/error.rs GasTooHigh"),
    ("intrinsic gas exceeds gas limit", Rejected, "besu RpcErrorType.java INTRINSIC_GAS_EXCEEDS_LIMIT"),
    ("intrinsicgas", Rejected, "erigon txpoolcfg.go IntrinsicGas"),
    ("oversized data", Rejected, "geth core/txpool/errors.go ErrOversizedData; erigon txpoolcfg.go OversizedData"),
    ("rlptoolong", Rejected, "erigon txpoolcfg.go RLPTooLong"),
    ("higher than max fee per gas", Rejected, "geth core/error.go ErrTipAboveFeeCap"),
    ("transaction type not supported", Rejected, "geth core/types/transaction.go ErrTxTypeNotSupported"),
    ("invalid transaction type", Rejected, "besu RpcErrorType.java INVALID_TRANSACTION_TYPE"),
];

impl Fault {
    /// Reads a provider's message.
    pub fn of(message: &str) -> Self {
        let message = message.to_lowercase();
        let said = PHRASES.iter().find(|(phrase, ..)| message.contains(phrase));
        said.map_or(Self::Unknown, |(_, fault, _)| *fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole messages, as the clients send them.
    const SAID: &[(&str, &[(&str, Fault)])] = &[
        (
            "geth",
            &[
                ("execution reverted: not the hoster", Reverts),
                ("already known", AlreadyKnown),
                ("replacement transaction underpriced", ReplacementUnderpriced),
                ("transaction underpriced: tip needed 1, tip permitted 0", Underpriced),
                (
                    "max fee per gas less than block base fee: address 0x1, maxFeePerGas: 1, baseFee: 7",
                    Underpriced,
                ),
                ("nonce too low: next nonce 8, tx nonce 7", NonceTooLow),
                (
                    "insufficient funds for gas * price + value: balance 1, tx cost 2, overshot 1",
                    InsufficientFunds,
                ),
                ("exceeds block gas limit", Rejected),
                ("tx fee (3.00 ether) exceeds the configured cap (1.00 ether)", Rejected),
                ("intrinsic gas too low: gas 100, minimum needed 21000", Rejected),
                ("oversized data: transaction size 131073, limit 131072", Rejected),
                ("nonce too high", Fault::Unknown),
                ("txpool is full", Fault::Unknown),
                ("future transaction tries to replace pending", Fault::Unknown),
            ],
        ),
        (
            "erigon",
            &[
                ("INTERNAL_ERROR: existing tx with same hash", AlreadyKnown),
                ("existing txn with same hash", AlreadyKnown),
                ("could not replace existing tx", ReplacementUnderpriced),
                ("underpriced", Underpriced),
                ("fee too low", Underpriced),
                ("nonce too low", NonceTooLow),
                ("insufficient funds", InsufficientFunds),
                ("gas limit is too high", Rejected),
                ("IntrinsicGas", Rejected),
                ("RLPTooLong", Rejected),
                ("pending sub-pool is full", Fault::Unknown),
            ],
        ),
        (
            "nethermind",
            &[
                ("AlreadyKnown", AlreadyKnown),
                ("ReplacementNotAllowed, Required gas price: 11, provided: 10", ReplacementUnderpriced),
                ("FeeTooLow, MaxFeePerGas too low. MaxFeePerGas: 50, BaseFee: 100", Underpriced),
                ("FeeTooLowToCompete", Underpriced),
                ("OldNonce, Current nonce: 22, nonce of rejected tx: 17", NonceTooLow),
                ("InsufficientFunds, Account balance: 4, cumulative cost: 9", InsufficientFunds),
                ("GasLimitExceeded, Gas limit: 30000000, gas limit of rejected tx: 900000000", Rejected),
                ("gas limit reached, Gas limit: 30000000", Rejected),
                ("NonceGap, Future nonce. Expected nonce: 10", Fault::Unknown),
                ("node is syncing", Fault::Unknown),
            ],
        ),
        (
            "besu",
            &[
                ("Execution reverted", Reverts),
                ("Known transaction", AlreadyKnown),
                ("Replacement transaction underpriced", ReplacementUnderpriced),
                ("Gas price below configured minimum gas price", Underpriced),
                ("Gas price below current base fee", Underpriced),
                ("Nonce too low", NonceTooLow),
                ("Upfront cost exceeds account balance", InsufficientFunds),
                ("Transaction gas limit exceeds block gas limit", Rejected),
                ("Intrinsic gas exceeds gas limit", Rejected),
                ("Transaction fee cap exceeded", Rejected),
                ("Invalid transaction type", Rejected),
                ("Transaction nonce is too distant from current sender nonce", Fault::Unknown),
                ("An invalid transaction with a lower nonce exists", Fault::Unknown),
            ],
        ),
        (
            "reth",
            &[
                ("already known", AlreadyKnown),
                ("replacement transaction underpriced", ReplacementUnderpriced),
                ("transaction underpriced", Underpriced),
                ("transaction priority fee below minimum required priority fee 1000", Underpriced),
                ("nonce too low: next nonce 9, tx nonce 8", NonceTooLow),
                ("insufficient funds for gas * price + value: have 1 want 2", InsufficientFunds),
                ("intrinsic gas too high", Rejected),
                ("transaction type not supported", Rejected),
                ("txpool is full", Fault::Unknown),
            ],
        ),
        (
            "anvil",
            &[
                ("execution reverted: revert: accepted before", Reverts),
                ("transaction already imported", AlreadyKnown),
                ("replacement transaction underpriced", ReplacementUnderpriced),
                ("Tx: [0x1] insufficient gas price to replace existing transaction", ReplacementUnderpriced),
                ("max fee per gas less than block base fee", Underpriced),
                ("nonce too low", NonceTooLow),
                ("Insufficient funds for gas * price + value", InsufficientFunds),
                ("intrinsic gas too high -- tx.gas_limit > block.gas_limit", Rejected),
            ],
        ),
        (
            "arbitrum",
            &[
                ("execution reverted", Reverts),
                (
                    "max fee per gas less than block base fee: address 0x1, maxFeePerGas: 1 baseFee: 2",
                    Underpriced,
                ),
                ("gas price too low", Underpriced),
                ("nonce too low: address 0x1, tx: 7 state: 8", NonceTooLow),
                ("nonce too high: address 0x1, tx: 9 state: 8", Fault::Unknown),
                ("sequencer temporarily not available", Fault::Unknown),
            ],
        ),
        (
            "op",
            &[
                (
                    "failed to forward tx to sequencer, please try again. Error message: 'already known'",
                    AlreadyKnown,
                ),
                (
                    "failed to forward tx to sequencer, please try again. Error message: 'nonce too low'",
                    NonceTooLow,
                ),
                (
                    "insufficient funds for gas * price + value: balance 0, tx cost 9, l1 cost 3",
                    InsufficientFunds,
                ),
                ("exceeds maximum per-transaction gas limit", Rejected),
                ("in-flight transaction limit reached for delegated accounts", Fault::Unknown),
                ("failed to forward tx to sequencer: connection reset by peer", Fault::Unknown),
            ],
        ),
    ];

    #[test]
    fn the_words_of_each_client_are_understood() {
        for (client, messages) in SAID {
            for (message, fault) in *messages {
                assert_eq!(Fault::of(message), *fault, "{client}: {message}");
            }
        }
    }

    #[test]
    fn the_order_decides_where_a_message_holds_two_phrases() {
        for (message, fault) in [
            ("execution reverted: already known", Reverts),
            ("already known, nonce too low", AlreadyKnown),
            ("replacement transaction underpriced: nonce too low", ReplacementUnderpriced),
            ("nonce too low, insufficient funds", NonceTooLow),
        ] {
            assert_eq!(Fault::of(message), fault, "{message}");
        }
        for words in ["", "Too Many Requests", "invalid chain id for signer", "<html>502 Bad Gateway</html>"]
        {
            assert_eq!(Fault::of(words), Fault::Unknown, "{words}");
        }
    }

    #[test]
    fn each_phrase_has_a_source_and_none_hides_behind_an_earlier_one() {
        for (place, (phrase, fault, source)) in PHRASES.iter().enumerate() {
            assert!(!source.is_empty() && phrase.to_lowercase() == *phrase, "{phrase}");
            let earlier = PHRASES[..place].iter().find(|(before, ..)| phrase.contains(before));
            assert_eq!(earlier.map(|(before, ..)| *before), None, "{phrase} can never decide for {fault:?}");
        }
    }
}
