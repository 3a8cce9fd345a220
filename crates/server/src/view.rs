//! What is served after one commit: a snapshot with everything an answer needs looked up and ready.
//!
//! Readers never wait for a writer: a request loads the present snapshot, and the view made for it. Whoever comes first after a
//! commit makes the next view, which costs a few lookups a resource; forms of resources that did not change are taken over.
use crate::representation::Representation;
use alto::id::ResourceId;
use arc_swap::ArcSwap;
use history::{Publisher, Snapshot};
use maps::guidance::Service;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// One snapshot, ready.
pub(crate) struct View {
    pub(crate) snapshot: Arc<Snapshot>,
    entries: HashMap<ResourceId, Kind>,
    /// Directories and pages, by what is in them and the URL they begin with.
    pages: Mutex<Pages>,
}

type Pages = HashMap<(Page, Box<str>), Arc<Representation>>;

/// What an id of the directory stands for.
pub(crate) enum Kind {
    /// Answers GET.
    Ready(Arc<Representation>),
    /// Answers POST.
    Query {
        /// Media type of a request.
        accepts: &'static str,
        /// Media type of an answer.
        answers: &'static str,
        /// Bytes that an answer may have at most, as far as the maps tell; `None`: that depends on the request.
        answer_bytes: Option<usize>,
    },
}

/// What is made of the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Page {
    Json,
    Html,
}

impl View {
    fn new(snapshot: Arc<Snapshot>, before: Option<&Self>) -> Self {
        let kind = |(id, service): (&ResourceId, &Service)| {
            let kind = match service.accepts() {
                None => {
                    let version = snapshot.versions.get(id)?;
                    match before.and_then(|before| before.entries.get(id)) {
                        Some(Kind::Ready(ready)) if ready.version().is_some_and(|kept| Arc::ptr_eq(kept, version)) => {
                            Kind::Ready(ready.clone())
                        }
                        _ => Kind::Ready(Arc::new(Representation::of(version.clone()))),
                    }
                }
                Some(accepts) => Kind::Query { accepts, answers: service.media_type(), answer_bytes: answer_bytes(&snapshot, service) },
            };
            Some((id.clone(), kind))
        };
        let entries = snapshot.guidance.services().filter_map(kind).collect();
        Self { snapshot, entries, pages: Mutex::default() }
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
    current: ArcSwap<View>,
    making: Mutex<()>,
}

impl Views {
    pub(crate) fn new(publisher: Arc<Publisher>) -> Self {
        let view = View::new(publisher.current(), None);
        Self { publisher, current: ArcSwap::from_pointee(view), making: Mutex::new(()) }
    }

    /// The view of the present snapshot.
    pub(crate) fn current(&self) -> Arc<View> {
        let snapshot = self.publisher.current();
        let view = self.current.load_full();
        if Arc::ptr_eq(&view.snapshot, &snapshot) {
            return view;
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let (snapshot, before) = (self.publisher.current(), self.current.load_full());
        if Arc::ptr_eq(&before.snapshot, &snapshot) {
            return before;
        }
        let view = Arc::new(View::new(snapshot, Some(&before)));
        self.current.store(view.clone());
        view
    }
}
