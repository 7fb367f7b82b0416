//! What is read, what is refused, and what a newer set may change.

use std::collections::BTreeSet;

use cid::multihash::Multihash;
use proptest::prelude::*;

use super::own::{files, next, sequence, Known, Step, TooLong};
use super::*;
use crate::domain::units::WallTime;

const V0: &str = "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o";
const RAW_V1: &str = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";

fn cid(n: u64) -> Cid {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&n.to_be_bytes());
    Cid::new_v1(RAW, Multihash::wrap(SHA2_256, &digest).unwrap())
}

fn of(codec: u64, hash: u64, digest: &[u8]) -> Cid {
    Cid::new_v1(codec, Multihash::wrap(hash, digest).unwrap())
}

#[test]
fn a_root_is_read_in_every_version_base_and_form() {
    let v0: Cid = V0.parse().unwrap();
    let v1: Cid = RAW_V1.parse().unwrap();
    for form in [V0.to_owned(), format!("/ipfs/{V0}"), format!("ipfs://{V0}")] {
        assert_eq!(root(&form), Ok(v0), "{form}");
    }
    for base in [
        Base::Base2,
        Base::Base10,
        Base::Base16Lower,
        Base::Base16Upper,
        Base::Base32Lower,
        Base::Base32Upper,
        Base::Base32PadLower,
        Base::Base32HexLower,
        Base::Base32Z,
        Base::Base36Lower,
        Base::Base58Btc,
        Base::Base58Flickr,
        Base::Base64,
        Base::Base64Pad,
        Base::Base64Url,
        Base::Base64UrlPad,
    ] {
        let text = v1.to_string_of_base(base).unwrap();
        for form in [text.clone(), format!("/ipfs/{text}"), format!("ipfs://{text}")] {
            assert_eq!(root(&form), Ok(v1), "{form}");
        }
    }
}

#[test]
fn a_slash_is_a_digit_of_base_64() {
    let slashed =
        (0..1_000).map(|n| of(RAW, SHA2_256, &[n as u8; 32]).to_string_of_base(Base::Base64).unwrap());
    let slashed: Vec<String> = slashed.filter(|text| text.contains('/')).take(3).collect();
    assert_eq!(slashed.len(), 3);
    for text in slashed {
        assert!(root(&text).is_ok(), "{text}");
        assert_eq!(root(&format!("{text}/a")), Err(NotARoot::NoCid), "{text}");
    }
}

#[test]
fn what_is_no_content_of_a_known_kind_is_refused() {
    let key = of(0x72, SHA2_256, &[1; 32]);
    let v0_with_base = format!("z{V0}");
    let followed =
        multibase::encode(Base::Base32Lower, [RAW_V1.parse::<Cid>().unwrap().to_bytes(), vec![0]].concat());
    for (text, why) in [
        ("", NotARoot::NoCid),
        ("/ipfs/", NotARoot::NoCid),
        ("example.org", NotARoot::NoCid),
        (&format!("/ipns/{V0}"), NotARoot::NoCid),
        (&format!("https://example.org/ipfs/{V0}"), NotARoot::NoCid),
        (&format!("/ipfs//ipfs/{V0}"), NotARoot::NoCid),
        (&format!("/ipfs/ipfs://{V0}"), NotARoot::NoCid),
        (&format!(" {V0}"), NotARoot::NoCid),
        (&format!("{RAW_V1}\n"), NotARoot::NoCid),
        (&v0_with_base, NotARoot::NoCid),
        (&followed, NotARoot::NoCid),
        (&"b".repeat(1_000), NotARoot::NoCid),
        (&format!("{V0}/a"), NotARoot::SubPath),
        (&format!("/ipfs/{RAW_V1}/a/b"), NotARoot::SubPath),
        (&format!("ipfs://{RAW_V1}/"), NotARoot::SubPath),
        (&key.to_string(), NotARoot::Codec(0x72)),
        (&of(0x0129, SHA2_256, &[1; 32]).to_string(), NotARoot::Codec(0x0129)),
        ("bafkqaaa", NotARoot::Hash(0)),
        (&of(RAW, 0x11, &[1; 20]).to_string(), NotARoot::Hash(0x11)),
        (&of(RAW, 0xd5, &[1; 16]).to_string(), NotARoot::Hash(0xd5)),
        (&of(RAW, SHA2_256, &[1; 20]).to_string(), NotARoot::Digest(20)),
        (&of(DAG_PB, 0x13, &[1; 32]).to_string(), NotARoot::Digest(32)),
    ] {
        assert_eq!(root(text), Err(why), "{text:?}");
    }
    for known in [of(DAG_CBOR, SHA2_256, &[1; 32]), of(RAW, 0x13, &[1; 64]), of(DAG_PB, 0xb220, &[1; 32])] {
        assert_eq!(root(&known.to_string()), Ok(known));
    }
}

