//! A failed call: did the contract say no, or the provider?

use ethers::types::U256;
use scatter_actors::ports::chain::Error;
use serde_json::Value;

use super::abi::{shortened, text, word};
use crate::adapters::json_rpc;

/// `Error(string)`, what `require` and `revert` with a text give.
const ERROR: [u8; 4] = [0x08, 0xc3, 0x79, 0xa0];
/// `Panic(uint256)`, what a failed `assert` or an overflow gives.
const PANIC: [u8; 4] = [0x4e, 0x48, 0x7b, 0x71];
/// geth's code of a revert.
const REVERT_CODE: i64 = 3;
/// The code of a failed execution at providers that know no better.
const EXECUTION_CODE: i64 = -32015;

impl From<json_rpc::Error> for Error {
    fn from(error: json_rpc::Error) -> Self {
        match error {
            json_rpc::Error::Unreachable { url, what }
            | json_rpc::Error::TimedOut { url, what }
            | json_rpc::Error::RateLimited { url, what, .. } => {
                Self::Unreachable { url: url.to_string(), what }
            }
            json_rpc::Error::TooLarge { url, method, max_body } => {
                let what = format!("{method}: an answer of more than {max_body} bytes");
                Self::Unreachable { url: url.to_string(), what }
            }
            json_rpc::Error::Untrustworthy { url, what } => {
                Self::Untrustworthy { url: url.to_string(), what }
            }
            json_rpc::Error::Refused { url, method, code, message, .. } => {
                Self::Refused { url: url.to_string(), method, code, message }
            }
        }
    }
}

/// The error of an `eth_call` or `eth_estimateGas`: a revert where the contract said no.
pub(super) fn of_a_call(error: json_rpc::Error) -> Error {
    let json_rpc::Error::Refused { code, message, data, .. } = &error else { return error.into() };
    let bytes = data.as_ref().and_then(revert_bytes);
    // Clients differ in the code, so the words of the EVM and the mere presence of its bytes count as well.
    let words = message.to_lowercase();
    let said_no = matches!(*code, REVERT_CODE | EXECUTION_CODE)
        || bytes.as_ref().is_some_and(|bytes| !bytes.is_empty())
        || ["revert", "invalid opcode", "invalidfeopcode"].iter().any(|word| words.contains(word));
    if !said_no {
        return error.into();
    }
    Error::Reverts { reason: bytes.and_then(|bytes| told(&bytes)).unwrap_or_else(|| shortened(message)) }
}

/// The bytes that a contract gave, wherever the client puts them.
fn revert_bytes(data: &Value) -> Option<Vec<u8>> {
    let text = match data {
        Value::String(text) => text,
        Value::Object(fields) => return fields.get("data").and_then(revert_bytes),
        _ => return None,
    };
    hex::decode(text.trim_start_matches("Reverted ").strip_prefix("0x")?).ok()
}

/// What a contract said; `None` if it gave no bytes.
fn told(bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() {
        return None;
    }
    let known = bytes.split_first_chunk().and_then(|(selector, rest)| match *selector {
        ERROR => text(rest),
        PANIC => word(rest).map(panic),
        _ => None,
    });
    Some(known.unwrap_or_else(|| shortened(&format!("0x{}", hex::encode(bytes)))))
}

/// Solidity's list of panics.
fn panic(code: U256) -> String {
    let meaning = match code.low_u64() {
        _ if code > U256::from(u8::MAX) => "unknown",
        0x01 => "assertion failed",
        0x11 => "arithmetic overflow",
        0x12 => "division by zero",
        0x21 => "no such enum value",
        0x31 => "pop of an empty array",
        0x32 => "index out of bounds",
        0x41 => "out of memory",
        _ => "unknown",
    };
    format!("panic {code:#x}: {meaning}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ethers::abi::AbiEncode;
    use serde_json::json;

    fn refused(code: i64, message: &str, data: Option<Value>) -> json_rpc::Error {
        let url = "http://127.0.0.1:1".parse().unwrap();
        json_rpc::Error::Refused { url, method: "eth_call", code, message: message.to_owned(), data }
    }

    fn bytes(selector: [u8; 4], arguments: impl AbiEncode) -> Value {
        json!(format!("0x{}{}", hex::encode(selector), hex::encode(arguments.encode())))
    }

    #[test]
    fn a_revert_is_told_in_the_contracts_words_wherever_the_client_puts_them() {
        let text = bytes(ERROR, ("unknown bid".to_owned(),));
        for (code, message, data, reason) in [
            (3, "execution reverted: unknown bid", Some(text.clone()), "unknown bid"),
            (-32000, "execution reverted", Some(json!({ "data": text })), "unknown bid"),
            (
                -32015,
                "VM execution error.",
                Some(json!(format!("Reverted {}", text.as_str().unwrap()))),
                "unknown bid",
            ),
            (
                3,
                "execution reverted",
                Some(bytes(PANIC, (U256::from(0x32),))),
                "panic 0x32: index out of bounds",
            ),
            (3, "execution reverted", Some(json!("0xdeadbeef")), "0xdeadbeef"),
            (3, "execution reverted", Some(json!("0x")), "execution reverted"),
            (-32000, "execution reverted", None, "execution reverted"),
            (-32000, "invalid opcode: INVALID", None, "invalid opcode: INVALID"),
        ] {
            let error = of_a_call(refused(code, message, data));
            assert_eq!(error, Error::Reverts { reason: reason.to_owned() }, "{code} {message}");
        }
    }

    #[test]
    fn what_the_provider_refuses_is_no_revert() {
        for (code, message) in [
            (-32005, "limit exceeded"),
            (-32000, "header not found"),
            (-32000, "insufficient funds for gas * price + value"),
            (-32602, "invalid argument 0"),
        ] {
            assert!(matches!(of_a_call(refused(code, message, None)), Error::Refused { .. }), "{message}");
        }
    }

    #[test]
    fn a_contracts_long_text_is_cut() {
        let long = of_a_call(refused(3, "execution reverted", Some(bytes(ERROR, ("x".repeat(5000),)))));
        assert!(matches!(long, Error::Reverts { reason } if reason.len() == 200));
    }
}
