//! Subscribers and contacts at random, from a seed: what is promised holds at each step, and in the end everybody has been told.
use super::*;
use crate::{
    Limits,
    transports::clients::{Clients, Transport},
};
use alto::Document;
use history::{Change, Guard, Publisher};
use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    time::{Duration, SystemTime},
};

const BOUNDS: Bounds = Bounds {
    contact_connections_max: 2,
    deliveries_max: 4,
    slow_deliveries_max: 2,
    retry_min: Duration::from_secs(1),
    retry_max: Duration::from_secs(60),
    give_up: Duration::from_secs(3600),
};

/// What a contact does with what it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Good,
    Refusing,
    Unreachable,
    Hanging,
    Losing,
}

struct Under {
    delivery: Delivery,
    ends: Instant,
    outcome: Outcome,
    told: Told,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    event_types: Vec<EventType>,
    seq: Option<u64>,
    since: Option<u64>,
    last: bool,
}

#[derive(Debug, Default)]
struct Subscriber {
    follows: Vec<EventType>,
    /// What it acknowledged last, by event type; and whether it is sure to have nothing else.
    has: BTreeMap<EventType, (u64, bool)>,
    ending: bool,
    over: bool,
}

struct World {
    publisher: Publisher,
    views: BTreeMap<EventType, Arc<View>>,
    core: Core,
    clients: Arc<Clients>,
    begin: Instant,
    now: Instant,
    moods: Vec<Mood>,
    subscribers: BTreeMap<Id, Subscriber>,
    under_way: Vec<Under>,
    random: u64,
    commits: u32,
}

fn document(text: &str) -> Document {
    Document::parse(text.as_bytes(), None).unwrap()
}

