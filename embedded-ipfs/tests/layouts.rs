//! Files and directories get the CIDs of `ipfs add`, whatever the options: beside a real daemon, and where there is none
//! as it gave them once.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::path::Path;

use embedded_ipfs::{AddOptions, DirectorySize, Error, Node};
use support::ipfs::Daemon;
use support::{node, noise, within};

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A tree with something of everything below `at`.
fn plant(at: &Path) {
    let write = |path: &str, bytes: &[u8]| {
        let path = at.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::io::Write::write_all(&mut std::fs::File::create(path).unwrap(), bytes).unwrap();
    };
    write("a.txt", b"ay\n");
    write("empty", b"");
    write("large", &noise(700_000, 1));
    write("sub/deep/er/file", b"deep\n");
    write("sub/größe €", b"name\n");
    write(".hidden", b"h\n");
    write("sub/.hidden/file", b"h\n");
    std::os::unix::fs::symlink("sub/deep", at.join("link")).unwrap();
    std::fs::create_dir(at.join("sub/nothing")).unwrap();
}

/// So many files whose names have so many letters.
fn many(at: &Path, count: usize, letters: usize) {
    std::fs::create_dir(at).unwrap();
    for n in 0..count {
        std::io::Write::write_all(
            &mut std::fs::File::create(at.join(format!("{n:0letters$}"))).unwrap(),
            b"x",
        )
        .unwrap();
    }
}

fn options() -> Vec<(AddOptions, Vec<&'static str>)> {
    let plain = AddOptions::default();
    vec![
        (plain, vec![]),
        (AddOptions::v1(), vec!["--cid-version=1"]),
        (AddOptions { raw_leaves: true, ..plain }, vec!["--raw-leaves"]),
        (AddOptions { cid_v1: true, ..plain }, vec!["--cid-version=1", "--raw-leaves=false"]),
        (AddOptions { chunk_bytes: 1000, ..plain }, vec!["--chunker=size-1000"]),
        (AddOptions { chunk_bytes: AddOptions::MAX_CHUNK, ..plain }, vec!["--chunker=size-2096896"]),
        (
            AddOptions { chunk_bytes: 1000, max_links: 3, ..AddOptions::v1() },
            vec!["--cid-version=1", "--chunker=size-1000", "--max-file-links=3"],
        ),
        (AddOptions { hidden: true, ..plain }, vec!["--hidden"]),
    ]
}

async fn same(daemon: &Daemon, node: &Node, path: &Path, options: AddOptions, arguments: &[&str]) {
    let command = [&["add", "-r", "-Q", "--pin=false"], arguments, &[path.to_str().unwrap()]].concat();
    let theirs = daemon.run(&command).await;
    let added = node.add_path(path, options).await.unwrap();
    assert_eq!(added.cid.to_string(), theirs, "{} {arguments:?}", path.display());
}

#[tokio::test]
async fn a_tree_of_files_gets_the_cid_of_ipfs_add_with_every_set_of_options() {
    within(async {
        let Some(daemon) = Daemon::start().await else { return };
        let (home, planted) = (dir(), dir());
        let node = node(&home).await;
        let tree = planted.path().join("tree");
        plant(&tree);
        // A node more than its links can be, and one more than two levels can have.
        std::io::Write::write_all(
            &mut std::fs::File::create(planted.path().join("file")).unwrap(),
            &noise(174 * 174 * 100 + 1, 2),
        )
        .unwrap();
        for (options, arguments) in options() {
            for path in [tree.clone(), tree.join("link"), tree.join("empty"), planted.path().join("file")] {
                same(&daemon, &node, &path, options, &arguments).await;
            }
        }
        daemon.kill().await;
    })
    .await;
}

#[tokio::test]
async fn directories_are_sharded_where_kubo_shards_them() {
    within(async {
        let Some(daemon) = Daemon::start().await else { return };
        let (home, planted) = (dir(), dir());
        let node = node(&home).await;
        // 4,096 · (30 + 34) is 256 KiB, and 3,971 · (30 + 36) is less by a little.
        for (count, letters) in [(4096, 30), (4096, 31), (3971, 30), (3972, 30)] {
            let path = planted.path().join(format!("{count}-{letters}"));
            many(&path, count, letters);
            for (options, arguments) in [options().swap_remove(0), options().swap_remove(1)] {
                same(&daemon, &node, &path, options, &arguments).await;
            }
        }
        daemon.kill().await;
    })
    .await;
}

#[tokio::test]
async fn kubos_profile_of_2025_is_a_set_of_options() {
    within(async {
        let Some(daemon) = Daemon::start().await else { return };
        let (home, planted) = (dir(), dir());
        let node = node(&home).await;
        daemon.run(&["config", "profile", "apply", "unixfs-v1-2025"]).await;
        let daemon = daemon.restart(true).await;
        let tree = planted.path().join("tree");
        plant(&tree);
        same(&daemon, &node, &tree, AddOptions::v1_2025(), &[]).await;
        // A name of 30 letters takes 74 bytes of a block, whose own data take 4.
        for count in [3542, 3543] {
            let path = planted.path().join(count.to_string());
            many(&path, count, 30);
            same(&daemon, &node, &path, AddOptions::v1_2025(), &[]).await;
            let root = node.add_path(&path, AddOptions::v1_2025()).await.unwrap().cid;
            let is_plain = node.local(&root).await.unwrap().unwrap().len() > 100_000;
            assert_eq!(is_plain, count == 3542, "{count} are just too many");
        }
        // 1,025 leaves: one more than a node of this profile has.
        let file = planted.path().join("file");
        let options = AddOptions { chunk_bytes: 100, ..AddOptions::v1_2025() };
        std::io::Write::write_all(&mut std::fs::File::create(&file).unwrap(), &noise(102_401, 3)).unwrap();
        same(&daemon, &node, &file, options, &["--chunker=size-100"]).await;
        daemon.kill().await;
    })
    .await;
}

