//! Network maps that say until when they hold (draft-alto-caching-subscription section 7), beside the plain ones: one to GET and one filtered.
//!
//! What they say changes with the time and with what the sources say, not with the version: such a map is rendered once for each version and step
//! of the lifetimes in it, by the first who asks, and shared. Its ETag is a digest of the bytes. Invariant: the names end in `-expiring`, and
//! a resource that an operator called so keeps its name.
use crate::{
    access::Promises,
    listen::Answer,
    modified::Modified,
    representation::{Fresh, Representation, Varies},
};
use alto::{
    directory::{Capabilities, Directory},
    id::{ResourceId, Tag},
    media_type,
};
use arc_swap::ArcSwapOption;
use history::{Snapshot, Version};
use http::request::Parts;
use maps::{
    expiry::{MapTerms, Term},
    guidance::{Guidance, NetworkView, Service},
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::SystemTime,
};

/// Maps up to this many bytes are rendered where they are asked for. 128 KiB: half a millisecond.
const IN_PLACE_BYTES_MAX: usize = 128 << 10;

/// Bytes that a date takes in a PID.
const DATE_BYTES: usize = 48;

/// One network map with what is known of its validity.
pub(crate) struct Expiring {
    pub(crate) view: Arc<NetworkView>,
    pub(crate) terms: Arc<MapTerms>,
    version: Arc<Version>,
    promises: Arc<Promises>,
    made: ArcSwapOption<Made>,
    /// What another had made before this took its place.
    before: Option<Modified>,
    making: tokio::sync::Mutex<()>,
}

struct Made {
    /// See [`MapTerms::moment`].
    moment: Vec<u64>,
    representation: Arc<Representation>,
    fresh: Option<Fresh>,
}

/// The two resources of a map.
pub(crate) struct Announced {
    /// The plain ones they stand beside, and what they are called.
    map: ResourceId,
    pub(crate) get: ResourceId,
    filtered: ResourceId,
    pub(crate) post: ResourceId,
    pub(crate) expiring: Arc<Expiring>,
}

impl Expiring {
    /// Those of a snapshot; one of `before` of which nothing changed is taken over with what it rendered.
    pub(crate) fn all(snapshot: &Snapshot, promises: &Arc<Promises>, before: &[Announced]) -> Vec<Announced> {
        let guidance = &snapshot.guidance;
        let filters: HashMap<&ResourceId, &ResourceId> = guidance
            .services()
            .filter_map(|(id, service)| match service {
                Service::FilteredNetworkMap(map) => Some((map, id)),
                _ => None,
            })
            .collect();
        let before: HashMap<&ResourceId, &Arc<Self>> = before.iter().map(|before| (&before.map, &before.expiring)).collect();
        let mut taken = BTreeSet::new();
        let mut free = |plain: &ResourceId| free(plain, guidance, &mut taken);
        let announced = guidance.network_maps().filter_map(|view| {
            let version = snapshot.versions.get(&view.id)?;
            let filtered = *filters.get(&view.id)?;
            let own = guidance.validity(&view.id).map(|validity| &**validity);
            let terms = MapTerms::new(view, own, &promises.rules, version.at)?;
            let last = before.get(&view.id).copied();
            let same =
                last.filter(|last| Arc::ptr_eq(&last.version, version) && Arc::ptr_eq(&last.promises, promises) && *last.terms == terms);
            let expiring = same.cloned().unwrap_or_else(|| {
                Arc::new(Self {
                    before: last.and_then(|last| last.modified()),
                    view: view.clone(),
                    terms: Arc::new(terms),
                    version: version.clone(),
                    promises: promises.clone(),
                    made: ArcSwapOption::empty(),
                    making: tokio::sync::Mutex::new(()),
                })
            });
            let (get, post) = (free(&view.id), free(filtered));
            Some(Announced { map: view.id.clone(), get, filtered: filtered.clone(), post, expiring })
        });
        announced.collect()
    }

    /// Bytes that a filtered answer may have at the most.
    pub(crate) fn bytes_max(&self) -> usize {
        self.version.body.len() + DATE_BYTES * self.view.pids.len()
    }

    /// Answers a GET or HEAD.
    pub(crate) fn answer(self: &Arc<Self>, head: &Parts, now: SystemTime) -> Answer {
        let moment = self.terms.moment(now);
        if let Some(made) = self.ready(&moment) {
            return made.answer(head, now);
        }
        if self.bytes_max() <= IN_PLACE_BYTES_MAX {
            // Two threads may do this at once: both make the same.
            return self.make(moment, now).answer(head, now);
        }
        let (this, head) = (self.clone(), head.clone());
        Answer::Later(Box::pin(async move {
            let made = this.made_beside(moment, now).await;
            // Rendering may have taken a moment: what is said of time goes with the date of the answer.
            match made.answer(&head, SystemTime::now()) {
                Answer::Now(reply) => reply,
                Answer::Later(later) => later.await,
                Answer::Live(_) => unreachable!("a representation is sent and done"),
            }
        }))
    }

