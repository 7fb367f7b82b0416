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

/// In this order: the first phrase that a message contains decides. Lower case.
/// Sources: geth `core/txpool/errors.go` and `core/error.go`, erigon, nethermind, besu, reth, anvil.
const PHRASES: &[(&str, Fault)] = &[
    ("execution reverted", Fault::Reverts),
    ("already known", Fault::AlreadyKnown),
    ("alreadyknown", Fault::AlreadyKnown),
    ("known transaction", Fault::AlreadyKnown),
    ("already imported", Fault::AlreadyKnown),
    ("already in mempool", Fault::AlreadyKnown),
    ("replacement transaction underpriced", Fault::ReplacementUnderpriced),
    ("could not replace existing tx", Fault::ReplacementUnderpriced),
    ("replacementnotallowed", Fault::ReplacementUnderpriced),
    ("replacement fee too low", Fault::ReplacementUnderpriced),
    ("underpriced", Fault::Underpriced),
    ("max fee per gas less than block base fee", Fault::Underpriced),
    ("fee cap less than block base fee", Fault::Underpriced),
    ("feetoolow", Fault::Underpriced),
    ("gas price below configured minimum", Fault::Underpriced),
    ("nonce too low", Fault::NonceTooLow),
    ("nonce is too low", Fault::NonceTooLow),
    ("oldnonce", Fault::NonceTooLow),
    ("insufficient funds", Fault::InsufficientFunds),
    ("insufficientfunds", Fault::InsufficientFunds),
    ("upfront cost exceeds account balance", Fault::InsufficientFunds),
    ("exceeds block gas limit", Fault::Rejected),
    ("exceeds the configured cap", Fault::Rejected),
    ("intrinsic gas too low", Fault::Rejected),
    ("gas limit too high", Fault::Rejected),
    ("oversized data", Fault::Rejected),
];

impl Fault {
    /// Reads a provider's message.
    pub fn of(message: &str) -> Self {
        let message = message.to_lowercase();
        PHRASES.iter().find(|(phrase, _)| message.contains(phrase)).map_or(Self::Unknown, |(_, fault)| *fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_common_clients_are_understood() {
        for (message, fault) in [
            ("execution reverted: already known", Fault::Reverts),
            ("already known", Fault::AlreadyKnown),
            ("known transaction: 0xabc", Fault::AlreadyKnown),
            ("Transaction already imported", Fault::AlreadyKnown),
            ("replacement transaction underpriced", Fault::ReplacementUnderpriced),
            ("transaction underpriced: tip needed 1, tip permitted 0", Fault::Underpriced),
            (
                "max fee per gas less than block base fee: address 0x1, maxFeePerGas: 1, baseFee: 7",
                Fault::Underpriced,
            ),
            ("nonce too low: next nonce 8, tx nonce 7", Fault::NonceTooLow),
            ("insufficient funds for gas * price + value: balance 1, tx cost 2", Fault::InsufficientFunds),
            ("tx fee (3.00 ether) exceeds the configured cap (1.00 ether)", Fault::Rejected),
            ("intrinsic gas too low: gas 100, minimum needed 21000", Fault::Rejected),
            ("nonce too high", Fault::Unknown),
            ("Too Many Requests", Fault::Unknown),
            ("", Fault::Unknown),
        ] {
            assert_eq!(Fault::of(message), fault, "{message}");
        }
    }
}
