//! A resource's next document from a change to its present one: JSON Merge Patch (RFC 7396), JSON Patch (RFC 6902).
//!
//! The patch is applied to the document as it is served; what comes out is read as strictly as any other document. A usual merge patch of a
//! cost map changes a copy of its table, with no text between. Invariant: what comes out, and what is refused, is the same either way.
use crate::{Error, Limits, Snapshot, Version};
use alto::{
    Document,
    cost_map::CostMap,
    id::{ResourceId, VersionTag},
    patch::Fault,
};
use maps::guidance::{CostView, Refusal, Resource, Service};

pub(crate) use alto::patch::Kind;

/// A patched document has at most so many bytes for each byte of the patch more than before: `1e15` is written `1000000000000000.0`.
const BYTES_FOR_BYTE: usize = 8;

/// The next document of a resource, which must be there to be patched.
pub(crate) fn apply(before: &Snapshot, id: &ResourceId, kind: Kind, patch: &[u8], limits: &Limits) -> Result<Document, Error> {
    let version = before.versions.get(id).ok_or_else(|| Error::NotFound(id.clone()))?;
    if kind == Kind::Merge
        && let Some(Service::Get(Resource::Cost(view))) = before.guidance.service(id)
        && view.tag == version.tag
        && let Some(document) = to_table(view, version, patch, limits)
    {
        return Ok(document);
    }
    to_text(version, kind, patch, limits)
}

/// `None`, where the patch is not of the usual kind, does not fit, or might make more than a document may have.
fn to_table(view: &CostView, version: &Version, patch: &[u8], limits: &Limits) -> Option<Document> {
    let bytes = patch.len().checked_mul(BYTES_FOR_BYTE)?.checked_add(version.body.len())?;
    if bytes > limits.documents.body_bytes_max {
        return None;
    }
    let mut document = Document::CostMap(CostMap {
        dependent_vtags: vec![view.network_map.clone()],
        vtag: Some(VersionTag { resource_id: view.id.clone(), tag: view.tag.clone() }),
        tables: vec![(view.cost_type.clone(), view.table.as_ref().clone())],
    });
    alto::patch::apply_in_place(&mut document, Kind::Merge, patch, &limits.documents)?;
    Some(document)
}

