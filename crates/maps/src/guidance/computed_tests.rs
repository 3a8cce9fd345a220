//! Guidance over computed maps: what is announced for them, what a commit shares, how documents take their place.
use super::{
    tests::{costs, id, network},
    *,
};
use crate::compute::{MapsPolicy, compute};
use alto::endpoint::Address;
use std::time::SystemTime;
use topology::graph::{Graph, Link, PrefixAt, Router, RouterIx, Source, SourceIx};

/// Routers a, b, c in a triangle, each with a PID of its name; `ac` is the cost of the link from a to c.
fn graph(ac: u32, prefix_of_c: &str) -> Arc<Graph> {
    let routers = ["a", "b", "c"].map(|id| Router { id: id.into(), country: None, location: None, source: SourceIx(0) });
    let link = |from, to, igp_cost| Link {
        from: RouterIx(from),
        to: RouterIx(to),
        local_address: None,
        igp_cost,
        delay_us: None,
        bandwidth_bps: Some(f64::from(igp_cost) * 1e9),
        source: SourceIx(0),
    };
    let links = vec![link(0, 1, 1), link(0, 2, ac), link(1, 0, 1), link(1, 2, 2), link(2, 0, 4), link(2, 1, 2)];
    let prefixes = [("10.0.0.0/8", "a", 0), ("11.0.0.0/9", "b", 1), (prefix_of_c, "c", 2)]
        .map(|(prefix, group, router)| PrefixAt {
            prefix: prefix.parse().unwrap(),
            group: Some(group.parse().unwrap()),
            router: Some(RouterIx(router)),
            asn: None,
            source: SourceIx(0),
        })
        .into();
    Arc::new(Graph {
        routers: routers.into(),
        links,
        out: vec![0, 2, 4, 6],
        prefixes: Arc::new(prefixes),
        matrices: Vec::new(),
        sources: vec![Source {
            name: "test".into(),
            precedence: 0,
            observed_at: SystemTime::UNIX_EPOCH,
            trouble: None,
            validity: Arc::default(),
        }],
    })
}

fn computed(graph: Arc<Graph>, previous: Option<&Computed>) -> Arc<Computed> {
    Arc::new(compute(graph, Arc::new(MapsPolicy::default()), previous).unwrap())
}

fn cost(guidance: &Guidance, name: &str) -> Option<Arc<CostView>> {
    match guidance.service(&id(name))? {
        Service::Get(Resource::Cost(view)) => Some(view.clone()),
        _ => None,
    }
}

fn body(guidance: &Guidance, name: &str) -> serde_json::Value {
    serde_json::from_slice(&guidance.render(&id(name)).unwrap().body).unwrap()
}

fn shared(a: &Guidance, b: &Guidance) -> Vec<String> {
    let both = a.resources().filter(|resource| b.resources().any(|other| other.same(resource)));
    both.map(|resource| resource.id().to_string()).collect()
}

/// interface.md: "network map, cost maps (numerical and ordinal) for each metric, filtered network map, filtered cost map with
/// constraints, endpoint properties, endpoint cost".
#[test]
fn computed_maps_are_announced() {
    let inputs = Inputs { computed: Some(computed(graph(9, "12.0.0.0/8"), None)), ..Inputs::default() };
    let guidance = Guidance::compose(&inputs, None).unwrap();
    let directory = guidance.directory("http://h");
    assert_eq!(directory.meta.default_network_map, Some(id("network-map")));
    let ids: Vec<&str> = directory.resources.keys().map(ResourceId::as_str).collect();
    assert_eq!(
        ids,
        [
            "cost-map-bw-available",
            "cost-map-bw-available-ordinal",
            "cost-map-hopcount",
            "cost-map-hopcount-ordinal",
            "cost-map-routingcost",
            "cost-map-routingcost-ordinal",
            "endpoint-cost",
            "endpoint-properties",
            "filtered-cost-map",
            "filtered-network-map",
            "network-map",
        ]
    );
    let first = guidance.resources().next().unwrap();
    assert_eq!(first.id().as_str(), "network-map", "what others depend on comes first");
    // a to c by b: 3 instead of 9. The distinct costs are 0, 1, 2 and 3, so the ranks are one more.
    assert_eq!(body(&guidance, "cost-map-routingcost")["cost-map"]["a"], serde_json::json!({"a": 0, "b": 1, "c": 3}));
    assert_eq!(body(&guidance, "cost-map-routingcost-ordinal")["cost-map"]["a"], serde_json::json!({"a": 1, "b": 2, "c": 4}));
}