impl World {
    fn new(seed: u64) -> Self {
        let publisher = Publisher::new(history::Limits::default(), Guard::default());
        let now = Instant::now();
        let mut world = Self {
            publisher,
            views: BTreeMap::new(),
            core: Core::new(BOUNDS, seed),
            clients: Clients::new(&Limits::default()),
            begin: now,
            now,
            moods: vec![Mood::Good; 6],
            subscribers: BTreeMap::new(),
            under_way: Vec::new(),
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            commits: 0,
        };
        world.commit();
        for (event_type, name) in [(EventType::NetworkMap, "n"), (EventType::CostMap, "c")] {
            world.views.insert(event_type, world.publisher.open(&name.parse().unwrap(), None, Ipv4Addr::LOCALHOST.into()).unwrap());
        }
        world
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 33) as usize % bound
    }

    fn commit(&mut self) {
        self.commits += 1;
        let at = self.commits;
        let network = format!(
            r#"{{"meta":{{"vtag":{{"resource-id":"n","tag":"1"}}}},"network-map":{{"a":{{"ipv4":["10.{}.{}.0/24"]}},"b":{{"ipv4":["192.0.2.0/24"]}}}}}}"#,
            at / 256 % 256,
            at % 256
        );
        let costs = format!(
            r#"{{"meta":{{"dependent-vtags":[{{"resource-id":"n","tag":"1"}}],"cost-type":{{"cost-mode":"numerical","cost-metric":"routingcost"}}}},"cost-map":{{"a":{{"b":{at}}}}}}}"#
        );
        let put = |id: &str, text: &str| Change::Put { id: id.parse().unwrap(), document: document(text) };
        self.publisher.apply(vec![put("n", &network), put("c", &costs)], SystemTime::now(), true).unwrap();
        let views: Vec<ViewId> = self.views.values().map(|view| view.id().clone()).collect();
        self.core.views_moved(&views);
    }

    fn contact(&self, at: usize) -> ContactAddress {
        ContactAddress { address: IpAddr::from([192, 0, 2, at as u8]), port: 80, tls: false }
    }

    fn subscribe(&mut self) {
        let id = Id((u128::from(self.random) << 64 | self.subscribers.len() as u128).to_be_bytes());
        let follows = match self.below(3) {
            0 => vec![EventType::NetworkMap],
            1 => vec![EventType::CostMap],
            _ => vec![EventType::NetworkMap, EventType::CostMap],
        };
        let first = self.below(self.moods.len());
        let second = self.below(self.moods.len());
        let contacts = if second == first { vec![self.contact(first)] } else { vec![self.contact(first), self.contact(second)] };
        let new = New {
            id,
            feeds: follows.iter().map(|event_type| (*event_type, self.views[event_type].clone(), false)).collect(),
            contacts,
            expires: self.now + Duration::from_secs(1_000_000),
            lifetime: Duration::from_secs(1_000_000),
            incremental: self.below(2) == 0,
            client: self.clients.join(Transport::Webhook).unwrap(),
        };
        self.core.add(new);
        self.core.stored(self.now, id);
        self.subscribers.insert(id, Subscriber { follows, ..Subscriber::default() });
    }

    /// Takes what the core wants sent, and checks that it may be.
    fn send(&mut self) {
        while let Some(delivery) = self.core.take(self.now) {
            self.take(delivery);
        }
    }

    fn take(&mut self, delivery: Delivery) {
        let body = [&delivery.before, &delivery.data[..], delivery.after.as_bytes()].concat();
        let notification = Notification::from_json(&body).unwrap();
        let id = delivery.ticket.id();
        assert_eq!(notification.subscrid.parse_id(), id);
        assert!(!self.under_way.iter().any(|under| under.delivery.ticket.id() == id), "one at a time");
        let here = self.under_way.iter().filter(|under| under.delivery.address == delivery.address).count();
        assert!(here < BOUNDS.contact_connections_max, "{here} to one contact");
        assert!(self.under_way.len() < BOUNDS.deliveries_max + BOUNDS.slow_deliveries_max);
        let subscriber = &self.subscribers[&id];
        assert!(!subscriber.over);
        let last = matches!(notification.substate, Substate::Terminated { .. });
        let (seq, since) = (notification.version.seq, notification.version.since);
        if last {
            assert!(subscriber.ending, "it ended by itself");
        } else {
            let [event_type] = notification.event_types[..] else { panic!("one at a time") };
            let before = subscriber.has.get(&event_type);
            assert!(before.is_none_or(|(has, _)| *has <= seq.unwrap()), "right shift only");
            if let Some(since) = since {
                assert_eq!(before, Some(&(since, true)), "a patch leads on from what was acknowledged last");
            }
            // What the cost map depends on was told before it.
            if event_type == EventType::CostMap && subscriber.follows.len() == 2 {
                assert!(subscriber.has.get(&EventType::NetworkMap).is_some_and(|(has, _)| *has >= seq.unwrap()), "dependencies first");
            }
        }
        let IpAddr::V4(address) = delivery.address.address else { panic!("all are IPv4") };
        let (takes, outcome) = match self.moods[usize::from(address.octets()[3])] {
            Mood::Good => (self.below(200), Outcome::Acknowledged),
            Mood::Refusing => (self.below(200), Outcome::Refused(None)),
            Mood::Unreachable => (self.below(200), Outcome::Unreachable),
            Mood::Losing => (self.below(200), Outcome::Lost),
            Mood::Hanging => (10_000, Outcome::Unreachable),
        };
        let told = Told { event_types: notification.event_types, seq, since, last };
        self.under_way.push(Under { delivery, ends: self.now + Duration::from_millis(takes as u64), outcome, told });
    }

    /// Lets time pass up to the next thing that happens; `false`: nothing will.
    fn wait(&mut self, most: Duration) -> bool {
        let ends = self.under_way.iter().map(|under| under.ends).min();
        let Some(next) = [ends, self.core.poll_timeout()].into_iter().flatten().min() else { return false };
        self.now = next.max(self.now).min(self.now + most);
        // Those that take their time must say so, once.
        for at in (0..self.under_way.len()).rev() {
            let under = &mut self.under_way[at];
            if under.outcome != Outcome::Acknowledged && under.ends > self.now + Duration::from_secs(5) && !under.delivery.ticket.slow {
                let mut ticket = under.delivery.ticket;
                if self.core.slow(&mut ticket) {
                    under.delivery.ticket = ticket;
                } else {
                    under.ends = self.now;
                }
            }
        }
        self.core.handle_timeout(self.now);
        while let Some(at) = self.under_way.iter().position(|under| under.ends <= self.now) {
            let under = self.under_way.swap_remove(at);
            self.end(under);
        }
        self.send();
        true
    }

    fn end(&mut self, under: Under) {
        let Under { delivery, outcome, told, .. } = under;
        let subscriber = self.subscribers.get_mut(&delivery.ticket.id()).unwrap();
        if let [event_type] = told.event_types[..]
            && !told.last
        {
            if outcome == Outcome::Acknowledged {
                subscriber.has.insert(event_type, (told.seq.unwrap(), true));
            } else if let Some((_, sure)) = subscriber.has.get_mut(&event_type) {
                *sure = false;
            }
        }
        subscriber.over |= told.last && outcome == Outcome::Acknowledged;
        self.core.delivered(self.now, delivery.ticket, 1, outcome);
        // A connection that is free goes on with the same contact.
        if let Some(next) = self.core.take_for(self.now, delivery.ticket.contact, &delivery.address) {
            self.take(next);
        }
    }

    fn step(&mut self) {
        match self.below(12) {
            0 if self.subscribers.len() < 40 => self.subscribe(),
            1 | 2 => self.commit(),
            3 => {
                let (at, mood) = (self.below(self.moods.len()), self.below(8));
                let moods = [Mood::Refusing, Mood::Unreachable, Mood::Hanging, Mood::Losing];
                self.moods[at] = moods.get(mood).copied().unwrap_or(Mood::Good);
            }
            4 if !self.subscribers.is_empty() => {
                let at = self.below(self.subscribers.len());
                let (id, subscriber) = self.subscribers.iter_mut().nth(at).unwrap();
                // The store forgot it before.
                if self.core.see(*id).is_some() {
                    subscriber.ending = true;
                    self.core.end(*id, Reason::Unsubscribed);
                }
            }
            5 if !self.subscribers.is_empty() => {
                let at = self.below(self.subscribers.len());
                let id = *self.subscribers.keys().nth(at).unwrap();
                self.core.refresh(self.now, id, Duration::from_secs(1_000_000));
            }
            _ => drop(self.wait(Duration::from_millis(500))),
        }
        self.send();
    }
}

