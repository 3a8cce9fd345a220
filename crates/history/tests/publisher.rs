//! What a writer may rely on: commits, versions, patches, folders, the guard. Documents are those of RFC 7285 section 11.2.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]
use alto::{
    Document,
    cost::CostType,
    cost_map::{CostMap, CostTable},
    error::Code,
    id::{Pid, ResourceId, Tag},
    network_map::{AddressGroup, NetworkMap},
};
use history::{Change, Commit, Error, FolderId, Guard, Limits, Publisher, Seq};
use maps::compute::{Computed, MapsPolicy, compute};
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};
use topology::graph::{Graph, PrefixAt, Source, SourceIx};

fn id(text: &str) -> ResourceId {
    text.parse().unwrap()
}

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

/// PID `p<i>` has `10.<i>.0.0/16`.
fn network(pids: &[u8]) -> Document {
    let group = |i: &u8| AddressGroup { ipv4: vec![format!("10.{i}.0.0/16").parse().unwrap()], ..AddressGroup::default() };
    let pids = pids.iter().map(|i| (format!("p{i}").parse().unwrap(), group(i))).collect();
    Document::NetworkMap(NetworkMap { vtag: None, pids })
}

/// `cost` between each two of the PIDs. Depends on the default network map.
fn costs(metric: &str, pids: &[u8], cost: f64) -> Document {
    let names: Arc<[Pid]> = pids.iter().map(|i| format!("p{i}").parse().unwrap()).collect();
    let table = CostTable { sources: names.clone(), destinations: names, values: vec![cost; pids.len() * pids.len()] };
    let cost_type = CostType::numerical(metric.parse().unwrap());
    Document::CostMap(CostMap { dependent_vtags: Vec::new(), vtag: None, tables: vec![(cost_type, table)] })
}

fn put(name: &str, document: Document) -> Change {
    Change::Put { id: id(name), document }
}

fn publisher() -> Publisher {
    Publisher::new(Limits::default(), Guard::default())
}

/// A network map `m` of two PIDs and a cost map `c`.
fn started() -> Publisher {
    let publisher = publisher();
    publisher.apply(vec![put("m", network(&[1, 2])), put("c", costs("routingcost", &[1, 2], 5.0))], at(1), false).unwrap();
    publisher
}

fn changed(commit: &Commit) -> Vec<(&str, u64)> {
    commit.changed.iter().map(|version| (version.resource.as_str(), version.seq.0)).collect()
}

fn body(publisher: &Publisher, name: &str) -> serde_json::Value {
    serde_json::from_slice(&publisher.current().versions[&id(name)].body).unwrap()
}

/// Maps computed from one source's prefixes: `10.<i>.0.0/17` in the group given. No two are neighbours, so none are joined.
fn computed(groups: &[(u8, &str)]) -> Arc<Computed> {
    let prefixes = groups
        .iter()
        .map(|(i, group)| PrefixAt {
            prefix: format!("10.{i}.0.0/17").parse().unwrap(),
            group: Some(group.parse().unwrap()),
            router: None,
            asn: None,
            source: SourceIx(0),
        })
        .collect();
    let source = Source { name: "test".into(), precedence: 0, observed_at: at(0), trouble: None, validity: Arc::default() };
    let graph = Graph { prefixes: Arc::new(prefixes), out: vec![0], sources: vec![source], ..Graph::default() };
    Arc::new(compute(Arc::new(graph), Arc::new(MapsPolicy::default()), None).unwrap())
}

#[test]
fn a_version_is_a_change_of_content() {
    let publisher = started();
    let snapshot = publisher.current();
    assert_eq!((snapshot.commit, snapshot.at), (1, at(1)));
    let same = publisher.apply(vec![put("c", costs("routingcost", &[1, 2], 5.0))], at(2), false).unwrap();
    assert_eq!(changed(&same), []);
    assert_eq!((same.snapshot.commit, same.snapshot.at), (1, at(1)));
    assert!(Arc::ptr_eq(&same.snapshot.versions[&id("c")], &snapshot.versions[&id("c")]));
    let other = publisher.apply(vec![put("c", costs("routingcost", &[1, 2], 6.0))], at(3), false).unwrap();
    assert_eq!(changed(&other), [("c", 2)]);
    // Back to what it was: the first tag again, under a new number.
    let back = publisher.apply(vec![put("c", costs("routingcost", &[1, 2], 5.0))], at(4), false).unwrap();
    assert_eq!(changed(&back), [("c", 3)]);
    assert_eq!(back.changed[0].tag, snapshot.versions[&id("c")].tag);
    let history = publisher.history(&id("c")).unwrap();
    assert_eq!(history.iter().map(|info| (info.seq.0, info.at)).collect::<Vec<_>>(), [(1, at(1)), (2, at(3)), (3, at(4))]);
}