#[test]
fn a_commit_makes_only_what_changed() {
    let first_computed = computed(graph(9, "12.0.0.0/8"), None);
    let mut inputs = Inputs { computed: Some(first_computed.clone()), ..Inputs::default() };
    let first = Guidance::compose(&inputs, None).unwrap();

    // Still around: 8 instead of 9 changes no path. A whole new computation, equal all over.
    inputs.computed = Some(computed(graph(9, "12.0.0.0/8"), None));
    let equal = Guidance::compose(&inputs, Some(&first)).unwrap();
    assert!(first.resources().map(Resource::tag).eq(equal.resources().map(Resource::tag)));
    let rendered = |guidance: &Guidance| guidance.resources().map(|resource| resource.render().body).collect::<Vec<_>>();
    assert_eq!(rendered(&first), rendered(&equal));
    assert!(Arc::ptr_eq(&first.networks[0].view, &equal.networks[0].view));

    // Now straight: routingcost 2, one hop. Widths: the straight link is as wide as its cost, and narrower than the way by b was.
    inputs.computed = Some(computed(graph(2, "12.0.0.0/8"), Some(&first_computed)));
    let second = Guidance::compose(&inputs, Some(&first)).unwrap();
    assert_eq!(body(&second, "cost-map-routingcost")["cost-map"]["a"]["c"], 2);
    assert!(Arc::ptr_eq(&first.networks[0].view, &second.networks[0].view));
    for changed in ["cost-map-routingcost", "cost-map-routingcost-ordinal", "cost-map-hopcount"] {
        assert_ne!(cost(&first, changed).unwrap().tag, cost(&second, changed).unwrap().tag, "{changed}");
    }

    // Addresses move: every tag is new, since the cost maps depend on the network map; no cost is.
    let before = inputs.computed.clone().unwrap();
    inputs.computed = Some(computed(graph(2, "13.0.0.0/8"), Some(&before)));
    let third = Guidance::compose(&inputs, Some(&second)).unwrap();
    assert_eq!(shared(&second, &third), Vec::<String>::new());
    let table = |guidance: &Guidance, name: &str| cost(guidance, name).unwrap().table.clone();
    assert_eq!(table(&second, "cost-map-hopcount"), table(&third, "cost-map-hopcount"));
    assert_ne!(cost(&second, "cost-map-hopcount").unwrap().tag, cost(&third, "cost-map-hopcount").unwrap().tag);

    let again = Guidance::compose(&inputs, Some(&third)).unwrap();
    assert_eq!(shared(&third, &again).len(), 7);
    let fresh = Guidance::compose(&inputs, None).unwrap();
    assert!(fresh.resources().map(Resource::tag).eq(third.resources().map(Resource::tag)), "history is no part of content");
}

/// What an operator publishes wins; what rests on it follows; what was withdrawn is not computed again.
#[test]
fn documents_take_the_place_of_computed_maps() {
    let mut inputs = Inputs { computed: Some(computed(graph(9, "12.0.0.0/8"), None)), ..Inputs::default() };
    let publish = |inputs: &mut Inputs, name: &str, document| {
        inputs.documents.insert(id(name), Arc::new(Published::take(&id(name), document).unwrap()));
    };
    let numerical = || CostType::numerical("routingcost".parse().unwrap());
    publish(&mut inputs, "cost-map-routingcost", costs(Some("network-map"), numerical(), &["a"], &["b", "c"], &[70.0, 30.0]));
    let guidance = Guidance::compose(&inputs, None).unwrap();
    assert_eq!(body(&guidance, "cost-map-routingcost")["cost-map"], serde_json::json!({"a": {"b": 70, "c": 30}}));
    assert_eq!(body(&guidance, "cost-map-routingcost-ordinal")["cost-map"], serde_json::json!({"a": {"b": 2, "c": 1}}));

    // The same cost type under another name: section 11.2.3.5 allows one, and it is the published one.
    let document = inputs.documents.remove(&id("cost-map-routingcost")).unwrap();
    inputs.documents.insert(id("mine"), document);
    let guidance = Guidance::compose(&inputs, Some(&guidance)).unwrap();
    assert!(cost(&guidance, "cost-map-routingcost").is_none() && cost(&guidance, "mine").is_some());
    assert_eq!(body(&guidance, "cost-map-routingcost-ordinal")["cost-map"], serde_json::json!({"a": {"b": 2, "c": 1}}));

    // A network map in place of the computed one: computed costs lose the PIDs it does not have.
    publish(&mut inputs, "network-map", network(&[("b", &["0.0.0.0/0"]), ("c", &["12.0.0.0/8"]), ("new", &["::/0"])]));
    let guidance = Guidance::compose(&inputs, Some(&guidance)).unwrap();
    assert_eq!(body(&guidance, "cost-map-hopcount")["cost-map"], serde_json::json!({"b": {"b": 0, "c": 1}, "c": {"b": 1, "c": 0}}));
    assert_eq!(body(&guidance, "mine")["cost-map"], serde_json::json!({}));

    inputs.withdrawn.extend([id("cost-map-hopcount"), id("cost-map-bw-available-ordinal")]);
    let guidance = Guidance::compose(&inputs, Some(&guidance)).unwrap();
    assert!(cost(&guidance, "cost-map-hopcount").is_none() && cost(&guidance, "cost-map-hopcount-ordinal").is_some());
    assert!(cost(&guidance, "cost-map-bw-available").is_some() && cost(&guidance, "cost-map-bw-available-ordinal").is_none());
}

