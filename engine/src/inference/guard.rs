//! Which addresses are never asked, whoever names them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where clouds tell a machine who it is, and its secrets, besides the link-local addresses: Alibaba, Oracle, Azure.
const METADATA: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];
/// The same over IPv6: two of Amazon, Google, Oracle.
const METADATA_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
];

/// Whether nothing is ever sent to an address: link-local ones and other places of metadata, and what is no single machine.
/// Private networks and this machine are allowed: that is where services of one's own are.
#[must_use]
pub fn is_forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_forbidden_v4(address),
        IpAddr::V6(address) => {
            address.is_unspecified()
                || address.is_multicast()
                || address.is_unicast_link_local()
                || METADATA_V6.contains(&address)
                || inner(address).into_iter().flatten().any(is_forbidden_v4)
        }
    }
}

fn is_forbidden_v4(address: Ipv4Addr) -> bool {
    address.octets()[0] == 0
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || METADATA.contains(&address)
}

/// The addresses of version 4 that one of version 6 may lead to: mapped, compatible, translated (`::ffff:0:0:0/96`, 64:ff9b::/96,
/// and 64:ff9b:1::/48, which has them at its end or behind its prefix) or tunnelled (2002::/16).
///
/// Source: RFC 4291, RFC 2765, RFC 6052, RFC 8215, RFC 3056.
fn inner(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let of = |high: u16, low: u16| {
        let ([first, second], [third, fourth]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(first, second, third, fourth))
    };
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0 | 0xffff] | [0, 0, 0, 0, 0xffff, 0] | [0x64, 0xff9b, 0, 0, 0, 0]
            if address != Ipv6Addr::LOCALHOST =>
        {
            [of(g, h), None]
        }
        // The usual form has zeros there.
        [0x64, 0xff9b, 1, 0, ..] => [of(g, h), None],
        // Behind a prefix of 48 bits, eight bits of zeros are in the middle.
        [0x64, 0xff9b, 1, high, middle, low] => [of(g, h), of(high, middle << 8 | low >> 8)],
        [0x2002, high, low, ..] => [of(high, low), None],
        _ => [None, None],
    }
}

#[cfg(test)]
mod tests {
    use super::is_forbidden;

    #[test]
    fn places_of_metadata_are_forbidden_in_every_form_and_networks_of_ones_own_are_not() {
        let forbidden = [
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "::",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:c1::a9fe:a9fe",
            "::ffff:0:169.254.169.254",
            "64:ff9b:1::169.254.169.254",
            "64:ff9b:1:a9fe:a9:fe00::",
        ];
        let allowed = [
            "127.0.0.1",
            "::1",
            "10.0.0.7",
            "192.168.1.1",
            "fd00::1",
            "8.8.8.8",
            "2001:db8::1",
            "64:ff9b:1::10.0.0.7",
        ];

        for address in forbidden {
            assert!(is_forbidden(address.parse().unwrap()), "{address}");
        }
        for address in allowed {
            assert!(!is_forbidden(address.parse().unwrap()), "{address}");
        }
    }
}