#[test]
fn a_file_is_an_array_of_strings_and_nothing_else() {
    for text in
        ["", "{}", "null", "[1]", "[[]]", "[null]", "\"a\"", "[\"", "[] x", "[{}]", "\u{feff}[]", "\u{0}"]
    {
        assert!(matches!(read(text.as_bytes()), Err(BadFile::Json(_))), "{text:?}");
    }
    let nested = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    assert!(matches!(read(&nested), Err(BadFile::Json(_))));
    assert_eq!(read(b"[]"), Ok(vec![]));
    assert_eq!(read(b" [ ] \n"), Ok(vec![]));
}

#[test]
fn one_bad_entry_spoils_its_file_and_is_named() {
    let file = format!("[\"{V0}\", \"{V0}/a\"]");
    assert_eq!(read(file.as_bytes()), Err(BadFile::Entry { place: 2, why: NotARoot::SubPath }));
}

#[test]
fn one_content_listed_in_many_forms_is_one_root() {
    let v1 = Cid::new_v1(DAG_PB, *V0.parse::<Cid>().unwrap().hash());
    let raw = Cid::new_v1(RAW, *v1.hash());
    let base16 = v1.to_string_of_base(Base::Base16Lower).unwrap();
    let file = format!("[\"{V0}\", \"{v1}\", \"{base16}\", \"ipfs://{V0}\", \"{raw}\"]");
    assert_eq!(read(file.as_bytes()), Ok(vec![V0.parse().unwrap(), raw]), "another codec is another content");
}

#[test]
fn a_file_of_more_than_1_mib_is_refused_unread() {
    let mut file = b"[]".to_vec();
    file.resize(MAX_FILE.0 as usize, b' ');
    assert_eq!(read(&file), Ok(vec![]));
    file.push(b' ');
    assert_eq!(read(&file), Err(BadFile::TooLarge));
}

#[test]
fn only_json_files_are_read() {
    for (name, read) in [
        ("scatter.json", true),
        ("a b.json", true),
        ("README.md", false),
        ("json", false),
        ("a.json.bak", false),
        ("A.JSON", false),
        ("a/b.json", false),
        ("\u{1b}[2J.json", false),
        ("a\n.json", false),
    ] {
        assert_eq!(is_read(name), read, "{name}");
    }
    assert!(!is_read(&format!("{}.json", "a".repeat(300))));
}

#[test]
fn a_reason_is_short_and_plain_whatever_it_quotes() {
    let said = read(format!("\"{}\"", "x".repeat(1 << 19)).as_bytes()).unwrap_err().to_string();
    assert!(said.len() > 1 << 19, "the parser quotes all of it");
    assert_eq!(brief(&said).chars().count(), 201);
    assert_eq!(brief("a\u{1b}[2J\nb"), "a [2J b");
}

fn record(sequence: u64, eol: u64, value: &str) -> Accepted {
    Accepted { sequence, eol: WallTime(eol), value: value.to_owned() }
}

