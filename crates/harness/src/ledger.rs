//! What was ever visible, and what must hold of it for ever (draft-ietf-alto-new-transport, section 3): one content for each number,
//! ranges that only shift right, edges that lead to what they say, nothing acknowledged that a restart has not.
//!
//! It sees a publisher as its callers do, after every commit and every restart, and applies patches with `alto` alone.
use alto::{
    Limits,
    id::{ResourceId, Tag},
    patch::{self, Kind},
};
use bytes::Bytes;
use history::{Item, Publisher, Seq, View};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// Contents by view and number, as they were when they were visible.
#[derive(Debug, Default)]
pub struct Ledger {
    contents: BTreeMap<(Box<str>, u64), (Tag, Bytes)>,
    ranges: BTreeMap<Box<str>, (u64, u64)>,
    views: BTreeMap<ResourceId, Box<str>>,
    /// What was acknowledged last of each resource; `None`: withdrawn.
    newest: BTreeMap<ResourceId, Option<(Seq, Tag)>>,
}

impl Ledger {
    /// Takes down what is served. Called after every commit, and after every restart.
    pub fn look(&mut self, publisher: &Publisher, resources: &[ResourceId]) {
        let snapshot = publisher.current();
        for resource in resources {
            let version = snapshot.versions.get(resource);
            self.newest.insert(resource.clone(), version.map(|version| (version.seq, version.tag.clone())));
            let Some(version) = version else { continue };
            let view = view_of(publisher, resource);
            let id = self.views.entry(resource.clone()).or_insert_with(|| view.id().as_str().into());
            assert_eq!(**id, *view.id().as_str(), "{resource}: a resource goes on where it ended, whatever was between");
            let seen = (version.tag.clone(), version.body.clone());
            let kept = self.contents.entry((view.id().as_str().into(), version.seq.0)).or_insert_with(|| seen.clone());
            assert_eq!(*kept, seen, "{resource} {}: a number has one content, for ever", version.seq);
            let (range, tag) = view.head();
            assert_eq!((range.end, &tag), (version.seq, &version.tag), "{resource}: the view ends with what is served");
            let now = (range.start.0, range.end.0);
            let before = self.ranges.insert(view.id().as_str().into(), now).unwrap_or_default();
            assert!(before.0 <= now.0 && before.1 <= now.1, "{resource}: right shift only, not {before:?} then {now:?}");
        }
    }

    /// What a restart may come back with: exactly what was visible last or, when the last write failed with the disk, that write as well.
    pub fn came_back(&self, publisher: &Publisher, in_doubt: bool) {
        let snapshot = publisher.current();
        for (resource, newest) in &self.newest {
            let now = snapshot.versions.get(resource).map(|version| (version.seq, version.tag.clone()));
            assert!(in_doubt || now == *newest, "{resource}: acknowledged was {newest:?}, after the restart it is {now:?}");
            if let (Some((seq, tag)), Some((newest_seq, newest_tag))) = (&now, newest) {
                assert!(seq > newest_seq || (seq, tag) == (newest_seq, newest_tag), "{resource}: what was acknowledged is gone");
            }
        }
    }

    /// Continuity, feasibility and path independence of a view, over every edge there is.
    pub fn check_graph(&self, view: &View) {
        let range = view.head().0;
        let (start, end) = (range.start.0, range.end.0);
        let content = |seq: u64| -> Option<Value> { Some(read(&self.contents.get(&(view.id().as_str().into(), seq))?.1)) };
        let first = view.edge(Seq(0), Seq(start)).expect("feasibility: there is a snapshot of the first version");
        if let Some(content) = content(start) {
            assert_eq!(read(&first.body), content, "feasibility");
        }
        let mut walked = read(&first.body);
        for from in start..end {
            let item = view.edge(Seq(from), Seq(from + 1)).expect("continuity: every step is there");
            apply(&mut walked, &item);
            if let Some(content) = content(from + 1) {
                assert_eq!(walked, content, "{}: path independence at {}", view.resource(), from + 1);
            }
            for to in (from + 2..=end).chain(std::iter::once(from)).filter(|to| *to > from) {
                let (Ok(shortcut), Some(mut had), Some(content)) = (view.edge(Seq(from), Seq(to)), content(from), content(to)) else {
                    continue;
                };
                apply(&mut had, &shortcut);
                assert_eq!(had, content, "{}: shortcut from {from} to {to}", view.resource());
            }
        }
    }

    /// A replica was handed a version of a resource, after version `after`: whichever it says it is, it is that. Returns its number.
    pub fn check_told(&self, view: &str, after: u64, seq: Option<u64>, tag: Option<&Tag>, content: &Value) -> u64 {
        let of_view = (Box::from(view), 0)..=(Box::from(view), u64::MAX);
        if let Some(seq) = seq {
            assert!(seq >= after, "{view}: version {seq} was handed out after version {after}");
            let (_, body) = self.contents.get(&(view.into(), seq)).expect("a replica is told only of what was visible");
            assert_eq!(*content, read(body), "{view}: what a replica made of version {seq}");
        }
        let same = |((_, at), (known, _)): &(&(Box<str>, u64), &(Tag, Bytes))| {
            *at >= after && seq.is_none_or(|seq| seq == *at) && tag.is_none_or(|tag| tag == known)
        };
        let candidates = self.contents.range(of_view).filter(same);
        let found = candidates.map(|((_, at), (_, body))| (*at, body)).find(|(_, body)| read(body) == *content);
        found.unwrap_or_else(|| panic!("{view}: no version from {after} on is {seq:?} {tag:?} {content}")).0
    }

    /// The view of a resource; it is one and the same for ever.
    pub fn view_id(&self, resource: &ResourceId) -> Option<&str> {
        self.views.get(resource).map(|id| &**id)
    }

    /// A reader holds version `seq` of a view: that is what it must have.
    pub fn check_copy(&self, view: &View, seq: Seq, copy: &Value) {
        let (_, body) = self.contents.get(&(view.id().as_str().into(), seq.0)).expect("a reader gets only what was visible");
        assert_eq!(*copy, read(body), "{}: what a reader made of version {seq}", view.resource());
    }
}

/// The view of a resource that is served.
pub fn view_of(publisher: &Publisher, resource: &ResourceId) -> Arc<View> {
    publisher.open(resource, None, std::net::Ipv4Addr::LOCALHOST.into()).expect("what is served can be followed")
}

/// Applies an item to a copy, as a client does.
pub fn apply(copy: &mut Value, item: &Item) {
    match Kind::of_media_type(item.media_type) {
        None => *copy = read(&item.body),
        Some(kind) => patch::apply_to_value(kind, copy, &item.body, &Limits::default()).expect("a patch fits the version it starts from"),
    }
}

fn read(body: &[u8]) -> Value {
    serde_json::from_slice(body).expect("bodies are JSON")
}
