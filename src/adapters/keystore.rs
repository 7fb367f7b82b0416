//! Key files in geth's format (Web3 Secret Storage, version 3).
//!
//! The password turns into a key by scrypt, which takes a second and a quarter of a gigabyte at the standard cost: call
//! [`open`] and [`create`] off the actors' arbiter. Files that others can read are refused, as ssh does.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aes::cipher::{KeyIvInit, StreamCipher};
use ethers::core::k256::ecdsa::SigningKey;
use ethers::signers::coins_bip39::{English, Mnemonic};
use hmac::Hmac;
use rand::rngs::OsRng;
use rand::RngCore;
use scatter_actors::domain::units::Address;
use scatter_actors::ports::keys::Keys;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use sha3::{Digest, Keccak256};
use zeroize::Zeroizing;

use super::ethereum::signing::Signer;

type Aes128Ctr = ctr::Ctr128BE<aes::Aes128>;

/// Where wallets put their accounts (BIP-44): a number follows.
const ACCOUNTS: &str = "m/44'/60'/0'/0/";
/// Largest key file that is read, in bytes; real ones have some 500.
const MAX_FILE: u64 = 64 << 10;
/// Most memory that a file may make scrypt take, in bytes: geth's standard takes a quarter of it.
const MAX_MEMORY: u128 = 1 << 30;
/// Most rounds that a file may make PBKDF2 take; some seconds.
const MAX_ROUNDS: u32 = 10_000_000;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such file.
    #[error("{}: there is no key file", .path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Something is there already.
    #[error("{}: already exists", .path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// Others than the owner can read or write it.
    #[error("{}: mode {mode:04o} lets others use the key; make it 0600", .path.display())]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// No key file of version 3, or one with parameters out of bounds.
    #[error("{}: {what}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The password is not the one that it was written with.
    #[error("{}: wrong password", .path.display())]
    WrongPassword {
        /// The file.
        path: PathBuf,
    },
    /// What should be imported is no key.
    #[error("not a key: {0}")]
    NotAKey(&'static str),
    /// The file system failed.
    #[error("{}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// How.
        source: io::Error,
    },
}

/// How much work a guess of the password takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Binary logarithm of scrypt's n.
    pub log_n: u8,
}

impl Cost {
    /// geth's standard: n = 2^18, a second and 256 MiB.
    pub const STANDARD: Self = Self { log_n: 18 };
    /// geth's light cost: n = 2^12, for keys that guard nothing, as on a devnet.
    pub const LIGHT: Self = Self { log_n: 12 };
}

/// Bytes in bare hex.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Hex(Vec<u8>);

impl TryFrom<String> for Hex {
    type Error = hex::FromHexError;
    fn try_from(digits: String) -> Result<Self, hex::FromHexError> {
        hex::decode(digits).map(Self)
    }
}

impl From<Hex> for String {
    fn from(bytes: Hex) -> Self {
        hex::encode(bytes.0)
    }
}

#[derive(Serialize, Deserialize)]
struct KeyFile {
    version: u32,
    #[serde(default)]
    id: String,
    #[serde(default)]
    address: Option<String>,
    // Old clients wrote it with a capital.
    #[serde(alias = "Crypto")]
    crypto: Crypto,
}

#[derive(Serialize, Deserialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParams,
    ciphertext: Hex,
    #[serde(flatten)]
    kdf: Kdf,
    mac: Hex,
}

#[derive(Serialize, Deserialize)]
struct CipherParams {
    iv: Hex,
}

/// How the password turns into a key of `dklen` bytes.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kdf", content = "kdfparams", rename_all = "lowercase")]
enum Kdf {
    Scrypt { dklen: u32, n: u64, r: u32, p: u32, salt: Hex },
    Pbkdf2 { dklen: u32, c: u32, prf: String, salt: Hex },
}

/// Makes a new key and writes its file.
///
/// # Errors
/// If the file exists or cannot be written.
pub fn create(path: &Path, password: &str, cost: Cost) -> Result<Signer, Error> {
    let mut key = Zeroizing::new([0; 32]);
    loop {
        OsRng.fill_bytes(key.as_mut());
        // One in 2^128 is no key.
        if Signer::from_key(&key).is_ok() {
            return write(path, &key, password, cost);
        }
    }
}