    fn ready(&self, moment: &[u64]) -> Option<Arc<Made>> {
        self.made.load_full().filter(|made| made.moment == moment)
    }

    /// Of what was rendered last.
    fn modified(&self) -> Option<Modified> {
        let made = self.made.load_full();
        made.and_then(|made| made.representation.modified().cloned()).or_else(|| self.before.clone())
    }

    /// In a thread of its own, once for all who wait.
    async fn made_beside(self: &Arc<Self>, moment: Vec<u64>, now: SystemTime) -> Arc<Made> {
        let _making = self.making.lock().await;
        if let Some(made) = self.ready(&moment) {
            return made;
        }
        let (this, again) = (self.clone(), moment.clone());
        // It fails when the runtime ends; then nobody waits for the thread either.
        tokio::task::spawn_blocking(move || this.make(again, now)).await.unwrap_or_else(|_| self.make(moment, now))
    }

    fn make(&self, moment: Vec<u64>, now: SystemTime) -> Arc<Made> {
        let map = self.terms.map(&self.view, now);
        let body = map.to_json();
        let tag = Tag::of_content(&[&body]);
        let at = self.terms.since(now).max(self.promises.since).max(self.version.at);
        let modified = Modified::next(self.modified().as_ref(), at);
        let representation = Representation::new(media_type::NETWORK_MAP, Varies::Coding, tag.as_str(), modified, body.into());
        let fresh = self.terms.earliest(now).map(Fresh::until);
        let made = Arc::new(Made { moment, representation: Arc::new(representation), fresh });
        self.made.store(Some(made.clone()));
        made
    }
}

impl Made {
    fn answer(&self, head: &Parts, now: SystemTime) -> Answer {
        self.representation.answer(head, now, self.fresh.as_ref())
    }
}

impl Announced {
    /// Adds both to a directory that has the plain ones.
    pub(crate) fn announce(&self, base_url: &str, directory: &mut Directory) {
        for (plain, id) in [(&self.map, &self.get), (&self.filtered, &self.post)] {
            let Some(entry) = directory.resources.get(plain) else { continue };
            let mut entry = entry.clone();
            entry.uri = format!("{base_url}/resources/{id}").into();
            entry.capabilities = Capabilities { expires: true, ..entry.capabilities };
            entry.uses = vec![self.map.clone()];
            entry.updates = None;
            directory.resources.insert(id.clone(), entry);
        }
    }
}

/// `<plain>-expiring`; with a digest in place of a name that is too long (RFC 7285 section 10.2: 64 characters), with a number where it is taken.
fn free(plain: &ResourceId, guidance: &Guidance, taken: &mut BTreeSet<ResourceId>) -> ResourceId {
    // Room for a number.
    let stem =
        if plain.as_str().len() <= 44 { plain.as_str().to_owned() } else { Tag::of_content(&[plain.as_str().as_bytes()]).to_string() };
    let numbered = (2u64..).map(|number| format!("{stem}-{number}-expiring"));
    let names = std::iter::once(format!("{stem}-expiring")).chain(numbered);
    let mut ids = names.map(|name| name.parse::<ResourceId>().expect("this is a valid resource id"));
    let id = ids.find(|id| guidance.service(id).is_none() && !taken.contains(id)).expect("there are fewer resources than numbers");
    taken.insert(id.clone());
    id
}

/// Until when a plain resource holds, and the field that says so, made once for each date.
pub(crate) struct Freshness {
    terms: Terms,
    said: ArcSwapOption<Fresh>,
}

#[derive(PartialEq)]
enum Terms {
    Map(Arc<MapTerms>),
    Resource(Term),
}

impl Freshness {
    /// Of a network map.
    pub(crate) fn of_map(expiring: &Expiring) -> Self {
        Self { terms: Terms::Map(expiring.terms.clone()), said: ArcSwapOption::empty() }
    }

    /// Of another resource; `None` when nothing is known.
    pub(crate) fn of_resource(guidance: &Guidance, version: &Version, promises: &Promises) -> Option<Self> {
        let own = guidance.validity(&version.resource).and_then(|validity| validity.whole);
        let term = Term::of_resource(&version.resource, own, &promises.rules, version.at);
        term.is_known().then(|| Self { terms: Terms::Resource(term), said: ArcSwapOption::empty() })
    }

    /// For who asks now.
    pub(crate) fn fresh(&self, now: SystemTime) -> Option<Arc<Fresh>> {
        let expires = match &self.terms {
            Terms::Map(terms) => terms.earliest(now),
            Terms::Resource(term) => term.expires(now),
        }?;
        if let Some(said) = self.said.load_full().filter(|said| said.expires() == expires) {
            return Some(said);
        }
        let fresh = Arc::new(Fresh::until(expires));
        self.said.store(Some(fresh.clone()));
        Some(fresh)
    }
}
