//! Finds a secret in whatever a program leaves behind, however it is written there.

use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use base64::Engine;

/// All that a secret may look like.
pub struct Search {
    /// What to look for, and how it would have been written.
    forms: Vec<(Vec<u8>, String)>,
    /// Whether a form begins with these two bytes.
    starts: Vec<bool>,
}

impl Search {
    /// Looks for these secrets, each with a name; none is shorter than eight bytes.
    pub fn of(secrets: &[(&str, &[u8])]) -> Self {
        let mut forms = Vec::new();
        for (name, secret) in secrets {
            assert!(secret.len() >= 8, "{name} is too short to be told from chance");
            forms.extend(written(secret).into_iter().map(|(form, how)| (form, format!("{name} {how}"))));
        }
        let mut starts = vec![false; 1 << 16];
        forms.iter().for_each(|(form, _)| starts[start(form)] = true);
        Self { forms, starts }
    }

    /// How a secret stands in `bytes`, if it does.
    pub fn finds(&self, bytes: &[u8]) -> Option<&str> {
        let candidates = bytes.windows(2).enumerate().filter(|(_, two)| self.starts[start(two)]);
        candidates.into_iter().find_map(|(at, _)| {
            let found = self.forms.iter().find(|(form, _)| bytes[at..].starts_with(form));
            found.map(|(_, how)| how.as_str())
        })
    }
}

fn start(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

/// A secret as bytes, in hex, as `Debug` shows bytes, and in base64 at each of the three places where it can begin.
fn written(secret: &[u8]) -> Vec<(Vec<u8>, String)> {
    let lower = hex::encode(secret);
    let numbers = secret.iter().map(u8::to_string).collect::<Vec<_>>();
    let mut forms = vec![
        (secret.to_vec(), "raw".to_owned()),
        (lower.to_uppercase().into_bytes(), "in upper hex".to_owned()),
        (lower.into_bytes(), "in hex".to_owned()),
        (numbers.join(",").into_bytes(), "as numbers".to_owned()),
        (numbers.join(", ").into_bytes(), "as spaced numbers".to_owned()),
    ];
    for (alphabet, name) in [(&STANDARD, "base64"), (&URL_SAFE, "base64url")] {
        for before in 0..3 {
            forms.push((in_base64(alphabet, secret, before), format!("in {name} behind {before} bytes")));
        }
    }
    forms
}

/// The characters that the secret alone decides, with so many bytes (of three) before it.
fn in_base64(alphabet: &Alphabet, secret: &[u8], before: usize) -> Vec<u8> {
    let padded = [&vec![0; before][..], secret].concat();
    let text = GeneralPurpose::new(alphabet, NO_PAD).encode(&padded);
    text.as_bytes()[(8 * before).div_ceil(6)..8 * padded.len() / 6].to_vec()
}

#[test]
fn a_secret_is_found_however_it_is_written_and_whatever_stands_around_it() {
    let secret: Vec<u8> = (0..32_u8).map(|n| n.wrapping_mul(167).wrapping_add(249)).collect();
    let search = Search::of(&[("key", &secret)]);
    let engines = [&STANDARD, &URL_SAFE].map(|alphabet| GeneralPurpose::new(alphabet, NO_PAD));
    for length in 0..9 {
        let noise = vec![b'~'; length];
        let around = |form: &[u8]| [&noise[..], form, &noise].concat();
        for form in [
            secret.clone(),
            hex::encode(&secret).into_bytes(),
            hex::encode_upper(&secret).into_bytes(),
            format!("{secret:?}").into_bytes(),
            serde_json::to_vec(&secret).unwrap(),
        ] {
            assert!(search.finds(&around(&form)).is_some(), "{length}: {form:?}");
        }
        for engine in &engines {
            let text = engine.encode(around(&secret));
            assert!(search.finds(&around(text.as_bytes())).is_some(), "{length}: {text}");
        }
    }
    assert_eq!(search.finds(&secret[1..]), None);
    assert_eq!(search.finds(hex::encode(&secret[..31]).as_bytes()), None);
    assert_eq!(search.finds(&[]), None);
}
