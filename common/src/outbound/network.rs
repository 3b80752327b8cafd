//! Which IP addresses may be reached: a pure function of the address and of what the configuration lists.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// How far a request may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// What is public, and what is listed.
    Public,
    /// What is listed, and nothing else.
    Listed,
}

#[derive(Clone, Debug)]
pub struct Rules {
    listed: Vec<IpNet>,
}

impl Rules {
    pub fn new(listed: &[IpNet]) -> Rules {
        Rules { listed: listed.to_vec() }
    }

    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    pub fn permit(&self, address: IpAddr, reach: Reach) -> bool {
        // ::ffff:127.0.0.1 is 127.0.0.1.
        let address = address.to_canonical();
        let listed = self.listed.iter().any(|network| network.contains(&address));
        listed || (reach == Reach::Public && is_public(address))
    }
}

/// Whether anybody on the internet could reach it as well.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => !within_v4(address, NOT_PUBLIC_V4),
        IpAddr::V6(address) => {
            within_v6(address, &GLOBAL_UNICAST_V6) && !NOT_PUBLIC_V6.iter().any(|net| within_v6(address, net))
        }
    }
}

/// The IANA IPv4 Special-Purpose Address Registry (RFC 6890) and what lies in no unicast block.
const NOT_PUBLIC_V4: &[([u8; 4], u32)] = &[
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    // Shared by carriers (RFC 6598); a cloud keeps its metadata at 100.100.100.200.
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    // Link-local, with the metadata of most clouds at 169.254.169.254.
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    // Relays of 6to4, which is no more (RFC 7526).
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    // A cloud's own server for its machines, though the address is public.
    ([168, 63, 129, 16], 32),
    // Multicast, reserved, broadcast.
    ([224, 0, 0, 0], 3),
];

/// Only this block is assigned to hosts (RFC 4291), so unspecified, loopback, mapped, NAT64 (64:ff9b::), unique local,
/// link-local and multicast addresses all lie outside.
const GLOBAL_UNICAST_V6: ([u16; 8], u32) = ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// What lies inside, and is not public either.
const NOT_PUBLIC_V6: &[([u16; 8], u32)] = &[
    // Protocol assignments: Teredo, which holds an IPv4 address, ORCHID and others.
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    // 6to4, which holds an IPv4 address.
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

fn within_v4(address: Ipv4Addr, networks: &[([u8; 4], u32)]) -> bool {
    let bits = u32::from(address);
    networks.iter().any(|(network, length)| (bits ^ u32::from_be_bytes(*network)) >> (32 - length) == 0)
}

fn within_v6(address: Ipv6Addr, (network, length): &([u16; 8], u32)) -> bool {
    let network = Ipv6Addr::from(*network);
    (u128::from(address) ^ u128::from(network)) >> (128 - length) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_public_is_known_at_both_of_its_ends() {
        for (address, public) in [
            ("0.0.0.0", false),
            ("0.255.255.255", false),
            ("1.1.1.1", true),
            ("9.255.255.255", true),
            ("10.0.0.0", false),
            ("10.255.255.255", false),
            ("11.0.0.0", true),
            ("100.63.255.255", true),
            ("100.64.0.0", false),
            ("100.100.100.200", false),
            ("100.127.255.255", false),
            ("100.128.0.0", true),
            ("126.255.255.255", true),
            ("127.0.0.1", false),
            ("127.255.255.255", false),
            ("128.0.0.0", true),
            ("168.63.129.16", false),
            ("168.63.129.17", true),
            ("169.253.255.255", true),
            ("169.254.169.254", false),
            ("169.255.0.0", true),
            ("172.15.255.255", true),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("172.32.0.0", true),
            ("192.0.0.192", false),
            ("192.0.1.0", true),
            ("192.0.2.1", false),
            ("192.88.99.1", false),
            ("192.167.255.255", true),
            ("192.168.1.1", false),
            ("192.169.0.0", true),
            ("198.17.255.255", true),
            ("198.18.0.1", false),
            ("198.19.255.255", false),
            ("198.51.100.7", false),
            ("203.0.113.7", false),
            ("223.255.255.255", true),
            ("224.0.0.1", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::127.0.0.1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:169.254.169.254", false),
            ("::ffff:1.1.1.1", true),
            ("64:ff9b::7f00:1", false),
            ("64:ff9b::101:101", false),
            ("64:ff9b:1::a9fe:a9fe", false),
            ("100::1", false),
            ("1fff:ffff::", false),
            ("2001::1", false),
            ("2001:0:7f00:1::", false),
            ("2001:20::1", false),
            ("2001:1ff:ffff::", false),
            ("2001:200::", true),
            ("2001:db8::1", false),
            ("2002:7f00:1::", false),
            ("2002:a9fe:a9fe::1", false),
            ("2003::", true),
            ("2606:4700:4700::1111", true),
            ("3ffe::1", true),
            ("3fff:fff::1", false),
            ("4000::", false),
            ("5f00::1", false),
            ("fc00::1", false),
            ("fd00:ec2::254", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
    }

    #[test]
    fn what_is_listed_may_be_reached_and_nothing_beside_it() {
        let rules = Rules::new(&["10.1.0.0/16".parse().unwrap(), "fd00::/64".parse().unwrap()]);
        let permit = |address: &str, reach| rules.permit(address.parse().unwrap(), reach);
        for reach in [Reach::Public, Reach::Listed] {
            assert!(
                permit("10.1.2.3", reach) && permit("::ffff:10.1.2.3", reach) && permit("fd00::7", reach)
            );
            assert!(
                !permit("10.2.0.1", reach) && !permit("fd00:0:0:1::", reach) && !permit("127.0.0.1", reach)
            );
        }
        assert!(permit("1.1.1.1", Reach::Public) && !permit("1.1.1.1", Reach::Listed));
    }
}
