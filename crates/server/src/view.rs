//! What is served after one commit: a snapshot with everything an answer needs looked up and ready.
//!
//! Readers never wait for a writer: a request loads the present snapshot, and the view made for it. Whoever comes first after a
//! commit makes the next view, which costs a few lookups a resource; forms of resources that did not change are taken over.
use crate::{
    access::{Promises, Settings},
    expiring::{Announced, Expiring, Freshness},
    modified::Modified,
    representation::Representation,
};
use alto::{id::ResourceId, media_type};
use arc_swap::ArcSwap;
use history::{Publisher, Snapshot, Version};
use maps::guidance::{Resource, Service};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

/// One snapshot, ready.
pub(crate) struct View {
    pub(crate) snapshot: Arc<Snapshot>,
    /// Network maps that say until when they hold.
    pub(crate) expiring: Vec<Announced>,
    promises: Arc<Promises>,
    /// When the maps or the configuration changed last.
    changed: SystemTime,
    /// The same for the pages, which say also what is known of validity.
    pub(crate) modified: Modified,
    entries: HashMap<ResourceId, Kind>,
    /// Directories and pages, by what is in them and the URL they begin with.
    pages: Mutex<Pages>,
}

type Pages = HashMap<(Page, Box<str>), Arc<Representation>>;

/// What an id of the directory stands for.
pub(crate) enum Kind {
    /// Answers GET.
    Ready {
        form: Arc<Representation>,
        /// Until when it holds, where that is known.
        freshness: Option<Freshness>,
    },
    /// Answers GET with what holds when it is asked.
    Expiring(Arc<Expiring>),
    /// Answers POST.
    Query {
        /// Media type of a request.
        accepts: &'static str,
        /// Media type of an answer.
        answers: &'static str,
        /// Bytes that an answer may have at most, as far as the maps tell; `None`: that depends on the request.
        answer_bytes: Option<usize>,
        /// The map to filter, where an answer says until when it holds.
        expiring: Option<Arc<Expiring>>,
    },
}

/// What is made of the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Page {
    Json,
    Html,
}

impl View {
    fn new(snapshot: Arc<Snapshot>, settings: &Settings, promises: Arc<Promises>, before: Option<&Self>) -> Self {
        let expiring = Expiring::all(&snapshot, &promises, before.map_or(&[], |before| &before.expiring));
        let known: HashMap<&ResourceId, &Expiring> =
            expiring.iter().map(|announced| (&announced.expiring.view.id, &*announced.expiring)).collect();
        let freshness = |version: &Version, service: &Service| match service {
            Service::Get(Resource::Network(view)) => known.get(&view.id).copied().map(Freshness::of_map),
            _ => Freshness::of_resource(&snapshot.guidance, version, &promises),
        };
        let kind = |(id, service): (&ResourceId, &Service)| {
            let kind = match service.accepts() {
                None => {
                    let version = snapshot.versions.get(id)?;
                    let form = match before.and_then(|before| before.entries.get(id)) {
                        Some(Kind::Ready { form, .. }) if form.version().is_some_and(|kept| Arc::ptr_eq(kept, version)) => form.clone(),
                        Some(Kind::Ready { form, .. }) => Arc::new(Representation::of(version.clone(), Some(form))),
                        _ => Arc::new(Representation::of(version.clone(), None)),
                    };
                    Kind::Ready { form, freshness: freshness(version, service) }
                }
                Some(accepts) => {
                    Kind::Query { accepts, answers: service.media_type(), answer_bytes: answer_bytes(&snapshot, service), expiring: None }
                }
            };
            Some((id.clone(), kind))
        };
        let mut entries: HashMap<_, _> = snapshot.guidance.services().filter_map(kind).collect();
        for Announced { get, post, expiring, .. } in &expiring {
            entries.insert(get.clone(), Kind::Expiring(expiring.clone()));
            let query = Kind::Query {
                accepts: media_type::NETWORK_MAP_FILTER,
                answers: media_type::NETWORK_MAP,
                answer_bytes: Some(expiring.bytes_max()),
                expiring: Some(expiring.clone()),
            };
            entries.insert(post.clone(), query);
        }
        let changed = snapshot.at.max(settings.since());
        let modified = match before {
            Some(before) if before.changed == changed && before.is_announced_alike(&expiring) => before.modified.clone(),
            before => Modified::next(before.map(|before| &before.modified), changed),
        };
        Self { snapshot, expiring, promises, changed, modified, entries, pages: Mutex::default() }
    }

    fn is_announced_alike(&self, expiring: &[Announced]) -> bool {
        self.expiring.iter().map(|announced| &announced.get).eq(expiring.iter().map(|announced| &announced.get))
    }

    pub(crate) fn entry(&self, id: &str) -> Option<(&ResourceId, &Kind)> {
        self.entries.get_key_value(id)
    }

    /// A page for `base_url`, made by the first who asks. At most `pages_max` are kept.
    pub(crate) fn page(&self, page: Page, base_url: &str, pages_max: usize, make: impl FnOnce() -> Representation) -> Arc<Representation> {
        let lock = || self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (page, base_url.into());
        if let Some(made) = lock().get(&key) {
            return made.clone();
        }
        let made = Arc::new(make());
        let mut pages = lock();
        if pages.len() >= pages_max {
            pages.clear();
        }
        pages.insert(key, made.clone());
        made
    }
}

/// A filtered map is no larger than the largest map it filters.
fn answer_bytes(snapshot: &Snapshot, service: &Service) -> Option<usize> {
    match service {
        Service::FilteredNetworkMap(map) => snapshot.versions.get(map).map(|version| version.body.len()),
        Service::FilteredCostMap(map) => {
            let over = snapshot.guidance.resources().filter(|resource| resource.depends_on() == Some(map));
            over.filter_map(|resource| snapshot.versions.get(resource.id())).map(|version| version.body.len()).max()
        }
        _ => None,
    }
}

/// The present view.
pub(crate) struct Views {
    publisher: Arc<Publisher>,
    settings: Arc<Settings>,
    current: ArcSwap<View>,
    making: Mutex<()>,
}

impl Views {
    pub(crate) fn new(publisher: Arc<Publisher>, settings: Arc<Settings>) -> Self {
        let view = View::new(publisher.current(), &settings, settings.promises(), None);
        Self { publisher, settings, current: ArcSwap::from_pointee(view), making: Mutex::new(()) }
    }

    /// The view of the present snapshot.
    pub(crate) fn current(&self) -> Arc<View> {
        let view = self.current.load_full();
        if self.is_present(&view) {
            return view;
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.current.load_full();
        if self.is_present(&before) {
            return before;
        }
        let view = Arc::new(View::new(self.publisher.current(), &self.settings, self.settings.promises(), Some(&before)));
        self.current.store(view.clone());
        view
    }

    fn is_present(&self, view: &View) -> bool {
        Arc::ptr_eq(&view.snapshot, &self.publisher.current()) && Arc::ptr_eq(&view.promises, &self.settings.promises())
    }
}
