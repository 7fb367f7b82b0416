//! Which addresses belong to which of the two tables: what a peer tells in one of them is not dialled, kept or passed on
//! if it is of the other, so that nobody on the internet can have us dial our own network.

use std::net::{Ipv4Addr, Ipv6Addr};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, StreamProtocol};

/// One of the two hash tables that Kubo keeps apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Private networks and this machine.
    Lan,
    /// The internet.
    Wan,
}

impl Scope {
    /// Both.
    pub(crate) const ALL: [Scope; 2] = [Scope::Lan, Scope::Wan];

    pub(super) fn protocol(self) -> StreamProtocol {
        StreamProtocol::new(match self {
            Scope::Lan => "/ipfs/lan/kad/1.0.0",
            Scope::Wan => "/ipfs/kad/1.0.0",
        })
    }

    /// Whether an address is one of this table, and one that we can dial: TCP, without relays. Names of hosts resolve to
    /// anything, so they are none of the internet's.
    pub(crate) fn admits(self, address: &Multiaddr) -> bool {
        let mut parts = address.iter();
        let host = match (parts.next(), self) {
            (Some(Protocol::Ip4(ip)), Scope::Lan) => is_private4(ip),
            (Some(Protocol::Ip4(ip)), Scope::Wan) => is_public4(ip),
            (Some(Protocol::Ip6(ip)), Scope::Lan) => is_private6(ip),
            (Some(Protocol::Ip6(ip)), Scope::Wan) => is_public6(ip),
            (Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)), Scope::Lan) => true,
            _ => false,
        };
        host && matches!(parts.next(), Some(Protocol::Tcp(_)))
            && matches!(parts.next(), None | Some(Protocol::P2p(_)))
            && parts.next().is_none()
    }
}

fn is_shared4(ip: Ipv4Addr) -> bool {
    // 100.64.0.0/10, behind a provider's NAT; many overlay networks use it.
    ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64
}

fn is_private4(ip: Ipv4Addr) -> bool {
    ip.is_private() || ip.is_loopback() || ip.is_link_local() || is_shared4(ip)
}

fn is_public4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = a == 0 || a >= 224 || (a, b, c) == (192, 0, 0) || (a == 198 && b & 0xfe == 18);
    !is_private4(ip) && !special && !ip.is_documentation()
}

fn is_private6(ip: Ipv6Addr) -> bool {
    ip.is_loopback() || ip.is_unique_local()
}

fn is_public6(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.segments();
    // 2000::/3 without Teredo, the documentation's 2001:db8::/32 and 6to4, which embeds any IPv4 address.
    first & 0xe000 == 0x2000
        && (first, second) != (0x2001, 0)
        && (first, second) != (0x2001, 0xdb8)
        && first != 0x2002
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_belongs_to_one_table_or_to_none() {
        let cases = [
            ("/ip4/127.0.0.1/tcp/4001", Some(Scope::Lan)),
            ("/ip4/10.1.2.3/tcp/4001", Some(Scope::Lan)),
            ("/ip4/172.31.0.1/tcp/4001", Some(Scope::Lan)),
            ("/ip4/192.168.1.1/tcp/4001", Some(Scope::Lan)),
            ("/ip4/100.100.1.1/tcp/4001", Some(Scope::Lan)),
            ("/ip4/169.254.1.1/tcp/4001", Some(Scope::Lan)),
            ("/ip6/::1/tcp/4001", Some(Scope::Lan)),
            ("/ip6/fd00::1/tcp/4001", Some(Scope::Lan)),
            ("/dns4/node-1.example/tcp/4001", Some(Scope::Lan)),
            ("/ip4/8.8.8.8/tcp/4001", Some(Scope::Wan)),
            ("/ip4/100.128.0.1/tcp/4001", Some(Scope::Wan)),
            ("/ip6/2a00::1/tcp/4001", Some(Scope::Wan)),
            ("/ip4/0.0.0.0/tcp/4001", None),
            ("/ip4/255.255.255.255/tcp/4001", None),
            ("/ip4/198.18.0.1/tcp/4001", None),
            ("/ip4/203.0.113.1/tcp/4001", None),
            ("/ip6/fe80::1/tcp/4001", None),
            ("/ip6/2002:7f00:1::/tcp/4001", None),
            ("/ip6/::ffff:127.0.0.1/tcp/4001", None),
            ("/ip4/8.8.8.8/udp/4001/quic-v1", None),
            ("/ip4/8.8.8.8/tcp/4001/ws", None),
            ("/unix/socket", None),
        ];
        let peer = libp2p::PeerId::random();
        for (text, scope) in cases {
            let address: Multiaddr = text.parse().unwrap();
            for candidate in Scope::ALL {
                let belongs = scope == Some(candidate);
                assert_eq!(candidate.admits(&address), belongs, "{text} {candidate:?}");
                assert_eq!(candidate.admits(&address.clone().with_p2p(peer).unwrap()), belongs);
            }
        }
        let relayed = format!("/ip4/8.8.8.8/tcp/4001/p2p/{peer}/p2p-circuit/p2p/{peer}");
        assert!(!Scope::Wan.admits(&relayed.parse().unwrap()));
    }
}