/// interface.md: "A PUT of a network map alone is accepted; cost maps that depend on it follow ... in the same commit."
#[test]
fn dependants_follow_in_the_same_commit() {
    let publisher = started();
    let commit = publisher.apply(vec![put("m", network(&[1, 3]))], at(2), false).unwrap();
    assert_eq!(changed(&commit), [("m", 2), ("c", 2)]);
    let (map, costs) = (body(&publisher, "m"), body(&publisher, "c"));
    assert_eq!(costs["meta"]["dependent-vtags"][0], map["meta"]["vtag"]);
    assert_eq!(costs["cost-map"], serde_json::json!({"p1": {"p1": 5}}));
}

#[test]
fn a_commit_is_all_or_nothing() {
    let publisher = started();
    let before = publisher.current();
    let stranger = costs("hopcount", &[1, 9], 1.0);
    let error = publisher.apply(vec![put("c", costs("routingcost", &[1, 2], 7.0)), put("h", stranger)], at(2), false).unwrap_err();
    let refused = error.body().unwrap();
    assert_eq!((refused.code, refused.field.as_deref(), refused.value.as_deref()), (Code::InvalidFieldValue, Some("cost-map"), Some("p9")));
    assert!(Arc::ptr_eq(&before, &publisher.current()));
    let twice = vec![put("c", costs("routingcost", &[1], 7.0)), Change::Withdraw { id: id("c") }];
    assert!(matches!(publisher.apply(twice, at(3), false), Err(Error::ChangedTwice(resource)) if resource == id("c")));
    for change in [
        Change::Withdraw { id: id("nothing") },
        Change::Withdraw { id: id("endpoint-cost") },
        Change::MergePatch { id: id("nothing"), patch: b"{}".to_vec() },
    ] {
        assert!(matches!(publisher.apply(vec![change], at(3), false), Err(Error::NotFound(_))));
    }
    assert!(Arc::ptr_eq(&before, &publisher.current()));
    // Once the map has the PID, both go in one commit, whatever their order.
    let both = vec![put("h", costs("hopcount", &[1, 9], 1.0)), put("m", network(&[1, 2, 9]))];
    assert_eq!(changed(&publisher.apply(both, at(4), false).unwrap()), [("m", 2), ("c", 2), ("h", 1)]);
}

#[test]
fn withdrawn_is_gone_until_published_again() {
    let publisher = started();
    let needed = publisher.apply(vec![Change::Withdraw { id: id("m") }], at(2), false).unwrap_err();
    assert!(matches!(&needed, Error::Refused(refusal) if refusal.resource == id("c")), "{needed}");
    let commit = publisher.apply(vec![Change::Withdraw { id: id("c") }], at(3), false).unwrap();
    assert_eq!(commit.withdrawn, [id("c")]);
    assert!(commit.snapshot.guidance.service(&id("endpoint-cost")).is_none(), "no costs, no service for them");
    let commit = publisher.apply(vec![put("c", costs("routingcost", &[1, 2], 5.0))], at(4), false).unwrap();
    assert_eq!(changed(&commit), [("c", 2)]);

    let publisher = self::publisher();
    let maps = computed(&[(1, "a"), (2, "b")]);
    publisher.apply(vec![Change::Computed(Some(maps.clone()))], at(1), false).unwrap();
    publisher.apply(vec![Change::Withdraw { id: id("network-map") }], at(2), false).unwrap();
    let commit = publisher.apply(vec![Change::Computed(Some(maps))], at(3), false).unwrap();
    assert!(!commit.snapshot.versions.contains_key(&id("network-map")), "computed again, withdrawn still");
    publisher.apply(vec![put("network-map", network(&[1]))], at(4), false).unwrap();
    assert!(publisher.current().versions.contains_key(&id("network-map")));
}

