//! What may be dialled of what strangers registered: pure rules for endpoints and addresses.
//!
//! A validator connects to whatever a hoster wrote into its registration file. Without these rules anybody
//! could make validators knock at their own admin interfaces, at a cloud's metadata service, or at a third
//! party. Sources: IANA's special-purpose address registries (RFC 6890 and its updates), RFC 3986, RFC 1123.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

#[cfg(test)]
mod tests;

/// Ports of services that must never be asked, although they are above 1023: Docker, etcd, MySQL, IPFS,
/// PostgreSQL, Redis, Ethereum, Elasticsearch, kubelet, memcached, MongoDB.
const SERVICES: [u16; 16] =
    [2375, 2376, 2379, 2380, 3306, 4001, 5001, 5432, 6379, 8545, 8546, 8551, 9200, 10250, 11211, 27017];
/// Chain ids of development chains, where everything runs on one machine.
const DEVELOPMENT_CHAINS: [u64; 2] = [1337, 31337];

/// Why something is not dialled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The text is not `https://HOST[:PORT]`.
    #[error("not an endpoint of the form https://HOST[:PORT]: {0}")]
    Malformed(&'static str),
    /// Plain HTTP to a public endpoint.
    #[error("plain http is for development chains only")]
    Plain,
    /// A port of another service.
    #[error("port {0} is not one that a hoster serves on")]
    Port(u16),
    /// An address that is not global.
    #[error("{0} is {1}")]
    Address(IpAddr, Kind),
    /// One of our own listeners.
    #[error("{0} is this node itself")]
    Ourselves(SocketAddr),
    /// The name has no address.
    #[error("the name has no address")]
    NoAddress,
}

/// What an address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A host on the Internet.
    Global,
    /// This machine.
    Loopback,
    /// A private network (RFC 1918, unique local).
    Private,
    /// Anything else: link-local, shared, test, multicast, translated, reserved. Never dialled.
    Special(&'static str),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Global => "global",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::Special(what) => what,
        })
    }
}

/// What stands in an endpoint's authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A DNS name in lower case.
    Name(String),
    /// A literal address.
    Address(IpAddr),
}

/// An endpoint whose text is fine; its addresses are vetted when they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Whom to ask.
    pub host: Host,
    /// At which port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    /// The endpoint as a URL without a path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        match &self.host {
            Host::Name(name) => write!(f, "{scheme}://{name}")?,
            Host::Address(IpAddr::V4(v4)) => write!(f, "{scheme}://{v4}")?,
            Host::Address(IpAddr::V6(v6)) => write!(f, "{scheme}://[{v6}]")?,
        }
        match (self.tls, self.port) {
            (true, 443) => Ok(()),
            (_, port) => write!(f, ":{port}"),
        }
    }
}

/// The rules of one node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Egress {
    private: bool,
    own: Vec<SocketAddr>,
}

impl Egress {
    /// Rules that admit private and loopback endpoints only if the operator asks for it and the chain is a
    /// development chain, and never our `own` listeners.
    pub fn new(allow_private: bool, chain_id: u64, own: Vec<SocketAddr>) -> Self {
        Self { private: allow_private && DEVELOPMENT_CHAINS.contains(&chain_id), own }
    }

