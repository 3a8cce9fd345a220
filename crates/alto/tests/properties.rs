//! What holds for every document: reading undoes writing, the order of members says nothing, no input is our end.
#![allow(clippy::unwrap_used)]
use alto::{
    Document, ErrorBody,
    check::check,
    cost::{Constraint, Constraints, CostType, Metric, Mode, Op, Query},
    cost_map::{self, CostMap, CostTable, Part, write_body, write_multi_body},
    directory::{Capabilities, Directory, Entry, Meta},
    endpoint::{Address, Prefix},
    endpoint_cost::{self, EndpointCosts},
    endpoint_property::{self, EndpointProperties, PropertyName},
    error::Code,
    expiry::{Expires, ExpiringNetworkMap},
    id::{Pid, ResourceId, VersionTag},
    network_map::{self, AddressGroup, NetworkMap},
};
use proptest::{
    collection::{btree_map, btree_set, hash_map, vec},
    option,
    prelude::*,
    sample::Index,
};
use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Arc, LazyLock},
};

fn name<T: std::str::FromStr<Err: std::fmt::Debug> + std::fmt::Debug>() -> impl Strategy<Value = T> {
    "[A-Za-z0-9:@_.-]{1,9}".prop_map(|text| text.parse().unwrap())
}

fn version_tag() -> impl Strategy<Value = VersionTag> {
    (name::<ResourceId>(), "[!-~]{1,64}").prop_map(|(resource_id, tag)| VersionTag { resource_id, tag: tag.parse().unwrap() })
}

fn cost_type() -> impl Strategy<Value = CostType> {
    (any::<bool>(), "[A-Za-z0-9_.-]{1,32}", option::of(any::<Box<str>>())).prop_map(|(ordinal, metric, description)| CostType {
        mode: if ordinal { Mode::Ordinal } else { Mode::Numerical },
        metric: metric.parse().unwrap(),
        description,
    })
}

fn ip() -> impl Strategy<Value = IpAddr> {
    any::<IpAddr>()
}

fn address() -> impl Strategy<Value = Address> {
    prop_oneof![8 => ip().prop_map(Address::Ip), 1 => "priv:[!-~]{1,128}".prop_map(|text| text.parse().unwrap())]
}

fn property() -> impl Strategy<Value = PropertyName> {
    "([a-z.]{1,8}\\.)?[a-zA-Z0-9:_-]{1,32}".prop_filter_map("a name", |text| text.parse().ok())
}

fn network_map() -> impl Strategy<Value = NetworkMap> {
    let prefix = (ip(), 0u8..=128).prop_filter_map("a length of the family", |(ip, length)| Prefix::new(ip, length));
    let other = btree_map("[a-z]{1,3}", vec(any::<Box<str>>(), 0..3), 0..3);
    (version_tag(), btree_map(name::<Pid>(), other, 1..6), hash_map(prefix, any::<Index>(), 0..30)).prop_map(|(vtag, pids, prefixes)| {
        let mut groups: Vec<(Pid, AddressGroup)> = pids
            .into_iter()
            .map(|(pid, other)| {
                let other = other.into_iter().map(|(name, texts)| (name.into(), texts)).collect();
                (pid, AddressGroup { other, ..Default::default() })
            })
            .collect();
        for (prefix, at) in prefixes {
            let group = &mut at.get_mut(&mut groups).1;
            if prefix.is_ipv4() { group.ipv4.push(prefix) } else { group.ipv6.push(prefix) }
        }
        for (_, group) in &mut groups {
            group.ipv4.sort();
            group.ipv6.sort();
        }
        NetworkMap { vtag: Some(vtag), pids: groups.into_iter().collect() }
    })
}

