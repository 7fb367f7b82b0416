//! Ports of loopback for nodes that are told where to listen before they run.

use std::io;
use std::net::TcpListener;

use rand::Rng;

/// Where ports are looked for: below those that Linux gives to outgoing connections (from 32,768 on), since one of
/// them can be taken by anybody's connection between here and its owner's start.
const RANGE: std::ops::Range<u16> = 15_000..32_000;

/// Ports are tried this often before the machine is believed to have none.
const TRIES: usize = 1_000;

/// Ports of loopback that nobody uses at this moment, all different.
///
/// # Errors
/// Loopback does not let us listen, or hardly a port is free.
pub fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    // All are held until all are known.
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let (number, listener) = free_port()?;
        *port = number;
        held.push(listener);
    }
    Ok(ports)
}

/// One that nobody uses, held.
fn free_port() -> io::Result<(u16, TcpListener)> {
    for _ in 0..TRIES {
        let port = rand::thread_rng().gen_range(RANGE);
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(listener) => return Ok((port, listener)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, format!("{TRIES} ports of {RANGE:?} are in use")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_all_different_and_none_is_one_that_an_outgoing_connection_may_get() {
        let ports: [u16; 16] = free_ports().unwrap();
        let held: Vec<_> =
            ports.iter().map(|port| TcpListener::bind(("127.0.0.1", *port)).unwrap()).collect();
        assert_eq!(held.len(), 16, "each is bound beside the others");
        assert!(ports.iter().all(|port| RANGE.contains(port)), "{ports:?}");
    }
}