#[test]
fn a_record_is_judged_by_the_one_before() {
    use Judgement::*;
    let accepted = record(5, 100, "/ipfs/a");
    for (found, judgement) in [
        (record(6, 50, "/ipfs/b"), Ok(Follow)),
        (record(6, 50, "/ipfs/a"), Ok(Follow)),
        (record(5, 200, "/ipfs/a"), Ok(Follow)),
        (record(5, 100, "/ipfs/a"), Ok(Keep)),
        (record(5, 50, "/ipfs/a"), Ok(Keep)),
        (record(5, 200, "/ipfs/b"), Ok(FollowWithAlert)),
        (record(5, 100, "/ipfs/b"), Ok(KeepWithAlert)),
        (record(4, 900, "/ipfs/b"), Err(Rollback { found: 4, accepted: 5 })),
        (record(0, 900, "/ipfs/a"), Err(Rollback { found: 0, accepted: 5 })),
    ] {
        assert_eq!(judge(Some(&accepted), &found), judgement, "{found:?}");
    }
    assert_eq!(judge(None, &record(0, 1, "")), Ok(Follow), "the first one counts whatever it says");
}

fn set(roots: impl IntoIterator<Item = u32>) -> BTreeSet<u32> {
    roots.into_iter().collect()
}

#[test]
fn a_fifth_may_go_in_one_round_and_not_one_root_more() {
    let before = set(0..100);
    let step = plan(&before, &set([]), &set(20..110));
    assert_eq!(step, Plan { added: 10, removed: 20, held: set([]) });
    let step = plan(&before, &set([]), &set(21..110));
    assert_eq!(step, Plan { added: 10, removed: 0, held: set(0..21) });
    assert_eq!(plan(&set([1]), &set([]), &set([])).held, set([1]), "the only root is all of them");
}

#[test]
fn what_is_held_is_not_let_go_by_what_happens_to_the_rest() {
    let held = set(0..21);
    let step = plan(&set(21..110), &held, &set(22..110));
    assert_eq!(step, Plan { added: 0, removed: 1, held: held.clone() });
    let flooded = plan(&set(21..110), &held, &set(21..9_000));
    assert_eq!(flooded.held, held, "however much is added");
    let back = plan(&set(21..110), &held, &set(0..110));
    assert_eq!(back, Plan { added: 0, removed: 0, held: set([]) }, "listed again, it is held no more");
}

#[test]
fn the_same_list_makes_the_same_files() {
    let roots: Vec<Cid> = (0..10_001).map(cid).collect();
    let reversed: Vec<Cid> = roots.iter().rev().copied().collect();
    let (made, refused) = files(&roots).unwrap();
    assert_eq!(files(&reversed).unwrap().0, made);
    assert!(refused.is_empty());
    let names: Vec<&str> = made.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["scatter.json", "scatter-2.json"]);
    assert_eq!(read(&made[0].1).unwrap().len(), 10_000);
    assert_eq!(read(&made[1].1).unwrap().len(), 1);
}

#[test]
fn an_empty_list_is_an_empty_file() {
    assert_eq!(files(&[]).unwrap().0, [("scatter.json".to_owned(), b"[]\n".to_vec())]);
}

#[test]
fn long_cids_fill_a_file_before_its_entries_do() {
    let long = |n: u64| {
        let digest = [n.to_be_bytes().to_vec(), vec![0; 56]].concat();
        of(RAW, 0x13, &digest)
    };
    let roots: Vec<Cid> = (0..10_000).map(long).collect();
    let (made, _) = files(&roots).unwrap();
    assert_eq!(made.len(), 2);
    assert_eq!(made.iter().map(|(_, bytes)| read(bytes).unwrap().len()).sum::<usize>(), 10_000);
}

#[test]
fn what_peers_would_refuse_is_left_out_and_told() {
    let key = of(0x72, SHA2_256, &[1; 32]);
    let (made, refused) = files(&[cid(1), key]).unwrap();
    assert_eq!(read(&made[0].1), Ok(vec![cid(1)]));
    assert_eq!(refused, [key]);
    let many: Vec<Cid> = (0..100_001).map(cid).collect();
    assert_eq!(files(&many), Err(TooLong(100_001)));
}

