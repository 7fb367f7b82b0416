//! The layers of a configuration, defaults, file and environment, and the mistakes in them, all gathered.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use secrecy::SecretString;
use serde::Serialize;

/// Every key with its default.
pub(super) const DEFAULTS: &str = include_str!("../../config/default.toml");
/// Where the defaults come from, in messages.
const DEFAULTS_NAME: &str = "default.toml";
/// Begins the names of our environment variables.
const PREFIX: &str = "SCATTER_";
/// Between section and key in them. Without it a name is not ours: Kubernetes sets `SCATTER_PORT` for a Service.
const SEPARATOR: &str = "__";
/// May be set in the environment, and nowhere else.
const PASSWORD: &str = "wallet.password";

/// One mistake in a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// Which key, such as `chain.poll`; empty where the file as a whole is wrong.
    pub key: String,
    /// Where it stands: `FILE:LINE`, the name of an environment variable, or the file for what is missing.
    pub origin: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [&self.origin, &self.key, &self.what];
        let told: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).map(String::as_str).collect();
        f.write_str(&told.join(": "))
    }
}

/// All mistakes of one configuration, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] => write!(f, "{only}"),
            all => {
                write!(f, "{} mistakes in the configuration:", all.len())?;
                all.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
            }
        }
    }
}

impl std::error::Error for Mistakes {}

/// One layer of values.
struct Layer {
    name: String,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// The layers, one above the other; reads keys and remembers the mistakes.
pub(super) struct Layers {
    figment: Figment,
    defaults: Value,
    file: String,
    text: String,
    /// Environment variables that set a key.
    variables: BTreeMap<String, String>,
    /// The one secret that may come from the environment.
    password: Option<SecretString>,
    asked: BTreeSet<&'static str>,
    mistakes: Vec<Mistake>,
}

impl Layers {
    /// Puts file and environment above the defaults and checks the names of all keys.
    ///
    /// # Errors
    /// If the file can't be read or is not TOML: then there is nothing else to tell.
    pub(super) fn new(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Mistakes> {
        let name = file.map(|path| path.display().to_string()).unwrap_or_default();
        let unreadable =
            |what: String| Mistakes(vec![Mistake { key: String::new(), origin: name.clone(), what }]);
        #[allow(clippy::disallowed_methods, reason = "the one place that reads the configuration file")]
        let text = match file {
            Some(path) => std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?,
            None => String::new(),
        };
        let values: Dict = Toml::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
        let defaults: Dict = Toml::from_str(DEFAULTS).map_err(|error| unreadable(error.to_string()))?;

        let mut layers = Self {
            figment: Figment::new(),
            defaults: Value::from(defaults.clone()),
            file: name,
            text,
            variables: BTreeMap::new(),
            password: None,
            asked: BTreeSet::new(),
            mistakes: Vec::new(),
        };
        let known = keys(&defaults);
        for key in keys(&values) {
            let origin = layers.line_of(&key);
            layers.expect_known(&key, origin, &known);
        }
        let mut set = Dict::new();
        for (variable, value) in env {
            let Some(key) = key_of(&variable) else { continue };
            if key == PASSWORD {
                layers.password = Some(value).filter(|value| !value.is_empty()).map(SecretString::from);
                continue;
            }
            match (known.contains(&key), key.split_once('.')) {
                (true, Some((section, name))) => {
                    let section = set.entry(section.to_owned()).or_insert_with(|| Value::from(Dict::new()));
                    if let Value::Dict(_, section) = section {
                        section.insert(name.to_owned(), Value::from(value));
                    }
                    layers.variables.insert(key, variable);
                }
                _ => layers.expect_known(&key, variable, &known),
            }
        }
        layers.figment = Figment::new()
            .merge(Layer { name: DEFAULTS_NAME.into(), values: defaults })
            .merge(Layer { name: layers.file.clone(), values })
            .merge(Layer { name: PREFIX.into(), values: set });
        Ok(layers)
    }

    fn expect_known(&mut self, key: &str, origin: String, known: &BTreeSet<String>) {
        if known.contains(key) {
            return;
        }
        let is_section = known.iter().any(|other| other.split_once('.').is_some_and(|(s, _)| s == key));
        let what = match nearest(key, known) {
            _ if is_section => format!("a section is expected here: [{key}]"),
            _ if key == PASSWORD => {
                "a password does not belong in this file: use wallet.password_file or the environment".into()
            }
            Some(near) => format!("unknown key; did you mean {near}?"),
            None => "unknown key".into(),
        };
        self.mistakes.push(Mistake { key: key.into(), origin, what });
    }

    /// Reads a key's value. One that does not read is a mistake, and the key's default stands in for it, so that
    /// no rule between keys finds a second one.
    pub(super) fn read<T: Default>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Value) -> Result<T, String>,
    ) -> T {
        self.read_or(key, T::default(), read)
    }

