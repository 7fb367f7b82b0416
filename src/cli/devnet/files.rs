//! The directories of a devnet: one that stays, with configurations, logs and evidence, and one that goes.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rand::rngs::OsRng;
use rand::RngCore;

use crate::exit::{Code, Fault};

/// The file by which a report's directory is known again.
const SUMMARY: &str = "summary.json";
/// What else a report holds.
const PARTS: [&str; 3] = ["configs", "logs", "evidence"];
/// Bytes of content that are written at once.
const PIECE: usize = 1 << 20;

/// Where everything stands.
#[derive(Debug, Clone)]
pub struct Files {
    out: PathBuf,
    scratch: PathBuf,
}

impl Files {
    /// Makes both directories. An earlier report is replaced; anything else is left alone.
    ///
    /// # Errors
    /// If `out` holds something that is no report, or can't be written.
    pub fn make(out: &Path) -> Result<Self, Fault> {
        let fault = |error: io::Error| refused(out, &error);
        fs::create_dir_all(out).map_err(fault)?;
        let out = out.canonicalize().map_err(fault)?;
        let is_empty = fs::read_dir(&out).map_err(fault)?.next().is_none();
        if !is_empty && !out.join(SUMMARY).is_file() {
            let text = format!("{}: not empty and no earlier report: choose another --out", out.display());
            return Err(Fault::new(Code::Usage, text));
        }
        for part in PARTS {
            let part = out.join(part);
            if part.is_dir() {
                fs::remove_dir_all(&part).map_err(fault)?;
            }
            fs::create_dir(&part).map_err(fault)?;
        }
        write(&out.join(SUMMARY), b"{}\n")?;
        // Short, since a socket's path may have some 100 bytes; its owner's alone, since keys lie in it.
        let scratch = std::env::temp_dir().join(format!("scatter-devnet-{:08x}", OsRng.next_u32()));
        DirBuilder::new().mode(0o700).create(&scratch).map_err(|error| refused(&scratch, &error))?;
        Ok(Self { out, scratch })
    }

    /// What stays.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// What is removed at the end.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// The configuration of a node.
    pub fn config(&self, name: &str) -> PathBuf {
        self.out.join("configs").join(format!("{name}.toml"))
    }

    /// The log of a child.
    pub fn log(&self, name: &str) -> PathBuf {
        self.out.join("logs").join(format!("{name}.log"))
    }

    /// Where a node keeps everything durable.
    pub fn data_dir(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// The log of what happened, as it was told.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn story(&self) -> Result<File, Fault> {
        let path = self.log("story");
        File::create(&path).map_err(|error| refused(&path, &error))
    }

    /// Copies a node's evidence to what stays; gives the copies of the documents.
    ///
    /// # Errors
    /// If something can't be read or written.
    pub fn keep_evidence(&self, name: &str) -> Result<Vec<PathBuf>, Fault> {
        let from = self.data_dir(name).join("evidence");
        let to = self.out.join("evidence").join(name);
        let mut documents = Vec::new();
        if !from.is_dir() {
            return Ok(documents);
        }
        let fault = |error: io::Error| refused(&from, &error);
        fs::create_dir_all(&to).map_err(fault)?;
        for entry in fs::read_dir(&from).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            let copy = to.join(entry.file_name());
            fs::copy(entry.path(), &copy).map_err(fault)?;
            documents.extend(copy.extension().is_some_and(|kind| kind == "json").then_some(copy));
        }
        Ok(documents)
    }

    /// Writes the summary.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn write_summary(&self, summary: &serde_json::Value) -> Result<(), Fault> {
        write(&self.out.join(SUMMARY), format!("{summary:#}\n").as_bytes())
    }

    /// A file of random bytes in the directory that goes.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn random_content(&self, bytes: u64) -> Result<PathBuf, Fault> {
        let path = self.scratch.join(format!("content-{:08x}", OsRng.next_u32()));
        let fill = || -> io::Result<()> {
            let mut file = File::create(&path)?;
            let mut piece = vec![0; PIECE];
            let mut left = bytes;
            while left > 0 {
                let part = &mut piece[..usize::try_from(left).unwrap_or(PIECE).min(PIECE)];
                OsRng.fill_bytes(part);
                file.write_all(part)?;
                left -= part.len() as u64;
            }
            Ok(())
        };
        fill().map_err(|error| refused(&path, &error))?;
        Ok(path)
    }
}

/// Writes a whole file.
///
/// # Errors
/// If it can't be written.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    File::create(path).and_then(|mut file| file.write_all(bytes)).map_err(|error| refused(path, &error))
}

/// Writes a file that only its owner may read.
///
/// # Errors
/// If it can't be written, or is there already.
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let file = File::options().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes)).map_err(|error| refused(path, &error))
}

/// Makes a directory that only its owner may read.
///
/// # Errors
/// If it can't be made.
pub fn make_private_dir(path: &Path) -> Result<(), Fault> {
    DirBuilder::new().mode(0o700).recursive(true).create(path).map_err(|error| refused(path, &error))
}

/// A whole file as text.
///
/// # Errors
/// If it can't be read.
pub fn read(path: &Path) -> Result<String, Fault> {
    File::open(path).and_then(io::read_to_string).map_err(|error| refused(path, &error))
}

/// The last line of a log that says anything.
pub fn last_line(path: &Path) -> String {
    let text = read(path).unwrap_or_default();
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no word").to_owned()
}

/// An installed program: from `.tools/bin` below the working directory, else from `PATH`.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = std::env::current_dir().unwrap_or_default().join(".tools/bin");
    let directories = std::iter::once(tools).chain(std::env::split_paths(&path));
    directories.map(|directory| directory.join(name)).find(|candidate| candidate.is_file())
}

fn refused(path: &Path, error: &io::Error) -> Fault {
    Fault::new(Code::DataDir, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_replaces_an_earlier_one_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("report");
        let first = Files::make(&out).unwrap();
        write(&first.log("anvil"), b"old").unwrap();
        let second = Files::make(&out).unwrap();
        assert!(!second.log("anvil").exists());
        assert_ne!(first.scratch(), second.scratch());
        for files in [first, second] {
            fs::remove_dir_all(files.scratch()).unwrap();
        }
        let mine = dir.path().join("logs");
        fs::create_dir(&mine).unwrap();
        assert_eq!(Files::make(dir.path()).unwrap_err().code, Code::Usage);
        assert!(mine.is_dir());
    }

    #[test]
    fn content_has_the_size_that_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files { out: dir.path().into(), scratch: dir.path().into() };
        for bytes in [0, 1, (1 << 20) + 1] {
            assert_eq!(fs::metadata(files.random_content(bytes).unwrap()).unwrap().len(), bytes);
        }
    }
}
