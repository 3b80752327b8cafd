//! Ports for private servers: free now, and unlikely to be taken while a server is down for a restart.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::Context;

const LOWEST: u16 = 10_000;
const TRIES: usize = 1_000;

/// Finds `N` different free ports on 127.0.0.1.
///
/// They lie below the range the kernel takes outgoing ports from. A port from that range (which is what binding port 0
/// gives) can be lost while its server restarts: a client that keeps calling the dead port may be handed the very same
/// number as its source port, connect to itself, and hold it. Where that range leaves no room, port 0 it is.
pub fn free<const N: usize>() -> anyhow::Result<[u16; N]> {
    let outgoing = first_outgoing_port();
    // All listeners are held until every port is found, so that no two are the same.
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = listen_below(outgoing).or_else(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok());
        let listener = listener.context("no free port was found on 127.0.0.1")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// Whether nobody listens on this port of 127.0.0.1.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn listen_below(outgoing: u16) -> Option<TcpListener> {
    if outgoing < LOWEST + 2_000 {
        return None;
    }
    (0..TRIES).find_map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, fastrand::u16(LOWEST..outgoing))).ok())
}

fn first_outgoing_port() -> u16 {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .unwrap_or(32_768)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_different_and_free() {
        let ports: [u16; 20] = free().unwrap();
        for (index, port) in ports.iter().enumerate() {
            assert!(is_free(*port));
            assert!(!ports[..index].contains(port));
        }
    }

    #[test]
    fn a_port_with_a_listener_is_not_free() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(!is_free(listener.local_addr().unwrap().port()));
    }
}
