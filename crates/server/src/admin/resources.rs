//! Publishing through the admin listener: PUT, PATCH, DELETE, commits; what there is and was.
use super::{Admin, Query, answer::Answer, commit, status::time_text};
use crate::negotiate;
use alto::{Document, ErrorBody, id::ResourceId};
use bytes::Bytes;
use history::{Change, Commit, Error};
use http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use std::{sync::atomic::Ordering::Relaxed, time::SystemTime};
use tracing::{error, info};

const MERGE_PATCH: &str = "application/merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
/// Warnings of one answer. 20: `altocast check` has them all.
const WARNINGS_MAX: usize = 20;
/// Changes that one line of the log names; the rest is counted.
const NAMED_MAX: usize = 4;

impl Admin {
    /// PUT, PATCH or DELETE of one resource.
    pub(super) fn change(&self, id: &str, query: &Query<'_>, request: &Request<Bytes>) -> Result<Answer, Answer> {
        let id = resource_id(id)?;
        let change = if request.method() == Method::DELETE {
            Change::Withdraw { id: id.clone() }
        } else {
            let media_type = media_type(request)?;
            let patch = request.method() == Method::PATCH;
            self.one(id.clone(), &media_type, request.body(), patch).map_err(|refusal| match refusal.code() {
                // RFC 5789 section 2.2: which patches are understood.
                StatusCode::UNSUPPORTED_MEDIA_TYPE if patch => {
                    refusal.with(http::HeaderName::from_static("accept-patch"), &format!("{MERGE_PATCH}, {JSON_PATCH}"))
                }
                _ => refusal,
            })?
        };
        let existed = self.publisher.current().versions.contains_key(&id);
        let withdraw = request.method() == Method::DELETE;
        let commit = self.apply(vec![change], query.confirmed()).map_err(|e| match &e {
            // The request has no document that could be wrong: something that depends on the resource is in its way.
            Error::Refused(refusal) if withdraw => Answer::refused(StatusCode::CONFLICT, e.to_string(), &refusal.body),
            _ => refuse(&e),
        })?;
        if withdraw {
            return Ok(Answer::empty(StatusCode::NO_CONTENT));
        }
        let version = &commit.snapshot.versions[&id];
        let status = if existed { StatusCode::OK } else { StatusCode::CREATED };
        let mut body = json!({ "resource-id": id, "seq": version.seq, "tag": version.tag, "also-changed": also(&commit, &[&id]) });
        if version.media_type == alto::media_type::NETWORK_MAP {
            body["warnings"] = warnings(&version.body, &self.documents).into();
        }
        Ok(Answer::json(status, &body).with(header::ETAG, &format!("\"{}\"", version.tag)))
    }

