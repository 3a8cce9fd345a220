//! Longest-prefix match: an endpoint is in the PID of the longest prefix that contains its address (RFC 7285 section 5.1;
//! 11.2.1.6 for the default group).
//!
//! Prefixes are flattened into disjoint intervals, sorted by their first address, and found in three steps: the top 16 bits
//! name a root, the root spreads its own span of keys evenly over about as many slots as it has intervals, and the few
//! intervals of a slot are bisected. Skewed space (nearly all of IPv6) so costs no more than even space. IPv6 keys are the
//! upper 64 bits; a /64 that is divided further holds a list of its own.
//!
//! Why not a crate: 493,646 IPv4 and 516,533 IPv6 prefixes (all of `geo-whois-asn-country`), addresses at random inside random
//! prefixes, ns a lookup on one 2.6 GHz core: treebitmap 0.5 (which ip_network_table 0.2 wraps) 99 and 226, prefix-trie 0.10 85 and
//! 148, this table 27 and 57; 27 and 78 with a PID of its own for every prefix. The target is 80 for both families. When each lookup
//! must wait for the one before, this table takes 51 and 96. `cargo bench -p maps --bench lpm` measures all of them side by side.
//!
//! Neighbours in one PID become one interval, so a table of ranges written as prefixes shrinks back to its ranges. The prefix
//! behind an answer is asked for rarely (to explain) and bisected in a list of its own.
//!
//! Invariants: the first interval of each family starts at address zero; no two intervals of a list start alike.
use crate::PidIx;
use alto::endpoint::Prefix;
use std::net::IpAddr;

/// From addresses to PIDs; immutable.
#[derive(Debug, Clone)]
pub struct PrefixTable {
    v4: Family<Narrow>,
    v6: Family<Wide>,
    /// The intervals inside divided /64s, by the lower 64 bits of their first address; each list starts at zero.
    deep: Vec<Deep>,
    v4_lengths: Lengths<u32>,
    v6_lengths: Lengths<u128>,
}

/// The prefix length that holds from each address in `starts` on.
#[derive(Debug, Clone)]
struct Lengths<A> {
    starts: Vec<A>,
    lengths: Vec<u8>,
}

/// The PID of addresses that are in none.
const NO_PID: u32 = u32::MAX;
/// Roots are chosen by this many bits. 16: 65,536 roots stay in the second-level cache, and even unevenly spread space has no crowded root.
const ROOT_BITS: u32 = 16;

/// Where one address family's intervals are.
#[derive(Debug, Clone)]
struct Family<I> {
    /// Key bits below those that choose the root.
    root_shift: u32,
    roots: Vec<Root>,
    /// For each root its slots and one more: slot `i` holds the intervals `slots[i]..slots[i + 1]`.
    slots: Vec<u32>,
    intervals: Vec<I>,
}

#[derive(Debug, Clone, Copy)]
struct Root {
    /// First address that starts an interval in this root; above every key when none does.
    min: u64,
    /// Where its slots begin.
    slot_base: u32,
    /// How many, less one.
    slot_last: u32,
    /// Key bits below those that choose the slot.
    shift: u32,
    /// The first interval at or after this root.
    first: u32,
}

trait Interval {
    fn start(&self) -> u64;
}

/// IPv4: `start` is the address.
#[derive(Debug, Clone, Copy)]
struct Narrow {
    start: u32,
    pid: u32,
}

impl Interval for Narrow {
    #[inline]
    fn start(&self) -> u64 {
        u64::from(self.start)
    }
}

/// IPv6: `start` is the upper half of the address.
#[derive(Debug, Clone, Copy)]
struct Wide {
    start: u64,
    /// The PID, or where in `deep` the list of this /64 begins.
    pid: u32,
    /// Length of that list; 0 for no list.
    deep: u32,
}

impl Interval for Wide {
    #[inline]
    fn start(&self) -> u64 {
        self.start
    }
}

#[derive(Debug, Clone, Copy)]
struct Deep {
    start: u64,
    pid: u32,
}