/// The ranks in an answer are those of its entries alone, also when the whole map's ranks are at hand.
#[test]
fn ordinal_answers_rank_their_entries() {
    let inputs = Inputs { computed: Some(computed(graph(9, "12.0.0.0/8"), None)), ..Inputs::default() };
    let guidance = Guidance::compose(&inputs, None).unwrap();
    for (metric, pids, want) in [
        // Costs 3 and 2.
        ("routingcost", r#"{"srcs": ["a", "b"], "dsts": ["c"]}"#, serde_json::json!({"a": {"c": 2}, "b": {"c": 1}})),
        ("routingcost", r#"{"srcs": ["a"], "dsts": []}"#, serde_json::json!({"a": {"a": 1, "b": 2, "c": 3}})),
        // Widest: 9 from a to c, 2 from b to c; more is better.
        ("bw-available", r#"{"srcs": ["a", "b"], "dsts": ["c"]}"#, serde_json::json!({"a": {"c": 1}, "b": {"c": 2}})),
    ] {
        let body = format!(r#"{{"cost-type": {{"cost-mode": "ordinal", "cost-metric": "{metric}"}}, "pids": {pids}}}"#);
        let answer =
            guidance.answer(&id("filtered-cost-map"), body.as_bytes(), "::1".parse().unwrap(), &Limits::default()).unwrap().unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer["cost-map"], want, "{metric} {pids}");
    }
}

#[test]
fn explained_computed_cost_has_its_path() {
    let inputs = Inputs { computed: Some(computed(graph(9, "12.0.0.0/8"), None)), ..Inputs::default() };
    let guidance = Guidance::compose(&inputs, None).unwrap();
    let address = |text: &str| text.parse::<Address>().unwrap();
    let explanation = guidance.explain(&address("ipv4:10.0.0.1"), &address("ipv4:12.0.0.1"), &Metric::routingcost()).unwrap();
    assert!(!explanation.published);
    assert_eq!(explanation.cost.total, Some(3.0));
    let routers: Vec<&str> = explanation.cost.legs[0].routers.iter().map(|router| &**router).collect();
    assert_eq!(routers, ["a", "b", "c"]);
    assert_eq!((&*explanation.source_prefix, &*explanation.destination_prefix), ("10.0.0.0/8", "12.0.0.0/8"));
}

/// Further network maps have services of their own, named after them.
#[test]
fn further_network_maps_have_their_own_services() {
    let mut inputs = Inputs { computed: Some(computed(graph(9, "12.0.0.0/8"), None)), ..Inputs::default() };
    let long = "x".repeat(60);
    for name in ["a-map", &long] {
        let document = network(&[("p", &["0.0.0.0/0"])]);
        inputs.documents.insert(id(name), Arc::new(Published::take(&id(name), document).unwrap()));
    }
    let document = costs(Some("a-map"), CostType::numerical("routingcost".parse().unwrap()), &["p"], &["p"], &[7.0]);
    inputs.documents.insert(id("a-cost"), Arc::new(Published::take(&id("a-cost"), document).unwrap()));
    let guidance = Guidance::compose(&inputs, None).unwrap();
    assert_eq!(guidance.directory("").meta.default_network_map, Some(id("network-map")));
    let posts: Vec<&str> = guidance.services().filter(|(_, service)| service.accepts().is_some()).map(|(id, _)| id.as_str()).collect();
    assert_eq!(posts.len(), 8, "{posts:?}");
    for name in
        ["filtered-network-map-a-map", "filtered-cost-map-a-map", "endpoint-cost-a-map", "filtered-network-map", "endpoint-properties"]
    {
        assert!(posts.contains(&name), "{name} in {posts:?}");
    }
    let body = br#"{"cost-type": {"cost-mode": "numerical", "cost-metric": "routingcost"}, "endpoints": {"dsts": ["ipv4:10.0.0.1"]}}"#;
    let client: std::net::IpAddr = "10.9.9.9".parse().unwrap();
    for (service, want) in [("endpoint-cost", 0), ("endpoint-cost-a-map", 7)] {
        let answer = guidance.answer(&id(service), body, client, &Limits::default()).unwrap().unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer["endpoint-cost-map"]["ipv4:10.9.9.9"]["ipv4:10.0.0.1"], want);
    }
}
