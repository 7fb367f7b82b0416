use super::*;
use std::fs::Permissions;

/// Key files of other clients: crypto part, password, key. The first is that of the format's definition, the others
/// left out the key's leading zeros.
const VECTORS: [(&str, &str, &str); 3] = [
    (
        r#"{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},
        "ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2",
        "kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256",
        "salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},
        "mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"}"#,
        "testpassword",
        "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d",
    ),
    (
        r#"{"cipher":"aes-128-ctr","cipherparams":{"iv":"e0c41130a323adc1446fc82f724bca2f"},
        "ciphertext":"9517cd5bdbe69076f9bf5057248c6c050141e970efa36ce53692d5d59a3984","kdf":"scrypt",
        "kdfparams":{"dklen":32,"n":2,"r":8,"p":1,
        "salt":"711f816911c92d649fb4c84b047915679933555030b3552c1212609b38208c63"},
        "mac":"d5e116151c6aa71470e67a7d42c9620c75c4d23229847dcc127794f0732b0db5"}"#,
        "foo",
        "00fa7b3db73dc7dfdf8c5fbdb796d741e4488628c41fc4febd9160a866ba0f35",
    ),
    (
        r#"{"cipher":"aes-128-ctr","cipherparams":{"iv":"3ca92af36ad7c2cd92454c59cea5ef00"},
        "ciphertext":"108b7d34f3442fc26ab1ab90ca91476ba6bfa8c00975a49ef9051dc675aa","kdf":"scrypt",
        "kdfparams":{"dklen":32,"n":2,"r":8,"p":1,
        "salt":"d0769e608fb86cda848065642a9c6fa046845c928175662b8e356c77f914cd3b"},
        "mac":"75d0e6759f7b3cefa319c3be41680ab6beea7d8328653474bd06706d4cc67420"}"#,
        "foo",
        "000081c29e8142bb6a81bef5a92bda7a8328a5c85bb2f9542e76f9b0f94fc018",
    ),
];

/// A whole file around a vector's crypto part.
fn key_file(crypto: &str) -> String {
    format!(r#"{{"crypto":{crypto},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}}"#)
}

/// The phrase that every development chain funds, and its first account.
const PHRASE: &str = "test test test test test test test test test test test junk";
const FIRST: &str = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";
const THIRD: &str = "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc";

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
    for (n, (crypto, password, key)) in VECTORS.into_iter().enumerate() {
        let signer = open(&put(dir.path(), &format!("theirs{n}"), &key_file(crypto)), password).unwrap();
        let imported = import_raw(&dir.path().join(format!("ours{n}")), key, "pw", Cost::LIGHT).unwrap();
        assert_eq!(signer.address(), imported.address());
    }
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
    let signer = import_mnemonic(&dir.path().join("key"), &spaced, 0, "pw", Cost::LIGHT).unwrap();
    assert_eq!(signer.address().to_string(), FIRST);
    let third = import_mnemonic(&dir.path().join("third"), PHRASE, 2, "pw", Cost::LIGHT).unwrap();
    assert_eq!(third.address().to_string(), THIRD);
    let wrong = PHRASE.replace("junk", "test");
    assert!(matches!(
        import_mnemonic(&dir.path().join("no"), &wrong, 0, "pw", Cost::LIGHT).unwrap_err(),
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
    let file = key_file(VECTORS[1].0);
    for (name, found, instead) in [
        ("huge", r#""n":2,"#, r#""n":1073741824,"#),
        ("odd", r#""n":2,"#, r#""n":3,"#),
        ("none", r#""n":2,"#, r#""n":0,"#),
        ("short", r#""dklen":32"#, r#""dklen":16"#),
        ("cipher", "aes-128-ctr", "aes-128-cbc"),
        ("derivation", r#""scrypt""#, r#""argon2id""#),
        ("version", r#""version":3"#, r#""version":1"#),
    ] {
        assert!(file.contains(found));
        let error = open(&put(dir.path(), name, &file.replace(found, instead)), "foo").unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{name}: {error}");
        assert!(error.to_string().contains(&format!("/{name}: ")), "{error}");
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
    let signer = import_raw(&dir.path().join("key"), VECTORS[0].2, "pw", Cost::LIGHT).unwrap();
    let shown = format!("{signer:?}");
    assert!(shown.contains(&signer.address().to_string()) && !shown.contains(&VECTORS[0].2[..8]), "{shown}");
}
