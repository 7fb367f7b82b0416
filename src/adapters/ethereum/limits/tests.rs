use super::*;

/// A provider, the code and the words of its refusal as seen in the wild, and the blocks that they allow.
const SEEN: &[(&str, i64, &str, Option<u64>)] = &[
    (
        "Alchemy",
        -32602,
        "Log response size exceeded. You can make eth_getLogs requests with up to a 10,000 block range and no limit on \
         the response size, or you can request any block range with a cap of 10K logs in the response. Based on your \
         parameters and the response size limit, this block range should work: [0x0, 0x79bcb3]",
        Some(0x79bcb4),
    ),
    (
        "Alchemy, free",
        -32600,
        "Under the Free tier plan, you can make eth_getLogs requests with up to a 10 block range. Based on your \
         parameters, this block range should work: [0x1180fca, 0x1180fd3]. Upgrade to PAYG for expanded block range.",
        Some(10),
    ),
    (
        "Alchemy, slow",
        -32000,
        "Query timeout exceeded. Consider reducing your block range. Based on your parameters and the response size \
         limit, this block range should work: [0x5223c98, 0x5223e80]",
        Some(489),
    ),
    (
        "Infura",
        -32005,
        "query returned more than 10000 results. Try with this block range [0x141A3F6, 0x141A5F8].",
        Some(515),
    ),
    (
        "zkSync Era",
        -32602,
        "Query returned more than 10000 results. Try with this block range [0x1, 0x64].",
        Some(100),
    ),
    ("Polygon zkEVM", -32005, "query returned more than 10000 results", None),
    ("QuickNode", -32614, "eth_getLogs is limited to a 10,000 range", Some(10_000)),
    (
        "QuickNode, older",
        -32602,
        "eth_getLogs and eth_newFilter are limited to a 10,000 blocks range",
        Some(10_000),
    ),
    ("BlastAPI", -32602, "eth_getLogs is limited to a 5000 block range", Some(5_000)),
    ("BlastAPI, paid", -32600, "block range exceeds the range allowed for your plan (20000 > 10000).", Some(10_000)),
    ("1RPC", -32602, "eth_getLogs is limited to a 10000 block range", Some(10_000)),
    ("1RPC, size", -32602, "response size should not greater than 10000000 bytes", None),
    ("Ankr", -32600, "block range is too wide", None),
    ("Ankr, TAC", -32000, "maximum [from, to] blocks distance: 10000", Some(10_000)),
    ("Cloudflare", -32047, "Invalid eth_getLogs request. 'fromBlock'-'toBlock' range too large. Max range: 800", Some(800)),
    ("publicnode", -32701, "exceed maximum block range: 50000", Some(50_000)),
    ("BNB Chain", -32602, "exceed maximum block range: 5000", Some(5_000)),
    (
        "Chainstack",
        -32602,
        "Block range limit exceeded. See more details at https://docs.chainstack.com/docs/limits#evm-range-limits.",
        None,
    ),
    ("LlamaRPC", -32602, "query exceeds max results 20000, retry with the range 22382105-22382515", Some(411)),
    ("reth", -32602, "query exceeds max block range 100000", Some(100_000)),
    ("dRPC", 35, "ranges over 10000 blocks are not supported on freetier", Some(10_000)),
    ("dRPC, logs", -32602, "query returns too many logs, narrow your filter: 20000", None),
    ("Pocket", -32602, "query block range exceeds server limit, narrow your filter: 5000", Some(5_000)),
    ("Coinbase", -32602, "please limit the query to at most 1000 blocks", Some(1_000)),
    ("Base", -32020, "backend response too large", None),
    ("Base, range", -32602, "block range too large", None),
    ("Optimism", -32000, "Block range is too large", None),
    ("Swell", -32000, "block range greater than 10000 max", Some(10_000)),
    ("Arbitrum", -32000, "logs matched by query exceeds limit of 10000", None),
    ("Arbitrum, slow", -32000, "log query timed out", None),
    (
        "Avalanche",
        -32000,
        "requested too many blocks from 0 to 5000000, maximum is set to 2048",
        Some(2_048),
    ),
    ("Besu", -32005, "Requested range exceeds maximum RPC range limit", None),
    ("Nethermind", -32005, "Too many logs requested. Max logs per response is 20000.", None),
    ("thirdweb", -32602, "Maximum allowed number of requested blocks is 10000", Some(10_000)),
    ("Moonbeam", -32603, "block range is too wide (maximum 1024)", Some(1_024)),
    ("Merkle", -32000, "eth_getLogs range is too large, max is 10k blocks", Some(10_000)),
    ("Somnia", -32000, "block range exceeds 1000", Some(1_000)),
    ("Harmony", -32000, "query must be smaller than size 1024", Some(1_024)),
    ("BlockPI", -32602, "eth_getLogs range limited to 5000 blocks", Some(5_000)),
    ("Arc", -32012, "requested range too large", None),
];

#[test]
fn each_providers_words_for_too_much_are_understood_with_the_range_that_they_allow() {
    for (provider, _, message, blocks) in SEEN {
        assert_eq!(too_much(message), Some(*blocks), "{provider}: {message}");
    }
}

#[test]
fn words_about_anything_else_are_not_taken_for_a_limit_of_size() {
    for (_, message) in [
        (-32005, "too many requests"),
        (-32005, "requests are limited to a rate of 10 per second"),
        (-32005, "daily request count exceeded, request rate limited"),
        (429, "Your app has exceeded its compute units per second capacity."),
        (-32000, "unknown block"),
        (-32000, "header not found"),
        (-32602, "invalid block range params"),
        (-32601, "the method eth_getLogs does not exist/is not available"),
        (-32000, "missing trie node"),
        (3, "execution reverted"),
        (-32603, "internal error"),
    ] {
        assert_eq!(too_much(message), None, "{message}");
    }
}

#[test]
fn hostile_numbers_are_no_range() {
    for message in [
        "try with this block range [0x5, 0x1]",
        "try with this block range [0xffffffffffffffffff, 0x1]",
        "try with this block range [0x0, 0xffffffffffffffff]",
        "max range: 99999999999999999999999999",
        "max range: k",
        "retry with the range 5-",
        "eth_getlogs is limited to a ",
    ] {
        assert_eq!(too_much(message), Some(None), "{message}");
    }
}
