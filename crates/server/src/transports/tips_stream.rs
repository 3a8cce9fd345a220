//! Update streams of the summaries of TIPS views (draft-ietf-alto-new-transport section 6.3.3): a client learns of new versions without a
//! poll for each, and gets the edges from a cache.
//!
//! The resource followed is TIPS itself, a POST-mode resource: `input` is the body of the request that opens a view.
use super::{Transports, sse::Asker, tips};
use crate::{listen::Reply, reply};
use alto::{
    ErrorBody, media_type,
    updates::{
        AddUpdate,
        tips::{AddTipsResponse, Edge, Summary, SummaryChange, TipsReq},
    },
};
use history::{NoEdge, Range, Seq, View};
use http::StatusCode;
use std::sync::Arc;

/// A place in the life of a summary.
pub(crate) struct Watch {
    view: Arc<View>,
    view_uri: Box<str>,
    /// Whether the client takes merge patches.
    changes: bool,
    /// What it was told last.
    said: Option<Summary>,
    /// The first edge, as it was recommended for the client's version, which may have the newest: then it is still to come.
    first: Edge,
    /// The newest version when it was recommended.
    end_then: u64,
}

impl Watch {
    pub(crate) fn new(view: Arc<View>, view_uri: Box<str>, changes: bool, now: Summary) -> Self {
        Self { view, view_uri, changes, said: None, first: now.start_edge, end_then: now.end_seq }
    }

    pub(crate) fn view(&self) -> &Arc<View> {
        &self.view
    }

    pub(crate) fn is_current(&self) -> bool {
        let (Range { start, end }, _) = self.view.head();
        self.said.is_some_and(|said| (said.start_seq, said.end_seq) == (start.0, end.0))
    }

    /// What a client is told, if there is anything new.
    pub(crate) fn next(&mut self) -> Option<(&'static str, Vec<u8>)> {
        let (Range { start, end }, _) = self.view.head();
        // An edge that left the graph, a full copy that was thrown away too, is no recommendation any more.
        let there = self.view.edge(Seq(self.first.i), Seq(self.first.j));
        if self.said.is_some() && matches!(there, Err(NoEdge::Gone { .. } | NoEdge::NotOffered)) {
            let (i, j) = self.view.recommend(None);
            self.first = Edge { i: i.0, j: j.0 };
        }
        let new = Summary { start_seq: start.0, end_seq: end.0.max(self.end_then), start_edge: self.first };
        let old = self.said.replace(new);
        match old {
            Some(old) if old == new => None,
            Some(old) if self.changes => Some((media_type::MERGE_PATCH, SummaryChange::between(old, new).to_json())),
            _ => Some((media_type::TIPS, AddTipsResponse { view_uri: self.view_uri.clone(), summary: new }.to_json())),
        }
    }
}

/// Opens the view that a substream is of.
pub(super) async fn watch(transports: &Arc<Transports>, wish: AddUpdate, asker: &Asker, field: &str) -> Result<Watch, Reply> {
    let wrong = |body: ErrorBody| reply::error(StatusCode::BAD_REQUEST, &body);
    let AddUpdate { resource_id, tag: _, incremental_changes, input } = wish;
    if resource_id != transports.names().tips {
        return Err(wrong(ErrorBody::invalid(format!("{field}resource-id"), resource_id.as_str())));
    }
    // "MUST return the same error response that that resource would return for missing or invalid input" (RFC 8895 section 6.6). The resource is
    // TIPS, and of a request without resource id its `field` "MUST be "resource-id"" (section 6.2): paths are those of `input`, not of the stream's.
    let request = TipsReq::from_json_within(input.as_deref().unwrap_or("{}").as_bytes(), &transports.requests).map_err(wrong)?;
    let view = transports.open_held(request.resource_id, request.input, asker, "").await?;
    let now = tips::summary(&view, request.tag.as_ref());
    let uri = tips::view_uri(&asker.base_url, &view);
    Ok(Watch::new(view, uri.into(), incremental_changes, now))
}
