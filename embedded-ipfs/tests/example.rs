//! The example that people play with: `examples/node.rs`, which `cargo test` builds beside the tests.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::path::Path;
use std::process::Stdio;

use support::{not_run, within};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The built example; `None`, and a line that says so, where the tests were built alone.
fn example() -> Option<Command> {
    let tests = std::env::current_exe().unwrap();
    let path = tests.ancestors().nth(2).unwrap().join("examples/node");
    if !path.exists() {
        not_run("examples/node", "cargo build -p embedded-ipfs --example node");
        return None;
    }
    let mut command = Command::new(path);
    command.kill_on_drop(true).stdin(Stdio::null());
    Some(command)
}

/// What a command says; `Err` is what it complains of.
async fn said(dir: &Path, arguments: &[&str]) -> Option<Result<String, String>> {
    let output = example()?.arg(dir).args(arguments).output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Some(if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) })
}

#[tokio::test]
async fn content_goes_in_and_out_and_gets_a_name() {
    within(async {
        let home = tempfile::tempdir().unwrap();
        let (dir, other) = (home.path().join("node"), home.path().join("other"));
        let tree = home.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        tokio::fs::write(tree.join("hello"), "hello world\n").await.unwrap();
        let Some(added) = said(&dir, &["add", tree.to_str().unwrap()]).await else { return };
        let added = added.unwrap();
        let cid = added.split(' ').next().unwrap();
        let archive = home.path().join("archive.car");
        let archive = archive.to_str().unwrap();
        said(&dir, &["export", archive, cid]).await.unwrap().unwrap();
        assert!(said(&other, &["import", archive]).await.unwrap().unwrap().ends_with(&format!("\n{cid}\n")));
        let hello = format!("/ipfs/{cid}/hello");
        for (arguments, answer) in [
            (&["cat", &hello][..], "hello world\n"),
            (&["cat", &hello, "6"], "world\n"),
            (&["cat", &hello, "0", "5"], "hello"),
            (&["resolve", &hello], "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o\n"),
            (&["ls", cid], "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o 20 hello\n"),
            (&["peers"], ""),
            (&["verify"], "2 blocks, 71 bytes, 0 damaged\n"),
        ] {
            assert_eq!(said(&other, arguments).await.unwrap().unwrap(), answer, "{arguments:?}");
        }
        said(&other, &["publish", &hello]).await.unwrap().unwrap();
        assert!(said(&other, &["names"]).await.unwrap().unwrap().ends_with(&format!(" -> {hello}\n")));
        assert!(said(&other, &["pins"]).await.unwrap().unwrap().starts_with(cid));
    })
    .await;
}

#[tokio::test]
async fn whatever_is_wrong_is_said_in_one_line() {
    within(async {
        let home = tempfile::tempdir().unwrap();
        let (dir, none) = (home.path().join("node"), home.path().join("none"));
        let none = none.to_str().unwrap();
        let empty = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";
        let used = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = used.local_addr().unwrap().port();
        let listen = format!("/ip4/127.0.0.1/tcp/{port}");
        let peer = format!("/ip4/127.0.0.1/tcp/1/p2p/{}", embedded_ipfs::PeerId::random());
        for (arguments, why) in [
            (&["frobnicate"][..], "`frobnicate` is no command"),
            (&["get"], "`get` is used so: get CID"),
            (&["get", "x"], "\"x\" is no CID"),
            (&["ls", "x"], "\"x\" is no path"),
            (&["cat", empty, "x"], "\"x\" is no number"),
            (&["add", none], none),
            (&["import", none], none),
            (&["import", home.path().to_str().unwrap()], home.path().to_str().unwrap()),
            (&["connect", "x"], "\"x\" is no multiaddr"),
            (&["connect", "/ip4/127.0.0.1/tcp/1"], "not the address of a peer"),
            (&["connect", &peer], "/ip4/127.0.0.1/tcp/1"),
            (&["fetch", &peer, empty], "Connection refused"),
            (&["--peer", "x", "id"], "\"x\" is no multiaddr"),
            (&["--listen", &listen, "id"], &listen),
            (&["--listen", "/ip4/127.0.0.1/udp/1", "id"], "/ip4/127.0.0.1/udp/1"),
            (&["publish", "/ipns/example.org"], "\"/ipns/example.org\" is no path"),
        ] {
            let Some(outcome) = said(&dir, arguments).await else { return };
            let complaint = outcome.unwrap_err();
            assert!(complaint.contains(why) && complaint.lines().count() == 1, "{arguments:?}: {complaint}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_the_directory_is_said_with_its_name() {
    within(async {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        tokio::fs::write(&file, "no directory").await.unwrap();
        let broken = home.path().join("broken");
        tokio::fs::create_dir(&broken).await.unwrap();
        tokio::fs::write(broken.join("identity.key"), "no key").await.unwrap();
        let taken = home.path().join("taken");
        let node = embedded_ipfs::Node::start(embedded_ipfs::Config::new(&taken)).await.unwrap();
        for (dir, why) in [(&file, "File exists"), (&broken, "key"), (&taken, "open elsewhere")] {
            let Some(outcome) = said(dir, &["id"]).await else { return };
            let complaint = outcome.unwrap_err();
            let named = complaint.contains(dir.to_str().unwrap()) && complaint.contains(why);
            assert!(named && complaint.lines().count() == 1, "{complaint}");
        }
        node.stop().await;
        // A directory that was forgotten is not made out of the command behind it.
        let forgotten = home.path().join("add");
        let complaint = said(&forgotten, &[file.to_str().unwrap()]).await.unwrap().unwrap_err();
        assert!(complaint.contains("is no command") && !forgotten.exists(), "{complaint}");
        let mut command = example().unwrap();
        let not_text = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff");
        let output = command.arg::<&std::ffi::OsStr>(not_text).output().await.unwrap();
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "\"\\xFF\" is not UTF-8\n");
    })
    .await;
}

#[tokio::test]
async fn a_reader_that_has_heard_enough_is_no_panic() {
    within(async {
        let home = tempfile::tempdir().unwrap();
        for arguments in [&["help"][..], &["id"], &["cat", "bafkqabtimvwgy3yk"]] {
            let Some(mut command) = example() else { return };
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            command.arg(home.path()).args(arguments).stdout(writer);
            let output = command.output().await.unwrap();
            assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{arguments:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_prompt_takes_commands_until_it_is_left_and_survives_bad_ones() {
    within(async {
        let home = tempfile::tempdir().unwrap();
        let Some(mut command) = example() else { return };
        let piped = command.arg(home.path().join("node"));
        let mut prompt =
            piped.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut input = prompt.stdin.take().unwrap();
        input.write_all(b"frobnicate\n\nstats\nquit\nstats\n").await.unwrap();
        let output = prompt.wait_with_output().await.unwrap();
        assert!(output.status.success());
        assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 1);
        assert_eq!(String::from_utf8(output.stdout).unwrap().matches("pins: 0").count(), 1);
    })
    .await;
}
