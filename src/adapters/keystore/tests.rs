use super::*;
use std::fs::Permissions;

/// The vector of the Web3 Secret Storage definition.
const VECTOR: &str = r#"{
    "crypto": {
        "cipher": "aes-128-ctr",
        "cipherparams": { "iv": "83dbcc02d8ccb40e466191a123791e0e" },
        "ciphertext": "d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c",
        "kdf": "scrypt",
        "kdfparams": {
            "dklen": 32, "n": 262144, "p": 8, "r": 1,
            "salt": "ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"
        },
        "mac": "2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"
    },
    "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
    "version": 3
}"#;
const VECTOR_KEY: &str = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d";
/// The phrase that every development chain funds, and its first account.
const PHRASE: &str = "test test test test test test test test test test test junk";
const FIRST: &str = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn put(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    path
}

#[test]
fn a_file_of_another_client_opens() {
    let dir = folder();
    let signer = open(&put(dir.path(), "vector", VECTOR), "testpassword").unwrap();
    let imported = import_raw(&dir.path().join("same"), VECTOR_KEY, "other", Cost::LIGHT).unwrap();
    assert_eq!(signer.address(), imported.address());
}

#[test]
fn a_new_key_is_read_back_with_its_password_alone() {
    let dir = folder();
    let path = dir.path().join("key");
    let made = create(&path, "correct", Cost::LIGHT).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(open(&path, "correct").unwrap().address(), made.address());
    assert!(matches!(open(&path, "wrong").unwrap_err(), Error::WrongPassword { path: told } if told == path));
    assert_ne!(create(&dir.path().join("other"), "correct", Cost::LIGHT).unwrap().address(), made.address());
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "no draft stays");
}

#[test]
fn a_phrase_gives_the_account_that_every_wallet_gives() {
    let dir = folder();
    let spaced = format!("  {}\n", PHRASE.replace(' ', "  "));
    let signer = import_mnemonic(&dir.path().join("key"), &spaced, "pw", Cost::LIGHT).unwrap();
    assert_eq!(signer.address().to_string(), FIRST);
    let wrong = PHRASE.replace("junk", "test");
    assert!(matches!(
        import_mnemonic(&dir.path().join("no"), &wrong, "pw", Cost::LIGHT).unwrap_err(),
        Error::NotAKey(_)
    ));
}

#[test]
fn what_is_no_key_is_not_imported() {
    let dir = folder();
    let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    for text in ["", "0x12", &"0".repeat(64), order, &"zz".repeat(32)] {
        let path = dir.path().join("key");
        assert!(
            matches!(import_raw(&path, text, "pw", Cost::LIGHT).unwrap_err(), Error::NotAKey(_)),
            "{text}"
        );
        assert!(!path.exists());
    }
}

#[test]
fn a_key_is_never_written_over() {
    let dir = folder();
    let path = dir.path().join("key");
    let first = create(&path, "pw", Cost::LIGHT).unwrap();
    assert!(matches!(create(&path, "pw", Cost::LIGHT).unwrap_err(), Error::Exists { .. }));
    assert_eq!(open(&path, "pw").unwrap().address(), first.address());
}

#[test]
fn a_file_that_others_can_touch_is_refused_before_anything_is_decrypted() {
    let dir = folder();
    let path = dir.path().join("key");
    create(&path, "pw", Cost::LIGHT).unwrap();
    for loose in [0o640, 0o604, 0o620, 0o666] {
        std::fs::set_permissions(&path, Permissions::from_mode(loose)).unwrap();
        let error = open(&path, "pw").unwrap_err();
        assert!(matches!(error, Error::TooOpen { mode, .. } if mode == loose));
        assert!(error.to_string().contains("key: mode 0"), "{error}");
    }
    std::fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    open(&path, "pw").unwrap();
}

#[test]
fn every_failure_names_the_file() {
    let dir = folder();
    let big = VECTOR.replace("262144", "1073741824");
    let odd = VECTOR.replace("262144", "262143");
    let cipher = VECTOR.replace("aes-128-ctr", "aes-128-cbc");
    let kdf = VECTOR.replace("\"scrypt\"", "\"argon2id\"");
    let version = VECTOR.replace("\"version\": 3", "\"version\": 1");
    let cases = [("big", &big), ("odd", &odd), ("cipher", &cipher), ("kdf", &kdf), ("version", &version)];
    for (name, text) in cases {
        let error = open(&put(dir.path(), name, text), "testpassword").unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{name}: {error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    assert!(matches!(open(&put(dir.path(), "text", "not json"), "pw").unwrap_err(), Error::Malformed { .. }));
    assert!(matches!(open(dir.path(), "pw").unwrap_err(), Error::Malformed { .. }));
    let missing = open(&dir.path().join("nobody"), "pw").unwrap_err();
    assert!(matches!(missing, Error::Missing { .. }) && missing.to_string().contains("nobody"));
}

#[test]
fn a_file_that_names_another_address_is_refused() {
    let dir = folder();
    let path = dir.path().join("key");
    let made = create(&path, "pw", Cost::LIGHT).unwrap();
    let mut text = String::new();
    File::open(&path).unwrap().read_to_string(&mut text).unwrap();
    let swapped = text.replace(&hex::encode(made.address().0), &"ab".repeat(20));
    assert!(matches!(
        open(&put(dir.path(), "swapped", &swapped), "pw").unwrap_err(),
        Error::Malformed { .. }
    ));
}

#[test]
fn a_folder_lists_its_keys_and_passes_over_the_rest() {
    let dir = folder();
    let a = create(&dir.path().join("a"), "pw", Cost::LIGHT).unwrap().address();
    let b = create(&dir.path().join("b"), "pw", Cost::LIGHT).unwrap().address();
    put(dir.path(), "notes.txt", "hello");
    std::fs::create_dir(dir.path().join("folder")).unwrap();
    assert_eq!(list(dir.path()).unwrap(), [(dir.path().join("a"), a), (dir.path().join("b"), b)]);
    assert!(list(&dir.path().join("nowhere")).is_err());
}

#[test]
fn a_key_is_not_shown() {
    let dir = folder();
    let signer = import_raw(&dir.path().join("key"), VECTOR_KEY, "pw", Cost::LIGHT).unwrap();
    let shown = format!("{signer:?}");
    assert!(shown.contains(&signer.address().to_string()) && !shown.contains(&VECTOR_KEY[..8]), "{shown}");
}
