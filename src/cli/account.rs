//! Accounts: encrypted key files in geth's format.

use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use scatter_actors::ports::keys::Keys;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::{output, terminal, Context};
use crate::adapters::ethereum::signing::Signer;
use crate::adapters::keystore::{self, Cost};
use crate::config::{first_line, Config, Password};
use crate::exit::{Code, Fault};
use crate::preflight::key_fault;

/// The largest key or phrase that is imported, in bytes.
const LONGEST_KEY: u64 = 4096;

#[derive(Debug, Subcommand)]
pub(super) enum Account {
    /// Make a new key and print its address.
    New(Place),
    /// Write the key file of a key that exists already, and print its address.
    Import(Import),
    /// List the key files of a directory.
    List {
        /// The directory; without it that of wallet.keystore.
        dir: Option<PathBuf>,
    },
}

/// Where a key file goes and by which password it is locked.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The file to write; without it wallet.keystore. An existing file is never touched.
    #[arg(long, value_name = "FILE")]
    keystore: Option<PathBuf>,
    /// A file with the password on its first line; without it wallet.password_file or a question.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// A file with a private key in hex or a BIP-39 phrase; - reads standard input.
    from: PathBuf,
    /// Which account of a phrase: the N of m/44'/60'/0'/0/N; without it the first, 0.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..1 << 31))]
    account: Option<u32>,
    #[command(flatten)]
    place: Place,
}

pub(super) fn execute(account: &Account, context: &Context) -> Result<(), Fault> {
    match account {
        Account::New(place) => {
            make(place, context, |path, password| keystore::create(path, password, Cost::STANDARD))
        }
        Account::Import(import) => {
            let secret = read_key(&import.from)?;
            let is_phrase = secret.expose_secret().trim().contains(char::is_whitespace);
            if import.account.is_some() && !is_phrase {
                let text = "--account: a key is one account; only a phrase has several";
                return Err(Fault::new(Code::Usage, text).about("--account"));
            }
            let account = import.account.unwrap_or_default();
            make(&import.place, context, |path, password| match is_phrase {
                true => {
                    keystore::import_mnemonic(path, secret.expose_secret(), account, password, Cost::STANDARD)
                }
                false => keystore::import_raw(path, secret.expose_secret(), password, Cost::STANDARD),
            })
        }
        Account::List { dir } => list(dir.as_deref(), context),
    }
}

fn make(
    place: &Place,
    context: &Context,
    write: impl Fn(&Path, &str) -> Result<Signer, keystore::Error>,
) -> Result<(), Fault> {
    let config = context.config()?;
    let configured = || config.wallet.as_ref().map(|wallet| wallet.keystore.clone());
    let path = place.keystore.clone().or_else(configured).ok_or_else(|| {
        let text = "where should the key file go? give --keystore FILE, or set wallet.keystore";
        Fault::new(Code::Usage, text).about("wallet.keystore")
    })?;
    if path.exists() {
        return Err(key_fault(&keystore::Error::Exists { path }));
    }
    let password = new_password(place, &config)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| {
        Fault::new(Code::Key, format!("{}: {error}", dir.display())).about("wallet.keystore")
    })?;
    let signer = write(&path, password.expose_secret()).map_err(|error| key_fault(&error))?;
    let address = signer.address();
    context.output.answer(&json!({"address": address, "keystore": path}), || address.to_string());
    Ok(())
}

/// The password of a new key: from the named file, as configured, or asked for twice.
fn new_password(place: &Place, config: &Config) -> Result<SecretString, Fault> {
    if let Some(file) = &place.password_file {
        return Ok(first_line("--password-file", file)?);
    }
    match config.wallet.as_ref().map(|wallet| &wallet.password) {
        Some(Password::File(file)) if !file.exists() && terminal::is_attended() => {}
        Some(password) => return Ok(password.read()?),
        None if terminal::is_attended() => {}
        None => {
            let text = "no password: give --password-file FILE, set wallet.password_file, or use a terminal";
            return Err(Fault::new(Code::Usage, text).about("wallet.password_file"));
        }
    }
    let unanswered = |error| Fault::new(Code::Usage, format!("the terminal could not be asked: {error}"));
    let first = terminal::password("Password for the new key:").map_err(unanswered)?;
    let second = terminal::password("The same again:").map_err(unanswered)?;
    match first.expose_secret() {
        "" => Err(Fault::new(Code::Usage, "an empty password protects nothing")),
        password if password != second.expose_secret() => {
            Err(Fault::new(Code::Usage, "the two passwords differ; nothing was written"))
        }
        _ => Ok(first),
    }
}

fn read_key(from: &Path) -> Result<SecretString, Fault> {
    let given = from.to_string_lossy();
    let digits = given.trim_start_matches("0x");
    let is_key = digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if (is_key || given.split_whitespace().count() >= 12) && !from.exists() {
        // Nor does it belong into an error message.
        let text = "a key does not belong on the command line, where others can see it: give a file, or - for standard input";
        return Err(Fault::new(Code::Usage, text));
    }
    let failed = |error| Fault::new(Code::Key, format!("{}: {error}", from.display()));
    // It is moved, not copied, and never grows: no copy of it stays behind in memory.
    let mut text = String::with_capacity(LONGEST_KEY as usize);
    match from == Path::new("-") {
        true => std::io::stdin().take(LONGEST_KEY).read_to_string(&mut text),
        false => std::fs::File::open(from).and_then(|file| file.take(LONGEST_KEY).read_to_string(&mut text)),
    }
    .map_err(failed)?;
    Ok(SecretString::from(text))
}

fn list(dir: Option<&Path>, context: &Context) -> Result<(), Fault> {
    let dir = match dir {
        Some(dir) => dir.to_owned(),
        None => context.config()?.keystore_dir(),
    };
    let found = keystore::list(&dir).map_err(|error| key_fault(&error))?;
    let items: Vec<_> =
        found.iter().map(|(path, address)| json!({"address": address, "keystore": path})).collect();
    context.output.answer(&json!({"items": items, "next": null}), || {
        let rows: Vec<_> = found
            .iter()
            .map(|(path, address)| vec![address.to_string(), path.display().to_string()])
            .collect();
        output::table(&["address", "key file"], &rows, &format!("no key files in {}", dir.display()))
    });
    Ok(())
}
