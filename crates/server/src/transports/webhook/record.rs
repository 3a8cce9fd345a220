//! Subscriptions on the disk: a record for each, and where they are in pieces of [`super::position`].
//!
//! A record is JSON: it outlives this process, and people may have to read it. Units: `expires-at` is seconds of the Unix epoch, `lifetime`
//! seconds.
use super::subscription::Id;
use alto::{
    id::ResourceId,
    updates::webhook::{ContactAddress, EventType},
};
use bytes::Bytes;
use history::View;
use serde::{Deserialize, Serialize};
use std::{collections::HashSet, ops::Bound};
use store::{Error, Store, Table, Write};

/// Records by `subscrid`.
const SUBSCRIPTIONS: Table = "subscriptions";
/// Pieces of positions by number.
const POSITIONS: Table = "subscription-positions";

/// One subscription, to be taken up again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(super) follows: Vec<Follows>,
    pub(super) contacts: Vec<ContactAddress>,
    pub(super) expires_at: u64,
    /// As it was given last: what a refresh gives that does not say how long. Records of before do not have it.
    pub(super) lifetime: Option<u64>,
    pub(super) incremental: bool,
}

/// One thing it follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Follows {
    pub(super) event_type: EventType,
    pub(super) resource: ResourceId,
    /// The canonical request body.
    pub(super) input: Option<Box<str>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Stored {
    follows: Vec<StoredFollows>,
    contacts: Vec<StoredContact>,
    expires_at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lifetime: Option<u64>,
    incremental: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct StoredFollows {
    event_type: Box<str>,
    resource_id: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Box<str>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct StoredContact {
    address: std::net::IpAddr,
    port: u16,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    tls: bool,
}

impl Follows {
    /// Of a view that is followed.
    pub(super) fn of(event_type: EventType, view: &View) -> Self {
        let input = view.input().map(|input| std::str::from_utf8(input).expect("a canonical input is JSON text").into());
        Self { event_type, resource: view.resource().clone(), input }
    }
}

impl Record {
    fn encode(&self) -> Vec<u8> {
        let stored = Stored {
            follows: self
                .follows
                .iter()
                .map(|follows| StoredFollows {
                    event_type: follows.event_type.as_str().into(),
                    resource_id: follows.resource.as_str().into(),
                    input: follows.input.clone(),
                })
                .collect(),
            contacts: self
                .contacts
                .iter()
                .map(|contact| StoredContact { address: contact.address, port: contact.port, tls: contact.tls })
                .collect(),
            expires_at: self.expires_at,
            lifetime: self.lifetime,
            incremental: self.incremental,
        };
        serde_json::to_vec(&stored).expect("texts and numbers are always JSON")
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(bytes).ok()?;
        let follows = stored.follows.into_iter().map(|follows| {
            let (event_type, resource) = (follows.event_type.parse().ok()?, follows.resource_id.parse().ok()?);
            Some(Follows { event_type, resource, input: follows.input })
        });
        let record = Self {
            follows: follows.collect::<Option<_>>()?,
            contacts: stored
                .contacts
                .into_iter()
                .map(|StoredContact { address, port, tls }| ContactAddress { address, port, tls })
                .collect(),
            expires_at: stored.expires_at,
            lifetime: stored.lifetime,
            incremental: stored.incremental,
        };
        (!record.follows.is_empty() && !record.contacts.is_empty()).then_some(record)
    }
}

/// To remember one.
pub(super) fn put(id: Id, record: &Record) -> Write {
    Write::Put(SUBSCRIPTIONS, id.0.into(), record.encode().into())
}

/// To forget one.
pub(super) fn forget(id: Id) -> Write {
    Write::Delete(SUBSCRIPTIONS, id.0.into())
}

/// To remember a piece of positions.
pub(super) fn put_positions(chunk: u32, piece: Vec<u8>) -> Write {
    Write::Put(POSITIONS, chunk.to_be_bytes().into(), Bytes::from(piece))
}

/// To forget all positions: keys have four bytes.
pub(super) fn forget_positions() -> Write {
    Write::DeleteRange(POSITIONS, Vec::new(), vec![0xff; 5])
}

/// What the store knows.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) records: Vec<(Id, Record)>,
    /// Records that cannot be read: they are left where they are.
    pub(super) unreadable: usize,
    pub(super) positions: HashSet<u64>,
}

/// All that is remembered.
pub(super) fn read(store: &dyn Store) -> Result<Known, Error> {
    let mut known = Known::default();
    store.scan(SUBSCRIPTIONS, Bound::Unbounded, Bound::Unbounded, &mut |key, value| {
        match (<[u8; 16]>::try_from(key), Record::decode(value)) {
            (Ok(id), Some(record)) => known.records.push((Id(id), record)),
            _ => known.unreadable += 1,
        }
        true
    })?;
    store.scan(POSITIONS, Bound::Unbounded, Bound::Unbounded, &mut |_, value| {
        known.positions.extend(super::position::decode(value));
        true
    })?;
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_forgotten() {
        let store = store::Memory::default();
        let record = Record {
            follows: vec![
                Follows { event_type: EventType::NetworkMap, resource: "m".parse().unwrap(), input: None },
                Follows {
                    event_type: EventType::NetworkMapFilter,
                    resource: "f".parse().unwrap(),
                    input: Some(r#"{"pids":["a\"b"]}"#.into()),
                },
            ],
            contacts: vec![
                ContactAddress { address: "192.0.2.1".parse().unwrap(), port: 80, tls: false },
                ContactAddress { address: "2001:db8::1".parse().unwrap(), port: 443, tls: true },
            ],
            expires_at: 1_800_000_000,
            lifetime: Some(3600),
            incremental: true,
        };
        let before = Record { lifetime: None, ..record.clone() };
        assert_eq!(Record::decode(&before.encode()), Some(before));
        let (a, b) = (Id([1; 16]), Id([0xff; 16]));
        store.write(&[put(a, &record), put(b, &record), Write::Put(SUBSCRIPTIONS, vec![7; 16], Bytes::from_static(b"{}"))]).unwrap();
        store.write(&[put_positions(0, vec![0, 0, 0, 0, 0, 0, 0, 7]), put_positions(u32::MAX, vec![1; 8])]).unwrap();
        let known = read(&store).unwrap();
        assert_eq!(known.records, [(a, record.clone()), (b, record.clone())]);
        assert_eq!((known.unreadable, known.positions), (1, HashSet::from([7, 0x0101_0101_0101_0101])));
        store.write(&[forget(a), forget_positions()]).unwrap();
        let known = read(&store).unwrap();
        assert_eq!((known.records, known.positions), (vec![(b, record)], HashSet::new()));
    }
}
