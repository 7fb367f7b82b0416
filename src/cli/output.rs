//! What a command says: an answer on stdout, for people or as one JSON document, and remarks on stderr.

use std::io::Write;

use scatter_actors::domain::units::Wei;
use serde_json::Value;

use crate::exit::Fault;

/// Where answers go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    /// For people, or as JSON.
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether programs read the answer.
    pub(super) fn is_json(self) -> bool {
        self.json
    }

    /// Gives the answer. A reader that has gone away is no fault.
    pub(super) fn answer(self, document: &Value, words: impl FnOnce() -> String) {
        let text = match self.json {
            true => document.to_string(),
            false => words(),
        };
        let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
    }

    /// Says something beside the answer.
    pub(super) fn remark(self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// Says why there is no answer.
    pub(super) fn fault(self, fault: &Fault) {
        match self.json {
            true => drop(writeln!(std::io::stdout(), "{}", fault.document())),
            false => self.remark(&format!("error: {fault}")),
        }
    }
}

/// Lines of two aligned columns.
pub(super) fn pairs(rows: &[(&str, String)]) -> String {
    let rows: Vec<_> = rows.iter().map(|(label, value)| vec![(*label).to_owned(), value.clone()]).collect();
    aligned(&rows)
}

/// A table with a header, or one line that says that there is nothing.
pub(super) fn table(header: &[&str], rows: &[Vec<String>], nothing: &str) -> String {
    if rows.is_empty() {
        return nothing.to_owned();
    }
    let header = header.iter().map(|title| title.to_uppercase()).collect();
    aligned(&[&[header], rows].concat())
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Any document for people: its single values as aligned lines, each with the way to it.
pub(super) fn plain(document: &Value) -> String {
    let mut lines = Vec::new();
    flatten("", document, &mut lines);
    let rows: Vec<_> = lines.iter().map(|(label, value)| (label.as_str(), value.clone())).collect();
    pairs(&rows)
}

fn flatten(prefix: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    let label = |key: &str| match prefix {
        "" => key.to_owned(),
        _ => format!("{prefix}.{key}"),
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| flatten(&label(key), value, lines)),
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            let indexed = items.iter().enumerate();
            indexed.for_each(|(index, item)| flatten(&label(&index.to_string()), item, lines));
        }
        Value::Null => {}
        value => lines.push((prefix.to_owned(), cell(value))),
    }
}

/// One value as it stands in a cell. A stranger's control characters do not reach the terminal.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.chars().flat_map(printable).collect(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        value => value.to_string(),
    }
}

fn printable(c: char) -> Vec<char> {
    match c.is_control() {
        true => c.escape_default().collect(),
        false => vec![c],
    }
}

/// An amount as people read it: exact, in ether, or in wei where that is shorter to read.
pub(super) fn ether(wei: Wei) -> String {
    let digits = wei.to_string();
    if digits.len() <= 9 {
        return format!("{digits} wei");
    }
    let padded = format!("{digits:0>19}");
    let (whole, fraction) = padded.split_at(padded.len() - 18);
    match fraction.trim_end_matches('0') {
        "" => format!("{whole} ether"),
        fraction => format!("{whole}.{fraction} ether"),
    }
}

/// A decimal string of wei in a document, as people read it.
pub(super) fn money(value: &Value) -> String {
    let amount = value.as_str().and_then(|text| text.parse::<Wei>().ok());
    amount.map_or_else(|| cell(value), ether)
}

/// Seconds as people read them, in the two largest units.
pub(super) fn span(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, name) in UNITS {
        if rest >= unit && parts.len() < 2 {
            parts.push(format!("{} {name}", rest / unit));
            rest %= unit;
        }
    }
    match parts.is_empty() {
        true => "0 s".into(),
        false => parts.join(" "),
    }
}

/// Milliseconds since 1970 as people read them, in UTC.
pub(super) fn moment(milliseconds: u64) -> String {
    let (days, second) = (milliseconds / 86_400_000, milliseconds / 1_000 % 86_400);
    // From a count of days to a date: the years of this algorithm begin in March, so that a leap day comes last.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march = (5 * day + 2) / 153;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let (year, day) = (era * 400 + year + u64::from(month <= 2), day - (153 * march + 2) / 5 + 1);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

/// Bytes as people read them.
pub(super) fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (bytes.max(1).ilog2() as usize / 10).min(units.len() - 1);
    let scaled = bytes as f64 / (1_u64 << (10 * unit)) as f64;
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{scaled:.1} {}", units[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn amounts_are_exact_and_short() {
        for (wei, text) in [
            ("0", "0 wei"),
            ("999999999", "999999999 wei"),
            ("1000000000", "0.000000001 ether"),
            ("1500000000000000000", "1.5 ether"),
            ("20000000000000000000", "20 ether"),
            ("1000000000000000001", "1.000000000000000001 ether"),
        ] {
            assert_eq!(ether(wei.parse().unwrap()), text);
            assert_eq!(money(&json!(wei)), text);
        }
    }

    #[test]
    fn spans_and_sizes_read_easily() {
        for (seconds, text) in
            [(0, "0 s"), (59, "59 s"), (3_661, "1 h 1 m"), (604_800, "7 d"), (90_061, "1 d 1 h")]
        {
            assert_eq!(span(seconds), text);
        }
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (20 << 30, "20.0 GiB")] {
            assert_eq!(size(bytes), text);
        }
        assert!(size(u64::MAX).ends_with("TiB"));
    }

    #[test]
    fn moments_are_dates() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00Z"),
            (951_782_399, "2000-02-28 23:59:59Z"),
            (951_782_400, "2000-02-29 00:00:00Z"),
            (1_700_000_000, "2023-11-14 22:13:20Z"),
            (4_102_444_799, "2099-12-31 23:59:59Z"),
        ] {
            assert_eq!(moment(seconds * 1_000 + 999), text);
        }
    }

    #[test]
    fn columns_are_aligned_and_nothing_has_words_of_its_own() {
        let rows = [vec!["1".to_owned(), "open".into()], vec!["12".into(), "held".into()]];
        assert_eq!(table(&["bid", "state"], &rows, "none"), "BID  STATE\n1    open\n12   held");
        assert_eq!(table(&["bid"], &[], "no bids"), "no bids");
    }

    #[test]
    fn a_strangers_control_characters_do_not_reach_the_terminal() {
        assert_eq!(cell(&json!("\u{1b}[31m")), "\\u{1b}[31m");
        let document = json!({"a": {"b": 1, "c": null}, "list": [{"x": "y\n"}], "flat": [1, 2]});
        assert_eq!(plain(&document), "a.b       1\nflat      1, 2\nlist.0.x  y\\n");
        assert_eq!((cell(&json!(null)), cell(&json!([1, "a"]))), ("-".to_owned(), "1, a".to_owned()));
    }
}