#[tokio::test]
async fn a_tree_gets_the_cid_that_kubo_gave_it_once() {
    within(async {
        let (home, planted) = (dir(), dir());
        let node = node(&home).await;
        let tree = planted.path().join("tree");
        plant(&tree);
        for (options, cid) in [
            (AddOptions::default(), "QmNbMkbPqAejTYEGVqSZos3b56QKHq9HtZRMmdDsWvJ5jk"),
            (
                AddOptions { hidden: true, ..AddOptions::v1() },
                "bafybeicodn4ftpdqoj24dsm4gsz3loq7lrvkblf2iyc5m4vyfq2vcdeagm",
            ),
            (AddOptions::v1_2025(), "bafybeicxqc557iy423h2a3jrca2wvaozzie3b6d5jlerkurjqlr2xzb5hm"),
        ] {
            let added = node.add_path(&tree, options).await.unwrap();
            assert_eq!(added.cid.to_string(), cid);
            assert!(node.is_pinned(&added.cid).await.unwrap());
        }
        let files = node.add_path(&tree, AddOptions::default()).await.unwrap();
        assert_eq!(files.size, 3 + 700_000 + 5 + 5);
        let deep = node.resolve(&format!("/ipfs/{}/sub/deep/er/file", files.cid)).await.unwrap();
        assert_eq!(node.read(&deep, 10).await.unwrap(), "deep\n");
    })
    .await;
}

#[tokio::test]
async fn files_from_anywhere_make_the_same_tree_in_any_order() {
    within(async {
        let home = dir();
        let node = node(&home).await;
        let large = noise(700_000, 1);
        let mut adding = node.adding(AddOptions::default()).unwrap();
        adding.directory("sub/nothing").await.unwrap();
        adding.file("sub/größe €", &b"name\n"[..]).await.unwrap();
        adding.file("sub/deep/er/file", &b"deep\n"[..]).await.unwrap();
        adding.symlink("link", "sub/deep").await.unwrap();
        adding.file("large", &large[..]).await.unwrap();
        adding.file("empty", &b""[..]).await.unwrap();
        adding.directory("sub/deep").await.unwrap();
        adding.file("a.txt", &b"ay\n"[..]).await.unwrap();
        assert_eq!(
            adding.finish().await.unwrap().cid.to_string(),
            "QmNbMkbPqAejTYEGVqSZos3b56QKHq9HtZRMmdDsWvJ5jk"
        );
        let nothing = node.adding(AddOptions::default()).unwrap().finish().await.unwrap();
        assert_eq!(nothing.cid.to_string(), "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn");
    })
    .await;
}

#[tokio::test]
async fn paths_that_cannot_be_are_refused_and_nothing_is_pinned() {
    within(async {
        let home = dir();
        let node = node(&home).await;
        for paths in [
            &["a", "a"][..],
            &["a", "a/b"],
            &["a/b", "a"],
            &["/a"],
            &["a//b"],
            &["a/../b"],
            &["."],
            &["a\0"],
            &["", "a"],
            &["", ""],
        ] {
            let mut adding = node.adding(AddOptions::default()).unwrap();
            let mut failed = None;
            for path in paths {
                failed = failed.or(adding.file(path, &b"x"[..]).await.err());
            }
            let failed = match failed {
                Some(failed) => failed,
                None => adding.finish().await.unwrap_err(),
            };
            assert!(
                matches!(&failed, Error::Name(name) if name == paths[paths.len() - 1]),
                "{failed} {paths:?}"
            );
        }
        assert!(matches!(
            node.add_path(home.path().join("none"), AddOptions::default()).await,
            Err(Error::Io(_))
        ));
        for options in [
            AddOptions { max_links: 1, ..AddOptions::default() },
            AddOptions { max_links: AddOptions::MAX_LINKS + 1, ..AddOptions::v1_2025() },
            AddOptions { chunk_bytes: 0, directory_size: DirectorySize::Block, ..AddOptions::v1() },
        ] {
            assert!(matches!(node.adding(options), Err(Error::Layout(_))));
        }
        assert_eq!(node.pins().await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_file_whose_reading_fails_is_left_out_of_its_directory() {
    within(async {
        let home = dir();
        let node = node(&home).await;
        let mut adding = node.adding(AddOptions { chunk_bytes: 10, ..AddOptions::default() }).unwrap();
        adding.file("before", &b"1"[..]).await.unwrap();
        let half = tokio::io::AsyncReadExt::chain(&b"more than a chunk"[..], support::Broken);
        assert!(matches!(adding.file("broken", half).await, Err(Error::Io(_))));
        adding.file("after", &b"2"[..]).await.unwrap();
        let added = adding.finish().await.unwrap();
        let names: Vec<_> =
            node.ls(&added.cid, 5).await.unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!((names, added.size), (vec!["after".to_owned(), "before".to_owned()], 2));
        let after = node.find(&added.cid, &["after"]).await.unwrap();
        assert_eq!(node.read(&after, 10).await.unwrap(), "2");
    })
    .await;
}
