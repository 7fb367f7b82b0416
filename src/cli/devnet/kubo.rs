//! The IPFS node of a devnet's node, where it is Kubo: a daemon of its own, with a repository, ports and peers of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{json, Value};

use super::child::Child;
use super::files;
use crate::exit::{Code, Fault};

/// A daemon may take so long to be there.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks whether it is.
const PAUSE: Duration = Duration::from_millis(50);

/// A Kubo of its own, running or not.
#[derive(Debug)]
pub struct Kubo {
    name: String,
    program: PathBuf,
    guard: PathBuf,
    repository: PathBuf,
    log: PathBuf,
    swarm: u16,
    api: u16,
    peer: String,
    child: Option<Child>,
}

/// Where a Kubo stands.
#[derive(Debug, Clone)]
pub struct Place {
    /// The program `ipfs`.
    pub program: PathBuf,
    /// The program `scatter`, which guards the daemon.
    pub guard: PathBuf,
    /// Its repository, which must not be there yet.
    pub repository: PathBuf,
    /// Where what it says is written.
    pub log: PathBuf,
    /// The port of loopback at which peers reach it.
    pub swarm: u16,
    /// The port of loopback of its RPC API.
    pub api: u16,
}

impl Kubo {
    /// Makes the repository of a daemon that speaks on loopback alone; nothing runs yet.
    ///
    /// # Errors
    /// If `ipfs init` fails.
    pub async fn make(name: &str, place: Place) -> Result<Self, Fault> {
        let Place { program, guard, repository, log, swarm, api } = place;
        let (name, peer) = (format!("{name}'s ipfs"), String::new());
        let mut kubo = Self { name, program, guard, repository, log, swarm, api, peer, child: None };
        kubo.run(&["init", "--profile=test"]).await?;
        let loopback = |port: u16| format!("/ip4/{}/tcp/{port}", Ipv4Addr::LOCALHOST);
        let config = kubo.change(|config| {
            config["Addresses"]["Swarm"] = json!([loopback(swarm)]);
            config["Addresses"]["API"] = json!(loopback(api));
            config["Addresses"]["Gateway"] = json!([]);
            config["Routing"]["Type"] = json!("dhtserver");
        })?;
        kubo.peer = config["Identity"]["PeerID"].as_str().unwrap_or_default().to_owned();
        Ok(kubo)
    }

    /// How its peers reach it.
    pub fn multiaddr(&self) -> String {
        format!("/ip4/{}/tcp/{}/p2p/{}", Ipv4Addr::LOCALHOST, self.swarm, self.peer)
    }

    /// Where its RPC API listens.
    pub fn api_url(&self) -> String {
        format!("http://{}:{}", Ipv4Addr::LOCALHOST, self.api)
    }

    /// Where its blocks lie, one file each.
    pub fn blocks(&self) -> PathBuf {
        self.repository.join("blocks")
    }

    /// Makes it stay connected with these multiaddrs, from its next start on.
    ///
    /// # Errors
    /// If its configuration can't be written.
    pub fn configure(&self, peers: &[String]) -> Result<(), Fault> {
        let peering: Vec<_> = peers
            .iter()
            .filter_map(|multiaddr| multiaddr.split_once("/p2p/"))
            .map(|(address, peer)| json!({ "ID": peer, "Addrs": [address] }))
            .collect();
        self.change(|config| config["Peering"]["Peers"] = json!(peering)).map(drop)
    }