/// Names that collide with the member that says the expiry are as common as others.
fn expiring_network_map() -> impl Strategy<Value = ExpiringNetworkMap> {
    let expires = || option::of((0..=Expires::MAX.unix()).prop_map(Expires::from_unix));
    let rare = || (0u32..8).prop_map(|n| n == 0);
    (network_map(), expires(), vec((expires(), rare()), 8), rare()).prop_map(|(mut map, whole, own, named)| {
        if named {
            map.pids.insert("expires".parse().unwrap(), AddressGroup::default());
        }
        let mut pids = std::collections::BTreeMap::new();
        for ((pid, group), (expires, named)) in map.pids.iter_mut().zip(own) {
            if named {
                group.other.insert("expires".into(), Vec::new());
            }
            pids.extend(expires.map(|expires| (pid.clone(), expires)));
        }
        ExpiringNetworkMap { map, expires: whole, pids }
    })
}

fn cost(mode: Mode) -> BoxedStrategy<f64> {
    let rank = (0u64..1 << 60).prop_map(|n| n as f64);
    match mode {
        Mode::Ordinal => rank.boxed(),
        Mode::Numerical => prop_oneof![
            rank,
            (0u32..100).prop_map(f64::from),
            (0.0..1e6),
            any::<f64>().prop_map(f64::abs).prop_filter("finite", |v| v.is_finite())
        ]
        .boxed(),
    }
}

/// Names of rows and columns and, by cost type, costs where there are some; no row or column without one.
type Tables<N> = (Vec<N>, Vec<N>, Vec<(CostType, Vec<f64>)>);

fn tables<N: Ord + Clone + std::fmt::Debug + 'static>(
    names: impl Strategy<Value = N> + Clone + 'static,
    types: std::ops::Range<usize>,
) -> impl Strategy<Value = Tables<N>> {
    (btree_set(names.clone(), 1..7), btree_set(names, 1..7), vec(cost_type(), types)).prop_flat_map(|(rows, columns, types)| {
        let cells = rows.len() * columns.len();
        let table = |cost_type: CostType| {
            let cost = prop_oneof![2 => cost(cost_type.mode), 1 => Just(f64::NAN)];
            (Just(cost_type), vec(cost, cells))
        };
        (Just(rows), Just(columns), types.into_iter().map(table).collect::<Vec<_>>()).prop_map(|(rows, columns, tables)| {
            let width = columns.len();
            let there = |row: usize, column: usize| tables.iter().any(|(_, costs)| !costs[row * width + column].is_nan());
            let kept_rows: Vec<usize> = (0..rows.len()).filter(|&row| (0..width).any(|column| there(row, column))).collect();
            let kept_columns: Vec<usize> = (0..width).filter(|&column| (0..rows.len()).any(|row| there(row, column))).collect();
            let pick = |names: BTreeSet<N>, kept: &[usize]| {
                let names: Vec<N> = names.into_iter().collect();
                kept.iter().map(|&at| names[at].clone()).collect::<Vec<N>>()
            };
            let costs = |costs: &[f64]| {
                kept_rows.iter().flat_map(|row| kept_columns.iter().map(move |column| costs[row * width + column])).collect()
            };
            let tables = tables.iter().map(|(cost_type, values)| (cost_type.clone(), costs(values))).collect();
            (pick(rows, &kept_rows), pick(columns, &kept_columns), tables)
        })
    })
}

fn cost_map() -> impl Strategy<Value = CostMap> {
    (version_tag(), option::of(version_tag()), tables(name::<Pid>().boxed(), 1..4)).prop_map(
        |(network_map, vtag, (rows, columns, tables))| {
            let (sources, destinations): (Arc<[Pid]>, Arc<[Pid]>) = (rows.into(), columns.into());
            let table = |values| CostTable { sources: sources.clone(), destinations: destinations.clone(), values };
            CostMap {
                dependent_vtags: vec![network_map],
                vtag,
                tables: tables.into_iter().map(|(cost_type, values)| (cost_type, table(values))).collect(),
            }
        },
    )
}

