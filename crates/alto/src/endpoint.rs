//! Endpoint addresses and prefixes (RFC 7285 section 10.4).
//!
//! Several texts may name one address (section 10.4); ours is that of RFC 5952 section 4. Read are all of RFC 4291 for
//! IPv6, and for IPv4 the `IPv4address` of RFC 3986, without leading zeros.
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// An endpoint address with its type, `ipv4:192.0.2.1` (RFC 7285 section 10.4.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// `ipv4:` or `ipv6:`.
    Ip(IpAddr),
    /// A private-use type (RFC 7285 section 14.4, `priv:`): the whole text, type and address.
    Private(Box<str>),
}

impl Address {
    /// The IP address, unless it is of a private type.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(ip) => Some(*ip),
            Self::Private(_) => None,
        }
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        Self::Ip(ip)
    }
}

/// A string that is not an endpoint address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an endpoint address such as ipv4:192.0.2.1 or ipv6:2001:db8::1")]
pub struct InvalidAddress {
    /// What was given.
    pub text: Box<str>,
}

impl FromStr for Address {
    type Err = InvalidAddress;
    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let address = match text.split_once(':') {
            Some(("ipv4", address)) => address.parse().ok().map(|a| Self::Ip(IpAddr::V4(a))),
            Some(("ipv6", address)) => address.parse().ok().map(|a| Self::Ip(IpAddr::V6(a))),
            Some(("priv", address)) => is_private(address).then(|| Self::Private(text.into())),
            _ => None,
        };
        address.ok_or_else(|| InvalidAddress { text: text.into() })
    }
}

fn is_private(address: &str) -> bool {
    // No grammar is given for private addresses; these are the characters of a version tag and the length of two PID names.
    (1..=128).contains(&address.len()) && address.bytes().all(|b| (0x21..=0x7e).contains(&b))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(ip)) => write!(f, "ipv4:{ip}"),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "ipv6:{ip}"),
            Self::Private(text) => f.write_str(text),
        }
    }
}

impl serde::Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// A set of IP addresses as a network map writes it, `192.0.2.0/24` (RFC 7285 sections 10.4.4 and 11.2.1.3).
///
/// Invariant: the bits past the length are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix(ipnet::IpNet);

impl Prefix {
    /// The prefix of `address` with `len` bits, the rest cleared. `None` when `len` is more than the family has.
    pub fn new(address: IpAddr, len: u8) -> Option<Self> {
        ipnet::IpNet::new(address, len).ok().map(|net| Self(net.trunc()))
    }

    /// First address.
    pub fn address(&self) -> IpAddr {
        self.0.network()
    }

    /// Last address.
    pub fn last_address(&self) -> IpAddr {
        self.0.broadcast()
    }

    /// Length in bits.
    pub fn length(&self) -> u8 {
        self.0.prefix_len()
    }

    /// Whether `address` lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// Whether every address of `other` lies in it.
    pub fn covers(&self, other: &Self) -> bool {
        self.length() <= other.length() && self.contains(other.address())
    }

    /// Whether it is of IPv4.
    pub fn is_ipv4(&self) -> bool {
        matches!(self.0, ipnet::IpNet::V4(_))
    }
}

/// A string that is not a prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPrefix {
    /// Not `address/length` at all.
    #[error("{text:?} is not a prefix such as 192.0.2.0/24 or 2001:db8::/32")]
    Syntax {
        /// What was given.
        text: Box<str>,
    },
    /// Addresses of an endpoint, not of a set (RFC 4632 section 3.1).
    #[error("{text:?} has bits set past its length; the prefix is {prefix}")]
    HostBits {
        /// What was given.
        text: Box<str>,
        /// The same with those bits cleared.
        prefix: Prefix,
    },
}

impl FromStr for Prefix {
    type Err = InvalidPrefix;
    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        let (address, prefix) = parse_prefix(text).ok_or_else(|| InvalidPrefix::Syntax { text: text.into() })?;
        if prefix.address() == address { Ok(prefix) } else { Err(InvalidPrefix::HostBits { text: text.into(), prefix }) }
    }
}

fn parse_prefix(text: &str) -> Option<(IpAddr, Prefix)> {
    let (address, length) = text.split_once('/')?;
    let digits = length.as_bytes();
    if !(1..=3).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) || (digits.len() > 1 && digits[0] == b'0') {
        return None;
    }
    let address = match address.parse::<Ipv4Addr>() {
        Ok(v4) => IpAddr::V4(v4),
        Err(_) => IpAddr::V6(address.parse::<Ipv6Addr>().ok()?),
    };
    Some((address, Prefix::new(address, length.parse().ok()?)?))
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address(), self.length())
    }
}

impl serde::Serialize for Prefix {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Prefix {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