    /// Several resources, all or nothing.
    pub(super) fn commits(&self, query: &Query<'_>, request: &Request<Bytes>) -> Result<Answer, Answer> {
        let media_type = media_type(request)?;
        if media_type != "application/json" {
            return Err(Answer::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("a commit is application/json, not {media_type}")));
        }
        let asked = commit::read(request.body()).map_err(|body| {
            let why = format!("no commit, {{\"changes\": {{\"<id>\": {{\"media-type\": ..., \"data\": ...}}}}}}: {body}");
            Answer::refused(StatusCode::BAD_REQUEST, why, &body)
        })?;
        let ids: Vec<ResourceId> = asked.iter().map(|change| resource_id(&change.id)).collect::<Result<_, _>>()?;
        let mut changes = Vec::with_capacity(ids.len());
        for (id, change) in ids.iter().zip(&asked) {
            let kind = negotiate::bare(&change.media_type);
            let patch = matches!(&*kind, MERGE_PATCH | JSON_PATCH);
            changes.push(match change.data.get() {
                "null" if !patch => Change::Withdraw { id: id.clone() },
                data => self.one(id.clone(), &kind, data.as_bytes(), patch)?,
            });
        }
        let commit = self.apply(changes, query.confirmed()).map_err(|e| refuse(&e))?;
        let of = |id: &ResourceId| {
            commit.snapshot.versions.get(id).map(|version| json!({ "resource-id": id, "seq": version.seq, "tag": version.tag }))
        };
        let resources: Vec<Value> = ids.iter().filter_map(of).collect();
        let named: Vec<&ResourceId> = ids.iter().collect();
        Ok(Answer::json(
            StatusCode::OK,
            &json!({ "commit": commit.snapshot.commit, "resources": resources, "also-changed": also(&commit, &named), "withdrawn": commit.withdrawn }),
        ))
    }

    /// Commits, and says in the log what changed here: whoever looks for the cause of a change finds it beside those that sources made.
    fn apply(&self, changes: Vec<Change>, confirmed: bool) -> Result<Commit, Error> {
        let commit = self.heed_disk(self.publisher.apply(changes, SystemTime::now(), confirmed))?;
        if !commit.changed.is_empty() || !commit.withdrawn.is_empty() {
            let changed = commit.changed.iter().map(|version| format!("{} seq {}", version.resource, version.seq));
            let all: Vec<_> = changed.chain(commit.withdrawn.iter().map(|id| format!("{id} withdrawn"))).collect();
            let more = if all.len() > NAMED_MAX { format!(" and {} more", all.len() - NAMED_MAX) } else { String::new() };
            info!(commit = commit.snapshot.commit, "published over the admin API: {}{more}", all[..all.len().min(NAMED_MAX)].join(", "));
        }
        Ok(commit)
    }

    /// Says in the log when commits can no longer be kept, and when they can be again; a publisher that tries and tries is one line.
    fn heed_disk(&self, outcome: Result<Commit, Error>) -> Result<Commit, Error> {
        match &outcome {
            Ok(commit) => {
                if self.unwritable.swap(false, Relaxed) {
                    info!(commit = commit.snapshot.commit, "commits are kept again");
                }
            }
            Err(Error::NotKept(why)) => {
                if !self.unwritable.swap(true, Relaxed) {
                    error!("nothing can be published, what was there is served: {why}");
                }
            }
            Err(_) => {}
        }
        outcome
    }

    fn one(&self, id: ResourceId, media_type: &str, body: &[u8], patch: bool) -> Result<Change, Answer> {
        match media_type {
            MERGE_PATCH if patch => return Ok(Change::MergePatch { id, patch: body.to_vec() }),
            JSON_PATCH if patch => return Ok(Change::JsonPatch { id, patch: body.to_vec() }),
            _ => {}
        }
        let kinds = [alto::media_type::NETWORK_MAP, alto::media_type::COST_MAP];
        // `application/json` says nothing of the kind; the members do.
        let kind = if media_type == "application/json" { None } else { Some(media_type) };
        if patch || kind.is_some_and(|kind| !kinds.contains(&kind)) {
            let known = if patch { format!("{MERGE_PATCH} or {JSON_PATCH}") } else { kinds.join(" or ") };
            return Err(Answer::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("{media_type} is not understood here; send {known}")));
        }
        let document = Document::parse_draft(body, kind, &self.documents)
            .map_err(|body| Answer::refused(StatusCode::BAD_REQUEST, format!("{id}: {body}"), &body))?;
        Ok(Change::Put { id, document })
    }

    /// What there is.
    pub(super) fn list(&self) -> Answer {
        let snapshot = self.publisher.current();
        let resources: Vec<Value> = snapshot
            .versions
            .values()
            .map(|version| {
                let history = self.publisher.history(&version.resource).unwrap_or_default();
                json!({
                    "resource-id": version.resource,
                    "media-type": version.media_type,
                    "seq": version.seq,
                    "oldest-seq": history.first().map(|info| info.seq),
                    "tag": version.tag,
                    "bytes": version.body.len(),
                    "at": time_text(version.at),
                })
            })
            .collect();
        Answer::json(StatusCode::OK, &json!({ "commit": snapshot.commit, "resources": resources }))
    }

    /// What a resource was.
    pub(super) fn history(&self, id: &str) -> Result<Answer, Answer> {
        let id = resource_id(id)?;
        let history = self.publisher.history(&id).ok_or_else(|| refuse(&Error::NotFound(id.clone())))?;
        let versions: Vec<Value> =
            history.iter().map(|info| json!({ "seq": info.seq, "tag": info.tag, "bytes": info.bytes, "at": time_text(info.at) })).collect();
        let (first, last) = (history.first().map(|info| info.seq), history.last().map(|info| info.seq));
        Ok(Answer::json(StatusCode::OK, &json!({ "resource-id": id, "oldest-seq": first, "seq": last, "versions": versions })))
    }

    /// What the change guard holds back.
    pub(super) fn guard(&self) -> Answer {
        let held = self.publisher.held().map(|held| {
            let moved = &held.moved;
            json!({
                "resource-id": moved.resource,
                "moved-prefixes": moved.prefixes,
                "prefixes": moved.of,
                "share": moved.share(),
                "share-max": moved.share_max,
                "since": time_text(held.since),
                "message": format!("the newest maps move {moved}; POST /v1/guard/confirm lets them through"),
            })
        });
        Answer::json(StatusCode::OK, &json!({ "held": held }))
    }

    /// Lets through what the guard holds back.
    pub(super) fn confirm(&self) -> Result<Answer, Answer> {
        let moved = self.publisher.held().map(|held| held.moved);
        let commit = self.heed_disk(self.publisher.confirm_held(SystemTime::now())).map_err(|e| refuse(&e))?;
        if let Some(moved) = moved {
            let (prefixes, of, id) = (moved.prefixes, moved.of, &moved.resource);
            info!(commit = commit.snapshot.commit, "change guard: confirmed, moved {prefixes} of {of} prefixes of {id}");
        }
        Ok(Answer::json(StatusCode::OK, &json!({ "commit": commit.snapshot.commit, "also-changed": also(&commit, &[]) })))
    }
}