fn query() -> impl Strategy<Value = Query> {
    let op = prop_oneof![Just(Op::Equal), Just(Op::Greater), Just(Op::Less), Just(Op::GreaterOrEqual), Just(Op::LessOrEqual)];
    let constraint = (any::<Index>(), op, any::<f64>().prop_filter("finite", |v| v.is_finite()));
    (vec(cost_type(), 1..4), any::<bool>(), option::of(vec(cost_type(), 1..4)), vec(vec(constraint, 1..4), 0..4)).prop_map(
        |(mut cost_types, multi, testable, any)| {
            if !multi {
                cost_types.truncate(1);
            }
            let tested = testable.as_ref().unwrap_or(&cost_types).len();
            let one = |(index, op, value): (Index, Op, f64)| Constraint { index: index.index(tested), op, value };
            let any = any.into_iter().map(|all| all.into_iter().map(one).collect()).collect();
            Query { cost_types, multi, testable, constraints: Constraints { any } }
        },
    )
}

fn set<T: Ord + std::fmt::Debug>(one: impl Strategy<Value = T>, size: std::ops::Range<usize>) -> impl Strategy<Value = Vec<T>> {
    btree_set(one, size).prop_map(|set| set.into_iter().rev().collect())
}

fn entry() -> impl Strategy<Value = Entry> {
    let names = || set("[a-z]{1,4}".prop_map(Box::from), 0..4);
    let capabilities =
        (names(), any::<bool>(), 0u32..5, set(property(), 0..3), btree_map(name(), any::<Box<str>>(), 0..3)).prop_map(|drawn| {
            let (cost_type_names, constrained, max_cost_types, prop_types, incremental_change_media_types) = drawn;
            let testable_cost_type_names = if constrained { Vec::new() } else { cost_type_names.iter().skip(1).cloned().collect() };
            Capabilities {
                cost_type_names,
                cost_constraints: constrained,
                max_cost_types,
                testable_cost_type_names,
                prop_types,
                incremental_change_media_types,
                support_stream_control: constrained,
                expires: constrained,
            }
        });
    let updates = || option::of("[a-z/+]{1,9}".prop_map(Box::from));
    (any::<Box<str>>(), any::<Box<str>>(), updates(), capabilities, set(name(), 0..3), updates())
        .prop_map(|(uri, media_type, accepts, capabilities, uses, updates)| Entry { uri, media_type, accepts, capabilities, uses, updates })
}

fn directory() -> impl Strategy<Value = Directory> {
    let types = btree_map(any::<Box<str>>(), cost_type(), 0..4);
    (types, option::of(name()), btree_map(name(), entry(), 0..5))
        .prop_map(|(cost_types, default_network_map, resources)| Directory { meta: Meta { cost_types, default_network_map }, resources })
}