/// RFC 7285 section 9.1.1: "IDs SHOULD NOT be reused for different resources over time", and those of the services are of the default
/// network map.
#[test]
fn default_network_map_stays() {
    let publisher = started();
    let default = || publisher.current().guidance.network_maps().next().unwrap().id.to_string();
    assert_eq!(default(), "m");
    for (change, want) in [
        (put("a", network(&[1])), "m"),
        (put("network-map", network(&[1])), "m"),
        (Change::Withdraw { id: id("c") }, "m"),
        (Change::Withdraw { id: id("m") }, "network-map"),
        (put("m", network(&[1])), "network-map"),
    ] {
        publisher.apply(vec![change], at(2), false).unwrap();
        assert_eq!(default(), want);
    }
}

/// RFC 7396 and RFC 6902 on the document as served; what comes out is read as strictly as any other.
#[test]
fn patches_apply_to_what_is_served() {
    let publisher = started();
    let merge = |patch: &str| vec![Change::MergePatch { id: id("c"), patch: patch.as_bytes().to_vec() }];
    let json = |patch: &str| vec![Change::JsonPatch { id: id("c"), patch: patch.as_bytes().to_vec() }];
    let commit = publisher.apply(merge(r#"{"cost-map": {"p1": {"p2": 9.5, "p1": null}}}"#), at(2), false).unwrap();
    assert_eq!(changed(&commit), [("c", 2)]);
    assert_eq!(body(&publisher, "c")["cost-map"], serde_json::json!({"p1": {"p2": 9.5}, "p2": {"p1": 5, "p2": 5}}));
    let patch = r#"[{"op": "test", "path": "/cost-map/p1/p2", "value": 9.5}, {"op": "replace", "path": "/cost-map/p1/p2", "value": 1}]"#;
    assert_eq!(changed(&publisher.apply(json(patch), at(3), false).unwrap()), [("c", 3)]);
    // The test no longer holds.
    for (patch, field, value) in [
        // RFC 7285 section 8.5.2: the value is the one at fault, no sentence about it.
        (json(patch), Some("/cost-map/p1/p2"), Some("9.5")),
        (json(r#"[{"op": "remove", "path": "/cost-map/p9"}]"#), Some("/cost-map/p9"), None),
        (json(r#"[{"op": "#), None, None),
        (merge("{"), None, None),
        (merge(r#"{"cost-map": {"p1": {"p2": -1}}}"#), Some("cost-map/p1/p2"), Some("-1")),
        (merge(r#"{"cost-map": {"p1": {"p7": 1}}}"#), Some("cost-map"), Some("p7")),
        (merge(r#"{"cost-map": null}"#), Some("cost-map"), None),
    ] {
        let error = publisher.apply(patch, at(4), false).unwrap_err();
        let body = error.body().unwrap();
        assert_eq!((body.field.as_deref(), body.value.as_deref()), (field, value), "{error}");
    }
    assert_eq!(publisher.current().commit, 3);
    assert_eq!(publisher.current().versions[&id("c")].seq, Seq(3));
}

#[test]
fn copies_of_copies_are_bounded() {
    let limits = Limits { patch_copied_bytes_max: 1 << 20, ..Limits::default() };
    let publisher = Publisher::new(limits, Guard::default());
    publisher.apply(vec![put("m", network(&[1, 2]))], at(1), false).unwrap();
    let double = |n| format!(r#"{{"op": "copy", "from": "/network-map", "path": "/network-map/x{n}"}}"#);
    let patch = format!("[{}]", (0..40).map(double).collect::<Vec<_>>().join(","));
    let error = publisher.apply(vec![Change::JsonPatch { id: id("m"), patch: patch.into() }], at(2), false).unwrap_err();
    assert!(error.to_string().contains("copies more than 1048576 bytes"), "{error}");
}

fn file(folder: &str, name: &str, digest: &str, document: Document) -> Change {
    Change::File { id: id(name), folder: FolderId::of(folder.as_ref()), digest: digest.parse().unwrap(), document }
}

/// interface.md: "A file that did not change does not undo an acknowledged PUT."
#[test]
fn an_unchanged_file_undoes_nothing() {
    let publisher = publisher();
    let file = |cost, digest| file("maps", "c", digest, costs("routingcost", &[1, 2], cost));
    let map = |digest| self::file("maps", "m", digest, network(&[1, 2]));
    let gone = || Change::FileGone { id: id("c"), folder: Some(FolderId::of("maps".as_ref())) };
    let cost = || body(&publisher, "c")["cost-map"]["p1"]["p2"].as_f64();
    publisher.apply(vec![map("m1"), file(1.0, "c1")], at(1), false).unwrap();
    publisher.apply(vec![put("c", costs("routingcost", &[1, 2], 2.0))], at(2), false).unwrap();
    publisher.apply(vec![map("m1"), file(1.0, "c1")], at(3), false).unwrap();
    assert_eq!(cost(), Some(2.0));
    publisher.apply(vec![file(3.0, "c2")], at(4), false).unwrap();
    assert_eq!(cost(), Some(3.0));
    // A file that goes takes its document along, but not one that was published over it.
    publisher.apply(vec![put("c", costs("routingcost", &[1, 2], 4.0))], at(5), false).unwrap();
    publisher.apply(vec![gone()], at(6), false).unwrap();
    assert_eq!(cost(), Some(4.0));
    publisher.apply(vec![file(5.0, "c3")], at(7), false).unwrap();
    publisher.apply(vec![gone()], at(8), false).unwrap();
    assert!(!publisher.current().versions.contains_key(&id("c")));
}

/// The same when folders take turns: each is remembered.
#[test]
fn an_unchanged_file_undoes_nothing_after_another_folder() {
    let publisher = publisher();
    let apply = |second, changes| publisher.apply(changes, at(second), false).unwrap();
    let document = |cost| costs("routingcost", &[1, 2], cost);
    let away = |name| Change::FileGone { id: id(name), folder: None };
    let cost =
        || publisher.current().versions.contains_key(&id("c")).then(|| body(&publisher, "c")["cost-map"]["p1"]["p2"].as_f64().unwrap());
    apply(1, vec![put("m", network(&[1, 2]))]);
    let [a, b] = [("a", 1.0, "c1"), ("b", 2.0, "c2")].map(|(folder, cost, digest)| move || file(folder, "c", digest, document(cost)));
    // Each says what it has, when it is its turn.
    for (second, change, want) in
        [(2, a(), Some(1.0)), (3, b(), Some(2.0)), (4, a(), Some(1.0)), (5, away("c"), None), (6, a(), Some(1.0)), (7, b(), Some(2.0))]
    {
        apply(second, vec![change]);
        assert_eq!(cost(), want, "{second}");
    }
    // What was published since stays, whichever of them comes, and what was withdrawn stays away.
    apply(8, vec![put("c", document(3.0))]);
    for (second, change) in [(9, a()), (10, b()), (11, away("c")), (12, a())] {
        apply(second, vec![change]);
        assert_eq!(cost(), Some(3.0), "{second}");
    }
    apply(13, vec![Change::Withdraw { id: id("c") }]);
    for (second, change) in [(14, b()), (15, a())] {
        apply(second, vec![change]);
        assert_eq!(cost(), None, "{second}");
    }
    apply(16, vec![file("a", "c", "c3", document(4.0))]);
    assert_eq!(cost(), Some(4.0));
}

#[test]
fn the_guard_holds_what_moves_too_much() {
    let publisher = publisher();
    let all = |group: &'static str| (1..=10).map(|i| (i, group)).collect::<Vec<_>>();
    let commit = |groups: &[(u8, &str)], second| publisher.apply(vec![Change::Computed(Some(computed(groups)))], at(second), false);
    commit(&all("a"), 1).unwrap();
    let mut half = all("a");
    half[..5].iter_mut().for_each(|(_, group)| *group = "b");
    commit(&half, 2).unwrap();
    // Six of ten.
    let mut more = half.clone();
    more[4..].iter_mut().for_each(|(_, group)| *group = "c");
    let Err(Error::Guarded(moved)) = commit(&more, 3) else { panic!("six of ten are too many") };
    assert_eq!((moved.prefixes, moved.of, moved.resource.as_str()), (6, 10, "network-map"));
    assert_eq!(publisher.held().unwrap().since, at(3));
    assert!(matches!(commit(&more, 4), Err(Error::Guarded(_))));
    assert_eq!(publisher.held().unwrap().since, at(3), "a newer computation waits no shorter");
    let confirmed = publisher.confirm_held(at(5)).unwrap();
    assert_eq!(changed(&confirmed)[0], ("network-map", 3));
    assert!(publisher.held().is_none());
    assert!(matches!(publisher.confirm_held(at(6)), Err(Error::NothingHeld)));
    // Prefixes that vanish move; prefixes that appear do not.
    assert!(matches!(commit(&more[..3], 7), Err(Error::Guarded(moved)) if (moved.prefixes, moved.of) == (7, 10)));
    let mut grown = more.clone();
    grown.extend((11..=40).map(|i| (i, "d")));
    commit(&grown, 8).unwrap();
    assert!(publisher.held().is_none(), "back within bounds, nothing waits");

    // An operator is believed, unless configured otherwise, and told otherwise once more.
    publisher.apply(vec![put("network-map", network(&[1]))], at(9), false).unwrap();
    publisher.set_guard(Guard { published_moved_share_max: 0.2, ..Guard::default() });
    assert!(matches!(publisher.apply(vec![put("network-map", network(&[2]))], at(10), false), Err(Error::Guarded(_))));
    assert!(publisher.held().is_none(), "who published it can do so again");
    publisher.apply(vec![put("network-map", network(&[2]))], at(11), true).unwrap();
}

#[test]
fn history_and_resources_are_bounded() {
    let limits = Limits { versions_max: 3, resources_max: 2, ..Limits::default() };
    let publisher = Publisher::new(limits, Guard::default());
    publisher.apply(vec![put("m", network(&[1]))], at(0), false).unwrap();
    for second in 1..=5_u8 {
        publisher.apply(vec![put("c", costs("routingcost", &[1], second.into()))], at(second.into()), false).unwrap();
    }
    let numbers: Vec<u64> = publisher.history(&id("c")).unwrap().iter().map(|info| info.seq.0).collect();
    assert_eq!(numbers, [3, 4, 5]);
    let third = vec![put("d", costs("hopcount", &[1], 1.0))];
    assert!(matches!(publisher.apply(third.clone(), at(6), false), Err(Error::TooManyResources { max: 2 })));
    // One that is withdrawn keeps its place in the count: its numbers must go on if it returns.
    publisher.apply(vec![Change::Withdraw { id: id("c") }], at(7), false).unwrap();
    assert!(matches!(publisher.apply(third, at(8), false), Err(Error::TooManyResources { max: 2 })));
}

#[test]
fn listeners_hear_each_commit_in_order() {
    let publisher = started();
    let heard = Arc::new(AtomicU64::new(1));
    let seen = heard.clone();
    publisher.on_commit(move |commit| {
        assert_eq!(seen.fetch_add(1, Ordering::SeqCst) + 1, commit.snapshot.commit);
        assert!(!commit.changed.is_empty());
    });
    for cost in [6.0, 6.0, 7.0] {
        publisher.apply(vec![put("c", costs("routingcost", &[1, 2], cost))], at(2), false).unwrap();
    }
    assert_eq!(heard.load(Ordering::SeqCst), 3);
}

/// Readers run against a writer that changes the network map and two cost maps in each commit. Whatever a reader loads must
/// be one commit's work, and no older than what it loaded before. Ends when every reader has seen the last commit.
#[test]
fn readers_see_all_of_a_commit_or_none() {
    const COMMITS: u64 = 300;
    let publisher = Publisher::new(Limits::default(), Guard::default());
    let commit = |n: u64| {
        // The set of PIDs and both costs tell which commit it is.
        let pids: Vec<u8> = (0..=(n % 7) as u8).collect();
        vec![put("c", costs("routingcost", &pids, n as f64)), put("h", costs("hopcount", &pids, n as f64)), put("m", network(&pids))]
    };
    publisher.apply(commit(1), at(1), false).unwrap();
    let torn = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut last = 0;
                while last < COMMITS && !torn.load(Ordering::Relaxed) {
                    let snapshot = publisher.current();
                    let document =
                        |name: &str| -> serde_json::Value { serde_json::from_slice(&snapshot.versions[&id(name)].body).unwrap() };
                    let (map, routing, hops) = (document("m"), document("c"), document("h"));
                    let n = routing["cost-map"]["p0"]["p0"].as_u64().unwrap();
                    let whole = hops["cost-map"] == routing["cost-map"]
                        && map["network-map"].as_object().unwrap().len() as u64 == n % 7 + 1
                        && routing["meta"]["dependent-vtags"][0] == map["meta"]["vtag"]
                        && hops["meta"]["dependent-vtags"][0] == map["meta"]["vtag"]
                        && snapshot.guidance.resources().all(|resource| *resource.tag() == snapshot.versions[resource.id()].tag)
                        && snapshot.commit == n
                        && n >= last;
                    if !whole {
                        torn.store(true, Ordering::Relaxed);
                    }
                    last = n;
                }
            });
        }
        for n in 2..=COMMITS {
            publisher.apply(commit(n), at(n), false).unwrap();
        }
    });
    assert!(!torn.load(Ordering::Relaxed));
}

#[derive(Debug, Clone)]
enum Step {
    Network(Vec<u8>),
    Costs(&'static str, f64),
    Merge(&'static str, f64),
    Withdraw(&'static str),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = || prop::sample::select(vec!["routingcost", "hopcount"]);
    let step = prop_oneof![
        prop::collection::btree_set(0..4_u8, 1..4).prop_map(|pids| Step::Network(pids.into_iter().collect())),
        (name(), 0..3_u8).prop_map(|(name, cost)| Step::Costs(name, cost.into())),
        (name(), 0..3_u8).prop_map(|(name, cost)| Step::Merge(name, f64::from(cost) + 0.5)),
        name().prop_map(Step::Withdraw),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is done in whatever order: numbers are contiguous from 1, a tag stands for one content and a content for one
    /// tag, the body reads back under it, cost maps depend on the present network map, and a publisher that only ever saw the
    /// end result says the same.
    #[test]
    fn numbers_are_contiguous_and_tags_name_contents(steps in steps()) {
        let publisher = publisher();
        publisher.apply(vec![put("m", network(&[0]))], at(0), false).unwrap();
        let mut contents: BTreeMap<Tag, Vec<u8>> = BTreeMap::new();
        let mut numbers: BTreeMap<ResourceId, u64> = BTreeMap::from([(id("m"), 1)]);
        for (step, second) in steps.into_iter().zip(1..) {
            let pids: Vec<u8> = match &publisher.current().guidance.network_maps().next() {
                Some(map) => map.pids.iter().map(|pid| pid.as_str()[1..].parse().unwrap()).collect(),
                None => Vec::new(),
            };
            let change = match step {
                Step::Network(pids) => put("m", network(&pids)),
                Step::Costs(metric, cost) => put(metric, costs(metric, &pids, cost)),
                Step::Merge(metric, cost) => {
                    let patch = format!(r#"{{"cost-map": {{"p{}": {{"p{}": {cost}}}}}}}"#, pids[0], pids[pids.len() - 1]);
                    Change::MergePatch { id: id(metric), patch: patch.into() }
                }
                Step::Withdraw(metric) => Change::Withdraw { id: id(metric) },
            };
            match publisher.apply(vec![change], at(second), false) {
                Ok(commit) => {
                    for version in &commit.changed {
                        let number = numbers.entry(version.resource.clone()).or_default();
                        prop_assert_eq!(version.seq.0, *number + 1);
                        *number += 1;
                    }
                }
                Err(error) => prop_assert!(matches!(error, Error::NotFound(_)), "{}", error),
            }
            let snapshot = publisher.current();
            for version in snapshot.versions.values() {
                let document = Document::parse(&version.body, Some(version.media_type)).unwrap();
                let (vtag, dependent) = match &document {
                    Document::NetworkMap(map) => (map.vtag.clone(), None),
                    Document::CostMap(map) => (map.vtag.clone(), map.dependent_vtags.first().cloned()),
                    _ => unreachable!(),
                };
                prop_assert_eq!(vtag.map(|vtag| vtag.tag), Some(version.tag.clone()));
                if let Some(dependent) = dependent {
                    prop_assert_eq!(&dependent.tag, &snapshot.versions[&dependent.resource_id].tag);
                }
                let known = contents.entry(version.tag.clone()).or_insert_with(|| version.body.to_vec());
                prop_assert_eq!(&known[..], &version.body[..]);
            }
            // Equal content, equal tag: tags are as many as bodies.
            let bodies: std::collections::BTreeSet<&[u8]> = contents.values().map(Vec::as_slice).collect();
            prop_assert_eq!(bodies.len(), contents.len());
        }
        let snapshot = publisher.current();
        let fresh = self::publisher();
        let all = snapshot.versions.values().map(|version| {
            let document = Document::parse(&version.body, Some(version.media_type)).unwrap();
            Change::Put { id: version.resource.clone(), document }
        });
        fresh.apply(all.collect(), at(0), false).unwrap();
        let tags = |publisher: &Publisher| publisher.current().versions.values().map(|version| version.tag.clone()).collect::<Vec<_>>();
        prop_assert_eq!(tags(&publisher), tags(&fresh));
    }
}