    /// Reads an endpoint as registered.
    ///
    /// # Errors
    /// If it is not exactly `https://HOST[:PORT]`, or names a port or literal address that is not dialled.
    pub fn endpoint(&self, text: &str) -> Result<Endpoint, Refusal> {
        if text.len() > 300 {
            return Err(Refusal::Malformed("too long"));
        }
        let (tls, authority) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(authority), _) => (true, authority),
            (None, Some(authority)) if self.private => (false, authority),
            (None, Some(_)) => return Err(Refusal::Plain),
            (None, None) => return Err(Refusal::Malformed("another scheme")),
        };
        let (host, port) = split_port(authority)?;
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        if (port != 443 && port < 1024) || SERVICES.contains(&port) {
            return Err(Refusal::Port(port));
        }
        let host = self.host(host)?;
        if let Host::Address(ip) = host {
            self.address(SocketAddr::new(ip, port))?;
        }
        Ok(Endpoint { tls, host, port })
    }

    fn host(&self, text: &str) -> Result<Host, Refusal> {
        if let Some(inner) = text.strip_prefix('[') {
            let literal = inner.strip_suffix(']').and_then(|v6| v6.parse::<Ipv6Addr>().ok());
            return match literal {
                Some(v6) => Ok(Host::Address(v6.into())),
                None => Err(Refusal::Malformed("a wrong IPv6 address")),
            };
        }
        if let Ok(v4) = text.parse::<Ipv4Addr>() {
            return Ok(Host::Address(v4.into()));
        }
        let labels: Vec<&str> = text.split('.').collect();
        let fits = |label: &&str| {
            let ends = [label.bytes().next(), label.bytes().last()];
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !ends.contains(&Some(b'-'))
        };
        if text.len() > 253 || !labels.iter().all(fits) {
            return Err(Refusal::Malformed("a wrong name"));
        }
        // `0x7f.1`, `2130706433` and `127.1` are addresses to some resolvers: no top-level domain looks so.
        let last = labels.last().copied().unwrap_or_default().to_ascii_lowercase();
        if last.starts_with("0x") || last.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Refusal::Malformed("an address in another notation"));
        }
        // A single label is completed by the machine's search domains, which are its own network.
        if labels.len() < 2 && !self.private {
            return Err(Refusal::Malformed("a name without a domain"));
        }
        Ok(Host::Name(text.to_ascii_lowercase()))
    }

    /// Picks the address to connect to from all that a name has: every one of them must be fine.
    ///
    /// # Errors
    /// If there is none, or one that is not dialled.
    pub fn choose(&self, addresses: &[IpAddr], port: u16) -> Result<SocketAddr, Refusal> {
        for ip in addresses {
            self.address(SocketAddr::new(*ip, port))?;
        }
        addresses.first().map(|ip| SocketAddr::new(*ip, port)).ok_or(Refusal::NoAddress)
    }

    /// Whether that address may be dialled.
    ///
    /// # Errors
    /// If it may not.
    pub fn address(&self, address: SocketAddr) -> Result<(), Refusal> {
        let kind = kind(address.ip());
        match kind {
            Kind::Global => {}
            Kind::Loopback | Kind::Private if self.private => {}
            _ => return Err(Refusal::Address(address.ip(), kind)),
        }
        // A listener on 0.0.0.0 or [::] is heard at each address of this machine; what it offers to the
        // Internet is open anyway.
        let ours = |own: &SocketAddr| {
            own.port() == address.port()
                && (own.ip() == address.ip() || (own.ip().is_unspecified() && kind != Kind::Global))
        };
        match self.own.iter().any(ours) {
            true => Err(Refusal::Ourselves(address)),
            false => Ok(()),
        }
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), Refusal> {
    let Some((host, port)) = authority.rsplit_once(':').filter(|_| !authority.ends_with(']')) else {
        return Ok((authority, None));
    };
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0');
    match port.parse() {
        Ok(port) if digits => Ok((host, Some(port))),
        _ => Err(Refusal::Malformed("a wrong port")),
    }
}

/// What an address is for.
pub fn kind(ip: IpAddr) -> Kind {
    match ip {
        IpAddr::V4(v4) => kind_v4(v4),
        IpAddr::V6(v6) => kind_v6(v6),
    }
}

fn kind_v4(ip: Ipv4Addr) -> Kind {
    const TEST: Kind = Kind::Special("an address for documentation or tests");
    const RESERVED: Kind = Kind::Special("a reserved address");
    match ip.octets() {
        [0, ..] => Kind::Special("an unspecified address"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Kind::Private,
        [100, 64..=127, ..] => Kind::Special("a carrier's shared address"),
        [127, ..] => Kind::Loopback,
        [169, 254, ..] => Kind::Special("a link-local address"),
        // A cloud's host service at an address that is global by registry only.
        [168, 63, 129, 16] => Kind::Special("a cloud's host service"),
        [192, 0, 0, _] | [192, 88, 99, _] => RESERVED,
        [192, 0, 2, _] | [198, 18..=19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => TEST,
        [224..=239, ..] => Kind::Special("a multicast address"),
        [240..=255, ..] => RESERVED,
        _ => Kind::Global,
    }
}

fn kind_v6(ip: Ipv6Addr) -> Kind {
    const TRANSLATED: Kind = Kind::Special("an IPv4 address in disguise");
    const TEST: Kind = Kind::Special("an address for documentation or tests");
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Kind::Special("an unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Kind::Loopback,
        // Compatible, mapped, translated, both NAT64 prefixes, 6to4, Teredo: each leads to an IPv4 address.
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => TRANSLATED,
        [0x64, 0xff9b, ..] | [0x2002, ..] | [0x2001, 0, ..] => TRANSLATED,
        [0x2001, 0x1..=0x1ff, ..] => Kind::Special("a reserved address"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] => TEST,
        [0x2000..=0x3fff, ..] => Kind::Global,
        [0xfc00..=0xfdff, ..] => Kind::Private,
        [0xfe80..=0xfebf, ..] => Kind::Special("a link-local address"),
        [0xff00..=0xffff, ..] => Kind::Special("a multicast address"),
        _ => Kind::Special("a reserved address"),
    }
}