proptest! {

    #[test]
    fn reading_undoes_writing_directory(document in directory()) {
        prop_assert_eq!(Directory::from_json(&document.to_json()), Ok(document));
    }

    #[test]
    fn reading_undoes_writing_network_map(document in network_map()) {
        prop_assert_eq!(NetworkMap::from_json(&document.to_json()), Ok(document));
    }

    /// As far as the names that the map uses let it be said, and never later than it is.
    #[test]
    fn reading_undoes_writing_expiring_network_map(document in expiring_network_map()) {
        let read = ExpiringNetworkMap::from_json(&document.to_json()).unwrap();
        prop_assert_eq!(&read.map, &document.map);
        for (pid, group) in &document.map.pids {
            let (is, said) = (document.expires_of(pid), read.expires_of(pid));
            if group.other.contains_key("expires") {
                prop_assert!(said.is_none() || is.is_some_and(|is| said <= Some(is)), "{}: {:?} for {:?}", pid, said, is);
            } else {
                prop_assert_eq!(said, is, "{}", pid);
            }
        }
        let colliding = document.map.pids.iter().any(|(pid, group)| pid.as_str() == "expires" || group.other.contains_key("expires"));
        if !colliding {
            prop_assert_eq!(&read, &document);
        }
        // What is read is sayable: it is written and read as it is.
        prop_assert_eq!(ExpiringNetworkMap::from_json(&read.to_json()).unwrap(), read);
    }

    #[test]
    fn dates_display_as_they_parse(seconds in 0..=Expires::MAX.unix(), text in any::<String>()) {
        let expires = Expires::from_unix(seconds);
        prop_assert_eq!(expires.to_string().parse(), Ok(expires));
        if let Ok(expires) = text.parse::<Expires>() {
            prop_assert_eq!(expires.to_string(), text);
        }
    }

    #[test]
    fn reading_undoes_writing_cost_map(document in cost_map()) {
        prop_assert_eq!(CostMap::from_json(&document.to_json()), Ok(document));
    }

    #[test]
    fn reading_undoes_writing_endpoint_costs((sources, destinations, tables) in tables(address().boxed(), 1..4), multi: bool) {
        let document = EndpointCosts { multi: multi || tables.len() > 1, sources, destinations, tables };
        prop_assert_eq!(EndpointCosts::from_json(&document.to_json()), Ok(document));
    }

    #[test]
    fn reading_undoes_writing_endpoint_properties(
        dependent_vtags in vec(version_tag(), 0..3),
        endpoints in btree_map(address(), btree_map(property(), any::<Box<str>>(), 0..3), 0..5),
    ) {
        let document = EndpointProperties { dependent_vtags, endpoints };
        prop_assert_eq!(EndpointProperties::from_json(&document.to_json()), Ok(document));
    }

    #[test]
    fn reading_undoes_writing_requests(
        query in query(), pids in set(name::<Pid>(), 0..20), other_pids in set(name::<Pid>(), 0..4),
        endpoints in set(address(), 1..20), other_endpoints in set(address(), 0..4), properties in set(property(), 1..4),
        address_types in set("[a-zA-Z0-9]{1,5}".prop_map(Box::from), 0..3),
    ) {
        let filter = network_map::Filter { pids: pids.clone(), address_types };
        prop_assert_eq!(network_map::Filter::from_json(&filter.to_json()), Ok(filter));
        let filter = cost_map::Filter { query: query.clone(), sources: pids, destinations: other_pids };
        prop_assert_eq!(cost_map::Filter::from_json(&filter.to_json()), Ok(filter));
        let request = endpoint_property::Request { properties, endpoints: endpoints.clone() };
        prop_assert_eq!(endpoint_property::Request::from_json(&request.to_json()), Ok(request));
        let request = endpoint_cost::Request { query, sources: other_endpoints, destinations: endpoints };
        prop_assert_eq!(endpoint_cost::Request::from_json(&request.to_json()), Ok(request));
    }

    #[test]
    fn reading_undoes_writing_error(syntax_error: Option<String>, field: Option<String>, value: Option<String>) {
        let value = value.filter(|_| field.is_some());
        let error = ErrorBody { code: Code::Syntax, syntax_error, field, value, value_is_json: false };
        prop_assert_eq!(ErrorBody::from_json(&error.to_json()), Ok(error));
    }

    /// RFC 7285 section 10.4: several texts, one address; ours is the canonical one.
    #[test]
    fn addresses_and_prefixes_display_as_they_parse(address in address(), length in 0u8..=128) {
        prop_assert_eq!(address.to_string().parse(), Ok(address.clone()));
        if let Some(prefix) = address.ip().and_then(|ip| Prefix::new(ip, length)) {
            prop_assert_eq!(prefix.to_string().parse(), Ok(prefix));
        }
    }

    /// RFC 8259 section 4: an object is unordered, and white space is free; the guessing of names must not show.
    #[test]
    fn order_and_space_say_nothing(map in cost_map(), rows in vec(any::<Index>(), 8), columns in vec(any::<Index>(), 64)) {
        let meta = serde_json::from_slice::<serde_json::Value>(&map.to_json()).unwrap()["meta"].take();
        let table = &map.tables[0].1;
        let mut orders = columns.iter();
        let mut text = String::from("\n{ \"cost-map\" :\t{");
        for (at, row) in shuffled((0..table.sources.len()).collect(), &mut rows.iter()).into_iter().enumerate() {
            text.push_str(if at > 0 { " , " } else { "" });
            text.push_str(&format!("\"{}\" : {{", table.sources[row]));
            let mut between = " ";
            for (at, column) in shuffled((0..table.destinations.len()).collect(), &mut orders).into_iter().enumerate() {
                let costs: Vec<f64> = map.tables.iter().map(|(_, table)| table.at(row, column)).collect();
                if costs.len() == 1 && costs[0].is_nan() {
                    continue;
                }
                let costs: Vec<String> = costs.iter().map(|cost| if cost.is_nan() { "null".into() } else { format!("{cost:?}") }).collect();
                let costs = if costs.len() == 1 { costs[0].clone() } else { format!("[ {}]", costs.join(" ,")) };
                let destination = table.destinations[column].as_str();
                // Any character may be written as an escape.
                let escaped = format!("\\u{:04x}{}", destination.as_bytes()[0], &destination[1..]);
                text.push_str(&format!("{between}\"{}\" :{costs}", if at % 3 == 2 { &escaped } else { destination }));
                between = " ,\r\n";
            }
            text.push('}');
        }
        text.push_str(&format!(" }}, \"meta\": {meta} }}\n"));
        prop_assert_eq!(CostMap::from_json(text.as_bytes()), Ok(map), "{}", text);
    }

    /// The fast writer writes what a plain one would, whichever part is asked.
    #[test]
    fn part_written_is_part_asked(map in cost_map(), rows in vec(any::<Index>(), 0..5), columns in vec(any::<Index>(), 0..5), least in 0.0..100.0) {
        let (cost_type, table) = &map.tables[0];
        let unique = |list: &[Index], size: usize| list.iter().map(|at| at.index(size) as u32).collect::<BTreeSet<_>>().into_iter().rev().collect::<Vec<_>>();
        let (rows, columns) = if table.values.is_empty() { (vec![], vec![]) } else { (unique(&rows, table.sources.len()), unique(&columns, table.destinations.len())) };
        let part = Part { rows: Some(&rows), columns: Some(&columns) };
        let pairs = || rows.iter().flat_map(|&row| columns.iter().map(move |&column| (row as usize, column as usize)));
        let defined = |tables: &[&CostTable]| {
            let named = |(row, column): (usize, usize)| tables.iter().map(move |table| (table.sources[row].clone(), table.destinations[column].clone(), table.at(row, column)));
            pairs().filter(|&(row, column)| table.at(row, column) >= least).flat_map(named).filter(|(_, _, cost)| !cost.is_nan()).collect::<Vec<_>>()
        };
        let mut out = Vec::new();
        write_body(&mut out, &map.dependent_vtags, None, cost_type, table, part, |row, column, cost| {
            assert_eq!(cost.to_bits(), table.at(row, column).to_bits());
            cost >= least
        });
        prop_assert_eq!(costs_of(&CostMap::from_json(&out).unwrap()), sorted(defined(&[table])));
        let mut alone = Vec::new();
        table.write_json(&mut alone, Some(&rows), Some(&columns), |cost| cost >= least);
        alone.push(b'}');
        prop_assert!(out.ends_with(&alone));
        let mut out = Vec::new();
        let tables: Vec<_> = map.tables.iter().map(|(cost_type, table)| (cost_type, table)).collect();
        write_multi_body(&mut out, &map.dependent_vtags, None, &tables, part, |row, column| table.at(row, column) >= least);
        let tables: Vec<_> = tables.into_iter().map(|(_, table)| table).collect();
        prop_assert_eq!(costs_of(&CostMap::from_json(&out).unwrap()), sorted(defined(&tables)));
    }

    #[test]
    fn random_bytes_never_panic(body in vec(any::<u8>(), 0..200)) {
        survive(&body)?;
    }

    #[test]
    fn random_json_never_panics(body in "[\\[\\]{}:,\"\\\\a-c0-2.eE+ \n-]{0,60}") {
        survive(body.as_bytes())?;
    }

    /// The examples of the RFCs with bytes cut, copied and changed.
    #[test]
    fn mutated_examples_never_panic(example in any::<Index>(), edits in vec((any::<Index>(), any::<Index>(), any::<u8>(), 0u8..5), 1..6)) {
        let mut body = example.get(&EXAMPLES).clone();
        for (at, other, byte, edit) in edits {
            if body.is_empty() {
                break;
            }
            let (at, other) = (at.index(body.len()), other.index(body.len()));
            let (start, end) = (at.min(other), at.max(other));
            match edit {
                0 => body[at] = byte,
                1 => body[at] = b"{}[],:\"\\0-en"[byte as usize % 12],
                2 => drop(body.drain(start..end.min(start + 20))),
                3 => body.truncate(at),
                _ => {
                    let copy = body[start..end.min(start + 40)].to_vec();
                    body.splice(at..at, copy);
                }
            }
        }
        survive(&body)?;
    }
}