impl Default for PrefixTable {
    fn default() -> Self {
        Self::build([])
    }
}

impl PrefixTable {
    /// A table of these prefixes. Of equal prefixes the last one counts.
    pub fn build(entries: impl IntoIterator<Item = (Prefix, PidIx)>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (prefix, pid) in entries {
            match prefix.address() {
                IpAddr::V4(address) => v4.push((u128::from(u32::from(address)) << 96, prefix.length(), pid.0)),
                IpAddr::V6(address) => v6.push((u128::from(address), prefix.length(), pid.0)),
            }
        }
        let (mut v4, mut v6) = (flatten(v4), flatten(v6));
        let v4_lengths = Lengths::new(&v4, |start| (start >> 96) as u32);
        let v6_lengths = Lengths::new(&v6, |start| start);
        // From here on only the PID counts: of neighbours in one, the first stands for all.
        v4.dedup_by_key(|flat| flat.pid);
        v6.dedup_by_key(|flat| flat.pid);
        let mut deep = Vec::new();
        let (v4, v6) = (narrow(&v4), wide(&v6, &mut deep));
        deep.shrink_to_fit();
        Self { v4, v6, deep, v4_lengths, v6_lengths }
    }

    /// The PID of the longest prefix that contains `address`. IPv4-mapped IPv6 addresses are IPv6 (RFC 7285 section 10.4.3.2 leaves them so).
    #[inline]
    pub fn lookup(&self, address: IpAddr) -> Option<PidIx> {
        let pid = match address {
            IpAddr::V4(address) => {
                let at = self.v4.find(u64::from(u32::from(address)));
                self.v4.intervals[at].pid
            }
            IpAddr::V6(address) => {
                let address = u128::from(address);
                let interval = &self.v6.intervals[self.v6.find((address >> 64) as u64)];
                if interval.deep == 0 { interval.pid } else { self.find_deep(interval, address).pid }
            }
        };
        (pid != NO_PID).then_some(PidIx(pid))
    }

    /// The same with the prefix that matched.
    pub fn lookup_prefix(&self, address: IpAddr) -> Option<(Prefix, PidIx)> {
        let pid = self.lookup(address)?;
        let length = match address {
            IpAddr::V4(address) => self.v4_lengths.find(u32::from(address)),
            IpAddr::V6(address) => self.v6_lengths.find(u128::from(address)),
        };
        Some((Prefix::new(address, length)?, pid))
    }

    /// Heap bytes held.
    pub fn memory_bytes(&self) -> usize {
        self.v4.memory_bytes()
            + self.v6.memory_bytes()
            + self.deep.capacity() * size_of::<Deep>()
            + self.v4_lengths.memory_bytes()
            + self.v6_lengths.memory_bytes()
    }

    /// `interval.deep != 0`, so `address` is inside exactly this /64.
    fn find_deep(&self, interval: &Wide, address: u128) -> &Deep {
        let list = &self.deep[interval.pid as usize..][..interval.deep as usize];
        let low = address as u64;
        // The list starts at zero, so at least one entry is at or below any address.
        &list[list.partition_point(|deep| deep.start <= low) - 1]
    }
}

impl<A: Ord + Copy> Lengths<A> {
    fn new(flat: &[Flat], key: impl Fn(u128) -> A) -> Self {
        Self { starts: flat.iter().map(|flat| key(flat.start)).collect(), lengths: flat.iter().map(|flat| flat.length).collect() }
    }

    fn find(&self, address: A) -> u8 {
        self.lengths[self.starts.partition_point(|&start| start <= address) - 1]
    }

    fn memory_bytes(&self) -> usize {
        self.starts.capacity() * size_of::<A>() + self.lengths.capacity()
    }
}

