//! One followed resource: the copy that is here, and whether an update fits it (RFC 8895 section 9.2).
//!
//! Invariant: an update is taken whole or refused; after a refusal the copy is not to be used. What changes nothing (section 6.6) is no change.
use super::{Followed, Place, Since, Update};
use crate::{
    options::Limits,
    replica::{
        change::{Change, What},
        content::{Content, PatchKind},
    },
};
use alto::id::{Tag, VersionTag};
use bytes::Bytes;
use serde_json::{Value, json};
use std::{sync::Arc, time::Instant};

#[derive(Debug)]
pub(super) struct State {
    pub(super) followed: Followed,
    pub(super) built: Option<Built>,
    /// Changes that wait for the network map.
    pub(super) held: Vec<Change>,
    pub(super) held_bytes: usize,
    /// Since when it does not fit what it depends on.
    pub(super) unfit: Option<Instant>,
    /// The transport in use offers it.
    pub(super) offered: bool,
    /// This session brought something of it, or its place was taken up.
    pub(super) numbered: bool,
    /// Nothing more of it will come in this session.
    pub(super) stopped: bool,
    /// It was stopped, and nothing came of it since.
    pub(super) ailing: bool,
}

#[derive(Debug)]
pub(super) struct Built {
    pub(super) content: Arc<Content>,
    pub(super) seq: Option<u64>,
    pub(super) tag: Option<Tag>,
}

impl State {
    pub(super) fn new(followed: Followed) -> Self {
        Self {
            followed,
            built: None,
            held: Vec::new(),
            held_bytes: 0,
            unfit: None,
            offered: true,
            numbered: false,
            stopped: false,
            ailing: false,
        }
    }

    pub(super) fn place(&self) -> Place {
        self.built.as_ref().map(|built| Place { tag: built.tag.clone(), seq: built.seq }).unwrap_or_default()
    }

    /// The server says that what is here is the newest.
    pub(super) fn confirm(&mut self, seq: Option<u64>, tag: Option<Tag>) -> Result<(), String> {
        let Some(built) = &mut self.built else { return Err("the server says it is up to date, and there is no copy".into()) };
        if tag.is_some() && built.tag.is_some() && tag != built.tag {
            return Err(format!("the server says it is up to date with {}, the copy is {}", text(&tag), text(&built.tag)));
        }
        built.seq = seq.or(built.seq);
        self.numbered = true;
        Ok(())
    }

    /// Applies an update and checks what it makes. `false`: nothing is different.
    pub(super) fn take(&mut self, update: Update, limits: &Limits) -> Result<bool, String> {
        let Update { since, seq, tag: said, media_type, body, .. } = update;
        let (content, what, is_empty) = match PatchKind::of_media_type(&media_type) {
            None => (self.read(&media_type, &body, seq, limits)?, What::Full, false),
            Some(kind) => {
                let vtag = self.built.as_ref().and_then(|built| built.content.vtag()).cloned();
                let Some(content) = self.apply(kind, &body, since, seq, limits)? else { return Ok(false) };
                if vtag.is_some() && content.vtag().is_none() {
                    return Err("the patch takes meta/vtag away".into());
                }
                let is_empty = says_nothing(&body, vtag.as_ref());
                (content, What::Patch { kind, body }, is_empty)
            }
        };
        // The tag in a filtered network map is that of the map it was cut from (RFC 7285 section 11.3.1.6).
        let tag = match (content.tag().filter(|_| self.followed.input.is_none()), said) {
            (Some(built), Some(said)) if built != said => return Err(format!("what was built is {built}, the server says {said}")),
            (built, said) => built.or(said),
        };
        if let Some(vtag) = content.vtag()
            && self.followed.input.is_none()
            && vtag.resource_id != self.followed.resource
        {
            return Err(format!("meta/vtag names {}", vtag.resource_id));
        }
        // What changes nothing of what is here already is no change (RFC 8895 section 6.6), only a sign of life.
        let unchanged = self.built.as_ref().is_some_and(|built| match (&what, &tag) {
            (What::Patch { .. }, _) => is_empty && built.tag == tag,
            (What::Full, Some(_)) => built.tag == tag,
            (What::Full, None) => built.content.says_the_same(&content),
        });
        self.numbered = true;
        self.built = Some(Built { content: content.clone(), seq, tag: tag.clone() });
        if !unchanged {
            let Followed { resource, input, media_type, .. } = &self.followed;
            let change =
                Change { resource: resource.clone(), input: input.clone(), seq, tag, media_type: media_type.clone(), content, what };
            self.hold(change, limits);
        }
        Ok(!unchanged)
    }

    fn read(&mut self, media_type: &str, body: &Bytes, seq: Option<u64>, limits: &Limits) -> Result<Arc<Content>, String> {
        if !media_type.eq_ignore_ascii_case(&self.followed.media_type) {
            return Err(format!("{media_type} is neither its media type nor that of a patch"));
        }
        if let (true, Some(built), Some(seq)) = (self.numbered, &self.built, seq)
            && built.seq.is_some_and(|held| seq < held)
        {
            return Err(format!("a full copy of version {seq} after version {}", built.seq.unwrap_or_default()));
        }
        Content::read(media_type, body, limits).map(Arc::new)
    }

    /// `None`: it is here already.
    fn apply(
        &mut self,
        kind: PatchKind,
        body: &Bytes,
        since: Since,
        seq: Option<u64>,
        limits: &Limits,
    ) -> Result<Option<Arc<Content>>, String> {
        let Some(built) = &mut self.built else { return Err("a patch without the copy it applies to".into()) };
        if let (Some(held), Some(seq), true) = (built.seq, seq, self.numbered)
            && seq <= held
        {
            return Ok(None);
        }
        // The first of a session is since the version that was announced by its tag, whatever its number.
        if let (Since::Seq(since), Some(held), true) = (since, built.seq, self.numbered)
            && since != held
        {
            return Err(format!("a patch since version {since}, the copy is version {held}"));
        }
        // In place unless somebody still reads the version before.
        Arc::make_mut(&mut built.content).apply(kind, body, limits)?;
        Ok(Some(built.content.clone()))
    }

    fn hold(&mut self, change: Change, limits: &Limits) {
        self.held_bytes += change.bytes();
        self.held.push(change);
        if self.held.len() > limits.changes_waiting_max || self.held_bytes > limits.changes_waiting_bytes_max {
            let last = self.held.pop().expect("one was pushed above").into_full();
            self.held_bytes = last.bytes();
            self.held = vec![last];
        }
    }
}

fn text(tag: &Option<Tag>) -> &str {
    tag.as_ref().map_or("no version", Tag::as_str)
}

/// Longer patches than this say something.
const EMPTY_PATCH_BYTES_MAX: usize = 512;

/// Whether a patch leaves everything as it is: it is empty, or names the version that is here.
fn says_nothing(patch: &[u8], vtag: Option<&VersionTag>) -> bool {
    if patch.len() > EMPTY_PATCH_BYTES_MAX {
        return false;
    }
    let tag = vtag.map(|vtag| vtag.tag.as_str());
    match serde_json::from_slice(patch) {
        Ok(Value::Array(operations)) => operations.is_empty(),
        Ok(Value::Object(members)) if members.is_empty() => true,
        Ok(patch @ Value::Object(_)) => tag.is_some() && patch == json!({"meta": {"vtag": {"tag": tag}}}),
        _ => false,
    }
}
