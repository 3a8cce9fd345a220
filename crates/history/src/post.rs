//! Views of POST-mode resources: filtered maps, endpoint properties, endpoint costs, each with its input.
//!
//! There is one for each canonical input, computed again when what it is made of changed, beside the commits and always for the newest:
//! commits that come quicker than that are passed over, versions are not, since they are numbered as they are made. A view ends when its
//! resource would refuse its input or is gone (a metric or a network map that is no longer there): to its readers it is stopped, as RFC
//! 8895 section 6.7.1 has it. A PID that leaves ends nothing: the resource goes on answering, without it (RFC 7285 section 11.3.2.3).
//! Invariant: all of them together hold no more bytes than their limit, but for what readers still hold of those that ended.
use crate::{
    Limits, OpenError, Seq, Snapshot, View,
    chain::{Chain, Content},
    edge,
    views::Views,
};
use alto::id::{ResourceId, Tag};
use arc_swap::ArcSwap;
use bytes::Bytes;
use maps::guidance::Answer;
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// What the views of POST-mode resources hold in all.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    views: AtomicUsize,
    bytes: AtomicUsize,
}

/// What such a view is made of.
pub(crate) struct Post {
    /// What it was computed from last.
    seen: Mutex<Arc<Snapshot>>,
    /// Bytes it holds.
    bytes: AtomicUsize,
    budget: Arc<Budget>,
}

impl Post {
    /// Takes its place in the budget, if there is room.
    fn within(budget: &Arc<Budget>, bytes: usize, seen: Arc<Snapshot>, limits: &Limits) -> Result<Self, OpenError> {
        let post = Self { seen: Mutex::new(seen), bytes: AtomicUsize::new(0), budget: budget.clone() };
        // From here on dropping it gives back what it took.
        let views = budget.views.fetch_add(1, Ordering::SeqCst) + 1;
        let bytes = post.resize(bytes);
        if views > limits.post_views_max {
            return Err(OpenError::TooManyViews { max: limits.post_views_max });
        }
        if bytes > limits.post_bytes_max {
            return Err(OpenError::ViewsTooLarge { max: limits.post_bytes_max });
        }
        Ok(post)
    }

    /// Holds so many bytes from now on. Returns what all hold.
    fn resize(&self, bytes: usize) -> usize {
        let before = self.bytes.swap(bytes, Ordering::SeqCst);
        let total = self.budget.bytes.fetch_add(bytes, Ordering::SeqCst) + bytes;
        self.budget.bytes.fetch_sub(before, Ordering::SeqCst);
        total - before.min(total)
    }

