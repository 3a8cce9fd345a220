//! Changes made and applied (RFC 7396, RFC 6902, RFC 6901).
#![allow(clippy::unwrap_used)]
use alto::{
    Document, Limits,
    cost::CostType,
    cost_map::{CostMap, CostTable},
    endpoint::Prefix,
    id::{Pid, VersionTag},
    network_map::{AddressGroup, NetworkMap},
    patch::{self, CostMapParts, Kind, NetworkMapParts, Patches, json, merge},
};
use proptest::{collection, prelude::*};
use serde_json::{Map, Number, Value};
use std::{collections::BTreeMap, sync::Arc};

/// Any JSON; few names and few leaves, so that two values have much in common.
fn any_json() -> impl Strategy<Value = Value> {
    let name = || prop_oneof![4 => "[ab~/]{0,2}", 1 => any::<String>()];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (0..4i64).prop_map(|n| Value::Number(n.into())),
        any::<f64>().prop_filter_map("finite", |n| Number::from_f64(n).map(Value::Number)),
        "[ab]{0,2}".prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..8).prop_map(Value::Array),
            collection::vec((name(), inner), 0..8).prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Two values, the second often the first with something done to it.
fn two() -> impl Strategy<Value = (Value, Value)> {
    (any_json(), any_json(), any_json(), any::<prop::sample::Index>()).prop_map(|(old, other, leaf, at)| {
        let mut places = Vec::new();
        pointers(&old, String::new(), &mut places);
        let mut new = old.clone();
        match new.pointer_mut(&places[at.index(places.len())]) {
            Some(place) if at.index(3) > 0 => *place = leaf,
            _ => new = other,
        }
        (old, new)
    })
}

fn pointers(value: &Value, at: String, out: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                pointers(value, format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), out);
            }
        }
        Value::Array(elements) => {
            for (place, value) in elements.iter().enumerate() {
                pointers(value, format!("{at}/{place}"), out);
            }
        }
        _ => {}
    }
    out.push(at);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// RFC 6902: there always is a patch, and it gives the target.
    #[test]
    fn json_diff_then_apply_gives_the_target((old, new) in two()) {
        let patch = json::diff(&old, &new);
        let read = json::Patch::from_json(&patch.to_json()).unwrap();
        prop_assert_eq!(&read, &patch);
        let mut target = old.clone();
        read.apply(&mut target, &Limits::default()).unwrap();
        prop_assert_eq!(target, new.clone());
        prop_assert_eq!(patch.0.is_empty(), old == new);
    }

    /// RFC 7396: where there is a patch it gives the target; there is none only where a member is null.
    #[test]
    fn merge_diff_then_apply_gives_the_target((old, new) in two()) {
        match merge::diff(&old, &new) {
            Some(patch) => {
                let mut target = old;
                merge::apply(&mut target, patch);
                prop_assert_eq!(target, new);
            }
            None => prop_assert!(has_null_member(&new)),
        }
    }

    /// One patch for two is as one after the other, whatever it is applied to.
    #[test]
    fn composed_merge_patches_are_as_both((base, first) in two(), (_, then) in two()) {
        if let Some(both) = merge::compose(first.clone(), then.clone()) {
            let (mut once, mut twice) = (base.clone(), base);
            merge::apply(&mut once, both);
            merge::apply(&mut twice, first);
            merge::apply(&mut twice, then);
            prop_assert_eq!(once, twice);
        }
    }

    /// Consecutive changes of one resource become one wherever no member ended and began again.
    #[test]
    fn consecutive_changes_compose((a, b) in two(), (_, c) in two()) {
        if let (Some(first), Some(then)) = (merge::diff(&a, &b), merge::diff(&b, &c))
            && let Some(both) = merge::compose(first, then)
        {
            let mut target = a;
            merge::apply(&mut target, both);
            prop_assert_eq!(target, c);
        }
    }

    /// The bytes that `diff` gives are read again by `apply`.
    #[test]
    fn bytes_to_bytes((old, new) in two()) {
        let text = |value: &Value| serde_json::to_vec(value).unwrap();
        holds(&text(&old), &text(&new), &patch::diff(&text(&old), &text(&new)).unwrap())?;
    }
}

fn has_null_member(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.values().any(|value| value.is_null() || has_null_member(value)),
        _ => false,
    }
}

/// Each patch that there is leads from one text to the other.
fn holds(old: &[u8], new: &[u8], patches: &Patches) -> Result<(), TestCaseError> {
    let want: Value = serde_json::from_slice(new).unwrap();
    for (kind, patch) in [(Kind::Merge, &patches.merge), (Kind::Json, &patches.json)] {
        if let Some(patch) = patch {
            let got = patch::apply(kind, old, patch, &Limits::default()).map_err(|fault| TestCaseError::fail(fault.to_string()))?;
            prop_assert_eq!(&serde_json::from_slice::<Value>(&got).unwrap(), &want, "{:?} {}", kind, String::from_utf8_lossy(patch));
        }
    }
    Ok(())
}