fn shuffled<T>(mut items: Vec<T>, order: &mut std::slice::Iter<'_, Index>) -> Vec<T> {
    for last in (1..items.len()).rev() {
        if let Some(at) = order.next() {
            items.swap(at.index(last + 1), last);
        }
    }
    items
}

type Costs = Vec<(Pid, Pid, f64)>;

fn sorted(mut costs: Costs) -> Costs {
    costs.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)).then(a.2.total_cmp(&b.2)));
    costs
}

/// Every cost that is defined, of whichever cost type.
fn costs_of(map: &CostMap) -> Costs {
    let of = |table: &CostTable| {
        let cell = |(at, &cost): (usize, &f64)| {
            let width = table.destinations.len();
            (table.sources[at / width].clone(), table.destinations[at % width].clone(), cost)
        };
        table.values.iter().enumerate().map(cell).filter(|(_, _, cost)| !cost.is_nan()).collect::<Vec<_>>()
    };
    sorted(map.tables.iter().flat_map(|(_, table)| of(table)).collect())
}

static EXAMPLES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/");
    let mut paths: Vec<_> = ["rfc7285", "rfc8189", "draft-caching-subscription"]
        .iter()
        .flat_map(|rfc| std::fs::read_dir(format!("{folder}{rfc}")).unwrap())
        .map(|file| file.unwrap().path())
        .collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
});

