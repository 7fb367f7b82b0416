//! JSON in its one form (RFC 8785), for documents without fractions.

use serde_json::Value;

/// Numbers beyond this are not exact to every reader of JSON.
const EXACT: i64 = (1 << 53) - 1;

/// The document has no canonical form here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A number that is no integer, or too large to be exact everywhere.
    #[error("{0} is not an integer of at most 53 bits")]
    Number(String),
}

/// Writes a document in its canonical form: no space, members in the order of their names' UTF-16 code units.
///
/// # Errors
/// If it holds a number that has no exact form.
pub fn write(value: &Value) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    put(value, &mut out)?;
    Ok(out)
}

fn put(value: &Value, out: &mut Vec<u8>) -> Result<(), Error> {
    match value {
        Value::Null | Value::Bool(_) => out.extend(value.to_string().bytes()),
        Value::Number(number) => {
            let exact = number.as_i64().filter(|n| (-EXACT..=EXACT).contains(n));
            let exact = exact.ok_or_else(|| Error::Number(number.to_string()))?;
            out.extend(exact.to_string().bytes());
        }
        Value::String(text) => put_text(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                put(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(members) => {
            // The map may keep the order of insertion: the order is made here, whatever it keeps.
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.push(b'{');
            for (n, (name, member)) in members.into_iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                put_text(name, out);
                out.push(b':');
                put(member, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn put_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for c in text.chars() {
        let short = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\u{8}' => "\\b",
            '\t' => "\\t",
            '\n' => "\\n",
            '\u{c}' => "\\f",
            '\r' => "\\r",
            '\0'..='\u{1f}' => {
                out.extend(format!("\\u{:04x}", u32::from(c)).bytes());
                continue;
            }
            _ => {
                out.extend(c.encode_utf8(&mut [0; 4]).bytes());
                continue;
            }
        };
        out.extend(short.bytes());
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(value: &Value) -> String {
        String::from_utf8(write(value).unwrap()).unwrap()
    }

    #[test]
    fn members_are_sorted_by_utf_16_as_the_standard_s_example_shows() {
        // RFC 8785, section 3.2.3.
        let value: Value = serde_json::from_str(
            r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh",
                "1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control",
                "\u00f6":"Latin Small Letter O With Diaeresis"}"#,
        )
        .unwrap();
        let written = text(&value);
        let order = ["Carriage", "One", "Control", "Latin", "Euro", "Emoji", "Hebrew"];
        let places: Vec<usize> = order.map(|word| written.find(word).unwrap()).into();
        assert!(places.is_sorted(), "{written}");
    }

    #[test]
    fn texts_are_escaped_as_little_as_the_standard_allows() {
        // RFC 8785, section 3.2.2.2.
        let value = json!("\u{20ac}$\u{f}\nA'B\"\\\\\"/");
        assert_eq!(text(&value), "\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"");
        assert_eq!(text(&json!("\u{7f}\u{8}\u{c}")), "\"\u{7f}\\b\\f\"");
    }

    #[test]
    fn nothing_stands_between_the_tokens() {
        let value = json!({"b": [1, -2, null, true], "a": {}, "": []});
        assert_eq!(text(&value), r#"{"":[],"a":{},"b":[1,-2,null,true]}"#);
    }

    #[test]
    fn a_number_that_not_every_reader_has_exactly_is_refused() {
        assert!(write(&json!(EXACT)).is_ok());
        for value in [json!(EXACT + 1), json!(-EXACT - 1), json!(u64::MAX), json!(1.5), json!(1.0)] {
            assert!(write(&value).is_err(), "{value}");
        }
    }
}