    /// The same for types without a default of their own.
    pub(super) fn read_or<T>(
        &mut self,
        key: &'static str,
        instead: T,
        read: impl Fn(&Value) -> Result<T, String>,
    ) -> T {
        self.asked.insert(key);
        // A section that is no section was told when the names were checked.
        if let Ok(value) = self.figment.find_value(key) {
            match read(&value) {
                Ok(value) => return value,
                Err(what) => self.mistake(key, what),
            }
        }
        self.defaults.find_ref(key).and_then(|value| read(value).ok()).unwrap_or(instead)
    }

    /// The password, if the environment gives it.
    pub(super) fn password(&mut self) -> Option<SecretString> {
        self.password.take()
    }

    /// Whether a mistake was found in a key, or in any of a section (`chain.`).
    pub(super) fn faulty(&self, key: &str) -> bool {
        let is_section = key.ends_with('.');
        self.mistakes.iter().any(|mistake| mistake.key == key || is_section && mistake.key.starts_with(key))
    }

    /// Remembers that a key's value will not do.
    pub(super) fn mistake(&mut self, key: &str, what: impl Into<String>) {
        let origin = self.origin(key);
        self.mistakes.push(Mistake { key: key.into(), origin, what: what.into() });
    }

    /// The same, found in another file that the key leads to.
    pub(super) fn mistake_at(&mut self, key: &str, origin: String, what: impl Into<String>) {
        self.mistakes.push(Mistake { key: key.into(), origin, what: what.into() });
    }

    /// Whether the operator wants something else than the default.
    pub(super) fn is_changed(&self, key: &str) -> bool {
        self.figment.find_value(key).ok().as_ref() != self.defaults.find_ref(key)
    }

    /// Where a key's value comes from; the file itself for what is set nowhere.
    pub(super) fn origin(&self, key: &str) -> String {
        match self.figment.find_metadata(key).map(|metadata| metadata.name.as_ref()) {
            Some(PREFIX) => self.variables.get(key).cloned().unwrap_or_default(),
            Some(DEFAULTS_NAME) | None => self.file.clone(),
            Some(_) => self.line_of(key),
        }
    }

    /// `FILE:LINE` of a key in the file, or the file where the line is not found (inline tables).
    fn line_of(&self, key: &str) -> String {
        let (section, name) = key.split_once('.').unwrap_or((key, ""));
        let mut current = "";
        for (number, line) in self.text.lines().enumerate() {
            let line = line.trim();
            if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
                // `[[section.name]]` is the first of a key's tables.
                let list = header.strip_prefix('[').map(str::trim);
                if list == Some(key) {
                    return format!("{}:{}", self.file, number + 1);
                }
                current = list.unwrap_or(header.trim());
            }
            let left = line.split(['=', ']']).next().unwrap_or_default().trim();
            let whole = name.is_empty() && (current == section || left == section);
            if whole || (current == section && left == name) || (current.is_empty() && left == key) {
                return format!("{}:{}", self.file, number + 1);
            }
        }
        self.file.clone()
    }

    /// The keys that were read, for the proof that every key of the defaults is.
    #[cfg(test)]
    pub(super) fn asked(&self) -> BTreeSet<String> {
        self.asked.iter().map(|key| (*key).to_owned()).collect()
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// All mistakes that were found.
    pub(super) fn finish(self) -> Result<(), Mistakes> {
        match self.mistakes.is_empty() {
            true => Ok(()),
            false => Err(Mistakes(self.mistakes)),
        }
    }
}

/// All keys of a tree as `section.key`; a section that is no table is a key itself.
pub(super) fn keys(dict: &Dict) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for (section, value) in dict {
        match value {
            Value::Dict(_, inner) => keys.extend(inner.keys().map(|key| format!("{section}.{key}"))),
            _ => {
                keys.insert(section.clone());
            }
        }
    }
    keys
}

/// The key that an environment variable names, if it is one of ours: `SCATTER_CHAIN__POLL` is `chain.poll`.
fn key_of(variable: &str) -> Option<String> {
    let name = variable.strip_prefix(PREFIX)?;
    name.contains(SEPARATOR).then(|| name.to_lowercase().replace(SEPARATOR, "."))
}

/// The known key that was probably meant: the same name in another section, or nearly the same letters.
fn nearest<'a>(key: &str, known: &'a BTreeSet<String>) -> Option<&'a String> {
    let name = key.split_once('.').map_or(key, |(_, name)| name);
    let distance = |candidate: &&String| {
        let (_, other) = candidate.split_once('.').unwrap_or_default();
        strsim::damerau_levenshtein(key, candidate).min(1 + strsim::damerau_levenshtein(name, other))
    };
    known.iter().min_by_key(distance).filter(|candidate| distance(candidate) <= 1 + name.len() / 4)
}
