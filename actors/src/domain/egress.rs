//! What may be dialled of what strangers registered: pure rules for endpoints and addresses.
//!
//! A validator connects to whatever a hoster wrote into its registration file. Without these rules anybody
//! could make validators knock at their own admin interfaces, at a cloud's metadata service, or at a third
//! party. Sources: IANA's special-purpose address registries (RFC 6890 and its updates), RFC 3986, RFC 1123.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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

#[cfg(test)]
mod tests {
    use super::*;

    fn public() -> Egress {
        Egress::new(false, 1, vec![])
    }
    fn devnet() -> Egress {
        Egress::new(true, 1337, vec![])
    }

    #[test]
    fn an_address_is_what_the_registries_say() {
        let table = [
            ("1.1.1.1", "global"),
            ("100.63.255.255", "global"),
            ("172.15.0.1", "global"),
            ("172.32.0.1", "global"),
            ("192.167.0.1", "global"),
            ("198.17.0.1", "global"),
            ("223.255.255.255", "global"),
            ("0.0.0.0", "an unspecified address"),
            ("0.1.2.3", "an unspecified address"),
            ("10.0.0.1", "a private address"),
            ("172.16.0.1", "a private address"),
            ("172.31.255.255", "a private address"),
            ("192.168.1.1", "a private address"),
            ("100.64.0.1", "a carrier's shared address"),
            ("100.100.100.200", "a carrier's shared address"),
            ("127.0.0.1", "a loopback address"),
            ("127.255.255.254", "a loopback address"),
            ("169.254.169.254", "a link-local address"),
            ("168.63.129.16", "a cloud's host service"),
            ("192.0.0.192", "a reserved address"),
            ("192.0.2.1", "an address for documentation or tests"),
            ("198.18.0.1", "an address for documentation or tests"),
            ("198.51.100.1", "an address for documentation or tests"),
            ("203.0.113.1", "an address for documentation or tests"),
            ("224.0.0.1", "a multicast address"),
            ("240.0.0.1", "a reserved address"),
            ("255.255.255.255", "a reserved address"),
            ("2606:4700:4700::1111", "global"),
            ("2001:4860:4860::8888", "global"),
            ("2001:200::1", "global"),
            ("::", "an unspecified address"),
            ("::1", "a loopback address"),
            ("::2", "an IPv4 address in disguise"),
            ("::127.0.0.1", "an IPv4 address in disguise"),
            ("::ffff:127.0.0.1", "an IPv4 address in disguise"),
            ("::ffff:1.1.1.1", "an IPv4 address in disguise"),
            ("::ffff:0:127.0.0.1", "an IPv4 address in disguise"),
            ("64:ff9b::7f00:1", "an IPv4 address in disguise"),
            ("64:ff9b:1::1", "an IPv4 address in disguise"),
            ("2002:7f00:1::", "an IPv4 address in disguise"),
            ("2001:0:1::1", "an IPv4 address in disguise"),
            ("2001:20::1", "a reserved address"),
            ("2001:db8::1", "an address for documentation or tests"),
            ("3fff::1", "an address for documentation or tests"),
            ("fc00::1", "a private address"),
            ("fd00:ec2::254", "a private address"),
            ("fe80::1", "a link-local address"),
            ("fec0::1", "a reserved address"),
            ("ff02::1", "a multicast address"),
            ("100::1", "a reserved address"),
            ("5f00::1", "a reserved address"),
        ];
        for (text, what) in table {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(kind(ip).to_string(), what, "{text}");
            let global = what == "global";
            assert_eq!(public().address(SocketAddr::new(ip, 443)).is_ok(), global, "{text}");
            let near = ["a loopback address", "a private address"].contains(&what);
            assert_eq!(devnet().address(SocketAddr::new(ip, 443)).is_ok(), global || near, "{text}");
        }
    }

