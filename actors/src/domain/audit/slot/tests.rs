use super::*;
use crate::domain::dag::made::{raw, Blocks};

const GAP: u64 = 60_000;

fn right() -> Answer {
    Answer::Right { bytes: 1 }
}
fn missing() -> Answer {
    Answer::Missing { status: 404 }
}
fn silent() -> Answer {
    Answer::Dark { status: None, why: "no answer".into() }
}

/// An attempt with these questions, all for one block besides the probe.
fn attempt(asked: &[(Purpose, Answer)]) -> Standing {
    let cid = raw(&mut Blocks::default(), b"a");
    let question = |(purpose, answer): &(Purpose, Answer)| Asked {
        at: WallTime(0),
        chain: ChainTime(0),
        cid: if *purpose == Purpose::Probe { dag::probe() } else { cid },
        purpose: *purpose,
        answer: answer.clone(),
    };
    let index = IndexNote { blocks: 1, digest: Digest::default() };
    let block = DrawnBlock { number: 0, cid, proof: None };
    let drawn = Drawn { index, seed: Digest::default(), blocks: vec![block] };
    let asked = asked.iter().map(question).collect();
    let attempt = Try { registration: None, drawn: Some(drawn), walked: 1, asked };
    attempt.standing(&Policy::default())
}

#[test]
fn an_attempt_stands_as_its_answers_say() {
    use Purpose::{Confirm, Leaf, Probe, Recheck};
    let probe = (Probe, Answer::Right { bytes: 0 });
    let cid = raw(&mut Blocks::default(), b"a");
    let contained = Standing::Contained(vec![cid]);
    let wrong = || Answer::Wrong { digest: Digest::default() };
    let [now, later] = [0, GAP].map(|after_ms| Confirm { after_ms });
    let gone = [probe.clone(), (Leaf, missing()), (now, missing()), (later, missing())];
    let then = |answer| [&gone[..], &[(Recheck, answer)]].concat();
    for (what, asked, standing) in [
        ("it came", vec![probe.clone(), (Leaf, right())], Standing::Passed),
        ("nobody answered the probe", vec![(Probe, silent())], Standing::Dark),
        ("the probe was never answered", vec![(Leaf, right())], Standing::Dark),
        ("silence", vec![probe.clone(), (Leaf, silent())], Standing::Dark),
        (
            "it came at the second try",
            vec![probe.clone(), (Leaf, silent()), (now, right())],
            Standing::Passed,
        ),
        ("missing once", vec![probe.clone(), (Leaf, missing())], Standing::Dark),
        (
            "it came at the confirmation",
            vec![probe.clone(), (Leaf, missing()), (now, right())],
            Standing::Passed,
        ),
        ("missing, then silence", vec![probe.clone(), (Leaf, missing()), (now, silent())], Standing::Dark),
        (
            "confirmed too soon",
            vec![probe.clone(), (Leaf, missing()), (now, missing()), (now, missing())],
            Standing::Dark,
        ),
        (
            "it came at the second confirmation",
            vec![probe.clone(), (Leaf, missing()), (now, missing()), (later, right())],
            Standing::Passed,
        ),
        ("missing for good", gone.to_vec(), contained.clone()),
        (
            "wrong bytes",
            vec![probe.clone(), (Leaf, wrong()), (now, wrong()), (later, missing())],
            contained.clone(),
        ),
        ("it came an hour later", then(right()), Standing::Late),
        ("missing an hour later", then(missing()), Standing::Failed),
        ("wrong an hour later", then(wrong()), Standing::Failed),
        ("silence an hour later", then(silent()), Standing::Dark),
    ] {
        assert_eq!(attempt(&asked), standing, "{what}");
    }
}

#[test]
fn only_not_found_and_wrong_bytes_count_as_missing() {
    let cid = raw(&mut Blocks::default(), b"a");
    assert_eq!(Answer::read(&cid, 200, b"a"), right());
    assert!(Answer::read(&cid, 200, b"b").is_missing());
    for (status, is_missing) in [
        (404, true),
        (410, true),
        (421, false),
        (429, false),
        (403, false),
        (500, false),
        (301, false),
        (206, false),
    ] {
        let answer = Answer::read(&cid, status, b"a");
        assert_eq!(answer.is_missing(), is_missing, "{status}");
        assert!(!answer.is_right(), "{status}");
    }
}

#[test]
fn what_was_missing_is_asked_for_again_an_hour_later_but_not_behind_the_end() {
    let plan = Plan::new(ChainTime(0), 7 * 86_400);
    let at = |t| recheck_at(plan, &Policy::default(), ChainTime(t)).0;
    assert_eq!(at(1_000), 4_600);
    assert_eq!(at(plan.end.0 - 60), plan.end.0);
    assert_eq!(at(plan.end.0 + 60), plan.end.0 + 60);
}