/// What is legal to publish, because a part of a map looks alike, and still not what clients expect of a whole one: RFC 7285 section 11.2.2
/// wants every address in a PID.
fn warnings(network_map: &[u8], limits: &alto::Limits) -> Vec<String> {
    let problems = alto::check::check_within(network_map, Some(alto::media_type::NETWORK_MAP), &[], limits);
    let worth = problems.into_iter().filter(|problem| problem.severity > alto::check::Severity::Note);
    worth.take(WARNINGS_MAX).map(|problem| format!("{}: {} ({})", problem.pointer, problem.message, problem.rfc_section)).collect()
}

/// What changed beyond what was asked for: cost maps that followed their network map.
fn also(commit: &Commit, named: &[&ResourceId]) -> Vec<Value> {
    commit
        .changed
        .iter()
        .filter(|version| !named.contains(&&version.resource))
        .map(|version| json!({ "resource-id": version.resource, "seq": version.seq, "tag": version.tag }))
        .collect()
}

fn resource_id(text: &str) -> Result<ResourceId, Answer> {
    text.parse().map_err(|e| {
        let why = format!("{e}: 1 to 64 letters, digits and -:@_. (RFC 7285 section 10.2)");
        Answer::refused(StatusCode::BAD_REQUEST, why, &ErrorBody::invalid("resource-id", text))
    })
}

fn media_type(request: &Request<Bytes>) -> Result<String, Answer> {
    let missing =
        || Answer::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a Content-Type is needed, the media type of the document or the patch");
    negotiate::content_type(request.headers()).ok_or_else(missing)
}

/// Every way a commit can fail, as an answer.
pub(super) fn refuse(error: &Error) -> Answer {
    let status = match error {
        Error::NotFound(_) | Error::NothingHeld => StatusCode::NOT_FOUND,
        Error::ChangedTwice(_) | Error::Refused(_) => StatusCode::BAD_REQUEST,
        Error::Guarded(_) => StatusCode::CONFLICT,
        Error::TooManyResources { .. } | Error::NotKept(_) => StatusCode::INSUFFICIENT_STORAGE,
    };
    match (error, error.body()) {
        (_, Some(body)) => Answer::refused(status, error.to_string(), body),
        (Error::Guarded(_), None) => Answer::error(status, format!("{error}; send it again with ?confirm=true to let it through")),
        (_, None) => Answer::error(status, error.to_string()),
    }
}
