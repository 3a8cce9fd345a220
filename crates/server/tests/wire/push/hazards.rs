//! What would end a connection or a task within the `h2` crate, tried by a client that writes frames, and what clients that take nothing may hold.
use super::*;

fn clients(served: &Served) -> Value {
    served.admin("GET /v1/status HTTP/1.1", b"").json()["clients"]["updates"].clone()
}

/// Hazard 1 of h2: a promise on a stream that is over is a connection error to the client (RFC 9113 section 8.4).
#[test]
fn nothing_is_promised_on_a_stream_that_is_over() {
    count_panics();
    let served = Served::new(options());
    for round in 0..60 {
        let mut raw = Raw::open(served.public, &[]);
        raw.make_queue(1, WISH, round % 2 == 0 && round % 3 != 2);
        let uri = raw.queue(1);
        let publisher = served.publisher.clone();
        // While it is being reset, closed or half closed, there is always something to push.
        let pushing = std::thread::spawn(move || (0..6).for_each(|cost| commit(&publisher, 100 + round * 10 + cost)));
        match round % 3 {
            0 => raw.reset(1),
            1 => raw.ask(3, "DELETE", &uri),
            _ => raw.send(DATA, END_STREAM, 1, &[]),
        }
        raw.settled();
        if round % 3 == 0 {
            // The server has read the reset: from here on a promise would be its fault.
            raw.over.push(1);
        }
        pushing.join().unwrap();
        raw.settled();
        raw.settled();
        assert_eq!(raw.unanswered(), [0; 0], "hazard 5: promised and never answered");
    }
    assert_eq!(PANICS.load(Relaxed), 0);
}

/// Hazard 2: what is promised is answered at once, so there is no promised stream that waits, whose reset h2 takes for an error.
#[test]
fn promises_wait_for_a_free_stream() {
    let served = Served::new(options());
    // Pushed bodies wait for the window; the answer to the request fits.
    let mut raw = Raw::open(served.public, &[(MAX_CONCURRENT_STREAMS, 0), (INITIAL_WINDOW_SIZE, 40)]);
    raw.make_queue(1, WISH, false);
    raw.make_queue(3, WISH, false);
    let (_one, _two) = (raw.queue(1), raw.queue(3));
    raw.settled();
    assert!(raw.pushed.is_empty(), "no stream is free");
    raw.set(&[(MAX_CONCURRENT_STREAMS, 1)]);
    let first = raw.until(|frame| frame.kind == PUSH_PROMISE);
    raw.until(|frame| frame.stream == first.promised() && frame.kind == DATA);
    for cost in 2..5 {
        commit(&served.publisher, cost);
    }
    raw.settled();
    assert_eq!(raw.pushed.len(), 1, "one may be open");
    // Legal at any time, and nothing comes of it but a free stream.
    raw.reset(first.promised());
    let second = raw.until(|frame| frame.kind == PUSH_PROMISE).promised();
    raw.until(|frame| frame.stream == second && frame.kind == DATA);
    // So is a window for a promised stream.
    raw.open_window(second, 1 << 20);
    raw.until(|frame| frame.stream == second && frame.ends());
    raw.set(&[(MAX_CONCURRENT_STREAMS, 10), (INITIAL_WINDOW_SIZE, 1 << 20)]);
    commit(&served.publisher, 9);
    // Both catch up, the one whose push was thrown away by way of a full copy.
    let (mut one, mut two) = (Value::Null, Value::Null);
    while one["cost-map"]["PID1"]["PID2"] != 9 || two["cost-map"]["PID1"]["PID2"] != 9 {
        let promise = raw.until(|frame| frame.kind == PUSH_PROMISE);
        let have = if promise.stream == 1 { &mut one } else { &mut two };
        merge(have, &serde_json::from_slice(&raw.answer(promise.promised(), None).1).unwrap());
    }
}

