//! Who is on the market before the first bid.

use scatter_actors::domain::audit::secrets::{Secrets, SLOT_SECONDS};
use scatter_actors::domain::cids;
use scatter_actors::domain::market::MarketCall;
use scatter_actors::domain::registration::{compose, Host, Registration};
use scatter_actors::domain::units::{ByteSize, ChainTime, FileHash, Wei};
use scatter_actors::ports::store::{Batch, Store};
use scatter_actors::records::audit::AuditSecrets;

use crate::node::{Node, Role};
use crate::people::{People, BIDDER, VOTERS};
use crate::street::ENDPOINT;

/// When the chain begins.
const FIRST_DAY: ChainTime = ChainTime(1_700_000_000);
/// Hours for which a validator has secrets: longer than any audited bid.
const SECRETS: u32 = 1_000;

/// Registers everybody, before the first bid: two votes and a hoster must find enough of them. Validators
/// anchor their secrets, the hoster says where it is found.
pub(super) fn register(people: &mut People, hoster: &Node, validators: &[Node]) {
    let file = |n: u8| FileHash([n; 32]);
    for (n, who) in VOTERS.iter().chain([&BIDDER]).enumerate().skip(validators.len()) {
        people.send(*who, None, MarketCall::Register(file(n as u8 + 1)));
    }
    // Version 1 keeps the money of what it refuses. Without some of it the last one to be paid could not withdraw.
    let amount = Wei::from(1_000_000_000_000_000_000);
    let (size, duration, pool) = (ByteSize(0), 1, Wei::ZERO);
    let bid = MarketCall::Bid { file: file(1), size, duration, amount, pool, min_validations: 0 };
    people.send(BIDDER, None, bid);
    for node in [hoster].into_iter().chain(validators) {
        if validators.is_empty() {
            break;
        }
        let mut host = Host::default();
        match node.role {
            Role::Hoster => host.endpoint = Some(ENDPOINT.to_owned()),
            Role::Validator => {
                let secrets = Secrets::with([node.account.0[0]; 32], FIRST_DAY, SECRETS, SLOT_SECONDS);
                host.audit = Some(secrets.anchor());
                let mut batch = Batch::new();
                batch.put(&AuditSecrets { secrets });
                node.store.commit(batch).unwrap();
            }
        }
        let registration = Registration { address: node.account, alias: String::new(), host };
        let cid = node.ipfs.hold(cids::RAW, &compose(&registration));
        people.send(node.account, None, MarketCall::Register(cids::file_hash(&cid).unwrap()));
    }
}