#[test]
fn the_sequence_of_the_own_record_never_goes_back() {
    let known = |sequence, value: &str| Known { sequence, value: value.to_owned() };
    for (signed, shown, next) in [
        (None, None, 1),
        (Some(known(4, "a")), None, 4),
        (Some(known(4, "b")), None, 5),
        (Some(known(4, "a")), Some(known(4, "a")), 4),
        (Some(known(4, "a")), Some(known(3, "b")), 4),
        // Signed here and never given away: what the network shows is older.
        (Some(known(4, "b")), Some(known(3, "a")), 5),
        // The key was used elsewhere.
        (None, Some(known(70, "b")), 71),
        (None, Some(known(70, "a")), 70),
        (Some(known(4, "a")), Some(known(70, "b")), 71),
        (Some(known(4, "a")), Some(known(4, "b")), 5),
        (Some(known(4, "a")), Some(known(u64::MAX, "b")), u64::MAX),
    ] {
        assert_eq!(sequence(signed.as_ref(), shown.as_ref(), "a"), next, "{signed:?} {shown:?}");
    }
}

#[test]
fn a_record_is_signed_once_and_given_until_it_is_taken() {
    let known = |sequence, value: &str| Known { sequence, value: value.to_owned() };
    let (ours, newer) = (known(4, "a"), known(9, "b"));
    for (signed, given, shown, value, renew, step) in [
        (None, false, None, "a", false, Step::Sign { sequence: 1 }),
        (Some(&ours), false, None, "a", false, Step::Give),
        (Some(&ours), true, None, "a", false, Step::Nothing),
        (Some(&ours), true, Some(&ours), "a", false, Step::Nothing),
        (Some(&ours), true, None, "a", true, Step::Sign { sequence: 4 }),
        (Some(&ours), true, None, "b", false, Step::Sign { sequence: 5 }),
        (Some(&ours), true, Some(&newer), "a", false, Step::Sign { sequence: 10 }),
        (Some(&ours), true, Some(&newer), "b", false, Step::Sign { sequence: 9 }),
    ] {
        assert_eq!(
            next(signed, given, shown, value, renew),
            step,
            "{signed:?} {given} {shown:?} {value} {renew}"
        );
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_die(text in "\\PC{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = root(&text);
        let _ = read(&bytes);
    }

    #[test]
    fn whatever_is_read_is_written_and_read_again(numbers in prop::collection::btree_set(any::<u64>(), 0..50)) {
        let roots: Vec<Cid> = numbers.iter().map(|n| cid(*n)).collect();
        let (made, _) = files(&roots).unwrap();
        let again: BTreeSet<Cid> = read(&made[0].1).unwrap().into_iter().collect();
        prop_assert_eq!(again, roots.into_iter().collect());
    }

    #[test]
    fn every_root_is_listed_held_or_counted_as_removed(
        before in prop::collection::btree_set(0u32..60, 0..50),
        held in prop::collection::btree_set(0u32..60, 0..20),
        now in prop::collection::btree_set(0u32..60, 0..50),
    ) {
        let plan = plan(&before, &held, &now);
        let kept_before: BTreeSet<u32> = before.union(&held).copied().collect();
        let kept_after: BTreeSet<u32> = now.union(&plan.held).copied().collect();
        prop_assert!(plan.held.is_disjoint(&now));
        prop_assert_eq!(kept_before.difference(&kept_after).count(), plan.removed);
        prop_assert_eq!(kept_after.difference(&kept_before).count(), plan.added);
        prop_assert!(plan.removed * 5 <= before.len());
        prop_assert!(held.iter().all(|root| kept_after.contains(root)), "what is held stays");
    }

    #[test]
    fn no_order_of_records_lowers_the_sequence_or_shortens_the_end(
        records in prop::collection::vec((0u64..5, 0u64..5, 0u8..3), 1..20)
    ) {
        let mut accepted: Option<Accepted> = None;
        for (sequence, eol, value) in records {
            let found = record(sequence, eol, &value.to_string());
            let before = accepted.clone();
            if judge(accepted.as_ref(), &found).is_ok_and(Judgement::follows) {
                accepted = Some(found);
            }
            if let (Some(before), Some(now)) = (before, &accepted) {
                prop_assert!((now.sequence, now.eol) >= (before.sequence, before.eol) || now.sequence > before.sequence);
            }
        }
    }
}
