//! Five members who trust one another, each with a file of its own.

use std::collections::BTreeSet;
use std::path::Path;

use cid::Cid;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

use super::support::member::Member;

/// Three leaves.
const FILE_BYTES: usize = 600_000;

/// Bytes that are the same each time, and others for another number.
pub fn bytes(number: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    StdRng::seed_from_u64(number).fill_bytes(&mut bytes);
    bytes
}

/// Starts members and waits until they are ready, all connected with one another and with `more`. `consortium`: more of
/// that section.
pub async fn start(members: &mut [Member], more: &[String], consortium: &str) {
    let multiaddrs: Vec<_> = members.iter().map(Member::multiaddr).chain(more.iter().cloned()).collect();
    let others = |own: String| multiaddrs.iter().filter(|other| **other != own).cloned().collect::<Vec<_>>();
    for member in members.iter_mut() {
        member.configure(&others(member.multiaddr()), consortium);
        member.start_backend().await;
    }
    for member in members.iter_mut() {
        member.connect(&others(member.multiaddr())).await;
        member.start();
    }
    members.iter().for_each(Member::is_ready);
}

/// The members and their files.
pub struct Five {
    /// The members.
    pub members: Vec<Member>,
    /// The file of each.
    pub files: Vec<Cid>,
}

impl Five {
    /// Starts them, all connected with one another; nobody mirrors anybody yet. `consortium`: more of that section.
    pub async fn start(kubo: Option<&Path>, consortium: &str) -> Self {
        let (mut members, mut files) = (Vec::new(), Vec::new());
        for number in 0..5 {
            let member = Member::make(&format!("member-{number}"), kubo).await;
            files.push(member.add(&bytes(number, FILE_BYTES)).await);
            members.push(member);
        }
        start(&mut members, &[], consortium).await;
        Self { members, files }
    }

    /// Has each trust all others, and list two files that are theirs.
    pub fn list_and_trust(&self) {
        for (number, member) in self.members.iter().enumerate() {
            let file = |ahead: usize| self.files[(number + ahead) % self.files.len()];
            member.list(&[file(1), file(2)]);
        }
        let names: Vec<_> = self.members.iter().map(Member::ipns).collect();
        for member in &self.members {
            for (other, name) in self.members.iter().zip(&names) {
                if other.name != member.name {
                    member.trust(&other.name, name, &other.multiaddr());
                }
            }
        }
    }

    /// Waits until each keeps what all others list.
    pub fn keep_each_others(&self) {
        for member in &self.members {
            for other in self.members.iter().filter(|other| other.name != member.name) {
                member.keeps(&other.name, 2);
            }
        }
    }

    /// All files.
    pub fn union(&self) -> BTreeSet<Cid> {
        self.files.iter().copied().collect()
    }
}