fn pids(max: usize) -> impl Strategy<Value = Arc<[Pid]>> {
    collection::btree_set("[a-f]|PID[0-9]", 0..max).prop_map(|names| names.iter().map(|name| name.parse().unwrap()).collect())
}

fn table(sources: Arc<[Pid]>, destinations: Arc<[Pid]>) -> impl Strategy<Value = CostTable> {
    let cost = prop_oneof![2 => Just(f64::NAN), 3 => (0..4u32).prop_map(f64::from), 1 => 0.0..1e6f64];
    collection::vec(cost, sources.len() * destinations.len()).prop_map(move |values| CostTable {
        sources: sources.clone(),
        destinations: destinations.clone(),
        values,
    })
}

fn tag(resource: &str, tag: &str) -> VersionTag {
    VersionTag { resource_id: resource.parse().unwrap(), tag: tag.parse().unwrap() }
}

fn cost_type() -> impl Strategy<Value = CostType> {
    (any::<bool>(), "a|b", proptest::option::of("x|y")).prop_map(|(numerical, metric, description)| {
        let metric = metric.parse().unwrap();
        let cost_type = if numerical { CostType::numerical(metric) } else { CostType::ordinal(metric) };
        CostType { description: description.map(Into::into), ..cost_type }
    })
}

fn cost_map(table: CostTable) -> impl Strategy<Value = CostMap> {
    (proptest::option::of("t1|t2"), "t1|t2", "n|m", cost_type()).prop_map(move |(vtag, dependent, network, cost_type)| {
        let mut table = table.clone();
        if cost_type.mode == alto::cost::Mode::Ordinal {
            table.values.iter_mut().for_each(|cost| *cost = cost.round());
        }
        CostMap {
            dependent_vtags: vec![tag(&network, &dependent)],
            vtag: vtag.map(|text| tag("c", &text)),
            tables: vec![(cost_type, table)],
        }
    })
}

/// Two maps: of the same names, of other names, or alike but for a few cells.
fn cost_maps() -> impl Strategy<Value = (CostMap, CostMap)> {
    let shapes = (pids(8), pids(8), pids(8), pids(8), 0..4u8);
    let tables = shapes.prop_flat_map(|(a, b, c, d, alike)| {
        let (c, d) = if alike > 0 { (a.clone(), b.clone()) } else { (c, d) };
        (table(a, b), table(c, d), Just(alike), any::<[prop::sample::Index; 3]>()).prop_map(|(old, mut new, alike, cells)| {
            if alike > 1 {
                let changed = new;
                new = old.clone();
                for cell in cells.iter().filter(|_| !changed.values.is_empty()) {
                    let place = cell.index(changed.values.len());
                    new.values[place] = changed.values[place];
                }
            }
            (old, new)
        })
    });
    tables.prop_flat_map(|(old, new)| (cost_map(old), cost_map(new)))
}

fn parts(map: &CostMap) -> CostMapParts<'_> {
    let (cost_type, table) = &map.tables[0];
    CostMapParts { dependent_vtags: &map.dependent_vtags, vtag: map.vtag.as_ref(), cost_type, table }
}

fn prefix() -> impl Strategy<Value = Prefix> {
    (0..40u8, any::<bool>())
        .prop_map(|(n, v4)| if v4 { format!("10.{n}.0.0/16").parse().unwrap() } else { format!("2001:db8:{n:x}::/48").parse().unwrap() })
}

