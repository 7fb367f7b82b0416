//! This node's own manifest: its files, and which record goes out next.

use cid::Cid;

use super::{usable, MAX_FILE, MAX_ROOTS};

/// Entries of a file at most.
const PER_FILE: usize = 10_000;

/// The own list is longer than peers take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} roots are listed, more than the 100,000 that peers take")]
pub struct TooLong(pub usize);

/// Files of a directory: names and bytes.
pub type Files = Vec<(String, Vec<u8>)>;

/// The files of a manifest with these roots: `scatter.json`, `scatter-2.json` and so on, each of at most 10,000
/// entries and 1 MiB. The same roots make the same files, in whatever order they come. Roots that peers would refuse
/// are left out, since one of them would spoil its file; they are told beside the files.
///
/// # Errors
/// If there are more than peers take.
pub fn files(roots: &[Cid]) -> Result<(Files, Vec<Cid>), TooLong> {
    let (usable, refused): (Vec<Cid>, Vec<Cid>) = roots.iter().partition(|cid| usable(cid).is_ok());
    if usable.len() > MAX_ROOTS {
        return Err(TooLong(usable.len()));
    }
    let mut texts: Vec<String> = usable.iter().map(Cid::to_string).collect();
    texts.sort_unstable();
    texts.dedup();
    let mut files = Vec::new();
    let mut rest = texts.as_slice();
    loop {
        let (mut body, mut taken) = (String::from("["), 0);
        for text in rest.iter().take(PER_FILE) {
            let entry = format!("{}\n  \"{text}\"", if taken == 0 { "" } else { "," });
            if (body.len() + entry.len() + "\n]\n".len()) as u64 > MAX_FILE.0 {
                break;
            }
            body.push_str(&entry);
            taken += 1;
        }
        body.push_str(if taken == 0 { "]\n" } else { "\n]\n" });
        let name = match files.len() {
            0 => "scatter.json".to_owned(),
            before => format!("scatter-{}.json", before + 1),
        };
        files.push((name, body.into_bytes()));
        rest = rest.get(taken..).unwrap_or_default();
        if rest.is_empty() {
            return Ok((files, refused));
        }
    }
}

/// A record of the own name: what this node signed last, or what the network shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its sequence.
    pub sequence: u64,
    /// To what it points.
    pub value: String,
}

/// The sequence of a record that points to `value`: higher than that of any other known record, unless the newest
/// known one says the same. Then it is signed again under its sequence with a later end, as Kubo does: nothing has
/// changed for those who follow the name.
///
/// `signed` is what this node signed last, `shown` what the network shows. They differ if this node never published
/// what it signed, or if the key was used elsewhere: on a machine that was lost, or on one that still runs.
pub fn sequence(signed: Option<&Known>, shown: Option<&Known>, value: &str) -> u64 {
    let newest = signed.into_iter().chain(shown).map(|known| known.sequence).max();
    let Some(newest) = newest else { return 1 };
    let at_top = signed.into_iter().chain(shown).filter(|known| known.sequence == newest);
    match at_top.into_iter().all(|known| known.value == value) {
        true => newest,
        false => newest.saturating_add(1),
    }
}

/// What is to be done so that others find the own list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing: the network has it.
    Nothing,
    /// Give the network the record that is signed.
    Give,
    /// Sign a record under that sequence, then give it.
    Sign {
        /// Its sequence.
        sequence: u64,
    },
}

/// What follows from the newest signed record, whether the network took it (`given`), what the network shows, to what the
/// name should point, and whether the record is to be made anew although it says the same (`renew`).
pub fn next(signed: Option<&Known>, given: bool, shown: Option<&Known>, value: &str, renew: bool) -> Step {
    let sequence = sequence(signed, shown, value);
    match signed {
        Some(signed) if signed.value == value && signed.sequence == sequence && !renew => match given {
            true => Step::Nothing,
            false => Step::Give,
        },
        _ => Step::Sign { sequence },
    }
}
