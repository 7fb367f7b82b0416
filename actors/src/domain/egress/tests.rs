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
        assert_eq!(Egress::new(allowed, chain, vec![]).endpoint(local).is_ok(), fine, "{allowed} {chain}");
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
