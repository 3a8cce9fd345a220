//! Which edges there are, may be waited for, or are refused (draft-ietf-alto-new-transport section 7.2). No clock, no sockets.
//!
//! A sequence number in a URI is written in one way: digits without a leading zero. So an edge has one URI, as caches need it.
use crate::{listen::Reply, reply};
use alto::{
    ErrorBody,
    updates::{SEQ_MAX, tips::Edge},
};
use history::{Item, NoEdge, Range, Seq, View};
use http::StatusCode;

/// What becomes of a request for an edge.
#[derive(Debug)]
pub(super) enum Verdict {
    There(Item),
    /// A later look finds it, or finds that it will not come.
    Wait(Edge),
    Refused(Refused),
}

/// Status, what is wrong in the path, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    /// `seq-i` or `seq-j`, and what was given.
    pub(super) at: Option<(&'static str, String)>,
    pub(super) why: String,
}

impl Refused {
    pub(super) fn reply(self) -> Reply {
        let (field, value) = self.at.map_or((None, None), |(field, value)| (Some(field.to_owned()), Some(value)));
        reply::error(self.status, &ErrorBody { field, value, ..ErrorBody::syntax(self.why) })
    }
}

fn refused(status: StatusCode, field: &'static str, value: impl ToString, why: String) -> Verdict {
    Verdict::Refused(Refused { status, at: Some((field, value.to_string())), why })
}

/// A number of a path.
enum Number {
    Seq(u64),
    /// Larger than any version will ever be.
    Huge,
    None,
}

fn number(text: &str) -> Number {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) || (text.len() > 1 && text.starts_with('0')) {
        return Number::None;
    }
    text.parse().ok().filter(|seq| *seq <= SEQ_MAX).map_or(Number::Huge, Number::Seq)
}

/// What is to be answered for the path segments `i` and `j`, where up to `window` versions after the newest may be waited for.
pub(super) fn decide(view: &View, i: &str, j: &str, window: u64) -> Verdict {
    // No more of it is repeated than a number has.
    let cut = |text: &str| text.chars().take(32).collect::<String>();
    let no_number =
        |field, text: &str| refused(StatusCode::NOT_FOUND, field, cut(text), "a sequence number is digits without a leading zero".into());
    let (from, to) = match (number(i), number(j)) {
        (Number::None, _) => return no_number("seq-i", i),
        (_, Number::None) => return no_number("seq-j", j),
        (Number::Huge, _) => return too_early("seq-i", cut(i), view.head().0.end),
        (_, Number::Huge) => return too_early("seq-j", cut(j), view.head().0.end),
        (Number::Seq(from), Number::Seq(to)) => (from, to),
    };
    if from >= to {
        return refused(StatusCode::NOT_FOUND, "seq-j", to, "an edge leads to a later version".into());
    }
    let edge = Edge { i: from, j: to };
    match look(view, edge) {
        Verdict::Wait(_) => {
            let end = view.head().0.end;
            if to > end.0.saturating_add(window) {
                return too_early("seq-j", to, end);
            }
            // Whether there will be a shortcut or a full copy cannot be said yet.
            if to > end.0 && from + 1 != to {
                let why =
                    format!("the newest version is {end}; of what is to come only steps from one version to the next can be waited for");
                return refused(StatusCode::TOO_EARLY, "seq-j", to, why);
            }
            Verdict::Wait(edge)
        }
        known => known,
    }
}

fn too_early(field: &'static str, value: impl ToString, end: Seq) -> Verdict {
    refused(StatusCode::TOO_EARLY, field, value, format!("the newest version is {end}, and this is further ahead than can be waited for"))
}

/// An edge at this moment.
pub(super) fn look(view: &View, edge: Edge) -> Verdict {
    if view.is_closed() {
        let why = "the TIPS view was closed: its resource was withdrawn".into();
        return Verdict::Refused(Refused { status: StatusCode::NOT_FOUND, at: None, why });
    }
    match view.edge(Seq(edge.i), Seq(edge.j)) {
        Ok(item) => Verdict::There(item),
        Err(NoEdge::NotYet { .. }) => Verdict::Wait(edge),
        Err(NoEdge::Gone { start }) => {
            let (field, value) = if edge.i != 0 && edge.i < start.0 { ("seq-i", edge.i) } else { ("seq-j", edge.j) };
            let why = format!("version {value} left the history, which starts at {start}; ask for the next edge with a POST to ug");
            refused(StatusCode::GONE, field, value, why)
        }
        Err(NoEdge::NotOffered) => {
            let Range { start, end } = view.head().0;
            let why = format!("there is no edge from {} to {}; each version from {start} to {end} has one to the next", edge.i, edge.j);
            refused(StatusCode::NOT_FOUND, "seq-j", edge.j, why)
        }
    }
}
