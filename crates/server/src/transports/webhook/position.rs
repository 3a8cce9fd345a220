//! What each subscriber has been told, in eight bytes each: so that a restart does not tell everybody everything again.
//!
//! A digest names a subscription, an event type and the tag of what was acknowledged. They are written in pieces, now and then; what was acknowledged since, or
//! cannot be read, is told again, as a full copy. Invariant: a digest in the store is of the last acknowledged contents or of older ones that the
//! subscriber had in between; pieces of another process are replaced before the first delivery.
use super::subscription::Id;
use alto::{id::Tag, updates::webhook::EventType};

/// Subscriptions of one piece. 512: 4 KiB.
pub(super) const CHUNK: u32 = 512;

/// FNV-1a: the same in every process. Nobody gains by a collision but the one who is then not told again.
fn digest(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Of a content.
pub(super) fn of_tag(tag: &Tag) -> u64 {
    digest(tag.as_str().bytes())
}

/// Of a content that a subscription acknowledged.
pub(super) fn of(id: Id, event_type: EventType, told: u64) -> u64 {
    digest(id.0.into_iter().chain(event_type.as_str().bytes()).chain(told.to_be_bytes()))
}

/// A piece, as it is stored.
pub(super) fn encode(positions: impl Iterator<Item = u64>) -> Vec<u8> {
    positions.flat_map(u64::to_be_bytes).collect()
}

/// The digests of a piece.
pub(super) fn decode(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.as_chunks().0.iter().map(|digest| u64::from_be_bytes(*digest))
}
