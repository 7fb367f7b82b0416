//! How single values are read: durations, sizes, money, addresses, lists. A value from the environment is text.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use figment::value::Value;
use scatter_actors::domain::units::ByteSize;
use url::Url;

use super::ProviderUrl;
use crate::adapters::json_rpc::BadUrl;

/// A value or what is wrong with it.
type Read<T> = Result<T, String>;

/// Text; numbers and truths are taken as they are written.
pub(super) fn text(value: &Value) -> Read<String> {
    if let Some(text) = value.as_str() {
        return Ok(text.to_owned());
    }
    if let Some(flag) = value.to_bool() {
        return Ok(flag.to_string());
    }
    let whole = value.to_i128().map(|number| number.to_string());
    if let Some(number) = whole.or_else(|| value.to_u128().map(|number| number.to_string())) {
        return Ok(number);
    }
    if let Some(number) = value.to_num().and_then(|number| number.to_f64()) {
        return Ok(number.to_string());
    }
    Err("a single value is expected here".into())
}

/// `true` or `false`.
pub(super) fn flag(value: &Value) -> Read<bool> {
    let text = text(value)?;
    text.parse().map_err(|_| format!("{text:?} is not true or false"))
}

/// A whole number.
pub(super) fn count<T: FromStr>(value: &Value) -> Read<T> {
    let text = text(value)?;
    text.parse().map_err(|_| format!("{text:?} is not a whole number in range"))
}

/// A number strictly between 0 and 1.
pub(super) fn fraction(value: &Value) -> Read<f64> {
    let text = text(value)?;
    let within = |number: &f64| *number > 0.0 && *number < 1.0;
    text.parse().ok().filter(within).ok_or_else(|| format!("{text:?} is not a number between 0 and 1"))
}

/// What its own type reads.
pub(super) fn parsed<T>(value: &Value) -> Read<T>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    text(value)?.parse().map_err(|error: T::Err| error.to_string())
}

/// `""` is `None`.
pub(super) fn optional<T>(read: impl Fn(&Value) -> Read<T>) -> impl Fn(&Value) -> Read<Option<T>> {
    move |value| match value.as_str().map(str::trim) {
        Some("") => Ok(None),
        _ => read(value).map(Some),
    }
}

/// A list; in the environment its items stand between commas.
pub(super) fn list<T>(read: impl Fn(&Value) -> Read<T>) -> impl Fn(&Value) -> Read<Vec<T>> {
    move |value| match value {
        Value::Array(_, items) => items.iter().map(&read).collect(),
        Value::String(_, text) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            items.map(|item| read(&Value::from(item))).collect()
        }
        _ => Err("a list is expected here".into()),
    }
}

/// Smallest and largest, both included.
pub(super) fn range<T: PartialOrd>(read: impl Fn(&Value) -> Read<T>) -> impl Fn(&Value) -> Read<(T, T)> {
    let read = list(read);
    move |value| {
        let mut items = read(value)?.into_iter();
        match (items.next(), items.next(), items.next()) {
            (Some(from), Some(to), None) if from <= to => Ok((from, to)),
            (Some(_), Some(_), None) => Err("the first of the two is larger than the second".into()),
            _ => Err("two values are expected here: smallest and largest".into()),
        }
    }
}

/// `"30s"`, `"15m"`, `"7d"`.
pub(super) fn span(value: &Value) -> Read<Duration> {
    duration(&text(value)?)
}

/// `"20GiB"`, `"64KiB"`, `"20GB"`, `"512B"`.
pub(super) fn size(value: &Value) -> Read<ByteSize> {
    bytes(&text(value)?)
}

/// An address and a port to listen at.
pub(super) fn listen(value: &Value) -> Read<SocketAddr> {
    let text = text(value)?;
    text.parse().map_err(|_| format!("{text:?} is not an address and port such as \"127.0.0.1:8479\""))
}