    #[test]
    fn a_public_endpoint_is_https_and_a_host_and_perhaps_a_port() {
        for (text, url) in [
            ("https://hoster.example", "https://hoster.example"),
            ("https://Hoster.Example:443", "https://hoster.example"),
            ("https://hoster.example:8443", "https://hoster.example:8443"),
            ("https://xn--bcher-kva.example:65535", "https://xn--bcher-kva.example:65535"),
            ("https://1.1.1.1:1024", "https://1.1.1.1:1024"),
            ("https://[2606:4700:4700::1111]:8443", "https://[2606:4700:4700::1111]:8443"),
        ] {
            assert_eq!(public().endpoint(text).unwrap().to_string(), url, "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "hoster.example",
            "http://hoster.example",
            "HTTPS://hoster.example",
            "ftp://hoster.example",
            "https:hoster.example",
            "https://",
            "https://hoster.example/",
            "https://hoster.example/path",
            "https://hoster.example?q",
            "https://hoster.example#f",
            "https://user@hoster.example",
            "https://user:pass@hoster.example",
            "https://hoster.example:",
            "https://hoster.example:0",
            "https://hoster.example:+443",
            "https://hoster.example:0443",
            "https://hoster.example:65536",
            "https://hoster.example:22",
            "https://hoster.example:80",
            "https://hoster.example:5001",
            "https://hoster.example:10250",
            "https://hoster.example.",
            "https://.example",
            "https://a..b",
            "https://-a.example",
            "https://a-.example",
            "https://a_b.example",
            "https://a b.example",
            "https://a%2eb.example",
            "https://hoster.example\r\nx",
            "https://hoster.example\\@evil",
            "https://bücher.example",
            "https://localhost",
            "https://127.0.0.1",
            "https://127.1",
            "https://0x7f000001",
            "https://0x7f.0.0.1",
            "https://0177.0.0.1",
            "https://2130706433",
            "https://1.2.3.4.5",
            "https://[::1]",
            "https://[::ffff:127.0.0.1]",
            "https://[fe80::1%25eth0]",
            "https://[::1",
            "https://::1",
            "https://10.0.0.1:8443",
        ] {
            assert!(public().endpoint(text).is_err(), "{text}");
        }
        assert!(public().endpoint(&format!("https://{}.example", "a.".repeat(150))).is_err());
        assert_eq!(public().endpoint("http://hoster.example"), Err(Refusal::Plain));
    }

    #[test]
    fn private_endpoints_need_the_operators_word_and_a_development_chain() {
        let local = "http://127.0.0.1:8080";
        for (allowed, chain, fine) in
            [(true, 1337, true), (true, 31337, true), (true, 1, false), (false, 1337, false)]
        {
            assert_eq!(
                Egress::new(allowed, chain, vec![]).endpoint(local).is_ok(),
                fine,
                "{allowed} {chain}"
            );
        }
        assert!(devnet().endpoint("http://localhost:8080").is_ok());
        assert!(devnet().endpoint("http://169.254.169.254:8080").is_err());
        assert_eq!(devnet().endpoint("http://127.0.0.1:5001"), Err(Refusal::Port(5001)));
    }

    #[test]
    fn one_bad_address_of_a_name_spoils_the_name() {
        let [good, other, bad]: [IpAddr; 3] = ["1.1.1.1", "8.8.8.8", "10.0.0.1"].map(|a| a.parse().unwrap());
        assert_eq!(public().choose(&[good, other], 443).unwrap().ip(), good);
        assert_eq!(public().choose(&[good, bad], 443), Err(Refusal::Address(bad, Kind::Private)));
        assert_eq!(public().choose(&[], 443), Err(Refusal::NoAddress));
    }

    #[test]
    fn our_own_listeners_are_never_dialled() {
        let own = ["127.0.0.1:9000", "0.0.0.0:9001", "1.1.1.1:9002"].map(|a| a.parse().unwrap());
        let rules = Egress::new(true, 1337, own.to_vec());
        for (address, fine) in [
            ("127.0.0.1:9000", false),
            ("127.0.0.2:9000", true),
            ("10.0.0.1:9001", false),
            ("[::1]:9001", false),
            ("8.8.8.8:9001", true),
            ("1.1.1.1:9002", false),
        ] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(rules.address(address).is_ok(), fine, "{address}");
        }
    }
}
