//! Bodies kept for revalidation (RFC 9110 section 13.1.2, RFC 9111 section 4.3): a resource that did not change costs one 304.
//!
//! Invariant: the bodies kept are at most `bytes_max` together; the least recently used go first.
use bytes::Bytes;
use http::HeaderValue;
use std::{any::Any, collections::HashMap, sync::Arc};

/// One kept answer.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub etag: HeaderValue,
    pub media_type: String,
    pub body: Bytes,
    /// What the body was parsed into, so that a 304 costs no parsing either.
    pub parsed: Arc<dyn Any + Send + Sync>,
}

/// Kept answers by URI and expected media type.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: HashMap<(String, String), (u64, Kept)>,
    bytes: usize,
    uses: u64,
}

impl Cache {
    pub fn get(&mut self, uri: &str, media_type: &str) -> Option<Kept> {
        self.uses += 1;
        let (used, kept) = self.entries.get_mut(&(uri.to_owned(), media_type.to_owned()))?;
        *used = self.uses;
        Some(kept.clone())
    }

    pub fn put(&mut self, uri: &str, kept: Kept, bytes_max: usize) {
        self.uses += 1;
        self.bytes += kept.body.len();
        let key = (uri.to_owned(), kept.media_type.clone());
        if let Some((_, old)) = self.entries.insert(key, (self.uses, kept)) {
            self.bytes -= old.body.len();
        }
        while self.bytes > bytes_max {
            let Some(oldest) = self.entries.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone()) else { return };
            if let Some((_, gone)) = self.entries.remove(&oldest) {
                self.bytes -= gone.body.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(bytes: usize) -> Kept {
        Kept { etag: HeaderValue::from_static("\"t\""), media_type: "m".into(), body: vec![0; bytes].into(), parsed: Arc::new(()) }
    }

    #[test]
    fn bound_holds_and_the_least_used_goes() {
        let mut cache = Cache::default();
        cache.put("a", kept(40), 100);
        cache.put("b", kept(40), 100);
        assert!(cache.get("a", "m").is_some());
        cache.put("c", kept(40), 100);
        assert!(cache.get("b", "m").is_none(), "b was used least recently");
        assert!(cache.get("a", "m").is_some());
        assert!(cache.get("c", "m").is_some());
        cache.put("d", kept(101), 100);
        assert!(cache.get("d", "m").is_none(), "larger than the whole cache");
        assert_eq!(cache.bytes, 0);
    }

    #[test]
    fn replacing_frees_the_old_body() {
        let mut cache = Cache::default();
        cache.put("a", kept(40), 100);
        cache.put("a", kept(50), 100);
        assert_eq!(cache.bytes, 50);
    }
}