    fn seen(&self) -> Arc<Snapshot> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_seen(&self, snapshot: &Arc<Snapshot>) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = snapshot.clone();
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        self.budget.views.fetch_sub(1, Ordering::SeqCst);
        self.budget.bytes.fetch_sub(self.bytes.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

impl View {
    /// Whether it was computed from something older than this.
    pub(crate) fn is_behind(&self, snapshot: &Arc<Snapshot>) -> bool {
        self.post.as_ref().is_some_and(|post| !Arc::ptr_eq(&post.seen(), snapshot))
    }
}

/// All of them.
#[derive(Default)]
pub(crate) struct Posts {
    budget: Arc<Budget>,
    /// One at a time computes.
    computing: Mutex<()>,
}

/// Views that move on are told of in parts of so many, so that the first does not wait for the last.
const TOLD_AT_ONCE: usize = 64;

impl Posts {
    /// The view of `id` with an input, there already or made now.
    pub(crate) fn open(
        &self,
        current: &ArcSwap<Snapshot>,
        views: &Views,
        id: &ResourceId,
        input: Option<&[u8]>,
        client: IpAddr,
        limits: &Limits,
    ) -> Result<Arc<View>, OpenError> {
        let snapshot = current.load_full();
        let service = snapshot.guidance.service(id).ok_or_else(|| OpenError::NoResource(id.clone()))?;
        if service.accepts().is_none() {
            // Its view is not there yet or any more: it comes or goes at this moment.
            return Err(OpenError::NoResource(id.clone()));
        }
        let input = input.ok_or_else(|| OpenError::InputMissing(id.clone()))?;
        let refused = |error| OpenError::Refused(Box::new(error));
        let canonical = snapshot.guidance.canonical(id, input, client, &limits.answers);
        let input = Bytes::from(canonical.ok_or_else(|| OpenError::NoResource(id.clone()))?.map_err(refused)?);
        if let Some(view) = views.of_input(id, &input) {
            return Ok(view);
        }
        if self.budget.views.load(Ordering::SeqCst) >= limits.post_views_max {
            // Before any work is done for it.
            return Err(OpenError::TooManyViews { max: limits.post_views_max });
        }
        let answer = answer(&snapshot, id, &input, limits).ok_or_else(|| OpenError::NoResource(id.clone()))?.map_err(refused)?;
        let bytes = VIEW_BYTES + input.len() + answer.body.len();
        let post = Post::within(&self.budget, bytes, snapshot.clone(), limits)?;
        let (media_type, content) = (answer.media_type, content(answer, &snapshot));
        let chain = Arc::new(Chain::begin(Seq(1), media_type, content));
        Ok(views.join(id, &input, |view_id| View::new(view_id, id.clone(), chain).with_input(input.clone(), post)))
    }

    /// Brings every view up to what is served, and returns when all are.
    pub(crate) fn refresh(&self, current: &ArcSwap<Snapshot>, views: &Views, limits: &Limits) {
        let _one = self.computing.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let snapshot = current.load_full();
            let stale: Vec<Arc<View>> = views.posts().into_iter().filter(|view| view.is_behind(&snapshot)).collect();
            if stale.is_empty() {
                return;
            }
            for part in stale.chunks(TOLD_AT_ONCE) {
                let moved: Vec<Arc<View>> = part.iter().filter(|view| move_on(view, &snapshot, limits)).cloned().collect();
                views.tell(&moved);
            }
        }
    }

    /// Whether there is anybody to compute for.
    pub(crate) fn any(&self) -> bool {
        self.budget.views.load(Ordering::SeqCst) > 0
    }
}

/// About what a view takes beside its contents.
const VIEW_BYTES: usize = 1024;

fn answer(snapshot: &Snapshot, id: &ResourceId, input: &[u8], limits: &Limits) -> Option<Result<Answer, alto::ErrorBody>> {
    // A canonical input names its endpoints.
    snapshot.guidance.answer(id, input, IpAddr::V4(Ipv4Addr::UNSPECIFIED), &limits.answers)
}

fn content(answer: Answer, snapshot: &Snapshot) -> Content {
    let tag = Tag::of_content(&[b"answer", answer.media_type.as_bytes(), &answer.body]);
    Content { tag, at: snapshot.at, body: answer.body.into() }
}

/// Whether its readers have to hear of it: it has a new version, or ended.
fn move_on(view: &View, snapshot: &Arc<Snapshot>, limits: &Limits) -> bool {
    let (Some(post), Some(input)) = (&view.post, view.input()) else { return false };
    let seen = post.seen();
    post.set_seen(snapshot);
    if snapshot.guidance.answers_alike(&seen.guidance, view.resource()) {
        return false;
    }
    let answer = match answer(snapshot, view.resource(), input, limits) {
        Some(Ok(answer)) if answer.media_type == view.media_type() => answer,
        _ => {
            view.close();
            return true;
        }
    };
    let content = content(answer, snapshot);
    let chain = view.chain();
    let before = chain.newest();
    if before.info.tag == content.tag {
        return false;
    }
    let body = before.snapshot.as_ref().expect("the newest version has a snapshot");
    let patches = edge::between(body, &content.body);
    let next = chain.push(content, patches, snapshot.at, limits.post_versions_max, limits);
    let bytes = |chain: &Chain| VIEW_BYTES + input.len() + chain.newest().info.bytes + chain.history_bytes();
    let next = if post.resize(bytes(&next)) <= limits.post_bytes_max {
        next
    } else {
        // Its own past has to go, and if that is not enough it goes itself.
        let next = next.compacted(true).map_or(next, |mut next| {
            while let Some(shorter) = next.compacted(true) {
                next = shorter;
            }
            next
        });
        if post.resize(bytes(&next)) > limits.post_bytes_max {
            view.close();
            return true;
        }
        next
    };
    view.set(Arc::new(next));
    true
}
