//! What becomes of subscriptions of before a restart.
use super::*;
use alto::updates::webhook::{Notification, Substate};
use history::{Guard, Publisher};
use store::Memory;

fn record(resource: &str, lifetime: u64) -> Record {
    Record {
        follows: vec![Follows { event_type: EventType::NetworkMap, resource: resource.parse().unwrap(), input: None }],
        contacts: vec![ContactAddress { address: "192.0.2.1".parse().unwrap(), port: 80, tls: false }],
        expires_at: epoch_seconds(SystemTime::now()) + lifetime,
        lifetime: Some(3600),
        incremental: false,
    }
}

/// A server that has no resources, after a start with what was written down.
async fn started(records: &[(Id, Record)]) -> Arc<Transports> {
    let limits = Limits::default();
    let webhooks = Webhooks::new(&limits, Policy::default(), None, 1);
    let publisher = Arc::new(Publisher::new(history::Limits::default(), Guard::default()));
    let transports = Transports::new(publisher, &limits, &maps::guidance::Limits::default(), Vec::new(), webhooks);
    let store = Arc::new(Memory::default());
    store.write(&records.iter().map(|(id, record)| record::put(*id, record)).collect::<Vec<_>>()).unwrap();
    transports.webhooks.keep_in(store).unwrap();
    restore(&transports).await;
    transports
}

/// The reason in the last notification that is to be sent now, and to whom.
fn last(transports: &Transports) -> Option<(Id, Box<str>)> {
    let delivery = lock(&transports.webhooks.core).take(now())?;
    let body = [&delivery.before, &delivery.data[..], delivery.after.as_bytes()].concat();
    let notification = Notification::from_json(&body).unwrap();
    assert_eq!((&*notification.event_types, &*notification.subscrid), (&[EventType::NetworkMap][..], &*delivery.ticket.id().to_string()));
    let Substate::Terminated { reason } = notification.substate else { panic!("it has ended") };
    Some((delivery.ticket.id(), reason.unwrap()))
}

/// It expired while the server was down, and its resource may be gone with it.
#[tokio::test]
async fn what_expired_meanwhile_is_told() {
    let id = Id([1; 16]);
    let transports = started(&[(id, record("gone", 0))]).await;
    assert_eq!(last(&transports), Some((id, "expired".into())));
    assert_eq!(lock(&transports.webhooks.core).take_ended(), [id]);
    assert!(matches!(transports.webhooks.absent(id), Failure::Gone));
}

/// Its resource may come back for a while; then it has ended.
#[tokio::test]
async fn what_does_not_come_back_is_told() {
    let id = Id([1; 16]);
    let transports = started(&[(id, record("gone", 3600))]).await;
    let begin = now();
    for minutes in [1, 5, 9] {
        adopt(&transports, begin + Duration::from_secs(60 * minutes)).await;
        assert_eq!(last(&transports), None);
        assert!(matches!(transports.webhooks.absent(id), Failure::NotYet), "{minutes}");
    }
    adopt(&transports, begin + ORPHAN_TIME_MAX).await;
    assert_eq!(last(&transports), Some((id, "the resource was withdrawn".into())));
    assert_eq!(lock(&transports.webhooks.core).take_ended(), [id]);
    assert!(matches!(transports.webhooks.absent(id), Failure::Gone));
}