/// Writes the file of a key given in hex, with or without `0x`.
///
/// # Errors
/// If that is no key, or the file exists or cannot be written.
pub fn import_raw(path: &Path, key: &str, password: &str, cost: Cost) -> Result<Signer, Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    let digits = key.trim().trim_start_matches("0x");
    hex::decode_to_slice(digits, bytes.as_mut()).map_err(|_| Error::NotAKey("not 32 bytes in hex"))?;
    write(path, &bytes, password, cost)
}

/// Writes the file of an account of an English BIP-39 phrase: number 0 is the first.
///
/// # Errors
/// If that is no phrase, or the file exists or cannot be written.
pub fn import_mnemonic(
    path: &Path,
    phrase: &str,
    account: u32,
    password: &str,
    cost: Cost,
) -> Result<Signer, Error> {
    let phrase = Zeroizing::new(phrase.split_whitespace().collect::<Vec<_>>().join(" "));
    let mnemonic = Mnemonic::<English>::new_from_phrase(&phrase)
        .map_err(|_| Error::NotAKey("not a BIP-39 phrase in English"))?;
    let derived = mnemonic.derive_key(format!("{ACCOUNTS}{account}").as_str(), None);
    let derived = derived.map_err(|_| Error::NotAKey("no such account"))?;
    let key: &SigningKey = derived.as_ref();
    write(path, &Zeroizing::new(key.to_bytes().into()), password, cost)
}

/// Decrypts a key file.
///
/// # Errors
/// If it is missing, open to others, no key file, or the password is wrong.
pub fn open(path: &Path, password: &str) -> Result<Signer, Error> {
    let malformed = |what: &str| Error::Malformed { path: path.to_owned(), what: what.to_owned() };
    let file = read(path, true)?;
    let crypto = file.crypto;
    if crypto.cipher != "aes-128-ctr" {
        return Err(malformed("its cipher is not aes-128-ctr"));
    }
    let derived = derive(&crypto.kdf, password).map_err(malformed)?;
    if mac(&derived, &crypto.ciphertext.0) != crypto.mac.0 {
        return Err(Error::WrongPassword { path: path.to_owned() });
    }
    let mut key = Zeroizing::new([0; 32]);
    // Some clients left leading zeros out.
    let missing = key.len().checked_sub(crypto.ciphertext.0.len());
    let place = missing.and_then(|missing| key.get_mut(missing..));
    let place = place.ok_or_else(|| malformed("its key has more than 32 bytes"))?;
    place.copy_from_slice(&crypto.ciphertext.0);
    Aes128Ctr::new_from_slices(&derived[..16], &crypto.cipherparams.iv.0)
        .map_err(|_| malformed("its iv has not 16 bytes"))?
        .apply_keystream(place);
    let signer = Signer::from_key(&key).map_err(|_| malformed("it holds no secp256k1 key"))?;
    match file.address.as_deref().map(str::parse::<Address>) {
        None => Ok(signer),
        Some(Ok(address)) if address == signer.address() => Ok(signer),
        Some(_) => Err(malformed("its address is not that of its key")),
    }
}

