//! How providers say "too much" to `eth_getLogs`, and how to read the range that they allow from their words.
//!
//! Codes do not tell: -32005 stands for "too many requests" as well, and most use -32000, -32600 or -32602, which stand
//! for anything. So the words decide. Each row has the words as its source shows them, most telling rows first.

/// Words of "not so fast", whatever else a message says.
const ABOUT_RATE: &[&str] = &["too many requests", "rate limit", "per second", "per minute", "compute units"];

/// How a message tells the range that is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// It does not.
    Nothing,
    /// By a number of blocks behind these words.
    After(&'static str),
    /// By first and last block: `[0x1, 0x2]` in hex, or `1-2` in decimal.
    Ends,
}

struct Row {
    /// Part of the words, in lower case.
    words: &'static str,
    told: Told,
}

const fn row(words: &'static str, told: Told) -> Row {
    Row { words, told }
}

/// The table. Whose words they are and where they are seen stands with each row; whole messages are in the tests.
const ROWS: &[Row] = &[
    // Alchemy, all plans: alchemy.com/docs/reference/eth-getlogs; union's voyager quotes code -32602.
    row("this block range should work", Told::Ends),
    // Infura: docs.infura.io "eth_getLogs" (-32005); zkSync Era: its API docs; thirdweb passes it on.
    row("try with this block range", Told::Ends),
    // reth: crates/rpc/rpc/src/eth/filter.rs, `QueryExceedsMaxResults`; LlamaRPC, dRPC and Telos run it.
    row("retry with the range", Told::Ends),
    // reth: the same file, `QueryExceedsMaxBlocks`; HyperEVM's public endpoint.
    row("exceeds max block range", Told::After("max block range")),
    // publicnode (-32701), BNB Chain's public endpoints (-32602), geth with --rpc.rangelimit.
    row("maximum block range", Told::After("maximum block range")),
    // QuickNode (-32614): "limited to a 10,000 range"; 1RPC and BlastAPI: "limited to a 5000 block range".
    row("limited to a ", Told::After("limited to a")),
    // BlockPI: ponder's tests of providers, blockpi.test.ts.
    row("range limited to ", Told::After("limited to")),
    row("limited to 0 - ", Told::After("limited to 0 -")),
    // Cloudflare (-32047): developers.cloudflare.com/web3/ethereum-gateway.
    row("max range: ", Told::After("max range:")),
    // Merkle: ponder's merkle.test.ts: "eth_getLogs range is too large, max is 10k blocks".
    row("range is too large, max is", Told::After("max is")),
    // Moonbeam's client and its hosters: ponder's moonriver.test.ts.
    row("too wide (maximum ", Told::After("(maximum")),
    // Ankr (-32600, -32062): ponder's ankr.test.ts.
    row("block range is too wide", Told::Nothing),
    row("blocks distance:", Told::After("blocks distance:")),
    // BlastAPI, paid plans: "exceeds the range allowed for your plan (5001 > 5000)".
    row("exceeds the range allowed for your plan", Told::After(">")),
    // dRPC (code 35): "ranges over 10000 blocks are not supported on freetier".
    row("ranges over ", Told::After("ranges over")),
    // Pocket Network and dRPC (-32602), with erigon behind: "… server limit, narrow your filter: 5000".
    row("range exceeds server limit", Told::After("narrow your filter:")),
    row("too many logs, narrow your filter", Told::Nothing),
    // Chainstack (-32602): docs.chainstack.com/docs/limits#evm-range-limits.
    row("block range limit exceeded", Told::Nothing),
    // Coinbase's Base node: ponder's coinbase.test.ts.
    row("limit the query to at most", Told::After("at most")),
    // Base's and Optimism's public endpoints: optimism's proxyd/backend.go (-32020) and rewriter.go (-32601).
    row("backend response too large", Told::Nothing),
    row("block range too large", Told::Nothing),
    row("block range is too large", Told::Nothing),
    row("block range greater than", Told::After("greater than")),
    // Arbitrum's and Robinhood Chain's public endpoints: ponder's arbitrum.test.ts.
    row("logs matched by query exceeds limit", Told::Nothing),
    // Avalanche's coreth: plugin/evm's `api-max-blocks-per-request`.
    row("requested too many blocks", Told::After("maximum is set to")),
    // Besu (-32005): RpcErrorType.EXCEEDS_RPC_MAX_BLOCK_RANGE.
    row("range exceeds maximum rpc range limit", Told::Nothing),
    // Nethermind (-32005): EthRpcModule, `MaxLogsPerResponse`.
    row("too many logs requested", Told::Nothing),
    // thirdweb: ponder's thirdweb.test.ts.
    row("number of requested blocks is", Told::After("blocks is")),
    // Somnia's and Harmony's endpoints: ponder's tests of the same names.
    row("block range exceeds", Told::After("range exceeds")),
    row("query must be smaller than size", Told::After("than size")),
    // Infura, Polygon zkEVM, erigon and many others without a range: "query returned more than 10000 results".
    row("query returned more than", Told::Nothing),
    row("query exceeds max results", Told::Nothing),
    // 1RPC: "response size should not greater than 10000000 bytes"; Alchemy's first words; geth's limit of a batch.
    row("response size", Told::Nothing),
    row("response too large", Told::Nothing),
    row("response is too big", Told::Nothing),
    // The time that a provider lets a query have: Alchemy, Arbitrum, geth with --rpc.evmtimeout.
    row("query timeout exceeded", Told::Nothing),
    row("query timed out", Told::Nothing),
    // Arc and others (-32012): "requested range too large".
    row("range too large", Told::Nothing),
];

/// Whether a refusal of `eth_getLogs` is about how much was asked for; then `Some`, with the blocks that its words allow
/// where they tell.
pub(super) fn too_much(message: &str) -> Option<Option<u64>> {
    let words = message.to_lowercase();
    if ABOUT_RATE.iter().any(|rate| words.contains(rate)) {
        return None;
    }
    let row = ROWS.iter().find(|row| words.contains(row.words))?;
    Some(match row.told {
        Told::Nothing => None,
        Told::After(mark) => words.split_once(mark).and_then(|(_, rest)| count(rest)),
        Told::Ends => words.split_once(row.words).and_then(|(_, rest)| ends(rest)),
    })
}

/// The number at the start of a text: `10,000`, `10000`, `2k`.
fn count(text: &str) -> Option<u64> {
    let text = text.trim_start_matches([' ', ':']);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != ',').unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    let number: u64 = digits.replace(',', "").parse().ok()?;
    if rest.starts_with('k') {
        number.checked_mul(1_000)
    } else {
        Some(number)
    }
}

/// The blocks from one end to the other: `[0x1, 0x2]` or `1-2` somewhere in a text.
fn ends(text: &str) -> Option<u64> {
    let hex = |text: &str| u64::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok();
    let decimal = |text: &str| text.trim().parse::<u64>().ok();
    let (first, last) = match text.split_once('[').and_then(|(_, rest)| rest.split_once(']')) {
        Some((inner, _)) => {
            let (first, last) = inner.split_once(',')?;
            (hex(first)?, hex(last)?)
        }
        None => {
            let (first, last) = text.split_once('-')?;
            let end = last.find(|c: char| !c.is_ascii_digit()).unwrap_or(last.len());
            (decimal(first)?, decimal(last.get(..end)?)?)
        }
    };
    last.checked_sub(first)?.checked_add(1)
}

#[cfg(test)]
mod tests;
