//! JSON written straight to bytes: what answers are made of, without a tree between.
use alto::{cost::CostType, id::VersionTag};
use std::net::Ipv4Addr;

/// A JSON string. Names of PIDs, resources and metrics need no escape, so the common case is one copy.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(&mut *out, text).expect("writing to memory does not fail");
    }
}

/// By hand: a table of a million prefixes spends its time here.
pub(super) fn ipv4(out: &mut Vec<u8>, address: Ipv4Addr) {
    let mut text = itoa::Buffer::new();
    for (at, octet) in address.octets().into_iter().enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        out.extend_from_slice(text.format(octet).as_bytes());
    }
}

/// `{"resource-id":...,"tag":...}`
pub(super) fn version_tag(out: &mut Vec<u8>, vtag: &VersionTag) {
    out.extend_from_slice(b"{\"resource-id\":");
    string(out, vtag.resource_id.as_str());
    out.extend_from_slice(b",\"tag\":");
    string(out, vtag.tag.as_str());
    out.push(b'}');
}

/// `[{"resource-id":...,"tag":...},...]`
pub(super) fn version_tags<'a>(out: &mut Vec<u8>, vtags: impl IntoIterator<Item = &'a VersionTag>) {
    out.push(b'[');
    for (at, vtag) in vtags.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        version_tag(out, vtag);
    }
    out.push(b']');
}

/// `{"cost-mode":...,"cost-metric":...}`, with the description when there is one.
pub(super) fn cost_type(out: &mut Vec<u8>, cost_type: &CostType) {
    out.extend_from_slice(b"{\"cost-mode\":");
    string(out, cost_type.mode.as_str());
    out.extend_from_slice(b",\"cost-metric\":");
    string(out, cost_type.metric.as_str());
    if let Some(description) = &cost_type.description {
        out.extend_from_slice(b",\"description\":");
        string(out, description);
    }
    out.push(b'}');
}

/// `,"name":` for each name, in one buffer: the keys of a row, written once and copied for every row.
pub(super) struct Keys {
    text: Vec<u8>,
    ends: Vec<u32>,
}

impl Keys {
    pub(super) fn with_capacity(names: usize) -> Self {
        Self { text: Vec::with_capacity(names * 24), ends: Vec::with_capacity(names) }
    }

    pub(super) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.text.push(b',');
        write(&mut self.text);
        self.text.push(b':');
        self.ends.push(u32::try_from(self.text.len()).expect("names of one request stay below 4 GiB"));
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The key at `at`, led by a comma.
    pub(super) fn get(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        &self.text[start..self.ends[at] as usize]
    }

    /// The longest key.
    pub(super) fn longest(&self) -> usize {
        (0..self.len()).map(|at| self.get(at).len()).max().unwrap_or(0)
    }
}

/// Somewhere to take keys from: [`Keys`] themselves, or [`Padded`].
pub(super) trait KeySource {
    /// Puts a key at `place` and says where it ends.
    fn put(&self, key: usize, buffer: &mut [u8], place: usize) -> usize;
}

impl KeySource for Keys {
    fn put(&self, key: usize, buffer: &mut [u8], place: usize) -> usize {
        let key = self.get(key);
        buffer[place..place + key.len()].copy_from_slice(key);
        place + key.len()
    }
}

/// Keys padded to one size that the compiler knows, so that a copy is a few stores and no call.
pub(super) struct Padded<const SIZE: usize> {
    keys: Vec<([u8; SIZE], u32)>,
}

impl<const SIZE: usize> Padded<SIZE> {
    /// No key may be longer than `SIZE`.
    pub(super) fn new(keys: &Keys) -> Self {
        let pad = |at| {
            let key = keys.get(at);
            let mut padded = [0; SIZE];
            padded[..key.len()].copy_from_slice(key);
            (padded, key.len() as u32)
        };
        Self { keys: (0..keys.len()).map(pad).collect() }
    }
}

impl<const SIZE: usize> KeySource for Padded<SIZE> {
    #[inline]
    fn put(&self, key: usize, buffer: &mut [u8], place: usize) -> usize {
        let (key, length) = &self.keys[key];
        buffer[place..place + SIZE].copy_from_slice(key);
        place + *length as usize
    }
}

/// The most bytes that [`cost`] takes, and writes to: 24 is the longest shortest text of a double.
pub(super) const COST_BYTES_MAX: usize = 24;

