//! One node of a devnet: its configuration, its account, and the process that runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::Arc;
use std::time::Duration;

use scatter_actors::domain::units::{Address, Wei};
use scatter_actors::ports::keys::Keys;
use serde_json::Value;

use super::backend::Backend;
use super::child::Child;
use super::files::{self, Files};
use super::kubo::{Kubo, Place};
use super::settings::{Settings, Surroundings};
use crate::adapters::keystore::{self, Cost};
use crate::cli::client::{Client, PATIENCE};
use crate::config::{self, LogFormat};
use crate::exit::{told, Code, Fault};

/// Between two looks whether a node is there.
const PAUSE: Duration = Duration::from_millis(50);
/// A node may take so long to be ready.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Hosts, behind its firewall.
    Hoster,
    /// Checks and votes.
    Validator,
    /// Has no role: places bids and serves what they are about.
    Bidder,
    /// Keeps what the hoster lists; knows of no chain and has no account.
    Peer,
}

/// Where a node listens on loopback.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// IPFS.
    pub ipfs: u16,
    /// The RPC API of its Kubo, where it has one.
    pub api: u16,
    /// The status server.
    pub status: u16,
    /// The firewall, where it has one.
    pub firewall: u16,
}

/// A node, running or not.
#[derive(Debug)]
pub struct Node {
    name: String,
    role: Role,
    address: Option<Address>,
    backend: Backend,
    ports: Ports,
    program: PathBuf,
    config: PathBuf,
    data_dir: PathBuf,
    log: PathBuf,
    client: Client,
    child: Option<Child>,
    process: Arc<AtomicI32>,
}

impl Node {
    /// Makes a node's account and its IPFS identity; nothing runs yet. `kubo`: the program `ipfs`, if it is to have a
    /// daemon of its own.
    ///
    /// # Errors
    /// If its directory can't be written, or Kubo refuses.
    pub async fn make(
        name: &str,
        role: Role,
        program: &Path,
        files: &Files,
        ports: Ports,
        kubo: Option<&Path>,
    ) -> Result<Self, Fault> {
        let data_dir = files.data_dir(name);
        files::make_private_dir(&data_dir)?;
        let address = match role {
            Role::Peer => None,
            _ => Some(make_account(&data_dir)?),
        };
        // An identity is made when an IPFS node first starts: the others must know it before.
        let backend = match kubo {
            None => Backend::embedded(data_dir.join("ipfs"), ports.ipfs).await?,
            Some(kubo) => {
                let place = Place {
                    program: kubo.to_owned(),
                    guard: program.to_owned(),
                    repository: data_dir.join("kubo"),
                    log: files.log(&format!("{name}-ipfs")),
                    swarm: ports.ipfs,
                    api: ports.api,
                };
                Backend::Kubo(Box::new(Kubo::make(name, place).await?))
            }
        };
        Ok(Self {
            name: name.to_owned(),
            role,
            address,
            backend,
            ports,
            program: program.to_owned(),
            config: files.config(name),
            log: files.log(name),
            client: client_of(&data_dir),
            data_dir,
            child: None,
            process: Arc::default(),
        })
    }

    /// Its name among the others.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Its account; nobody's, the zero address, where it needs none.
    pub fn address(&self) -> Address {
        self.address.unwrap_or_default()
    }

    /// Its IPFS node.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Its Kubo, if it has one.
    pub fn kubo(&mut self) -> Option<&mut Kubo> {
        self.backend.kubo()
    }

