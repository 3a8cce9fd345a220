//! What the store knows, and what a restart makes of it.
use super::*;

/// A server that knows what the store knows.
fn started(store: &Arc<store::Memory>) -> Served {
    let publisher = Publisher::with_store(history::Limits::default(), Guard::default(), store.clone(), SystemTime::now()).unwrap();
    if publisher.current().versions.is_empty() {
        publisher.apply(vec![put("my-default-network-map", NETWORK_MAP), put("cost-map", COST_MAP)], SystemTime::now(), true).unwrap();
    }
    Served::kept(Options { limits: impatient(), ..options() }, Arc::new(publisher), store.clone())
}

/// The answer of a server that began just now.
fn refreshed(served: &Served, refresh: &Value) -> Answer {
    loop {
        // 503 as long as it waits to be taken up; one that is unknown never.
        let answer = served.send("/subscription", SUBSCRIBE, refresh.to_string().as_bytes());
        if answer.status != 503 {
            return answer;
        }
        thread::yield_now();
    }
}

/// Changes what the store knows of each subscription.
fn rewrite(store: &store::Memory, change: impl Fn(&mut Value)) {
    let mut writes = Vec::new();
    let mut read = |key: &[u8], value: &[u8]| {
        let mut record = serde_json::from_slice(value).unwrap();
        change(&mut record);
        writes.push(Write::Put("subscriptions", key.into(), record.to_string().into()));
        true
    };
    store.scan("subscriptions", Bound::Unbounded, Bound::Unbounded, &mut read).unwrap();
    store.write(&writes).unwrap();
}

/// Time passes while the server is down.
fn age(record: &mut Value, seconds: u64) {
    record["expires-at"] = json!(record["expires-at"].as_u64().unwrap() - seconds);
}

/// What was granted is what a refresh gives that does not say how long, however little is left of it after a restart.
#[test]
fn a_restart_changes_no_lifetime() {
    let (subscriber, store) = (Subscriber::new(), Arc::new(store::Memory::default()));
    let served = started(&store);
    let refresh = json!({"subscrid": served.subscribe(&subscriber.wish(&["NetworkMap"]))["subscrid"], "event-types": ["NetworkMap"]});
    subscriber.take();
    served.stopped();
    for _ in 0..2 {
        rewrite(&store, |record| age(record, 1_000));
        let served = started(&store);
        assert_eq!(refreshed(&served, &refresh).json()["expires"], 3600);
        served.stopped();
    }
    // A record of before does not say what was granted.
    rewrite(&store, |record| {
        age(record, 1_000);
        record.as_object_mut().unwrap().remove("lifetime").expect("it is written down");
    });
    let served = started(&store);
    let left = refreshed(&served, &refresh).json()["expires"].as_u64().unwrap();
    assert!((2_500..=2_600).contains(&left), "{left}");
    served.stopped();
}

/// Who expires while the server is down is told so when it is there again, once.
#[test]
fn an_end_during_an_outage_is_told() {
    let (subscriber, store) = (Subscriber::new(), Arc::new(store::Memory::default()));
    let served = started(&store);
    let subscribed = served.subscribe(&subscriber.wish(&["NetworkMap", "CostMap"]));
    (0..2).for_each(|_| drop(subscriber.take()));
    served.stopped();
    rewrite(&store, |record| age(record, 4_000));
    let served = started(&store);
    let told = subscriber.wait();
    let last = json!({"event-types": ["NetworkMap", "CostMap"], "subscrid": subscribed["subscrid"], "substate": "terminated", "reason": "expired"});
    assert_eq!(told.body, last);
    // As often as any last notification.
    told.answer("500 Internal Server Error");
    assert_eq!(subscriber.take().body, last);
    let refresh = json!({"subscrid": subscribed["subscrid"], "event-types": ["NetworkMap", "CostMap"]});
    served.refused(&refresh, 404, "E_SYNTAX");
    served.stopped();
    rewrite(&store, |record| panic!("the store has it still: {record}"));
}

/// A subscription survives any end of the server, with what it was told and in its order.
#[test]
fn subscriptions_survive() {
    let (subscriber, store) = (Subscriber::new(), Arc::new(store::Memory::default()));
    let start = || started(&store);
    let served = start();
    let filter = json!({"pids": ["PID1"]});
    let mut wish = subscriber.wish(&["NetworkMap", "NetworkMapFilter"]);
    (wish["networkfiltermap"], wish["incremental"]) = (filter, json!(true));
    let subscribed = served.subscribe(&wish);
    let gone = served.subscribe(&subscriber.wish(&["CostMap"]));
    (0..3).for_each(|_| drop(subscriber.take()));
    served.send("/unsubscribe", DATA, json!({"subscrid": gone["subscrid"]}).to_string().as_bytes());
    assert_eq!(subscriber.take().body["substate"], "terminated");
    served.stopped();

    // Nothing changed: nothing is told, but that it lives.
    let served = start();
    let answer = refreshed(&served, &json!({"subscrid": subscribed["subscrid"], "event-types": ["NetworkMap", "NetworkMapFilter"]}));
    assert_eq!((answer.status, &answer.json()["subscrid"]), (200, &subscribed["subscrid"]));
    served.refused(&json!({"subscrid": gone["subscrid"], "event-types": ["CostMap"]}), 404, "E_SYNTAX");
    served.move_prefix(1);
    let (network, filtered) = (subscriber.take(), subscriber.take());
    // Of the next version, and as a patch: what was told before the restart is still known.
    assert_eq!((&network.body["event-types"], &network.body["seq"]), (&json!(["NetworkMap"]), &json!(2)));
    assert_eq!((&network.body["since"], network.body.get("networkmap")), (&json!(1), None));
    assert_eq!(filtered.body["event-types"], json!(["NetworkMapFilter"]));
    served.move_prefix(2);
    // This one is not acknowledged before the end.
    let unanswered = subscriber.wait();
    assert_eq!(unanswered.body["seq"], 3);
    served.stopped();
    drop(unanswered);

    let served = start();
    let (network, filtered) = (subscriber.take(), subscriber.take());
    assert_eq!((&network.body["seq"], network.body.get("patch")), (&json!(3), None), "in full, for nobody knows whether it was taken");
    assert_eq!(network.body["networkmap"], served.get("/resources/my-default-network-map").json());
    assert_eq!(filtered.body["event-types"], json!(["NetworkMapFilter"]));
    served.stopped();
}