/// Puts a cost at `place` and says where it ends: without a fraction when it has none, else the shortest text that reads back
/// as the same number. `buffer` has [`COST_BYTES_MAX`] bytes from there.
#[inline]
pub(super) fn cost(value: f64, buffer: &mut [u8], place: usize) -> usize {
    const SHORT_MAX: u32 = 99_999_999;
    let whole = value as u32;
    if f64::from(whole) == value && whole <= SHORT_MAX {
        return short_integer(whole, buffer, place);
    }
    // A double within half a step of a decimal of at most 15 digits is the double of that decimal and of no other so short,
    // and division rounds exactly: when it gives the number back, the digits are its shortest text.
    const MILLION: f64 = 1e6;
    let millionths = (value * MILLION + 0.5) as i64;
    if millionths as f64 / MILLION == value && millionths < 100_000_000_000_000 {
        let millionths = millionths as u64;
        let place = short_integer((millionths / 1_000_000) as u32, buffer, place);
        let digits = eight_digits((millionths % 1_000_000) as u32 * 100);
        buffer[place] = b'.';
        buffer[place + 1..place + 9].copy_from_slice(&(digits | ASCII_ZEROS).to_le_bytes());
        return place + 9 - digits.leading_zeros() as usize / 8;
    }
    long_cost(value, buffer, place)
}

/// An integer of up to eight digits.
#[inline]
fn short_integer(number: u32, buffer: &mut [u8], place: usize) -> usize {
    let digits = eight_digits(number);
    // The last digit stays, even of zero.
    let zeros = (digits.trailing_zeros() / 8).min(7);
    buffer[place..place + 8].copy_from_slice(&((digits | ASCII_ZEROS) >> (8 * zeros)).to_le_bytes());
    place + 8 - zeros as usize
}

fn long_cost(value: f64, buffer: &mut [u8], place: usize) -> usize {
    // Up to 2^53 every integer is a double of its own.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let (mut integer, mut shortest) = (itoa::Buffer::new(), zmij::Buffer::new());
    let whole = value as u64;
    let text = if whole as f64 == value && value <= EXACT_MAX { integer.format(whole) } else { shortest.format_finite(value) };
    buffer[place..place + text.len()].copy_from_slice(text.as_bytes());
    place + text.len()
}

const ASCII_ZEROS: u64 = 0x3030_3030_3030_3030;

/// The eight decimal digits of a number below 10^8, the first in the lowest byte. Divides all digits at once: by 10,000, then
/// both halves by 100, then all four pairs by 10, each by a multiplication exact for its range.
#[inline]
fn eight_digits(number: u32) -> u64 {
    let halves = u64::from(number / 10_000) | (u64::from(number % 10_000) << 32);
    let hundreds = ((halves * 5_243) >> 19) & 0x7f_0000_007f;
    let pairs = hundreds | ((halves - hundreds * 100) << 16);
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((pairs - tens * 10) << 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(value: f64) -> String {
        let mut buffer = [0; 7 + COST_BYTES_MAX];
        let end = cost(value, &mut buffer, 7);
        String::from_utf8(buffer[7..end].to_vec()).unwrap()
    }

    #[test]
    fn costs_are_written_short() {
        for (value, want) in [
            (0.0, "0"),
            (-0.0, "0"),
            (7.0, "7"),
            (10.0, "10"),
            (99_999_999.0, "99999999"),
            (100_000_000.0, "100000000"),
            (2.5e9, "2500000000"),
            (9_007_199_254_740_992.0, "9007199254740992"),
            (0.1, "0.1"),
            (1234.5678, "1234.5678"),
            (0.000_001, "0.000001"),
            (0.000_000_5, "5e-7"),
            (12.050_300, "12.0503"),
            (99_999_999.999_999, "99999999.999999"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e300, "1e+300"),
        ] {
            assert_eq!(written(value), want);
        }
    }

    proptest! {
        /// What is written reads back as the same number, whatever it is.
        #[test]
        fn costs_read_back(bits: u64, short in 0..200_000_000_u32) {
            for value in [f64::from_bits(bits).abs(), f64::from(short), f64::from(short) / 64.0] {
                if value.is_finite() {
                    prop_assert_eq!(written(value).parse::<f64>().unwrap(), value);
                }
            }
            prop_assert_eq!(written(short.into()), short.to_string());
            // As short as the crate that is known to be shortest has it.
            for scale in [10.0, 1e3, 1e6, 1e7, 3.0] {
                let value = f64::from(short) / scale;
                let shortest = zmij::Buffer::new().format_finite(value).trim_end_matches(".0").len();
                prop_assert!(written(value).len() <= shortest.max(8), "{} is not as short as it can be", written(value));
            }
        }
    }
}