impl<I: Interval> Family<I> {
    fn new(key_bits: u32, intervals: Vec<I>) -> Self {
        let root_shift = key_bits - ROOT_BITS;
        let mut roots = Vec::with_capacity(1 << ROOT_BITS);
        let mut slots = Vec::with_capacity(intervals.len() * 2);
        let mut at = 0;
        for number in 0..1u64 << ROOT_BITS {
            let first = at;
            while at < intervals.len() && intervals[at].start() >> root_shift == number {
                at += 1;
            }
            let inside = &intervals[first..at];
            let slot_base = slots.len() as u32;
            let (Some(lowest), Some(highest)) = (inside.first(), inside.last()) else {
                // The highest key of all is not below `min`: it finds one slot with nothing in it.
                if number + 1 == 1 << ROOT_BITS {
                    slots.extend([first as u32; 2]);
                }
                roots.push(Root { min: u64::MAX, slot_base, slot_last: 0, shift: 0, first: first as u32 });
                continue;
            };
            let (min, span) = (lowest.start(), highest.start() - lowest.start());
            let count = inside.len().next_power_of_two() as u64;
            // The smallest shift that brings the span into `count` slots.
            let shift = (u64::BITS - span.leading_zeros()).saturating_sub(count.trailing_zeros());
            let slot_last = (span >> shift) as u32;
            let mut filled = first;
            for slot in 0..=u64::from(slot_last) {
                while filled < at && (intervals[filled].start() - min) >> shift < slot {
                    filled += 1;
                }
                slots.push(filled as u32);
            }
            slots.push(at as u32);
            roots.push(Root { min, slot_base, slot_last, shift, first: first as u32 });
        }
        slots.shrink_to_fit();
        Self { root_shift, roots, slots, intervals }
    }

    /// The last interval that starts at or before `key`.
    #[inline]
    fn find(&self, key: u64) -> usize {
        let root = &self.roots[(key >> self.root_shift) as usize];
        if key < root.min {
            // An interval that starts at zero exists, so a root without one at or before `key` is not the first.
            return root.first as usize - 1;
        }
        let slot = root.slot_base + (((key - root.min) >> root.shift).min(u64::from(root.slot_last))) as u32;
        let (low, high) = (self.slots[slot as usize] as usize, self.slots[slot as usize + 1] as usize);
        let candidates = &self.intervals[low..high];
        let (mut base, mut size) = (0, candidates.len());
        while size > 1 {
            let half = size / 2;
            // Which half it is cannot be predicted: no branch on it.
            base = std::hint::select_unpredictable(candidates[base + half].start() <= key, base + half, base);
            size -= half;
        }
        match candidates.get(base) {
            Some(interval) if interval.start() <= key => low + base,
            _ => low - 1,
        }
    }

    fn memory_bytes(&self) -> usize {
        self.roots.capacity() * size_of::<Root>() + self.slots.capacity() * size_of::<u32>() + self.intervals.capacity() * size_of::<I>()
    }
}

/// From its `start` on, until the next one, addresses are in `pid` by a prefix of this `length`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Flat {
    start: u128,
    pid: u32,
    length: u8,
}

/// Nested prefixes (first address, left-aligned in 128 bits, length, PID) to disjoint intervals.
fn flatten(mut prefixes: Vec<(u128, u8, u32)>) -> Vec<Flat> {
    // Outer before inner; stable, so that of equal prefixes the last stays last.
    prefixes.sort_by_key(|&(start, length, _)| (start, length));
    let mut flat: Vec<Flat> = Vec::with_capacity(prefixes.len() + prefixes.len() / 2 + 1);
    flat.push(Flat { start: 0, pid: NO_PID, length: 0 });
    let mut put = |next: Flat| match flat.last_mut() {
        Some(last) if last.start == next.start => *last = next,
        Some(last) if (last.pid, last.length) == (next.pid, next.length) && next.pid == NO_PID => {}
        _ => flat.push(next),
    };
    // Prefixes that the sweep is inside of, with the last address of each.
    let mut open: Vec<(u128, u8, u32)> = Vec::new();
    let close = |open: &mut Vec<(u128, u8, u32)>, put: &mut dyn FnMut(Flat), up_to: Option<u128>| {
        while let Some(&(last, ..)) = open.last() {
            if up_to.is_some_and(|start| start <= last) {
                break;
            }
            open.pop();
            let outer = open.last();
            // The outer prefix goes on behind the inner one, unless it ends with it.
            match (last.checked_add(1), outer) {
                (None, _) => {}
                (Some(_), Some(&(outer_last, ..))) if outer_last == last => {}
                (Some(start), Some(&(_, length, pid))) => put(Flat { start, pid, length }),
                (Some(start), None) => put(Flat { start, pid: NO_PID, length: 0 }),
            }
        }
    };
    for (start, length, pid) in prefixes {
        close(&mut open, &mut put, Some(start));
        let host_bits = 128 - u32::from(length);
        let last = if host_bits == 128 { u128::MAX } else { start | ((1 << host_bits) - 1) };
        put(Flat { start, pid, length });
        if open.last().is_some_and(|&(_, open_length, _)| open_length == length) {
            open.pop();
        }
        open.push((last, length, pid));
    }
    close(&mut open, &mut put, None);
    flat
}

