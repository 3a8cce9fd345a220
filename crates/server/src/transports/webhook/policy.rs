//! Who may be sent notifications: so that nobody is sent what somebody else asked for.
//!
//! A contact address is the requester's own, or lies in a prefix that the operator listed. Addresses that are special where this server stands
//! (loopback, link-local with the metadata services of clouds, multicast) must be listed, whoever asks. They are IP addresses that were read
//! strictly (`alto::updates::webhook`), so there is no name that could move after this check.
use alto::endpoint::Prefix;
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// What an operator allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Prefixes to which anybody may have notifications sent.
    pub(crate) listed: Vec<Prefix>,
    /// Who reaches this server is on this machine, unless somebody passes it on.
    pub(crate) local: bool,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Requester {
    /// Where the request came from; an IPv4 address is one.
    pub(crate) address: IpAddr,
    /// Nothing hints at a proxy, or at a page of another site, between us.
    pub(crate) direct: bool,
}

/// Why a contact address is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is not the requester's.
    Foreign { requester: IpAddr },
    /// It is special where this server stands.
    Special(&'static str),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign { requester } => write!(
                f,
                "notifications go to the address that asks for them, {requester}; others must be listed in subscriptions.contact-prefixes"
            ),
            Self::Special(what) => {
                write!(f, "{what} must be listed in subscriptions.contact-prefixes before notifications go there")
            }
        }
    }
}

impl Policy {
    /// That of a configuration, of a server that listens there.
    pub(crate) fn of(options: &crate::Options, listens: &[SocketAddr]) -> Self {
        let loopback = listens.iter().all(|address| address.ip().to_canonical().is_loopback());
        Self { listed: options.contact_prefixes.clone(), local: loopback && options.public_url.is_none() }
    }

    /// Whether notifications may be sent to `contact` for this requester.
    pub(crate) fn check(&self, contact: IpAddr, requester: Requester) -> Result<(), Refused> {
        if self.lists(contact) {
            return Ok(());
        }
        // What is special is told first: to be the one who asks would not help.
        match special(contact) {
            // It is told nothing there that it cannot reach itself.
            Some(Special::Loopback) if self.local && requester.direct && contact == requester.address => Ok(()),
            Some(special) => Err(Refused::Special(special.as_str())),
            None if contact == requester.address => Ok(()),
            None => Err(Refused::Foreign { requester: requester.address }),
        }
    }

    fn lists(&self, contact: IpAddr) -> bool {
        self.listed.iter().any(|prefix| prefix.contains(contact))
    }
}

/// Kinds of addresses that mean something else, or somebody else, to this server than to who names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Special {
    Loopback,
    LinkLocal,
    Multicast,
    Metadata,
    Unusable,
}

impl Special {
    fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback addresses",
            Self::LinkLocal => "link-local addresses",
            Self::Multicast => "multicast and broadcast addresses",
            Self::Metadata => "addresses of metadata services",
            Self::Unusable => "addresses of this network and reserved ones",
        }
    }
}

fn special(address: IpAddr) -> Option<Special> {
    match address {
        IpAddr::V4(address) => special4(address),
        IpAddr::V6(address) => special6(address),
    }
}

/// The registry of RFC 6890, and what clouds use besides 169.254.169.254.
fn special4(address: Ipv4Addr) -> Option<Special> {
    /// Alibaba Cloud; it lies in the shared address space of RFC 6598.
    const METADATA: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
    let first = address.octets()[0];
    match address {
        _ if address.is_loopback() => Some(Special::Loopback),
        _ if address.is_link_local() => Some(Special::LinkLocal),
        _ if address.is_multicast() || address.is_broadcast() => Some(Special::Multicast),
        _ if METADATA.contains(&address) => Some(Special::Metadata),
        _ if first == 0 || first >= 240 => Some(Special::Unusable),
        _ => None,
    }
}

fn special6(address: Ipv6Addr) -> Option<Special> {
    /// Amazon's and Google's metadata services.
    const METADATA: [Ipv6Addr; 2] = [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];
    let segments = address.segments();
    match address {
        _ if address.is_loopback() => Some(Special::Loopback),
        _ if address.is_unspecified() => Some(Special::Unusable),
        _ if address.is_unicast_link_local() => Some(Special::LinkLocal),
        _ if address.is_multicast() => Some(Special::Multicast),
        _ if METADATA.contains(&address) => Some(Special::Metadata),
        // An IPv4 address within: what that is, this is. Without its own prefix it would be reached by a translator or tunnel of this site.
        _ => embedded(segments).map(|inner| special4(inner).unwrap_or(Special::Unusable)),
    }
}

