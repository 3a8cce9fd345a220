//! Network maps (RFC 7285 section 11.2.1).
use crate::{
    endpoint::Prefix,
    id::{Pid, VersionTag},
};
use std::collections::BTreeMap;

/// PIDs and the addresses in each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkMap {
    /// `meta.vtag`; a map that was never published has none.
    pub vtag: Option<VersionTag>,
    /// In the order of their names, so that equal maps have equal bytes.
    pub pids: BTreeMap<Pid, AddressGroup>,
}

/// The endpoint address group of one PID (RFC 7285 section 10.4.5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressGroup {
    /// Prefixes of type `ipv4`, sorted.
    pub ipv4: Vec<Prefix>,
    /// Prefixes of type `ipv6`, sorted.
    pub ipv6: Vec<Prefix>,
    /// Everything of other (`priv:`) types, by type; kept, not interpreted.
    pub other: BTreeMap<Box<str>, Vec<Box<str>>>,
}