fn narrow(flat: &[Flat]) -> Family<Narrow> {
    Family::new(u32::BITS, flat.iter().map(|flat| Narrow { start: (flat.start >> 96) as u32, pid: flat.pid }).collect())
}

fn wide(flat: &[Flat], deep: &mut Vec<Deep>) -> Family<Wide> {
    let mut intervals: Vec<Wide> = Vec::with_capacity(flat.len());
    let mut pid_before = NO_PID;
    // The /64 behind a divided one starts an interval of its own even where no prefix begins there.
    let mut owed: Option<u64> = None;
    for group in flat.chunk_by(|a, b| a.start >> 64 == b.start >> 64) {
        let upper = (group[0].start >> 64) as u64;
        if let Some(behind) = owed.take().filter(|&behind| behind < upper) {
            intervals.push(Wide { start: behind, pid: pid_before, deep: 0 });
        }
        let starts_whole = group[0].start as u64 == 0;
        if starts_whole && group.len() == 1 {
            intervals.push(Wide { start: upper, pid: group[0].pid, deep: 0 });
        } else {
            let base = deep.len();
            if !starts_whole {
                deep.push(Deep { start: 0, pid: pid_before });
            }
            deep.extend(group.iter().map(|flat| Deep { start: flat.start as u64, pid: flat.pid }));
            intervals.push(Wide { start: upper, pid: base as u32, deep: (deep.len() - base) as u32 });
            owed = upper.checked_add(1);
        }
        pid_before = group[group.len() - 1].pid;
    }
    if let Some(behind) = owed {
        intervals.push(Wide { start: behind, pid: pid_before, deep: 0 });
    }
    intervals.shrink_to_fit();
    Family::new(u64::BITS, intervals)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix(text: &str) -> Prefix {
        let (address, length) = text.split_once('/').unwrap();
        Prefix::new(address.parse().unwrap(), length.parse().unwrap()).unwrap()
    }

    /// RFC 7285 section 11.2.1.6 example map, and the sentence that the longest prefix counts.
    #[test]
    fn example_map() {
        let table = PrefixTable::build([
            (prefix("192.0.2.0/24"), PidIx(1)),
            (prefix("198.51.100.0/25"), PidIx(1)),
            (prefix("198.51.100.128/25"), PidIx(2)),
            (prefix("0.0.0.0/0"), PidIx(3)),
            (prefix("::/0"), PidIx(3)),
            (prefix("2001:db8::/64"), PidIx(4)),
            (prefix("2001:db8::8000:0:0:0/65"), PidIx(5)),
            (prefix("2001:db8::1/128"), PidIx(6)),
        ]);
        for (address, want_prefix, want) in [
            ("192.0.2.1", "192.0.2.0/24", 1),
            ("192.0.3.0", "0.0.0.0/0", 3),
            ("198.51.100.127", "198.51.100.0/25", 1),
            ("198.51.100.128", "198.51.100.128/25", 2),
            ("198.51.101.0", "0.0.0.0/0", 3),
            ("255.255.255.255", "0.0.0.0/0", 3),
            ("2001:db8::", "2001:db8::/64", 4),
            ("2001:db8::1", "2001:db8::1/128", 6),
            ("2001:db8::2", "2001:db8::/64", 4),
            ("2001:db8::8000:0:0:1", "2001:db8::8000:0:0:0/65", 5),
            ("2001:db8:0:1::", "::/0", 3),
            ("::", "::/0", 3),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0", 3),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(table.lookup_prefix(address), Some((prefix(want_prefix), PidIx(want))), "{address}");
            assert_eq!(table.lookup(address), Some(PidIx(want)), "{address}");
        }
    }

    #[test]
    fn edges_of_the_address_space() {
        let table = PrefixTable::build([
            (prefix("255.255.255.255/32"), PidIx(0)),
            (prefix("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"), PidIx(1)),
            (prefix("0.0.0.0/32"), PidIx(2)),
        ]);
        for (address, want) in [
            ("255.255.255.255", Some(0)),
            ("255.255.255.254", None),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some(1)),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", None),
            ("0.0.0.0", Some(2)),
            ("0.0.0.1", None),
            ("::", None),
        ] {
            assert_eq!(table.lookup(address.parse().unwrap()), want.map(PidIx), "{address}");
        }
        assert_eq!(PrefixTable::default().lookup("10.0.0.1".parse().unwrap()), None);
    }

    /// Few distinct bits, so that prefixes nest and touch.
    fn prefixes() -> impl Strategy<Value = Vec<Prefix>> {
        let v4 = (any::<[bool; 4]>(), 0u8..=32).prop_map(|(bits, length)| {
            let address = bits.iter().enumerate().fold(0u32, |sum, (i, &bit)| sum | u32::from(bit) << [31, 15, 8, 0][i]);
            Prefix::new(IpAddr::V4(address.into()), length).unwrap()
        });
        let v6 = (any::<[bool; 6]>(), 0u8..=128).prop_map(|(bits, length)| {
            let address = bits.iter().enumerate().fold(0u128, |sum, (i, &bit)| sum | u128::from(bit) << [127, 112, 64, 63, 20, 0][i]);
            Prefix::new(IpAddr::V6(address.into()), length).unwrap()
        });
        proptest::collection::vec(prop_oneof![v4, v6], 0..40)
    }

    proptest! {
        /// RFC 7285 section 5.1: of all prefixes that contain the address, the longest.
        #[test]
        fn finds_the_longest_match(prefixes in prefixes(), others in proptest::collection::vec(any::<u128>(), 8)) {
            let entries: Vec<_> = prefixes.iter().enumerate().map(|(i, &prefix)| (prefix, PidIx(i as u32 / 2))).collect();
            let table = PrefixTable::build(entries.iter().copied());
            let mut addresses: Vec<IpAddr> = others.iter().flat_map(|&bits| [IpAddr::V6(bits.into()), IpAddr::V4((bits as u32).into())]).collect();
            for prefix in &prefixes {
                // Both ends of each prefix and what lies just outside.
                match prefix.address() {
                    IpAddr::V4(a) => {
                        let (first, size) = (u32::from(a), (1u64 << (32 - prefix.length())) as u32);
                        addresses.extend([first, first.wrapping_sub(1), first.wrapping_add(size), first.wrapping_add(size).wrapping_sub(1)].map(|a| IpAddr::V4(a.into())));
                    }
                    IpAddr::V6(a) => {
                        let (first, size) = (u128::from(a), 1u128.checked_shl(128 - u32::from(prefix.length())).unwrap_or(0));
                        addresses.extend([first, first.wrapping_sub(1), first.wrapping_add(size), first.wrapping_add(size).wrapping_sub(1)].map(|a| IpAddr::V6(a.into())));
                    }
                }
            }
            for address in addresses {
                let want = entries.iter().enumerate().filter(|(_, (prefix, _))| prefix.contains(address)).max_by_key(|(i, (prefix, _))| (prefix.length(), *i)).map(|(_, &entry)| entry);
                prop_assert_eq!(table.lookup_prefix(address), want, "{}", address);
                prop_assert_eq!(table.lookup(address), want.map(|(_, pid)| pid), "{}", address);
            }
        }
    }
}