/// The IPv4 address within an IPv6 address: mapped and compatible (RFC 4291 section 2.5.5), translated (RFC 6052, RFC 8215), 6to4 (RFC 3056).
fn embedded(segments: [u16; 8]) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match segments {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => Some(of(high, low)),
        [0, 0, 0, 0, 0xffff, 0, high, low] => Some(of(high, low)),
        [0x64, 0xff9b, 0 | 1, _, _, _, high, low] => Some(of(high, low)),
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn policy(listed: &[&str]) -> Policy {
        Policy { listed: listed.iter().map(|prefix| prefix.parse().unwrap()).collect(), local: false }
    }

    #[test]
    fn only_the_own_address_unless_listed() {
        let at = |address: &str, direct| Requester { address: ip(address), direct };
        let foreign = |requester: &str| Err(Refused::Foreign { requester: ip(requester) });
        let none = policy(&[]);
        assert_eq!(none.check(ip("192.0.2.7"), at("192.0.2.7", false)), Ok(()));
        assert_eq!(none.check(ip("2001:db8::7"), at("2001:db8::7", false)), Ok(()));
        assert_eq!(none.check(ip("192.0.2.8"), at("192.0.2.7", false)), foreign("192.0.2.7"));
        assert_eq!(none.check(ip("10.0.0.1"), at("192.0.2.7", false)), foreign("192.0.2.7"));
        // Listed: for whoever asks.
        let some = policy(&["192.0.2.0/29", "2001:db8::/64", "169.254.1.0/24"]);
        for (contact, want) in [
            ("192.0.2.1", Ok(())),
            ("192.0.2.8", foreign("198.51.100.1")),
            ("2001:db8::ffff", Ok(())),
            ("2001:db8:0:1::1", foreign("198.51.100.1")),
            ("169.254.1.9", Ok(())),
            ("169.254.169.254", Err(Refused::Special("link-local addresses"))),
        ] {
            assert_eq!(some.check(ip(contact), at("198.51.100.1", false)), want, "{contact}");
        }
    }

    /// Special ones are refused to their owner too: who speaks from one may have it spoofed.
    #[test]
    fn special_addresses_must_be_listed() {
        for (contact, what) in [
            ("127.0.0.1", "loopback addresses"),
            ("127.255.255.254", "loopback addresses"),
            ("::1", "loopback addresses"),
            ("169.254.169.254", "link-local addresses"),
            ("169.254.0.1", "link-local addresses"),
            ("fe80::1", "link-local addresses"),
            ("febf::1", "link-local addresses"),
            ("224.0.0.1", "multicast and broadcast addresses"),
            ("255.255.255.255", "multicast and broadcast addresses"),
            ("ff02::1", "multicast and broadcast addresses"),
            ("100.100.100.200", "addresses of metadata services"),
            ("192.0.0.192", "addresses of metadata services"),
            ("fd00:ec2::254", "addresses of metadata services"),
            ("fd20:ce::254", "addresses of metadata services"),
            ("0.0.0.0", "addresses of this network and reserved ones"),
            ("0.1.2.3", "addresses of this network and reserved ones"),
            ("240.0.0.1", "addresses of this network and reserved ones"),
            ("::", "addresses of this network and reserved ones"),
            // IPv4 within IPv6: what it leads to counts.
            ("::ffff:127.0.0.1", "loopback addresses"),
            ("::ffff:169.254.169.254", "link-local addresses"),
            ("::127.0.0.1", "loopback addresses"),
            ("::ffff:0:169.254.169.254", "link-local addresses"),
            ("64:ff9b::169.254.169.254", "link-local addresses"),
            ("64:ff9b:1::127.0.0.1", "loopback addresses"),
            ("2002:7f00:1::1", "loopback addresses"),
            ("2002:a9fe:a9fe::1", "link-local addresses"),
            ("64:ff9b::192.0.2.1", "addresses of this network and reserved ones"),
        ] {
            let contact = ip(contact);
            let own = Requester { address: contact, direct: true };
            assert_eq!(policy(&[]).check(contact, own), Err(Refused::Special(what)), "{contact}");
            let all = policy(&["0.0.0.0/0", "::/0"]);
            assert_eq!(all.check(contact, own), Ok(()), "{contact}: everything is listed");
        }
    }

    #[test]
    fn who_asks_from_this_machine_may_be_called_back_there() {
        let local = Policy { listed: Vec::new(), local: true };
        let direct = |address: &str| Requester { address: ip(address), direct: true };
        assert_eq!(local.check(ip("127.0.0.1"), direct("127.0.0.1")), Ok(()));
        assert_eq!(local.check(ip("::1"), direct("::1")), Ok(()));
        let loopback = Err(Refused::Special("loopback addresses"));
        assert_eq!(local.check(ip("127.0.0.2"), direct("127.0.0.1")), loopback);
        assert_eq!(local.check(ip("::1"), direct("127.0.0.1")), loopback);
        assert_eq!(local.check(ip("127.0.0.1"), Requester { direct: false, ..direct("127.0.0.1") }), loopback);
        assert_eq!(local.check(ip("169.254.169.254"), direct("169.254.169.254")), Err(Refused::Special("link-local addresses")));
        assert_eq!(local.check(ip("192.0.2.1"), direct("127.0.0.1")), Err(Refused::Foreign { requester: ip("127.0.0.1") }));
        // As soon as others can come.
        let options = crate::Options::default();
        let (here, there) = ("127.0.0.1:6671".parse().unwrap(), "[2001:db8::1]:6671".parse().unwrap());
        assert!(Policy::of(&options, &[here]).local);
        assert!(!Policy::of(&options, &[here, there]).local);
        assert!(!Policy::of(&crate::Options { public_url: Some("https://a.example".into()), ..options }, &[here]).local);
    }
}
