//! Files and directories.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cid::Cid;
use scatter_actors::domain::units::ByteSize;
use scatter_actors::ports::ipfs::{Added, Entry, Error};
use serde::Deserialize;

use super::call::{Fault, Kind, Wait};
use super::form::Form;
use super::Kubo;

/// Bytes that an entry takes in a listing at most, with its name escaped.
const ENTRY: usize = 2 << 10;
/// The name that a file or directory has on its way.
const NAME: &str = "added";
/// What `ipfs add` does by default, said so that Kubo's own configuration does not change it.
const DEFAULTS: [(&str, &str); 6] = [
    ("pin", "true"),
    ("cid-version", "0"),
    ("raw-leaves", "false"),
    ("chunker", "size-262144"),
    ("hash", "sha2-256"),
    ("progress", "false"),
];

/// A line of `add`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AddLine {
    name: String,
    #[serde(default)]
    hash: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    objects: Vec<Object>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Object {
    links: Vec<Link>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Link {
    name: String,
    hash: String,
    #[serde(default)]
    size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FileStat {
    size: u64,
    #[serde(rename = "Type")]
    kind: String,
}

impl Kubo {
    pub(super) async fn content(&self, file: Cid, cap: ByteSize) -> Result<Vec<u8>, Error> {
        let text = file.to_string();
        // One byte more than allowed tells the two apart.
        let length = cap.0.saturating_add(1).min(i64::MAX as u64);
        let args = [("arg", &*text), ("length", &*length.to_string())];
        let reply = self.api.call(Wait::Network, "cat", &args).await;
        let Some(reply) = self.absent(reply).await? else {
            // A directory is refused like content that nobody has.
            return Err(match self.file_stat(&file).await {
                Ok(stat) if stat.kind != "file" => Error::Unusable(format!("{file} is a {}", stat.kind)),
                _ => Error::NotFound(file),
            });
        };
        let Some(length) = reply.number("x-content-length") else {
            return Err(self.api.broken("cat", "an answer that tells no length").into());
        };
        if length > cap.0 {
            return Err(Error::TooLarge { cap: cap.0 });
        }
        let bytes = reply.bytes(usize::try_from(length).unwrap_or(usize::MAX)).await?;
        match bytes.len() as u64 == length {
            true => Ok(bytes),
            false => Err(self
                .api
                .broken("cat", format_args!("cut after {} of {length} bytes", bytes.len()))
                .into()),
        }
    }

    /// Size and type of what is at a root, from here alone.
    async fn file_stat(&self, root: &Cid) -> Result<FileStat, Fault> {
        let path = format!("/ipfs/{root}");
        let args = [("arg", &*path), ("offline", "true")];
        self.api.call(Wait::Kubo, "files/stat", &args).await?.json(1 << 16).await
    }

    /// The stream tells early where a directory is too large, but its end can't be told from a cut; the object is
    /// whole, but comes only when every entry was found. So the one is asked first and the other then, from the disk.
    pub(super) async fn entries(&self, directory: Cid, cap: usize) -> Result<Vec<Entry>, Error> {
        let text = directory.to_string();
        let args = [("arg", text.as_str()), ("resolve-type", "false"), ("size", "false")];
        let stream = [&args[..], &[("stream", "true")]].concat();
        let Some(mut reply) = self.absent(self.api.call(Wait::Network, "ls", &stream).await).await? else {
            return Err(Error::NotFound(directory));
        };
        let mut count = 0;
        while let Some(line) = reply.line::<Listed>().await? {
            count += line.objects.iter().map(|object| object.links.len()).sum::<usize>();
            if count > cap {
                return Err(Error::TooMany { cap });
            }
        }
        drop(reply);
        let links = self.links(&args, ENTRY.saturating_mul(count + 1)).await?;
        if links.len() > cap {
            return Err(Error::TooMany { cap });
        }
        if links.is_empty() && self.file_stat(&directory).await?.kind != "directory" {
            return Err(Error::Unusable(format!("{directory} is no directory")));
        }
        let mut entries =
            links.into_iter().map(|link| entry(link, &directory)).collect::<Result<Vec<_>, _>>()?;
        entries.sort();
        Ok(entries)
    }

    async fn links(&self, args: &[(&str, &str)], cap: usize) -> Result<Vec<Link>, Fault> {
        let listed: Listed = self.api.call(Wait::Network, "ls", args).await?.json(cap).await?;
        match <[Object; 1]>::try_from(listed.objects) {
            Ok([object]) => Ok(object.links),
            Err(objects) => Err(self.api.broken("ls", format_args!("told of {} directories", objects.len()))),
        }
    }

    pub(super) async fn add_file(&self, file: &Path) -> Result<Added, Error> {
        let unreadable = |error: std::io::Error| Error::Storage(format!("{}: {error}", file.display()));
        // Otherwise an error of ours would look like one of the connection's.
        drop(tokio::fs::File::open(file).await.map_err(unreadable)?);
        let form = Form::new().file(NAME, file.to_owned());
        let moved = form.moved();
        let cid = self.add_form(form).await?;
        let size = self.file_stat(&cid).await?.size;
        match size == moved.bytes() {
            true => Ok(Added { cid, size: ByteSize(size) }),
            false => {
                let what = format_args!("{size} of {} bytes arrived", moved.bytes());
                Err(self.api.broken("add", what).into())
            }
        }
    }

    pub(super) async fn add_files(&self, files: Vec<(String, Vec<u8>)>) -> Result<Cid, Error> {
        let mut sizes = BTreeMap::new();
        for (name, bytes) in &files {
            let is_bad = name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']);
            if is_bad || sizes.insert(name.clone(), bytes.len() as u64).is_some() {
                return Err(Error::Unusable(format!("{name:?} can't name a file of this directory")));
            }
        }
        let form = files.into_iter().fold(Form::new().directory(NAME), |form, (name, bytes)| {
            form.bytes(&format!("{NAME}/{name}"), bytes)
        });
        let root = self.add_form(form).await?;
        let text = root.to_string();
        let args = [("arg", text.as_str()), ("resolve-type", "true"), ("size", "true"), ("offline", "true")];
        let links = self.links(&args, ENTRY.saturating_mul(sizes.len() + 1)).await?;
        let arrived: BTreeSet<_> = links.into_iter().map(|link| (link.name, link.size)).collect();
        match arrived == sizes.into_iter().collect() {
            true => Ok(root),
            false => Err(self.api.broken("add", "not every file arrived whole").into()),
        }
    }

    /// Sends a form; the root that Kubo says it pinned, once it says so again.
    async fn add_form(&self, form: Form) -> Result<Cid, Error> {
        let mut reply = self.api.post("add", &DEFAULTS, form, Wait::Kubo).await.map_err(storage)?;
        let mut root = None;
        while let Some(line) = reply.line::<AddLine>().await? {
            // What lies in a directory comes before it, under its path.
            if !line.name.contains('/') {
                root = line.hash.or(root);
            }
        }
        drop(reply);
        let root: Option<Cid> = root.and_then(|root| root.parse().ok());
        let root =
            root.ok_or_else(|| Error::from(self.api.broken("add", "broke off before it named the root")))?;
        // The root is named before it is pinned, and what goes wrong in between can't be seen.
        match self.holds(root).await? {
            true => Ok(root),
            false => Err(self.api.broken("add", format_args!("{root} was added but not pinned")).into()),
        }
    }
}

/// What a failed `add` is: everything that it needs is its own.
fn storage(fault: Fault) -> Error {
    match fault.kind {
        Kind::Failed => Error::Storage(fault.to_string()),
        _ => fault.into(),
    }
}

fn entry(link: Link, directory: &Cid) -> Result<Entry, Error> {
    let cid = link.hash.parse().map_err(|_| Error::Unusable(format!("{directory} names {}", link.hash)))?;
    // The blocks of a file are listed like entries without names.
    match link.name.is_empty() || link.name.contains('/') {
        true => Err(Error::Unusable(format!("{directory} is no directory of names"))),
        false => Ok(Entry { name: link.name, cid }),
    }
}
