//! Endpoint addresses and prefixes (RFC 7285 section 10.4).
use std::net::IpAddr;

/// An endpoint address with its type, `ipv4:192.0.2.1` (RFC 7285 section 10.4.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// `ipv4:` or `ipv6:`.
    Ip(IpAddr),
    /// A private-use type (RFC 7285 section 14.4, `priv:`): the whole text, type and address.
    Private(Box<str>),
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
    /// Length in bits.
    pub fn length(&self) -> u8 {
        self.0.prefix_len()
    }
    /// Whether `address` lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}