/// Hazards 3 and 7: a reset of a stream that is not yet promised, or GOAWAY before it is; h2 panics when it hears either in between.
#[test]
fn no_frame_meets_a_promise_half_made() {
    count_panics();
    let served = Served::new(options());
    for round in 0..150_u64 {
        let mut raw = Raw::open(served.public, &[]);
        raw.make_queue(1, WISH, round % 2 == 0);
        raw.queue(1);
        raw.push(1);
        // Many commits, and between them frames that name the next stream to be promised.
        let publisher = served.publisher.clone();
        let pushing = std::thread::spawn(move || (0..4).for_each(|cost| commit(&publisher, 10_000 + round * 10 + cost)));
        let guess = 4 + 2 * (round % 3) as u32;
        match round % 3 {
            0 => raw.write(&frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0])),
            1 => raw.reset(guess),
            _ => raw.open_window(guess, 100),
        }
        pushing.join().unwrap();
        // It goes on, or the guess was wrong and ends it as RFC 9113 section 5.1 says: with GOAWAY, not with a broken task.
        if round % 3 != 0 {
            raw.write(&frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0]));
        }
        assert!(raw.ended().is_some(), "round {round}: no GOAWAY");
    }
    assert_eq!(PANICS.load(Relaxed), 0);
    // With the window of the parent's stream too small for its answer nothing is promised at all.
    let mut raw = Raw::open(served.public, &[(INITIAL_WINDOW_SIZE, 1)]);
    raw.make_queue(1, WISH, false);
    raw.until(|frame| frame.stream == 1 && frame.kind == DATA);
    raw.settled();
    assert!(raw.pushed.is_empty());
    raw.reset(2);
    assert_eq!(raw.ended(), Some(1), "PROTOCOL_ERROR");
    assert_eq!(PANICS.load(Relaxed), 0);
    // Others go on.
    Raw::open(served.public, &[]).settled();
}

/// Hazard 4: when the parent is reset, a push that waits for the window is given up too, and its stream is free for others.
#[test]
fn pushes_go_with_their_parent() {
    let served = Served::new(options());
    let mut raw = Raw::open(served.public, &[(MAX_CONCURRENT_STREAMS, 1), (INITIAL_WINDOW_SIZE, 40)]);
    raw.make_queue(1, WISH, false);
    raw.queue(1);
    let stuck = raw.until(|frame| frame.kind == PUSH_PROMISE).promised();
    raw.until(|frame| frame.stream == stuck && frame.kind == DATA);
    raw.make_queue(3, WISH, false);
    raw.queue(3);
    raw.reset(1);
    let reset = raw.until(|frame| frame.stream == stuck && frame.kind == RST_STREAM);
    assert_eq!(reset.code(), CANCEL);
    let next = raw.until(|frame| frame.kind == PUSH_PROMISE);
    assert_eq!(next.stream, 3);
    raw.settled();
    assert_eq!(clients(&served)["push"], 1);
    drop(raw);
    // The end of the connection is the end of its queues.
    while clients(&served)["push"] != 0 {}
}

/// Hazard 5: a push that its client does not take is reset, not left open.
#[test]
fn a_push_that_is_not_taken_is_reset() {
    let served = Served::new(Options { limits: Limits { stall_time_max: Duration::from_millis(200), ..Limits::default() }, ..options() });
    let mut raw = Raw::open(served.public, &[(INITIAL_WINDOW_SIZE, 40)]);
    raw.make_queue(1, WISH, false);
    raw.queue(1);
    let stuck = raw.until(|frame| frame.kind == PUSH_PROMISE).promised();
    assert_eq!(raw.until(|frame| frame.stream == stuck && frame.kind == RST_STREAM).code(), CANCEL);
    raw.until(|frame| frame.stream == 1 && frame.ends());
    assert_eq!(raw.pushed[&stuck].1, Pushed::Reset);
}