    /// Its configuration's file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Where it keeps everything durable.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Its status server.
    pub fn status_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.status)
    }

    /// Its firewall, as it really listens.
    pub fn firewall_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.firewall)
    }

    /// Writes its configuration.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn configure(&self, around: &Surroundings) -> Result<(), Fault> {
        let backend = self.backend.settings(&around.peers)?;
        let settings = Settings {
            name: &self.name,
            log: &around.log,
            role: self.role,
            ports: self.ports,
            data_dir: &self.data_dir,
            backend: &backend,
            around,
        };
        files::write(&self.config, settings.text().as_bytes())
    }

    /// Starts its process; [`Node::is_ready`] tells when it is there.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn start(&mut self) -> Result<(), Fault> {
        let mut command = self.command(&["run", "--until-stdin-closes"]);
        command.current_dir(&self.data_dir);
        let child = Child::spawn(&self.name, command, &self.log)?;
        self.process.store(child.pid().as_raw_nonzero().get(), Ordering::SeqCst);
        self.child = Some(child);
        Ok(())
    }

    /// The number of its latest process, for whoever kills it from another thread; 0 before the first.
    pub fn process(&self) -> Arc<AtomicI32> {
        self.process.clone()
    }

    /// Its process, if one was started.
    pub fn child(&mut self) -> Option<&mut Child> {
        self.child.as_mut()
    }

    /// Starts its Kubo, if it has one, and waits until it is there.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start_backend(&mut self) -> Result<(), Fault> {
        let Some(kubo) = self.backend.kubo() else { return Ok(()) };
        kubo.start()?;
        kubo.is_ready().await
    }

    /// Waits until the node is ready, or tells its reasons not to be.
    ///
    /// # Errors
    /// If it ends, or is not ready in time.
    pub async fn is_ready(&mut self) -> Result<(), Fault> {
        let mut last = Value::Null;
        for _ in 0..=STARTS_WITHIN.as_millis() / PAUSE.as_millis() {
            self.still_runs()?;
            // No socket yet is as good as not ready.
            if let Ok(document) = self.get("/readyz") {
                if document["ready"] == true {
                    return Ok(());
                }
                last = document["reasons"].clone();
            }
            tokio::time::sleep(PAUSE).await;
        }
        let text = format!("{} is not ready after {} s: {last}", self.name, STARTS_WITHIN.as_secs());
        Err(Fault::new(Code::Unreachable, format!("{text}; see {}", self.log.display())))
    }

    /// A fault, if its process or its Kubo has ended by itself.
    ///
    /// # Errors
    /// That fault.
    pub fn still_runs(&mut self) -> Result<(), Fault> {
        self.backend.kubo().map_or(Ok(()), Kubo::still_runs)?;
        self.child.as_mut().map_or(Ok(()), Child::still_runs)
    }

    /// Reads a document of its API.
    ///
    /// # Errors
    /// If it does not run, or the node's own fault.
    pub fn get(&self, path: &str) -> Result<Value, Fault> {
        self.client.get(path)
    }

    /// Runs `scatter ARGUMENTS --json` beside it, as its operator would, and gives the answer.
    ///
    /// # Errors
    /// The command's fault.
    pub async fn operate(&self, arguments: &[&str]) -> Result<Value, Fault> {
        let mut command = self.command(arguments);
        command.arg("--json").stdin(Stdio::null());
        let run = tokio::process::Command::from(command).kill_on_drop(true).output();
        let patience = PATIENCE.saturating_mul(4);
        let what = arguments.join(" ");
        let refused =
            |text: String| Fault::new(Code::Refused, format!("{}: scatter {what}: {text}", self.name));
        let output = match tokio::time::timeout(patience, run).await {
            Ok(output) => output.map_err(|error| refused(error.to_string()))?,
            Err(_) => return Err(refused(format!("no answer within {} s", patience.as_secs()))),
        };
        let document: Value = serde_json::from_slice(&output.stdout)
            .map_err(|_| refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()))?;
        match output.status.success() {
            true => Ok(document),
            false => Err(refused(document["error"]["message"].as_str().unwrap_or("failed").to_owned())),
        }
    }

    /// `scatter ARGUMENTS` with this node's configuration, and nothing of the environment's.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--config").arg(&self.config);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SCATTER_") {
                command.env_remove(name);
            }
        }
        command
    }

    /// Asks its process to end.
    pub fn ask_to_end(&mut self) {
        if let Some(child) = &mut self.child {
            child.ask_to_end();
        }
    }

    /// Ends its process, and kills it if that takes longer than `within`.
    pub async fn end(&mut self, within: Duration) {
        if let Some(mut child) = self.child.take() {
            child.end(within).await;
        }
    }
}

/// Its key guards nothing, but a password that stands nowhere else can be looked for where it should not be.
fn make_account(data_dir: &Path) -> Result<Address, Fault> {
    let password = hex::encode(rand::random::<[u8; 16]>());
    files::write_secret(&data_dir.join("password"), password.as_bytes())?;
    let signer = keystore::create(&data_dir.join("keystore.json"), &password, Cost::LIGHT)
        .map_err(|error| Fault::new(Code::Key, told(&error)))?;
    Ok(signer.address())
}

/// A text as TOML.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn client_of(data_dir: &Path) -> Client {
    let (log, log_format) = (String::new(), LogFormat::Text);
    Client::new(&config::Node { data_dir: data_dir.to_owned(), log, log_format })
}

/// What an account of a devnet begins with.
pub fn purse() -> Wei {
    Wei::from(10_000_000_000_000_000_000)
}