trait ParseId {
    fn parse_id(&self) -> Id;
}

impl ParseId for str {
    fn parse_id(&self) -> Id {
        Id::parse(self).unwrap()
    }
}

/// However contacts fail, hang and come back: each subscription hears versions in their order and, when all is well again, the newest; what is over
/// leaves nothing.
#[test]
fn told_in_order_and_in_the_end() {
    for seed in 1..=40 {
        let mut world = World::new(seed);
        (0..300).for_each(|_| world.step());
        world.moods.fill(Mood::Good);
        while world.wait(Duration::from_secs(60)) && world.now < world.begin + Duration::from_secs(3_000) {
            let busy = world.under_way.len() + world.core.tally().2;
            if busy == 0 && world.core.poll_timeout().is_none_or(|next| next > world.now + Duration::from_secs(500_000)) {
                break;
            }
        }
        let newest = |event_type: &EventType| world.views[event_type].head().0.end.0;
        for (id, subscriber) in &world.subscribers {
            let there = world.core.see(*id).is_some();
            assert_eq!(there, !subscriber.ending, "seed {seed}, {id}");
            if there {
                for event_type in &subscriber.follows {
                    assert_eq!(subscriber.has.get(event_type), Some(&(newest(event_type), true)), "seed {seed}, {id}, {event_type}");
                }
            }
        }
        let ids: Vec<Id> = world.subscribers.keys().copied().collect();
        for id in ids {
            world.subscribers.get_mut(&id).unwrap().ending = true;
            world.core.end(id, Reason::Unsubscribed);
        }
        world.send();
        while world.wait(Duration::from_secs(60)) {}
        let Core { subscriptions, by_id, by_view, by_address, timers, .. } = &world.core;
        let left = (subscriptions.len(), by_id.len(), by_view.len(), by_address.len(), timers.len());
        assert_eq!((left, world.core.tally()), ((0, 0, 0, 0, 0), (0, 0, 0)), "seed {seed}: all is over, nothing is left");
        assert_eq!(world.clients.counts().find(|count| count.transport == Transport::Webhook).unwrap().now, 0);
    }
}