    /// Starts the daemon, guarded so that it ends with this process; [`Kubo::is_ready`] tells when it is there.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn start(&mut self) -> Result<(), Fault> {
        let mut command = Command::new(&self.guard);
        command.args(["devnet-guard", "--"]).arg(&self.program).arg("daemon");
        // It would tell its makers how it is used.
        command.env("IPFS_PATH", &self.repository).env("IPFS_TELEMETRY", "off");
        self.child = Some(Child::spawn(&self.name, command, &self.log)?);
        Ok(())
    }

    /// Waits until its API is there.
    ///
    /// # Errors
    /// If it ends, or does not come in time.
    pub async fn is_ready(&mut self) -> Result<(), Fault> {
        let api = SocketAddr::from((Ipv4Addr::LOCALHOST, self.api));
        for _ in 0..=STARTS_WITHIN.as_millis() / PAUSE.as_millis() {
            self.still_runs()?;
            if TcpStream::connect_timeout(&api, PAUSE).is_ok() {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        let (name, log) = (&self.name, self.log.display());
        let text = format!("{name} is not there after {} s: see {log}", STARTS_WITHIN.as_secs());
        Err(Fault::new(Code::Unreachable, text))
    }

    /// Connects it with others now: those that were not there when it started it would try again seconds later.
    ///
    /// # Errors
    /// If one of them is not reached.
    pub async fn connect(&self, multiaddrs: &[String]) -> Result<(), Fault> {
        let others = multiaddrs.iter().map(String::as_str);
        self.run(&["swarm", "connect"].into_iter().chain(others).collect::<Vec<_>>()).await.map(drop)
    }

    /// A fault, if it has ended by itself.
    ///
    /// # Errors
    /// That fault.
    pub fn still_runs(&mut self) -> Result<(), Fault> {
        self.child.as_mut().map_or(Ok(()), Child::still_runs)
    }

    /// Its process's guard; both are one process group.
    pub fn child(&mut self) -> Option<&mut Child> {
        self.child.as_mut()
    }

    /// Kills it at once, as `kill -9` does; [`Kubo::start`] starts it again.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill_group();
        }
    }

    /// Runs `ipfs ARGUMENTS`, through the daemon if it runs, and gives what it prints.
    ///
    /// # Errors
    /// The command's fault.
    pub async fn run(&self, arguments: &[&str]) -> Result<String, Fault> {
        if self.child.is_none() {
            // A daemon that was killed left behind where it listened; the file may be missing as well.
            let _missing = std::fs::remove_file(self.repository.join("api"));
        }
        let mut command = Command::new(&self.program);
        command.args(arguments).env("IPFS_PATH", &self.repository).stdin(Stdio::null());
        let what = arguments.join(" ");
        let refused = |text: &str| Fault::new(Code::Refused, format!("{}: ipfs {what}: {text}", self.name));
        let output = tokio::process::Command::from(command).kill_on_drop(true).output().await;
        let output = output.map_err(|error| refused(&error.to_string()))?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(refused(String::from_utf8_lossy(&output.stderr).trim())),
        }
    }

    /// Changes its configuration's file; gives the whole of it.
    fn change(&self, change: impl FnOnce(&mut Value)) -> Result<Value, Fault> {
        let path = self.repository.join("config");
        let mut config = serde_json::from_str(&files::read(&path)?)
            .map_err(|error| Fault::new(Code::Bug, format!("{}: {error}", path.display())))?;
        change(&mut config);
        files::write(&path, format!("{config:#}\n").as_bytes())?;
        Ok(config)
    }
}

/// The installed program `ipfs`: the daemon and its command line.
///
/// # Errors
/// If there is none.
pub fn find() -> Result<PathBuf, Fault> {
    files::program("ipfs").ok_or_else(|| {
        let text = "ipfs is not installed: --ipfs kubo runs a daemon of it beside each node. Install Kubo \
                    (https://docs.ipfs.tech/install/command-line/), or leave --ipfs away: then each node brings its own";
        Fault::new(Code::Usage, text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_told_apart_from_their_addresses() {
        let directory = tempfile::tempdir().unwrap();
        files::write(&directory.path().join("config"), b"{\"Peering\": {\"Peers\": null}}").unwrap();
        let kubo = Kubo {
            name: "a".into(),
            program: "ipfs".into(),
            guard: "scatter".into(),
            repository: directory.path().into(),
            log: "log".into(),
            swarm: 4001,
            api: 5001,
            peer: "12D3".into(),
            child: None,
        };
        assert_eq!(kubo.multiaddr(), "/ip4/127.0.0.1/tcp/4001/p2p/12D3");
        kubo.configure(&["/ip4/127.0.0.1/tcp/9/p2p/QmX".to_owned()]).unwrap();
        let config: Value =
            serde_json::from_str(&files::read(&directory.path().join("config")).unwrap()).unwrap();
        assert_eq!(config["Peering"]["Peers"], json!([{ "ID": "QmX", "Addrs": ["/ip4/127.0.0.1/tcp/9"] }]));
    }
}