/// The key files of a folder with the addresses that they name, by file name. Anything else in it is passed over.
///
/// # Errors
/// If the folder cannot be read.
pub fn list(dir: &Path) -> Result<Vec<(PathBuf, Address)>, Error> {
    let failed = |source| Error::Io { path: dir.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if let Ok(KeyFile { address: Some(address), .. }) = read(&path, false) {
            found.extend(address.parse().ok().map(|address| (path, address)));
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path, guarded: bool) -> Result<KeyFile, Error> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => Error::Missing { path: path.to_owned() },
        _ => Error::Io { path: path.to_owned(), source },
    };
    let malformed = |what: String| Error::Malformed { path: path.to_owned(), what };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(malformed("not a file".to_owned()));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if guarded && mode & 0o077 != 0 {
        return Err(Error::TooOpen { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
    let parsed: KeyFile =
        serde_json::from_str(&text).map_err(|e| malformed(format!("not a key file: {e}")))?;
    match parsed.version {
        3 => Ok(parsed),
        version => Err(malformed(format!("version {version} of the format is not known"))),
    }
}

/// The 32 bytes that the password gives with the file's parameters.
fn derive(kdf: &Kdf, password: &str) -> Result<Zeroizing<[u8; 32]>, &'static str> {
    let mut derived = Zeroizing::new([0; 32]);
    match kdf {
        Kdf::Scrypt { dklen: 32, n, r, p, salt } => {
            let beyond = "its scrypt parameters are out of bounds";
            let memory = 128 * u128::from(*n) * u128::from(*r);
            if !n.is_power_of_two() || memory > MAX_MEMORY || !(1..=16).contains(p) {
                return Err(beyond);
            }
            let log_n = u8::try_from(n.ilog2()).map_err(|_| beyond)?;
            let params = scrypt::Params::new(log_n, *r, *p).map_err(|_| beyond)?;
            scrypt::scrypt(password.as_bytes(), &salt.0, &params, derived.as_mut()).map_err(|_| beyond)?;
        }
        Kdf::Pbkdf2 { dklen: 32, c: rounds @ 1..=MAX_ROUNDS, prf, salt } if prf == "hmac-sha256" => {
            pbkdf2::pbkdf2::<Hmac<Sha256>>(password.as_bytes(), &salt.0, *rounds, derived.as_mut());
        }
        _ => return Err("its key derivation has odd parameters"),
    }
    Ok(derived)
}

/// What shows that the password was right.
fn mac(derived: &[u8; 32], ciphertext: &[u8]) -> Vec<u8> {
    Keccak256::new().chain_update(&derived[16..]).chain_update(ciphertext).finalize().to_vec()
}

/// Encrypts a key and puts its file in place, whole or not at all, and never over another.
fn write(path: &Path, key: &[u8; 32], password: &str, cost: Cost) -> Result<Signer, Error> {
    let signer = Signer::from_key(key).map_err(|_| Error::NotAKey("zero, or beyond the curve's order"))?;
    let (mut iv, mut salt, mut id) = ([0; 16], [0; 32], [0; 16]);
    for random in [&mut iv[..], &mut salt, &mut id] {
        OsRng.fill_bytes(random);
    }
    let kdf = Kdf::Scrypt {
        dklen: 32,
        n: 1_u64.checked_shl(cost.log_n.into()).unwrap_or_default(),
        r: 8,
        p: 1,
        salt: Hex(salt.to_vec()),
    };
    let malformed = |what: &str| Error::Malformed { path: path.to_owned(), what: what.to_owned() };
    let derived = derive(&kdf, password).map_err(malformed)?;
    let mut text = Zeroizing::new(*key);
    Aes128Ctr::new_from_slices(&derived[..16], &iv)
        .map_err(|_| malformed("its iv has not 16 bytes"))?
        .apply_keystream(text.as_mut());
    let crypto = Crypto {
        cipher: "aes-128-ctr".to_owned(),
        cipherparams: CipherParams { iv: Hex(iv.to_vec()) },
        ciphertext: Hex(text.to_vec()),
        kdf,
        mac: Hex(mac(&derived, text.as_ref())),
    };
    let address = Some(hex::encode(signer.address().0));
    let file = KeyFile { version: 3, id: uuid(id), address, crypto };
    let text = serde_json::to_string_pretty(&file).map_err(|e| malformed(&e.to_string()))?;
    place(path, text.as_bytes())?;
    Ok(signer)
}

/// Writes beside the file first: a link fails where a rename would replace a key for good.
fn place(path: &Path, text: &[u8]) -> Result<(), Error> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
        _ => Error::Io { path: path.to_owned(), source },
    };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let draft = dir.join(format!(".{:016x}.draft", OsRng.next_u64()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(text)?;
        file.sync_all()?;
        std::fs::hard_link(&draft, path)
    })();
    let removed = std::fs::remove_file(&draft);
    written.and(removed).and_then(|()| File::open(dir)?.sync_all()).map_err(failed)
}

/// A random UUID (version 4) of these bytes.
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex::encode(bytes);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

#[cfg(test)]
mod tests;