fn network_map() -> impl Strategy<Value = NetworkMap> {
    let other = collection::btree_map("priv:[a/~]".prop_map(Box::from), collection::vec("[a-c]".prop_map(Box::from), 1..6), 0..2);
    let pids = collection::btree_map("[a-d]", (collection::btree_set(prefix(), 0..30), other), 0..4);
    (pids, proptest::option::of("t1|t2")).prop_map(|(pids, vtag)| {
        let mut taken = std::collections::BTreeSet::new();
        let pids: BTreeMap<Pid, AddressGroup> = pids
            .into_iter()
            .map(|(pid, (prefixes, other))| {
                let (ipv4, ipv6) = prefixes.into_iter().filter(|prefix| taken.insert(*prefix)).partition(Prefix::is_ipv4);
                (pid.parse().unwrap(), AddressGroup { ipv4, ipv6, other })
            })
            .collect();
        NetworkMap { vtag: vtag.map(|text| tag("n", &text)), pids }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The change of a cost map, made from numbers, is the change of its text.
    #[test]
    fn cost_maps_change_as_their_text((old, new) in cost_maps()) {
        let patches = parts(&old).diff(&parts(&new));
        prop_assert!(patches.merge.is_some());
        holds(&old.to_json(), &new.to_json(), &patches)?;
    }

    /// A merge patch of a cost map names the changed cells and nothing else: it is the smallest there is.
    #[test]
    fn cost_maps_change_in_the_fewest_bytes((old, new) in cost_maps()) {
        let value = |map: &CostMap| serde_json::from_slice::<Value>(&map.to_json()).unwrap();
        let least = serde_json::to_vec(&merge::diff(&value(&old), &value(&new)).unwrap()).unwrap();
        // Tables may have "no path" all over a row or column; digits are as short in both writers but for exponents.
        prop_assert!(parts(&old).diff(&parts(&new)).merge.unwrap().len() <= least.len() + 2 * old.tables[0].1.values.len());
    }

    /// The change of a network map, made from prefixes, is the change of its text.
    #[test]
    fn network_maps_change_as_their_text(old in network_map(), new in network_map()) {
        fn parts(map: &NetworkMap) -> NetworkMapParts<'_> {
            NetworkMapParts { vtag: map.vtag.as_ref(), map }
        }
        let patches = parts(&old).diff(&parts(&new));
        prop_assert!(patches.merge.is_some() && patches.json.is_some());
        holds(&old.to_json(), &new.to_json(), &patches)?;
    }
}

/// What `apply_to` makes of a document is what the same patch makes of its text.
fn in_place(document: Document, kind: Kind, patch: &[u8]) -> Result<(), TestCaseError> {
    let limits = Limits::default();
    let text = document.to_json();
    let want =
        patch::apply(kind, &text, patch, &limits).and_then(|text| Ok(Document::parse_within(&text, Some(document.media_type()), &limits)?));
    let mut got = document.clone();
    let done = patch::apply_to(&mut got, kind, patch, &limits);
    match want {
        Ok(want) => {
            prop_assert_eq!(done, Ok(()));
            prop_assert_eq!(got.to_json(), want.to_json());
            prop_assert_eq!(got, want);
        }
        Err(fault) => {
            prop_assert_eq!(done, Err(fault));
            prop_assert_eq!(got, document);
        }
    }
    Ok(())
}

/// As it is read: what has no cost is not there.
fn read_again(map: &CostMap) -> CostMap {
    CostMap::from_json(&map.to_json()).unwrap()
}

/// A merge patch with a wound: somewhere another value.
fn wounded(patch: &[u8], value: Value, at: prop::sample::Index) -> Vec<u8> {
    let mut patch: Value = serde_json::from_slice(patch).unwrap();
    let mut places = Vec::new();
    pointers(&patch, String::new(), &mut places);
    *patch.pointer_mut(&places[at.index(places.len())]).unwrap() = value;
    serde_json::to_vec(&patch).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// A typed apply is the apply of values: cost maps.
    #[test]
    fn cost_maps_in_place((old, new) in cost_maps(), value in any_json(), at: prop::sample::Index) {
        let patch = parts(&old).diff(&parts(&new)).merge.unwrap();
        let old = read_again(&old);
        in_place(Document::CostMap(old.clone()), Kind::Merge, &patch)?;
        in_place(Document::CostMap(old), Kind::Merge, &wounded(&patch, value, at))?;
    }

    /// The same of several costs at once (RFC 8189), whose patches come from their text.
    #[test]
    fn multi_cost_maps_in_place((one, two) in cost_maps(), (other, _) in cost_maps(), value in any_json(), at: prop::sample::Index) {
        let multi = |a: &CostMap, seed: &CostMap| {
            let (cost_type, table) = &a.tables[0];
            let mut second = table.clone();
            for (place, cost) in second.values.iter_mut().enumerate() {
                let from = &seed.tables[0].1.values;
                *cost = from.get(place).map_or(f64::NAN, |cost| cost.round());
            }
            let second_type = CostType::ordinal("second".parse().unwrap());
            read_again(&CostMap { tables: vec![(cost_type.clone(), table.clone()), (second_type, second)], ..a.clone() })
        };
        let (old, new) = (multi(&one, &other), multi(&two, &other));
        let Patches { merge: Some(patch), .. } = patch::diff(&old.to_json(), &new.to_json()).unwrap() else {
            return Err(TestCaseError::fail("nulls in arrays can be said"));
        };
        in_place(Document::CostMap(old.clone()), Kind::Merge, &patch)?;
        in_place(Document::CostMap(old), Kind::Merge, &wounded(&patch, value, at))?;
    }

    /// The same of network maps, in both languages.
    #[test]
    fn network_maps_in_place(old in network_map(), new in network_map(), value in any_json(), at: prop::sample::Index) {
        let old = NetworkMap { vtag: old.vtag.or(Some(tag("n", "t0"))), ..old };
        let patches = patch::diff(&old.to_json(), &new.to_json()).unwrap();
        for (kind, patch) in [(Kind::Merge, patches.merge.unwrap()), (Kind::Json, patches.json.unwrap())] {
            in_place(Document::NetworkMap(old.clone()), kind, &patch)?;
            in_place(Document::NetworkMap(old.clone()), kind, &wounded(&patch, value.clone(), at))?;
        }
    }
}