/// Every reader takes it without panic; and what is not JSON is E_SYNTAX whatever else it is (RFC 7285 section 8.5.2).
fn survive(body: &[u8]) -> Result<(), TestCaseError> {
    let json = serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
    let outcomes = [
        Directory::from_json(body).err(),
        NetworkMap::from_json(body).err(),
        ExpiringNetworkMap::from_json(body).err(),
        CostMap::from_json(body).err(),
        EndpointProperties::from_json(body).err(),
        EndpointCosts::from_json(body).err(),
        network_map::Filter::from_json(body).err(),
        cost_map::Filter::from_json(body).err(),
        endpoint_property::Request::from_json(body).err(),
        endpoint_cost::Request::from_json(body).err(),
        ErrorBody::from_json(body).err(),
        Document::parse(body, None).err(),
    ];
    for outcome in outcomes {
        if !json {
            prop_assert_eq!(outcome.map(|error| error.code), Some(Code::Syntax));
        }
    }
    let problems = check(body, None, &EXAMPLES[..3].iter().map(|example| &example[..]).collect::<Vec<_>>());
    if !json {
        prop_assert_eq!(problems.iter().map(|problem| problem.rule).collect::<Vec<_>>(), ["syntax"]);
    }
    let again = check(body, None, &[body]);
    if let Ok(document) = Document::parse(body, None) {
        prop_assert_eq!(Document::parse(&document.to_json(), Some(document.media_type())), Ok(document));
        prop_assert!(
            !again
                .iter()
                .any(|problem| ["syntax", "wrong-type", "missing-member", "invalid-cost", "duplicate-member"].contains(&problem.rule)),
            "{:?}",
            again
        );
    }
    Ok(())
}

/// RFC 7285 section 6.1.1.1.
#[test]
fn routingcost() {
    assert_eq!(Metric::routingcost().as_str(), "routingcost");
}
