//! The targets without cargo-fuzz: the corpus and what cargo-fuzz found, mutations of both by a seeded generator, and
//! mutations of whatever showed something new.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::{Target, TARGETS};

/// Mutations of each target in every run of the tests.
const MUTATIONS: u64 = 20_000;
/// Inputs that showed something new, and bytes of one.
const KEPT: usize = 4096;
const LONGEST: usize = 8192;

/// What the corpus of a decoder holds, made by hand.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = fuzz().join("corpus").join(name);
    let mut paths: Vec<_> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(read).collect()
}

/// What `fuzz/run` has found for it: inputs of which each covers something that no other does.
fn found(name: &str) -> Vec<Vec<u8>> {
    let text = String::from_utf8(read(fuzz().join("found").join(name).with_extension("hex"))).unwrap();
    text.lines().map(|line| hex::decode(line).unwrap()).collect()
}

fn fuzz() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn read(path: PathBuf) -> Vec<u8> {
    let mut bytes = Vec::new();
    File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize) % n.max(1)
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        let most = (length - start).min(1 << self.below(9));
        start..start + self.below(most + 1)
    }

    /// Changes an input in one to eight places; `others` lend parts.
    fn mutate(&mut self, input: &mut Vec<u8>, others: &[Vec<u8>]) {
        for _ in 0..=self.below(8) {
            let at = self.below(input.len());
            match self.below(10) {
                0 | 1 if !input.is_empty() => input[at] ^= 1 << self.below(8),
                2 if !input.is_empty() => input[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                3 if !input.is_empty() => input[at] = self.below(256) as u8,
                4 if !input.is_empty() => input[at] = input[at].wrapping_add([1, 255][self.below(2)]),
                5 => {
                    let some: Vec<_> = (0..self.below(9)).map(|_| self.below(256) as u8).collect();
                    input.splice(at..at, some);
                }
                6 => drop(input.drain(self.range(input.len()))),
                7 => {
                    let part = input[self.range(input.len())].to_vec();
                    input.splice(at..at, part);
                }
                8 => {
                    let other = &others[self.below(others.len())];
                    let part = other[self.range(other.len())].to_vec();
                    let over = self.range(input.len());
                    input.splice(over, part);
                }
                _ => input.truncate(if self.below(4) == 0 { at } else { input.len() }),
            }
        }
        input.truncate(LONGEST);
    }
}

/// Runs a target until it is enough; answers how many inputs it took and how many kinds of them there were.
fn run(name: &str, target: Target, seed: u64, mut enough: impl FnMut(u64) -> bool) -> (u64, usize) {
    let mut inputs = [corpus(name), found(name)].concat();
    let mut marks: HashSet<u64> = inputs.iter().map(|input| target(input)).collect();
    let mut random = Random(seed);
    let mut count = 0;
    while !enough(count) {
        let mut input = inputs[random.below(inputs.len())].clone();
        random.mutate(&mut input, &inputs);
        let Ok(mark) = catch_unwind(|| target(&input)) else {
            panic!("{name} fails for {}", hex::encode(input));
        };
        if marks.insert(mark) && inputs.len() < KEPT {
            inputs.push(input);
        }
        count += 1;
    }
    (count, marks.len())
}

#[test]
fn the_corpora_are_made_of_what_is_read_to_its_end() {
    for (name, target) in TARGETS {
        for input in corpus(name) {
            let (whole, cut) = (target(&input), target(&input[..input.len() - 1]));
            assert_ne!(whole, cut, "{name}: without its last byte it is something else");
        }
    }
}

#[test]
fn mutations_of_the_corpora_are_survived() {
    for (name, target) in TARGETS {
        run(name, target, 0x9e37_79b9_7f4a_7c15, |count| count == MUTATIONS);
    }
}

/// `make fuzz MINUTES=n`: each target for so long, with another seed each time.
#[test]
#[ignore = "runs for minutes: make fuzz"]
#[allow(clippy::disallowed_methods, reason = "how long, and a seed of its own, are given from outside")]
fn for_minutes() {
    let minutes: f64 = std::env::var("FUZZ_MINUTES").map_or(10.0, |text| text.parse().unwrap());
    let only = std::env::var("FUZZ_DECODER").unwrap_or_default();
    for (name, target) in TARGETS.into_iter().filter(|(name, _)| only.is_empty() || *name == only) {
        let seed = crate::clock::now_ms() | 1;
        let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
        let (count, marks) = run(name, target, seed, |count| count % 1024 == 0 && Instant::now() >= end);
        println!("{name}: {count} inputs of {marks} kinds in {minutes} minutes, seed {seed}: no finding");
    }
}
