//! All live views: where a reader finds one, and who is told when they move on.
//!
//! GET-mode views live as long as their resource. Invariant: a view under an id is the only one that ever has it, or goes on where the
//! one before it ended (a resource that was withdrawn and came back), so nothing behind a URI made of it ever changes.
use crate::{Seq, View, ViewId, chain::Chain};
use alto::id::{ResourceId, Tag};
use bytes::Bytes;
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, PoisonError, RwLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

pub(crate) type Listener = Box<dyn Fn(&[Arc<View>]) + Send + Sync>;

/// See the module.
pub(crate) struct Views {
    epoch: Box<str>,
    /// Told apart: views of POST-mode resources that this process makes from those that another made over the same log.
    process: u64,
    lives: AtomicU64,
    live: RwLock<Live>,
    listeners: Mutex<Vec<Listener>>,
}

#[derive(Default)]
struct Live {
    /// Those of GET-mode resources, as long as the resource is there.
    by_resource: HashMap<ResourceId, Arc<View>>,
    /// Those of POST-mode resources, as long as they have readers.
    by_input: HashMap<(ResourceId, Bytes), Weak<View>>,
    by_id: HashMap<ViewId, Weak<View>>,
    /// When names of views that are gone are forgotten next: so many, and more are gone than there.
    swept_at: usize,
}

impl Live {
    fn sweep(&mut self) {
        if self.by_id.len() >= self.swept_at {
            self.by_input.retain(|_, view| view.strong_count() > 0);
            self.by_id.retain(|_, view| view.strong_count() > 0);
            self.swept_at = 2 * self.by_id.len() + 16;
        }
    }
}

/// A number that no other process will use.
pub(crate) fn fresh() -> u64 {
    RandomState::new().hash_one(0)
}

impl Views {
    pub(crate) fn new(epoch: Box<str>, process: u64) -> Self {
        Self { epoch, process, lives: AtomicU64::new(0), live: RwLock::default(), listeners: Mutex::default() }
    }

    fn id(&self, resource: &ResourceId, input: Option<&[u8]>) -> ViewId {
        let digest = Tag::of_content(&[resource.as_str().as_bytes(), input.unwrap_or_default()]);
        let (epoch, digest) = (&self.epoch, &digest.as_str()[..16]);
        let id = match input {
            None => format!("{epoch}-{digest}"),
            Some(_) => format!("{epoch}-{digest}-{:x}-{:x}", self.process, self.lives.fetch_add(1, Ordering::Relaxed)),
        };
        ViewId(id.into())
    }

    /// A new view of a GET-mode resource, in place of one that ended.
    pub(crate) fn begin(&self, resource: &ResourceId, chain: Arc<Chain>) -> Arc<View> {
        let view = Arc::new(View::new(self.id(resource, None), resource.clone(), chain));
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        live.by_id.insert(view.id().clone(), Arc::downgrade(&view));
        live.by_resource.insert(resource.clone(), view.clone());
        view
    }

    /// The view of a resource that is no longer there.
    pub(crate) fn end(&self, resource: &ResourceId) -> Option<Arc<View>> {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        let view = live.by_resource.remove(resource)?;
        live.by_id.remove(view.id());
        drop(live);
        view.close();
        Some(view)
    }

    /// The view of a GET-mode resource.
    pub(crate) fn of_resource(&self, resource: &ResourceId) -> Option<Arc<View>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).by_resource.get(resource).cloned()
    }

    /// The view of a POST-mode resource with a canonical input.
    pub(crate) fn of_input(&self, resource: &ResourceId, input: &Bytes) -> Option<Arc<View>> {
        let key = (resource.clone(), input.clone());
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.by_input.get(&key).and_then(Weak::upgrade).filter(|view| !view.is_closed())
    }

    /// Takes in a view of a POST-mode resource, unless somebody else was quicker.
    pub(crate) fn join(&self, resource: &ResourceId, input: &Bytes, make: impl FnOnce(ViewId) -> View) -> Arc<View> {
        let key = (resource.clone(), input.clone());
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(view) = live.by_input.get(&key).and_then(Weak::upgrade).filter(|view| !view.is_closed()) {
            return view;
        }
        let view = Arc::new(make(self.id(resource, Some(input))));
        live.by_id.insert(view.id().clone(), Arc::downgrade(&view));
        live.by_input.insert(key, Arc::downgrade(&view));
        live.sweep();
        view
    }

    /// Every live view of a POST-mode resource.
    pub(crate) fn posts(&self) -> Vec<Arc<View>> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.by_input.values().filter_map(Weak::upgrade).filter(|view| !view.is_closed()).collect()
    }

    pub(crate) fn named(&self, id: &str) -> Option<Arc<View>> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.by_id.get(id).and_then(Weak::upgrade).filter(|view| !view.is_closed())
    }

    pub(crate) fn listen(&self, listener: Listener) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    /// One call at a time.
    pub(crate) fn tell(&self, views: &[Arc<View>]) {
        if !views.is_empty() {
            for listener in self.listeners.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                listener(views);
            }
        }
    }
}

impl std::borrow::Borrow<str> for ViewId {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl View {
    /// Whether it goes on in `chain`: of the same kind, and from the version after.
    pub(crate) fn goes_on_in(&self, chain: &Chain) -> bool {
        let end: Seq = self.head().0.end;
        self.media_type() == chain.media_type && !self.is_closed() && end.0 + 1 >= chain.start().0
    }
}