/// Any patch of any document, over a tree.
fn to_text(version: &Version, kind: Kind, patch: &[u8], limits: &Limits) -> Result<Document, Error> {
    let refused =
        |Fault { body, why }: Fault| Error::from(Refusal { resource: version.resource.clone(), why: format!("patch: {why}"), body });
    let Limits { patch_operations_max, patch_copied_bytes_max, .. } = *limits;
    let bounds = alto::Limits { patch_operations_max, patch_copied_bytes_max, ..limits.documents.clone() };
    let text = alto::patch::apply(kind, &version.body, patch, &bounds).map_err(refused)?;
    Document::parse_draft(&text, Some(version.media_type), &limits.documents).map_err(|body| refused(body.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Change, Guard, Publisher};
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};
    use std::time::SystemTime;

    const NAMES: [&str; 8] = ["a", "a:", "aa", "b", "c", "d", "no PID", ""];
    /// PIDs of the network map.
    const PIDS: usize = 6;

    fn id() -> ResourceId {
        "c".parse().expect("an id")
    }

    fn put(id: &str, document: &Value) -> Change {
        let document = Document::parse_draft(document.to_string().as_bytes(), None, &alto::Limits::default()).expect("a document");
        Change::Put { id: id.parse().expect("an id"), document }
    }

    /// What is served of a cost map with these costs.
    fn served(ordinal: bool, costs: &[Option<u32>]) -> std::sync::Arc<Snapshot> {
        let pids = &NAMES[..PIDS];
        let groups: Map<String, Value> =
            pids.iter().zip(1..).map(|(pid, i)| ((*pid).into(), json!({ "ipv4": [format!("10.{i}.0.0/16")] }))).collect();
        let network = json!({ "meta": {}, "network-map": groups });
        let row = |costs: &[Option<u32>]| -> Value {
            let costs = pids.iter().zip(costs).filter_map(|(pid, cost)| Some(((*pid).into(), json!((*cost)?)))).collect();
            Value::Object(costs)
        };
        let rows: Map<String, Value> = pids.iter().zip(costs.chunks(PIDS)).map(|(pid, costs)| ((*pid).into(), row(costs))).collect();
        let mode = if ordinal { "ordinal" } else { "numerical" };
        let cost_type = json!({ "cost-mode": mode, "cost-metric": "routingcost", "description": "{\"in\"}" });
        let costs = json!({ "meta": { "cost-type": cost_type }, "cost-map": rows });
        let publisher = Publisher::new(Limits::default(), Guard::default());
        publisher.apply(vec![put("m", &network), put("c", &costs)], SystemTime::UNIX_EPOCH, true).expect("documents that fit");
        publisher.current()
    }

    fn name() -> impl Strategy<Value = String> {
        prop_oneof![60 => 0..PIDS, 1 => PIDS..NAMES.len()].prop_map(|i| NAMES[i].to_owned())
    }

    fn cost() -> impl Strategy<Value = Value> {
        prop_oneof![
            30 => (1..100_000_u32).prop_map(|cost| json!(cost)),
            20 => (1..100_000_u32).prop_map(|cost| json!(f64::from(cost) / 7.0)),
            10 => Just(Value::Null),
            2 => Just(json!(1e300)),
            2 => Just(json!(u64::MAX)),
            2 => Just(json!(-0.0)),
            1 => prop::sample::select(vec![json!(-1), json!("1"), json!([1]), json!({}), json!({ "a": 1 }), json!(true)]),
        ]
    }

    fn row() -> impl Strategy<Value = Value> {
        prop_oneof![
            40 => prop::collection::btree_map(name(), cost(), 0..4).prop_map(|cells| json!(cells)),
            5 => Just(Value::Null),
            1 => prop::sample::select(vec![json!(1), json!([]), json!("a")]),
        ]
    }

    fn rows() -> impl Strategy<Value = Value> {
        prop_oneof![
            40 => prop::collection::btree_map(name(), row(), 0..5).prop_map(|rows| json!(rows)),
            1 => prop::sample::select(vec![Value::Null, json!(1), json!([])]),
        ]
    }

    fn meta() -> impl Strategy<Value = Value> {
        prop::sample::select(vec![
            json!({}),
            Value::Null,
            json!({ "vtag": null }),
            json!({ "vtag": { "tag": "other" } }),
            json!({ "vtag": { "resource-id": "m" } }),
            json!({ "vtag": 1 }),
            json!({ "dependent-vtags": null }),
            json!({ "dependent-vtags": [] }),
            json!({ "dependent-vtags": [{ "resource-id": "m", "tag": "x" }] }),
            json!({ "cost-type": { "description": null } }),
            json!({ "cost-type": { "description": "d" } }),
            json!({ "cost-type": { "cost-mode": "ordinal" } }),
            json!({ "cost-type": { "cost-mode": "numerical" } }),
            json!({ "cost-type": { "cost-metric": "hopcount" } }),
            json!({ "cost-type": { "cost-metric": null } }),
            json!({ "multi-cost-types": [] }),
            json!({ "more": { "and": "more" } }),
        ])
    }

    fn patch() -> impl Strategy<Value = Value> {
        let member = |value: BoxedStrategy<Value>, often| prop_oneof![often => value.prop_map(Some), 4 => Just(None)];
        (member(rows().boxed(), 40), member(meta().boxed(), 4), member(cost().boxed(), 1)).prop_map(|(rows, meta, more)| {
            let members = [("cost-map", rows), ("meta", meta), ("more", more)];
            Value::Object(members.into_iter().filter_map(|(name, value)| Some((name.into(), value?))).collect())
        })
    }

    proptest! {
        /// The document of a patch, or what is wrong with it, is the same with and without text between.
        #[test]
        fn both_ways_lead_to_the_same(
            ordinal in any::<bool>(),
            costs in prop::collection::vec(prop::option::weighted(0.7, 1..9_u32), PIDS * PIDS),
            patch in patch(),
            bytes_max in prop_oneof![4 => Just(1_usize << 20), 1 => 1..2_000_usize],
        ) {
            let before = served(ordinal, &costs);
            let limits = Limits { documents: alto::Limits { body_bytes_max: bytes_max, pids_max: 6, ..alto::Limits::default() }, ..Limits::default() };
            let patch = patch.to_string();
            let one = apply(&before, &id(), Kind::Merge, patch.as_bytes(), &limits);
            let other = to_text(&before.versions[&id()], Kind::Merge, patch.as_bytes(), &limits);
            match (one, other) {
                (Ok(one), Ok(other)) => prop_assert_eq!(one, other),
                (Err(one), Err(other)) => prop_assert_eq!(format!("{one:?}"), format!("{other:?}")),
                (one, other) => prop_assert!(false, "{one:?} is not {other:?}"),
            }
        }
    }

    /// Costs that change, come and go take the short way; so does what a client says of versions.
    #[test]
    fn usual_patches_need_no_text() {
        let before = served(false, &[Some(1); PIDS * PIDS]);
        let Some(Service::Get(Resource::Cost(view))) = before.guidance.service(&id()) else { panic!("it was put there") };
        for patch in [
            json!({ "cost-map": { "a": { "b": 2.5 }, "b": { "a:": 7, "d": null } } }),
            json!({ "cost-map": { "a": null } }),
            json!({ "meta": { "vtag": { "tag": "1" } }, "cost-map": { "c": { "c": 3 } } }),
            json!({}),
        ] {
            let document = to_table(view, &before.versions[&id()], patch.to_string().as_bytes(), &Limits::default());
            assert!(document.is_some(), "{patch}");
        }
    }
}