/// A URL of `http` or `https`, whose text is not repeated: a provider's may hold a secret.
pub(super) fn provider(value: &Value) -> Read<ProviderUrl> {
    text(value)?.parse().map_err(|error: BadUrl| error.to_string())
}

/// A URL of `http` or `https`.
pub(super) fn web(value: &Value) -> Read<Url> {
    let text = text(value)?;
    let url = Url::parse(&text).map_err(|error| format!("{text:?} is not a URL: {error}"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err(format!("{text:?} is not a URL of http or https")),
    }
}

/// A multiaddr.
pub(super) fn multiaddr(value: &Value) -> Read<String> {
    let text = text(value)?;
    #[cfg(feature = "embedded")]
    let wrong = text.parse::<embedded_ipfs::Multiaddr>().err().map(|error| error.to_string());
    #[cfg(not(feature = "embedded"))]
    let wrong = (!text.starts_with('/')).then(|| "it begins with a slash".to_owned());
    match wrong {
        Some(what) => Err(format!("{text:?} is not a multiaddr such as \"/ip4/0.0.0.0/tcp/4001\": {what}")),
        None => Ok(text),
    }
}

/// A multiaddr of one certain peer.
pub(super) fn peer(value: &Value) -> Read<String> {
    let text = multiaddr(value)?;
    match text.contains("/p2p/") {
        true => Ok(text),
        false => Err(format!("{text:?} does not name the peer: it ends in /p2p/ and the peer's id")),
    }
}

/// Reads a duration such as `30s`.
///
/// # Errors
/// What is wrong with it, in words.
pub fn duration(text: &str) -> Result<Duration, String> {
    let milliseconds = |unit: &str| match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    let wrong = || format!("{text:?} is not a duration such as \"30s\", \"15m\" or \"7d\"");
    scaled(text, milliseconds).map(Duration::from_millis).ok_or_else(wrong)
}

/// Reads a size such as `20GiB`.
///
/// # Errors
/// What is wrong with it, in words.
pub fn bytes(text: &str) -> Result<ByteSize, String> {
    let bytes = |unit: &str| match unit {
        "B" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        "TiB" => Some(1 << 40),
        "kB" => Some(1_000),
        "MB" => Some(1_000_000),
        "GB" => Some(1_000_000_000),
        "TB" => Some(1_000_000_000_000),
        _ => None,
    };
    let wrong = || format!("{text:?} is not a size such as \"64KiB\", \"20GiB\" or \"20GB\"");
    scaled(text, bytes).map(ByteSize).ok_or_else(wrong)
}

/// A whole number with a unit behind it. Without one it would be a guess.
fn scaled(text: &str, unit: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let text = text.trim();
    let (number, suffix) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    number.parse::<u64>().ok()?.checked_mul(unit(suffix.trim_start())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_need_their_unit() {
        for (text, seconds) in [("30s", 30), ("15m", 900), ("2 h", 7_200), ("7d", 604_800)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for (text, size) in [("512B", 512), ("64KiB", 65_536), ("20GiB", 20 << 30), ("20GB", 20_000_000_000)]
        {
            assert_eq!(bytes(text), Ok(ByteSize(size)), "{text}");
        }
        for text in ["", "30", "s", "-5s", "1.5h", "30 sec", "99999999999999999999s", "18446744073709551615d"]
        {
            assert!(duration(text).is_err(), "{text}");
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_list_reads_from_a_file_and_from_the_environment_alike() {
        let numbers = list(count::<u64>);
        assert_eq!(numbers(&Value::from(vec![1_u64, 2])), Ok(vec![1, 2]));
        assert_eq!(numbers(&Value::from("1, 2,")), Ok(vec![1, 2]));
        assert_eq!(numbers(&Value::from("")), Ok(vec![]));
        assert!(numbers(&Value::from(true)).is_err());
        let sizes = range(size);
        assert!(sizes(&Value::from("2B,1B")).is_err());
        assert!(sizes(&Value::from("1B")).is_err());
        assert_eq!(sizes(&Value::from("1B,1B")), Ok((ByteSize(1), ByteSize(1))));
    }
}
