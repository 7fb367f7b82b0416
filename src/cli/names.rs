//! The key of this node's IPNS name: whoever has it publishes under the name, and without it the name is lost.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ipns_record::SigningKey;
use scatter_actors::ports::store::{Batch, Store};
use scatter_actors::records::consortium::{Publication, PUBLICATION};
use serde_json::json;

use super::Context;
use crate::adapters::name_key;
use crate::adapters::sqlite::Sqlite;
use crate::config::Config;
use crate::exit::{told, Code, Fault};
use crate::preflight;

#[derive(Debug, Subcommand)]
pub(super) enum Names {
    /// Print this node's name. Its key is made if there is none yet.
    Show,
    /// Write the name's key into a file that Kubo imports too, for the day when this machine is lost.
    Export {
        /// The file; one that exists is never touched.
        file: PathBuf,
    },
    /// Take over a name by its key. The node must be stopped.
    Import(Import),
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// A key as `scatter names export` and `ipfs key export` write it, or an ed25519 key in PEM.
    file: PathBuf,
    /// Replace another key, which is kept beside the new one.
    #[arg(long)]
    force: bool,
}

pub(super) fn execute(names: &Names, context: &Context) -> Result<(), Fault> {
    let config = context.config()?;
    let path = config.consortium.key_file(&config.node.data_dir);
    match names {
        Names::Show => {
            let key = name_key::ensure(&path).map_err(|error| preflight::name_fault(&error))?;
            let answer = json!({"name": key.name(), "key_file": path});
            context.output.answer(&answer, || key.name().to_string());
            Ok(())
        }
        Names::Export { file } => export(&path, file, context),
        Names::Import(import) => execute_import(&path, import, &config, context),
    }
}

fn export(path: &Path, file: &Path, context: &Context) -> Result<(), Fault> {
    let key = name_key::ensure(path).map_err(|error| preflight::name_fault(&error))?;
    name_key::write(file, &key).map_err(|error| Fault::new(Code::Usage, told(&error)))?;
    let name = key.name();
    context.output.answer(&json!({"name": name, "file": file}), || {
        let file = file.display();
        format!("{name} is in {file}. Keep it secret and safe: ipfs key import NAME {file} takes it too")
    });
    Ok(())
}

fn execute_import(path: &Path, import: &Import, config: &Config, context: &Context) -> Result<(), Fault> {
    let new = name_key::read(&import.file).map_err(|error| Fault::new(Code::Usage, told(&error)))?;
    // A running node signs with the key that it has read.
    let data_dir = preflight::data_dir(&config.node).map_err(|fault| match fault.code {
        Code::Locked => Fault { message: format!("{}: stop the node first", fault.message), ..fault },
        _ => fault,
    })?;
    let kept = put(path, &new, import.force)?;
    let before = match &kept {
        Put::InPlaceOf(kept) => Some(kept),
        Put::Same | Put::New => None,
    };
    let answer = json!({"name": new.name(), "key_file": path, "before": before});
    if !matches!(kept, Put::Same) {
        forget_publication(&data_dir.path().join("scatter.db"))?;
    }
    context.output.answer(&answer, || match &kept {
        Put::Same => format!("{} is this node's name already", new.name()),
        Put::New => format!("{} is this node's name from now on", new.name()),
        Put::InPlaceOf(kept) => {
            format!("{} is this node's name from now on; the key before is {}", new.name(), kept.display())
        }
    });
    Ok(())
}

/// What became of a key that was brought.
enum Put {
    Same,
    New,
    InPlaceOf(PathBuf),
}

fn put(path: &Path, new: &SigningKey, force: bool) -> Result<Put, Fault> {
    let fault = |error| preflight::name_fault(&error);
    let old = match name_key::open(path) {
        Ok(old) => old,
        Err(name_key::Error::Missing(_)) => {
            name_key::write(path, new).map_err(fault)?;
            return Ok(Put::New);
        }
        Err(error) => return Err(fault(error)),
    };
    match old.name() == new.name() {
        true => Ok(Put::Same),
        false if force => Ok(Put::InPlaceOf(name_key::replace(path, &old, new).map_err(fault)?)),
        false => {
            let what = "is the key of another name, ";
            let how = ": with --force it is replaced, and kept beside the new one";
            Err(Fault::new(Code::Refused, format!("{} {what}{}{how}", path.display(), old.name())))
        }
    }
}

/// Forgets how far the list was published: that was under another name, whose sequence means nothing here.
fn forget_publication(db: &Path) -> Result<(), Fault> {
    if !db.exists() {
        return Ok(());
    }
    let refused = |error: &dyn std::error::Error| Fault::new(Code::DataDir, told(error));
    let store = Sqlite::open(db).map_err(|error| refused(&error))?;
    let mut batch = Batch::new();
    batch.delete::<Publication>(PUBLICATION);
    store.commit(batch).map_err(|error| refused(&error))
}