/// However many are told the same, it was made once.
#[test]
fn one_body_for_all() {
    let mut world = World::new(3);
    (0..20).for_each(|_| world.subscribe());
    world.core.handle_timeout(world.now + FIRST_DELAY);
    let mut bodies: BTreeMap<EventType, BTreeSet<*const u8>> = BTreeMap::new();
    let mut told = 0;
    while let Some(delivery) = world.core.take(world.now) {
        let body = [&delivery.before, &delivery.data[..], delivery.after.as_bytes()].concat();
        let event_type = Notification::from_json(&body).unwrap().event_types[0];
        bodies.entry(event_type).or_default().insert(delivery.data.as_ptr());
        told += 1;
        world.core.delivered(world.now, delivery.ticket, 1, Outcome::Acknowledged);
    }
    assert!(told >= 20 && bodies.len() == 2 && bodies.values().all(|places| places.len() == 1), "{told} of {bodies:?}");
}

/// Nobody answers for an hour: it ends, and the store is told.
#[test]
fn given_up_after_an_hour() {
    let mut world = World::new(7);
    world.moods.fill(Mood::Unreachable);
    (0..5).for_each(|_| world.subscribe());
    let begin = world.now;
    while world.wait(Duration::from_secs(60)) {
        if world.core.by_id.is_empty() {
            break;
        }
    }
    let took = world.now - begin;
    assert!(took >= BOUNDS.give_up && took < BOUNDS.give_up + 4 * BOUNDS.retry_max, "{took:?}");
    let mut ended = world.core.take_ended();
    ended.sort_unstable();
    assert_eq!(ended, world.subscribers.keys().copied().collect::<Vec<_>>());
}

/// One who is told of, in its own time.
#[test]
fn expired() {
    let mut world = World::new(9);
    world.subscribe();
    let id = *world.subscribers.keys().next().unwrap();
    while world.wait(Duration::from_secs(1)) && world.now < world.begin + Duration::from_secs(10) {}
    assert!(world.core.refresh(world.now, id, Duration::from_secs(60)));
    world.subscribers.get_mut(&id).unwrap().ending = true;
    let before = world.now;
    while world.wait(Duration::from_secs(1)) {}
    assert!(world.subscribers[&id].over && world.now - before >= Duration::from_secs(60));
    assert_eq!(world.core.take_ended(), [id]);
    assert!(!world.core.refresh(world.now, id, Duration::from_secs(60)));
}

/// Section 8.5: a subscriber that does not know its subscription is asked once more, soon, for it may not have had the answer yet; then it is over.
#[test]
fn unknown_twice() {
    let mut world = World::new(11);
    world.subscribe();
    let id = *world.subscribers.keys().next().unwrap();
    let told = |world: &mut World, outcome| {
        world.now = world.core.poll_timeout().unwrap();
        world.core.handle_timeout(world.now);
        let delivery = world.core.take(world.now).unwrap();
        world.core.delivered(world.now, delivery.ticket, 1, outcome);
    };
    told(&mut world, Outcome::Unknown);
    assert_eq!((world.core.poll_timeout(), world.core.take_ended()), (Some(world.now + STRANGE_PAUSE), vec![]));
    // Something else went wrong: that says nothing of whether it is known.
    told(&mut world, Outcome::Refused(None));
    told(&mut world, Outcome::Unknown);
    assert_eq!((world.core.take_ended(), world.core.poll_timeout()), (vec![id], None));

    // Once it was known, it is over at once.
    let mut world = World::new(12);
    world.subscribe();
    let id = *world.subscribers.keys().next().unwrap();
    told(&mut world, Outcome::Unknown);
    told(&mut world, Outcome::Acknowledged);
    world.commit();
    let delivery = world.core.take(world.now).unwrap();
    world.core.delivered(world.now, delivery.ticket, 1, Outcome::Unknown);
    assert_eq!(world.core.take_ended(), [id]);
}
