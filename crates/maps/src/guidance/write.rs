//! JSON written straight to bytes: what answers are made of, without a tree between.
use alto::{
    cost::CostType,
    id::VersionTag,
};
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

/// A cost: without a fraction when it has none, else the shortest text that reads back as the same number.
#[inline]
pub(super) fn cost(out: &mut Vec<u8>, value: f64) {
    // Up to 2^53 every integer is a double of its own.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let whole = value as u64;
    if whole as f64 == value && value <= EXACT_MAX {
        out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
    } else {
        serde_json::to_writer(&mut *out, &value).expect("writing to memory does not fail");
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
    #[inline]
    pub(super) fn get(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        &self.text[start..self.ends[at] as usize]
    }
}
