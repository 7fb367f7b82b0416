//! Adds a tree of files, directories and symbolic links that comes in by pieces. In memory are a few chunks, and the names
//! and CIDs of what was added.

use std::collections::btree_map::Entry;
use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::directory::link_up;
use super::file::File;
use super::symlink;
use crate::batch::Batch;
use crate::block::DAG_PB;
use crate::core::Core;
use crate::dag::pb::Link;
use crate::{AddOptions, Added, Error};

/// Names of a path: more than any file system has.
const DEEPEST: usize = 1024;

/// A piece of what is added.
pub(crate) enum Piece {
    /// A chunk of the file that is open.
    Chunk(Bytes),
    /// The file that is open is complete; it lies at this path.
    File(String),
    /// The file that is open, if there is one, is not to be.
    Drop,
    /// A directory, if it is not there yet.
    Directory(String),
    /// A symbolic link and where it points.
    Symlink(String, String),
    /// All is there.
    End,
}

/// What lies at a path.
enum Node {
    Made(Link<'static>),
    Directory(Names),
}

type Names = BTreeMap<String, Node>;

/// Adds what comes in. Without [`Piece::End`] (the caller failed, or went away) nothing is pinned.
pub(crate) async fn add(
    core: Core,
    options: AddOptions,
    mut pieces: mpsc::Receiver<Piece>,
) -> Result<Added, Error> {
    let mut tree = Tree { batch: Batch::new(core), options, open: File::new(options), root: None, size: 0 };
    while let Some(piece) = pieces.recv().await {
        match piece {
            Piece::Chunk(chunk) => tree.open.push_leaf(chunk, &mut tree.batch),
            Piece::File(path) => tree.file(&path)?,
            Piece::Drop => tree.open = File::new(options),
            Piece::Directory(path) => tree.directory(&path)?,
            Piece::Symlink(path, target) => tree.symlink(&path, &target)?,
            Piece::End => return tree.finish().await,
        }
        tree.batch.relieve().await?;
    }
    Err(Error::Stopped)
}

struct Tree {
    batch: Batch,
    options: AddOptions,
    open: File,
    root: Option<Node>,
    /// Bytes of the files.
    size: u64,
}

impl Tree {
    fn file(&mut self, path: &str) -> Result<(), Error> {
        let file = std::mem::replace(&mut self.open, File::new(self.options));
        self.size += file.size;
        let root = file.finish(&mut self.batch);
        self.put(path, root)
    }

    fn symlink(&mut self, path: &str, target: &str) -> Result<(), Error> {
        let link = self.batch.block(self.options.version(), DAG_PB, symlink(target).into(), 0);
        self.put(path, link)
    }

    fn directory(&mut self, path: &str) -> Result<(), Error> {
        self.names(&names_of(path)?, path).map(drop)
    }

    fn put(&mut self, path: &str, link: Link<'static>) -> Result<(), Error> {
        let names = names_of(path)?;
        let Some((name, above)) = names.split_last() else {
            let taken = self.root.replace(Node::Made(link)).is_some();
            return if taken { Err(Error::Name(path.to_owned())) } else { Ok(()) };
        };
        match self.names(above, path)?.entry((*name).to_owned()) {
            Entry::Vacant(free) => drop(free.insert(Node::Made(link))),
            Entry::Occupied(_) => return Err(Error::Name(path.to_owned())),
        }
        Ok(())
    }

    /// The directory at the end of `names`, made if it is not there.
    fn names(&mut self, names: &[&str], path: &str) -> Result<&mut Names, Error> {
        let mut node = self.root.get_or_insert_with(|| Node::Directory(Names::new()));
        for name in names {
            let Node::Directory(entries) = node else { return Err(Error::Name(path.to_owned())) };
            node = entries.entry((*name).to_owned()).or_insert_with(|| Node::Directory(Names::new()));
        }
        match node {
            Node::Directory(entries) => Ok(entries),
            Node::Made(_) => Err(Error::Name(path.to_owned())),
        }
    }

    async fn finish(mut self) -> Result<Added, Error> {
        let root = self.root.take().unwrap_or(Node::Directory(Names::new()));
        let root = make(root, &self.options, &mut self.batch)?;
        self.batch.finish(root.cid, self.options.pin).await?;
        Ok(Added { cid: root.cid, size: self.size })
    }
}

/// Makes a directory after those below it.
fn make(node: Node, options: &AddOptions, batch: &mut Batch) -> Result<Link<'static>, Error> {
    let names = match node {
        Node::Made(link) => return Ok(link),
        Node::Directory(names) => names,
    };
    let mut entries = Vec::with_capacity(names.len());
    for (name, node) in names {
        entries.push((name, make(node, options, batch)?));
    }
    link_up(&entries, options, batch)
}

/// The names of a path, of which none is the root.
fn names_of(path: &str) -> Result<Vec<&str>, Error> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<_> = path.split('/').collect();
    let usable = |name: &&str| !matches!(*name, "" | "." | "..") && !name.contains('\0');
    if names.len() > DEEPEST || !names.iter().all(usable) {
        return Err(Error::Name(path.to_owned()));
    }
    Ok(names)
}