/// A queue with nothing to push does not show that its client is gone: it is asked, and forgotten when it does not answer.
#[test]
fn quiet_queues_end_with_clients_that_are_gone() {
    let time = Duration::from_millis(100);
    let limits = Limits { idle_time_max: time, stall_time_max: time, ..Limits::default() };
    let served = Served::new(Options { limits, ..options() });
    for answers in [true, false] {
        let mut raw = Raw::open(served.public, &[]);
        raw.make_queue(1, WISH, false);
        raw.queue(1);
        raw.push(1);
        raw.pongs = answers;
        if answers {
            for _ in 0..8 {
                raw.until(|frame| frame.kind == PING && frame.flags & ACK == 0);
            }
            assert_eq!(clients(&served)["push"], 1);
        } else {
            raw.ended();
        }
    }
}

/// Many queues of one connection: promised ids rise, no more streams than allowed are open, and nothing is lost.
#[test]
fn many_queues_on_one_connection() {
    count_panics();
    let served = Served::new(options());
    for streams_max in [1, 3, 100] {
        let mut raw = Raw::open(served.public, &[(MAX_CONCURRENT_STREAMS, streams_max)]);
        let queues = 20;
        for queue in 0..queues {
            raw.make_queue(2 * queue + 1, WISH, queue % 2 == 0);
        }
        for cost in 0..5 {
            commit(&served.publisher, 77_000 + u64::from(streams_max) * 10 + cost);
        }
        let newest = tag(&served.publisher);
        // Each ends up with the newest version, over however many updates.
        let mut have = vec![Value::Null; queues as usize];
        while have.iter().any(|map| map["meta"]["vtag"]["tag"] != *newest && map["cost-map"]["PID1"]["PID2"] != 77_004 + streams_max * 10) {
            let promise = raw.until(|frame| frame.kind == PUSH_PROMISE);
            let (_, body) = raw.answer(promise.promised(), None);
            merge(&mut have[(promise.stream / 2) as usize], &serde_json::from_slice(&body).unwrap());
        }
        raw.settled();
        assert_eq!(raw.unanswered(), [0; 0]);
    }
    assert_eq!(PANICS.load(Relaxed), 0);
}

/// A client that throws away every push is told to calm down.
#[test]
fn resets_of_pushes_are_counted() {
    let served = Served::new(Options { limits: Limits { resets_max: 5, ..Limits::default() }, ..options() });
    let mut raw = Raw::open(served.public, &[(INITIAL_WINDOW_SIZE, 40)]);
    raw.make_queue(1, WISH, false);
    raw.queue(1);
    for cost in 0..20 {
        let frame = raw.until(|frame| frame.kind == PUSH_PROMISE || (frame.stream == 1 && frame.ends()));
        if frame.kind != PUSH_PROMISE {
            assert!(cost > 4, "{cost}");
            return;
        }
        raw.until(|data| data.stream == frame.promised() && data.kind == DATA);
        raw.reset(frame.promised());
        commit(&served.publisher, 500 + cost);
    }
    panic!("twenty resets were taken");
}

/// The server stops: queues end with END_STREAM, after what was promised.
#[test]
fn stopping_ends_queues() {
    let mut served = Served::with(options(), publisher(), Arc::new(NoSources));
    let mut raw = Raw::open(served.public, &[]);
    raw.make_queue(1, WISH, false);
    raw.queue(1);
    raw.push(1);
    served.stop();
    raw.until(|frame| frame.stream == 1 && frame.ends());
    assert_eq!(raw.ended(), Some(0));
    served.stopped();
}

/// A queue costs its connection no more than a place in a view: a client that never reads does not make the server hold pushes.
#[test]
fn slow_clients_hold_no_queue() {
    let served = Served::new(options());
    run(async {
        let (mut send, _connection) = connect(served.public, Builder::new().enable_push(true).initial_window_size(10)).await;
        let mut queue = Queue::make(&mut send, r#"{"resource-id":"cost-map","incremental-changes":true}"#).await;
        let promise = poll_fn(|context| queue.pushes.poll_push_promise(context)).await.unwrap().unwrap();
        for cost in 0..100 {
            commit(&served.publisher, 40_000 + cost);
        }
        // The first waits for its window; nothing else was promised meanwhile.
        let (_, response) = promise.into_parts();
        let mut stream = response.await.unwrap().into_body();
        assert!(!body(&mut stream).await.unwrap().is_empty());
    });
}
