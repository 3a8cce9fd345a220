//! Stopping: nothing new is accepted, what is in flight is finished, and not for ever.
use crate::{
    http2::{ask, body, connect, run},
    raw::{self, Raw},
    served::{Client, Served, options, publish_big, publisher},
};
use h2::client::Builder;
use server::{Limits, NoSources, Options};
use std::{net::TcpStream, sync::Arc, time::Duration};

fn big(limits: Limits) -> Served {
    let publisher = publisher();
    // More than the kernel's buffers hold, so that it is in flight as long as we do not read.
    publish_big(&publisher, 1000);
    Served::with(Options { limits, ..options() }, publisher, Arc::new(NoSources))
}

#[test]
fn downloads_finish() {
    let mut served = big(Limits::default());
    let want = served.publisher.current().versions["big-costs"].body.clone();
    let (public, admin) = (served.public, served.admin);
    let mut download = served.connect();
    download.write(b"GET /resources/big-costs HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut idle = served.connect();
    assert_eq!(idle.ask("GET /directory HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    let head = download.head();
    served.stop();
    // The idle connection ends: the server got the message.
    assert!(idle.closed());
    let mut got = vec![0; head.field("content-length").parse().unwrap()];
    download.take(&mut got);
    assert!(got == want);
    assert!(download.closed());
    served.stopped();
    assert!(TcpStream::connect(public).is_err() && TcpStream::connect(admin).is_err());
}

#[test]
fn streams_finish() {
    let mut served = big(Limits::default());
    let want = served.publisher.current().versions["big-costs"].body.clone();
    run(async {
        let (mut send, connection) = connect(served.public, &Builder::new()).await;
        let mut stream = ask(&mut send, "/resources/big-costs").await.into_body();
        served.stop();
        // GOAWAY: no new requests.
        while let Ok(ready) = send.clone().ready().await {
            send = ready;
            tokio::task::yield_now().await;
        }
        assert!(body(&mut stream).await.unwrap() == want);
        drop((send, stream));
        connection.await.unwrap().unwrap();
    });
    served.stopped();
}

/// RFC 9113 section 6.8: who does not say that it heard GOAWAY is waited for no longer than that takes, unless it has still to get something.
#[test]
fn who_does_not_answer_holds_up_nobody() {
    let mut served = big(Limits { drain_time_max: Duration::from_secs(600), ..Limits::default() });
    let [mut idle, mut busy] = [(); 2].map(|()| Raw::open(served.public, &[]));
    idle.ask(1, "GET", "/directory");
    idle.answer(1, None);
    // Of which the window takes the beginning.
    busy.ask(1, "GET", "/resources/big-costs");
    busy.answer(1, Some(1));
    for raw in [&mut idle, &mut busy] {
        raw.pongs = false;
    }
    served.stop();
    let last_stream = |raw: &mut Raw| raw::number(&raw.until(|frame| frame.kind == raw::GOAWAY).payload);
    assert_eq!([u32::MAX >> 1, 1].map(|_| last_stream(&mut idle)), [u32::MAX >> 1, 1]);
    assert_eq!(idle.ended(), None);
    assert_eq!(last_stream(&mut busy), u32::MAX >> 1);
    busy.open_window(0, 1 << 30);
    busy.open_window(1, 1 << 30);
    busy.until(|frame| frame.stream == 1 && frame.ends());
    assert_eq!(last_stream(&mut busy), 1);
    assert_eq!(busy.ended(), None);
    served.stopped();
}

#[test]
fn but_not_for_ever() {
    let served = big(Limits { drain_time_max: Duration::from_millis(100), ..Limits::default() });
    let mut stalled = served.connect();
    stalled.write(b"GET /resources/big-costs HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(stalled.head().status, 200);
    served.stopped();
    assert!(stalled.closed());
}

#[test]
fn a_successor_may_have_the_port() {
    let served = Served::new(options());
    let address = served.public;
    assert_eq!(served.get("/directory").status, 200);
    served.stopped();
    let again = Served::new(Options { public: vec![address], ..options() });
    assert_eq!(Client::connect(again.public).ask("GET /directory HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
}
