//! Bodies of the update protocols: the examples of RFC 8895 and of the TIPS draft, what is refused and how, what holds for any stream.
#![allow(clippy::unwrap_used)]
use alto::{
    ErrorBody as E, Limits,
    id::{ResourceId, SubstreamId},
    media_type,
    patch::{self, Kind},
    updates::{
        AddUpdate, SEQ_MAX, push, seq_of_path,
        sse::{self, ControlEvent, Decoder, EventType, Message, UpdateStreamReq, Violation},
        tips::{AddTipsResponse, Edge, Summary, SummaryChange, TipsReq},
        websocket::{ClientMessage, ServerMessage, Update},
    },
};
use proptest::{collection, prelude::*};
use serde_json::{Value, json};
use std::path::PathBuf;

fn text(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn value(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}

fn id(text: &str) -> ResourceId {
    text.parse().unwrap()
}

fn substream(text: &str) -> SubstreamId {
    text.parse().unwrap()
}

fn refused<T: std::fmt::Debug>(read: fn(&[u8]) -> Result<T, E>, rows: impl IntoIterator<Item = (&'static str, E)>) {
    for (body, want) in rows {
        assert_eq!(read(body.as_bytes()).expect_err(body), want, "{body}");
    }
}

fn syntax(what: &str) -> E {
    E::syntax(what)
}

/// RFC 8895 sections 8.2 to 8.4.
#[test]
fn update_stream_requests() {
    let substreams = |name: &str| {
        let body = text(name);
        let request = UpdateStreamReq::from_json(&body).unwrap();
        assert_eq!(value(&request.to_json()), value(&body), "{name}");
        assert_eq!(UpdateStreamReq::control_from_json(&body).unwrap(), request);
        request.add.into_iter().map(|(substream, update)| (substream.to_string(), update)).collect::<Vec<_>>()
    };
    let plain = substreams("rfc8895/8.2-request-1.json");
    assert_eq!(plain[1], ("my-routingcost-map".into(), AddUpdate::new(id("my-routingcost-map"))));
    let tagged = substreams("rfc8895/8.3-request-1.json");
    // In the client's order.
    assert_eq!(tagged.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["net", "routing", "hops"]);
    assert_eq!(tagged[0].1.tag.as_ref().unwrap().as_str(), "a10ce8b059740b0b2e3f8eb1d4785acd42231bfe");
    for name in ["rfc8895/8.4-request-1.json", "rfc8895/8.4-request-2.json"] {
        let inputs = substreams(name);
        let body = value(&text(name));
        for (substream, update) in inputs {
            assert_eq!(value(update.input.unwrap().as_bytes()), body["add"][&substream]["input"]);
        }
    }
}

/// RFC 8895 sections 6.5, 6.6 and 7.6; RFC 7285 section 8.5.2.
#[test]
fn update_stream_refusals() {
    let both = || {
        [
            ("", syntax("the document ends early at line 1 column 1")),
            ("[]", syntax("the document is not an object at line 1 column 1")),
            (r#"{"add":[]}"#, E::wrong_type("add")),
            (r#"{"add":{"1":5}}"#, E::wrong_type("add/1")),
            (r#"{"add":{"1":{}}}"#, E::missing("add/1/resource-id")),
            (r#"{"add":{"my-network-map":{"resource-id":"my-networkmap/#"}}}"#, {
                // The example of section 6.6.
                E::invalid("add/my-network-map/resource-id", "my-networkmap/#")
            }),
            (r#"{"add":{"1":{"resource-id":7}}}"#, E::wrong_type("add/1/resource-id")),
            (r#"{"add":{"1":{"resource-id":"a","tag":7}}}"#, E::wrong_type("add/1/tag")),
            (r#"{"add":{"1":{"resource-id":"a","tag":""}}}"#, E::invalid("add/1/tag", "")),
            (r#"{"add":{"1":{"resource-id":"a","incremental-changes":"no"}}}"#, E::wrong_type("add/1/incremental-changes")),
            (r#"{"add":{"1":{"resource-id":"a","input":null}}}"#, E::wrong_type("add/1/input")),
            (r#"{"add":{"1":{"resource-id":"a","input":[]}}}"#, E::wrong_type("add/1/input")),
            // Names as resource ids have them, the separator of section 5.2 aside.
            (r#"{"add":{"":{"resource-id":"a"}}}"#, E::invalid("add", "")),
            (r#"{"add":{"a,b":{"resource-id":"a"}}}"#, E::invalid("add", "a,b")),
            (r#"{"add":{"a.b":{"resource-id":"a"}}}"#, E::invalid("add", "a.b")),
            (r#"{"add":{"1":{"resource-id":"a"},"1":{"resource-id":"b"}}}"#, {
                E { field: Some("add/1".into()), ..syntax("duplicate member \"1\" at line 1 column 33") }
            }),
            (r#"{}"#, E::missing("add")),
            (r#"{"add":{}}"#, E::missing("add")),
        ]
    };
    refused(UpdateStreamReq::from_json, both());
    refused(UpdateStreamReq::control_from_json, both());
    refused(
        UpdateStreamReq::control_from_json,
        [
            (r#"{"remove":"hops"}"#, E::wrong_type("remove")),
            (r#"{"remove":[1]}"#, E::invalid("remove", "1")),
            // "a non-empty "add" field and a "remove" field with an empty list" (section 7.6).
            (r#"{"add":{"1":{"resource-id":"a"}},"remove":[]}"#, E::invalid_json("remove", "[]")),
        ],
    );
    // Without `add` a stream is not asked for, whatever is to be removed; and what is, is ignored (section 6.5).
    refused(UpdateStreamReq::from_json, [(r#"{"remove":["a"]}"#, E::missing("add"))]);
    let ignored = UpdateStreamReq::from_json(br#"{"add":{"1":{"resource-id":"a"}},"remove":5}"#).unwrap();
    assert_eq!(ignored.remove, None);
    for (body, want) in [
        (r#"{"remove":["hops","net","hops"]}"#, vec!["hops", "net"]),
        (r#"{"remove":[]}"#, vec![]),
        (r#"{"remove":["a b","net"]}"#, vec!["a b", "net"]),
    ] {
        let request = UpdateStreamReq::control_from_json(body.as_bytes()).unwrap();
        assert_eq!(request.remove.unwrap(), want);
    }
    let value = sse::refused_substreams("remove", ["properties", "x"]);
    assert_eq!(value, E::invalid_json("remove", r#"["properties","x"]"#));
    // "the "value" field SHOULD be an array of the invalid substream-ids" (section 7.6).
    let json = r#"{"meta":{"code":"E_INVALID_FIELD_VALUE","field":"remove","value":["properties","x"]}}"#;
    assert_eq!(String::from_utf8(value.to_json()).unwrap(), json);
    assert_eq!(E::from_json(json.as_bytes()), Ok(value));
    let long = sse::refused_substreams("remove", [&*"é".repeat(100)]);
    assert_eq!(long, E::invalid_json("remove", format!(r#"["{}"]"#, "é".repeat(65))), "cut, and no id still");
    // One list is bounded.
    let limits = Limits { substreams_max: 2, ..Limits::default() };
    let many = br#"{"add":{"1":{"resource-id":"a"},"2":{"resource-id":"a"},"3":{"resource-id":"a"}}}"#;
    assert_eq!(UpdateStreamReq::from_json_within(many, &limits).unwrap_err().field.as_deref(), Some("add"));
}

fn messages(stream: &[u8], chunk: usize) -> Vec<Message> {
    let mut decoder = Decoder::new(1 << 20);
    let mut messages = Vec::new();
    for bytes in stream.chunks(chunk) {
        decoder.push(bytes, |message| messages.push(message)).unwrap();
    }
    messages
}

/// RFC 8895 section 8.2: the stream as printed, read, and its patch applied to what it printed before.
#[test]
fn update_stream_events() {
    let stream = text("rfc8895/8.2-stream.txt");
    let all = messages(&stream, stream.len());
    assert_eq!(all, messages(&stream, 1));
    let types: Vec<EventType> = all.iter().map(|message| message.event.parse().unwrap()).collect();
    assert!(types[0].is_control());
    let control = ControlEvent::from_json(&all[0].data).unwrap();
    assert_eq!(control.control_uri, Some(Some("https://alto.example.com/updates/streams/3141592653589".into())));
    assert_eq!(types[1], EventType::data(media_type::NETWORK_MAP, substream("my-network-map")));
    assert_eq!(types[3], EventType::data(media_type::MERGE_PATCH, substream("my-routingcost-map")));
    let patched = patch::apply(Kind::Merge, &all[2].data, &all[3].data, &Limits::default()).unwrap();
    assert_eq!(value(&patched)["cost-map"]["PID1"]["PID2"], 9);
    assert_eq!(value(&patched)["cost-map"]["PID3"], json!({"PID2": 15, "PID3": 1}));
    // The JSON patch of the example is an object around two objects: no JSON.
    assert!(patch::apply(Kind::Json, &all[1].data, &all[4].data, &Limits::default()).is_err());
    assert_eq!(all.len(), 6);

    let stopped = messages(&text("rfc8895/8.3-stream.txt"), 7);
    let events: Vec<ControlEvent> = [6, 5].map(|place| ControlEvent::from_json(&stopped[place].data).unwrap()).into();
    assert_eq!(events[0].stopped, [substream("net"), substream("routing")]);
    assert_eq!(events[1].stopped, [substream("hops")]);
    assert_eq!(messages(&text("rfc8895/8.4-stream.txt"), 3).len(), 10);
}

/// RFC 8895 section 5.3.
#[test]
fn control_events() {
    for (event, want) in [
        (ControlEvent { control_uri: Some(None), ..ControlEvent::default() }, r#"{"control-uri":null}"#),
        (ControlEvent { control_uri: Some(Some("/c/1".into())), ..ControlEvent::default() }, r#"{"control-uri":"/c/1"}"#),
        (
            ControlEvent {
                started: vec![substream("1")],
                stopped: vec![substream("2"), substream("3")],
                description: Some("line\nbreak".into()),
                ..ControlEvent::default()
            },
            r#"{"started":["1"],"stopped":["2","3"],"description":"line\nbreak"}"#,
        ),
    ] {
        assert_eq!(String::from_utf8(event.to_json()).unwrap(), want);
        assert_eq!(ControlEvent::from_json(want.as_bytes()).unwrap(), event);
        let expected = format!("event: application/alto-updatestreamcontrol+json\ndata: {want}\n\n");
        assert_eq!(String::from_utf8(event.to_event()).unwrap(), expected);
    }
    refused(
        ControlEvent::from_json,
        [
            (r#"{"control-uri":5}"#, E::wrong_type("control-uri")),
            (r#"{"started":"a"}"#, E::wrong_type("started")),
            (r#"{"stopped":["a/b"]}"#, E::invalid("stopped", "a/b")),
        ],
    );
}

/// RFC 8895 sections 5.1 and 5.2: `media-type [ ',' data-id ]`.
#[test]
fn event_types() {
    for (text, media_type, data_id) in [
        ("application/alto-updatestreamcontrol+json", "application/alto-updatestreamcontrol+json", None),
        ("application/alto-costmap+json,2", "application/alto-costmap+json", Some(("2", None))),
        ("application/merge-patch+json, 2", "application/merge-patch+json", Some(("2", None))),
        ("application/json-patch+json,ecspvsub1.propmap", "application/json-patch+json", Some(("ecspvsub1", Some("propmap")))),
        ("a/b,1.x@alto.example.com", "a/b", Some(("1", Some("x@alto.example.com")))),
    ] {
        let event: EventType = text.parse().unwrap();
        let got = event.data_id.as_ref().map(|id| (id.substream.as_str(), id.content_id.as_deref()));
        assert_eq!((&*event.media_type, got), (media_type, data_id));
        assert_eq!(event.to_string(), text.replace(", ", ","));
    }
    for text in ["", "message", "a/", "/b", "a/b,", "a/b,.x", "a/b,1.", "a/b,1,2", "a/b,a b"] {
        assert!(text.parse::<EventType>().is_err(), "{text}");
    }
    let head = sse::event_head(media_type::COST_MAP, &substream("2"));
    let mut whole = [&head[..], b"{}", sse::EVENT_END, sse::KEEP_ALIVE].concat();
    let mut written = Vec::new();
    sse::write_event(&mut written, &EventType::data(media_type::COST_MAP, substream("2")), b"{}");
    written.extend_from_slice(sse::KEEP_ALIVE);
    assert_eq!(whole, written);
    whole.extend_from_slice(&written);
    let mut decoder = Decoder::new(100);
    let mut count = 0;
    decoder.push(&whole, |_| count += 1).unwrap();
    assert_eq!((count, decoder.take_comments(), decoder.take_comments()), (2, 2, 0));
}

/// HTML standard, section 9.2.6 and the examples of section 9.2.4.
#[test]
fn event_stream_text() {
    let message = |event: &str, data: &str| Message { event: event.into(), data: data.into() };
    for (stream, want) in [
        ("data: YHOO\ndata: +2\ndata: 10\n\n", vec![message("", "YHOO\n+2\n10")]),
        (": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n", {
            vec![message("", "first event"), message("", "second event"), message("", " third event")]
        }),
        ("data\n\ndata\ndata\n\ndata:", vec![message("", ""), message("", "\n")]),
        ("data:test\n\ndata: test\n\n", vec![message("", "test"), message("", "test")]),
        ("\u{feff}event: a\r\ndata: 1\r\n\r\nevent: b\rdata: 2\r\revent: c\ndata: 3\n\n", {
            vec![message("a", "1"), message("b", "2"), message("c", "3")]
        }),
        // Without data no event, and its type is forgotten; nothing at the end without the empty line.
        ("event: a\n\ndata: 1\n\ndata: 2\n", vec![message("", "1")]),
        ("retry: 10\nfoo: bar\nevent:a\ndata: 1\n\n", vec![message("a", "1")]),
    ] {
        for chunk in [1, 2, 3, stream.len()] {
            assert_eq!(messages(stream.as_bytes(), chunk), want, "{stream:?} in chunks of {chunk}");
        }
    }
    for stream in ["data: 12345678\n\n", "data: 1\ndata: 2\ndata: 3\n", ": a long comment without end"] {
        let result = Decoder::new(8).push(stream.as_bytes(), |_| ());
        assert_eq!(result, Err(Violation::TooLarge { bytes_max: 8 }), "{stream:?}");
    }
}

/// The draft's sections 6.2 and 6.3: open, its answer, the change of its summary, the next edge.
#[test]
fn tips_examples() {
    let request = TipsReq::from_json(br#"{ "resource-id": "my-routingcost-map" }"#).unwrap();
    assert_eq!(request, TipsReq { resource_id: id("my-routingcost-map"), tag: None, input: None });
    let opened = r#"{"tips-view-uri":"https://alto.example.com/tips/2718281828","tips-view-summary":{"updates-graph-summary":{"start-seq":101,"end-seq":106,"start-edge-rec":{"seq-i":0,"seq-j":105}}}}"#;
    let response = AddTipsResponse::from_json(opened.as_bytes()).unwrap();
    let summary = Summary { start_seq: 101, end_seq: 106, start_edge: Edge { i: 0, j: 105 } };
    assert_eq!(response.summary, summary);
    assert_eq!(String::from_utf8(response.to_json()).unwrap(), opened);
    assert_eq!(response.summary.start_edge.uri(&response.view_uri), "https://alto.example.com/tips/2718281828/ug/0/105");

    let change = br#"{"tips-view-summary":{"updates-graph-summary":{"end-seq":107}}}"#;
    let change = SummaryChange::from_json(change).unwrap();
    let after = Summary { end_seq: 107, ..summary };
    assert_eq!((change, change.apply(summary)), (SummaryChange::between(summary, after), after));

    let next = TipsReq::next_edge_from_json(br#"{"resource-id":"my-routingcost-map","tag":"0881080"}"#).unwrap();
    assert_eq!(next.tag.unwrap().as_str(), "0881080");
    let answer =
        r#"{"tips-view-summary":{"updates-graph-summary":{"start-seq":101,"end-seq":106,"start-edge-rec":{"seq-i":103,"seq-j":105}}}}"#;
    let edge = Summary { start_edge: Edge { i: 103, j: 105 }, ..summary };
    assert_eq!(String::from_utf8(SummaryChange::whole(edge).to_json()).unwrap(), answer);
    assert_eq!(SummaryChange::from_json(answer.as_bytes()).unwrap(), SummaryChange::whole(edge));
}

/// The draft's sections 6.2 and 7.4.
#[test]
fn tips_refusals() {
    let both = || {
        [
            ("5", syntax("the document is not an object at line 1 column 1")),
            ("{}", E::missing("resource-id")),
            (r#"{"resource-id":"my-network-map/#"}"#, E::invalid("resource-id", "my-network-map/#")),
            (r#"{"resource-id":[]}"#, E::wrong_type("resource-id")),
            (r#"{"resource-id":"a","tag":null}"#, E::wrong_type("tag")),
            (r#"{"resource-id":"a","tag":"a b"}"#, E::invalid("tag", "a b")),
        ]
    };
    refused(TipsReq::from_json, both());
    refused(TipsReq::next_edge_from_json, both());
    refused(TipsReq::from_json, [(r#"{"resource-id":"a","input":5}"#, E::wrong_type("input"))]);
    // "the optional `input` field MUST NOT be present"
    refused(TipsReq::next_edge_from_json, [(r#"{"resource-id":"a","input":{"x":1}}"#, E::invalid("input", r#"{"x":1}"#))]);

    let graph = |graph: &str| format!(r#"{{"tips-view-uri":"http://h/t","tips-view-summary":{{"updates-graph-summary":{graph}}}}}"#);
    let at = |name: &str| format!("tips-view-summary/updates-graph-summary/{name}");
    for (body, want) in [
        (r#"{"tips-view-uri":"http://h/t"}"#.to_owned(), E::missing("tips-view-summary")),
        (r#"{"tips-view-uri":"http://h/t","tips-view-summary":{}}"#.into(), E::missing("tips-view-summary/updates-graph-summary")),
        (graph("{}"), E::missing(at("start-seq"))),
        (graph(r#"{"start-seq":1,"end-seq":2}"#), E::missing(at("start-edge-rec"))),
        (graph(r#"{"start-seq":1.5}"#), E::invalid(at("start-seq"), "1.5")),
        (graph(r#"{"start-seq":-1}"#), E::invalid(at("start-seq"), "-1")),
        (graph(r#"{"start-seq":9007199254740992}"#), E::invalid(at("start-seq"), "9007199254740992")),
        (graph(r#"{"start-seq":"1"}"#), E::wrong_type(at("start-seq"))),
        (graph(r#"{"start-seq":3,"end-seq":2,"start-edge-rec":{"seq-i":0,"seq-j":2}}"#), E::invalid(at("end-seq"), "2")),
        (graph(r#"{"start-seq":1,"end-seq":2,"start-edge-rec":{"seq-i":2,"seq-j":2}}"#), E::invalid(at("start-edge-rec/seq-j"), "2")),
        (graph(r#"{"start-seq":1,"end-seq":2,"start-edge-rec":{"seq-j":2}}"#), E::missing(at("start-edge-rec/seq-i"))),
    ] {
        assert_eq!(AddTipsResponse::from_json(body.as_bytes()).expect_err(&body), want, "{body}");
    }
    for uri in ["", "/tips/1", "ftp://h/t", "http://", "http:///t", "http://h/ü", "http://h/a b"] {
        let body = graph(r#"{"start-seq":1,"end-seq":2,"start-edge-rec":{"seq-i":0,"seq-j":2}}"#).replace("http://h/t", uri);
        assert_eq!(AddTipsResponse::from_json(body.as_bytes()).expect_err(uri), E::invalid("tips-view-uri", uri));
    }
}

/// Path segments of `ug/<i>/<j>`: a version has one text.
#[test]
fn edges_in_paths() {
    for (i, j, want) in [
        ("0", "101", Some((0, 101))),
        ("103", "105", Some((103, 105))),
        ("9007199254740990", "9007199254740991", Some((SEQ_MAX - 1, SEQ_MAX))),
        ("00", "1", None),
        ("01", "2", None),
        ("1", "1", None),
        ("2", "1", None),
        ("", "1", None),
        ("+1", "2", None),
        ("-1", "2", None),
        ("1", "9007199254740992", None),
        ("1", "99999999999999999999999", None),
        ("1", "2 ", None),
        ("1", "0x2", None),
        ("1", "٢", None),
        ("a", "b", None),
    ] {
        assert_eq!(Edge::of_path(i, j), want.map(|(i, j)| Edge { i, j }), "{i}/{j}");
    }
    assert_eq!(seq_of_path("107"), Some(107));
}

/// draft-ietf-alto-new-transport-01 sections 4.2, 5.2 and 7.2, the quotation marks of its examples made JSON's.
#[test]
fn transport_queues() {
    let created = push::Created::from_json(br#"{"tq": "/tqs/2718281828459"}"#).unwrap();
    assert_eq!((&*created.uri, &created.to_json()[..]), ("/tqs/2718281828459", &br#"{"tq":"/tqs/2718281828459"}"#[..]));
    let status = r#"{"uq":[{"seq":101,"media-type":"application/alto-costmap+json","tag":"a10ce8b059740b0b2e3f8eb1d4785acd42231bfe"},{"seq":102,"media-type":"application/merge-patch+json","tag":"cdf0222x59740b0b2e3f8eb1d4785acd42231bfe"},{"seq":103,"media-type":"application/merge-patch+json","tag":"8eb1d4785acd42231bfecdf0222x59740b0b2e3f","link":"/tqs/2718281828459/snapshot/2e3f"}],"rs":["self"]}"#;
    let read = push::Status::from_json(status.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(read.to_json()).unwrap(), status);
    assert!(read.receivers.receiving);
    let queue = serde_json::to_vec(&value(status.as_bytes())["uq"]).unwrap();
    assert_eq!(push::UpdatesQueue::from_json(&queue).unwrap(), read.updates);
    assert_eq!(value(&read.updates.to_json()), value(&queue));
    for (text, receiving) in [("[]", false), (r#"["self"]"#, true)] {
        assert_eq!(push::ReceiverSet::from_json(text.as_bytes()).unwrap(), push::ReceiverSet { receiving });
        assert_eq!(push::ReceiverSet { receiving }.to_json(), text.as_bytes());
    }
    let create = push::CreateReq::from_json(br#"{"resource-id":"a","incremental-changes":false,"input":{"pids":[]}}"#).unwrap();
    assert_eq!(create.0, AddUpdate { resource_id: id("a"), tag: None, incremental_changes: false, input: Some(r#"{"pids":[]}"#.into()) });
    assert_eq!(push::CreateReq::from_json(&create.to_json()).unwrap(), create);
    refused(
        push::CreateReq::from_json,
        [
            ("[]", syntax("the document is not an object at line 1 column 1")),
            ("{}", E::missing("resource-id")),
            (r#"{"resource-id":"/"}"#, E::invalid("resource-id", "/")),
            (r#"{"resource-id":"a","incremental-changes":1}"#, E::wrong_type("incremental-changes")),
        ],
    );
    refused(
        push::Status::from_json,
        [
            (r#"{"uq":[]}"#, E::missing("rs")),
            (r#"{"rs":[]}"#, E::missing("uq")),
            (r#"{"uq":[{"seq":1}],"rs":[]}"#, E::missing("uq/media-type")),
            (r#"{"uq":[1],"rs":[]}"#, E::invalid("uq", "1")),
        ],
    );
}

/// alto-websocket.md: what both sides say.
#[test]
fn websocket_messages() {
    for (text, tag, input) in [
        (r#"{"reference-tag":"abc"}"#, Some("abc"), None),
        (r#"{"input":{"pids":[]}}"#, None, Some(r#"{"pids":[]}"#)),
        (r#"{"reference-tag":"abc","input":{}}"#, Some("abc"), Some("{}")),
    ] {
        let message = ClientMessage::from_json(text.as_bytes()).unwrap();
        assert_eq!((message.reference_tag.as_ref().map(|tag| tag.as_str()), message.input.as_deref()), (tag, input));
        assert_eq!(String::from_utf8(message.to_json()).unwrap(), text);
    }
    refused(
        ClientMessage::from_json,
        [
            ("hello", syntax("expected a value at line 1 column 1")),
            ("{}", E::missing("reference-tag")),
            (r#"{"tag":"abc"}"#, E::missing("reference-tag")),
            (r#"{"reference-tag":null}"#, E::wrong_type("reference-tag")),
            (r#"{"reference-tag":"\"a b\""}"#, E::invalid("reference-tag", "\"a b\"")),
            (r#"{"input":"x"}"#, E::wrong_type("input")),
        ],
    );
    let patch = br#"{"cost-map":{"a":{"b":1}}}"#;
    let update = Some(Update { media_type: media_type::MERGE_PATCH.into(), data: patch });
    for (message, want) in [
        (
            ServerMessage { resource_id: id("c"), seq: 7, tag: "t7".parse().unwrap(), since: None, update: update.clone() },
            r#"{"resource-id":"c","seq":7,"tag":"t7","media-type":"application/merge-patch+json","data":{"cost-map":{"a":{"b":1}}}}"#,
        ),
        (ServerMessage { resource_id: id("c"), seq: 7, tag: "t7".parse().unwrap(), since: None, update: None }, {
            r#"{"resource-id":"c","seq":7,"tag":"t7","media-type":null}"#
        }),
    ] {
        assert_eq!(String::from_utf8(message.to_json()).unwrap(), want);
        assert_eq!(ServerMessage::from_json(want.as_bytes()).unwrap(), message);
    }
    let over_several = ServerMessage { resource_id: id("c"), seq: 7, tag: "t7".parse().unwrap(), since: Some(4), update };
    assert_eq!(ServerMessage::from_json(&over_several.to_json()).unwrap(), over_several);
    refused(
        |text| ServerMessage::from_json(text).map(|_| ()),
        [
            (r#"{"resource-id":"c","seq":7,"tag":"t7"}"#, E::missing("media-type")),
            (r#"{"resource-id":"c","seq":7,"tag":"t7","media-type":"a/b"}"#, E::missing("data")),
            (r#"{"resource-id":"c","seq":-7,"tag":"t7","media-type":null}"#, E::invalid("seq", "-7")),
        ],
    );
}

proptest! {
    /// However a stream is cut, the same messages come out; and what was written is what comes out.
    #[test]
    fn any_cut_of_a_stream_is_the_stream(
        events in collection::vec(("[a-z]{1,3}/[a-z]{1,3}", "[a-z0-9]{1,4}", "[ -~\u{e4}\n\r]{0,40}"), 0..6),
        cuts in collection::vec(1..20usize, 0..40),
    ) {
        let mut stream = Vec::new();
        let mut want = Vec::new();
        for (media_type, id, data) in events {
            let event = EventType::data(&media_type, substream(&id));
            sse::write_event(&mut stream, &event, data.as_bytes());
            stream.extend_from_slice(sse::KEEP_ALIVE);
            // Line breaks of any kind come out as LF.
            let data = data.replace("\r\n", "\n").replace('\r', "\n").into_bytes();
            want.push(Message { event: event.to_string(), data });
        }
        let mut decoder = Decoder::new(1 << 20);
        let mut got = Vec::new();
        let mut rest = &stream[..];
        for cut in cuts {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            decoder.push(now, |message| got.push(message)).unwrap();
            rest = later;
        }
        decoder.push(rest, |message| got.push(message)).unwrap();
        prop_assert_eq!(got, want);
    }

    /// A change between two summaries, written and read, gives the second from the first.
    #[test]
    fn summary_changes_apply(a in any::<[u16; 3]>(), b in any::<[u16; 3]>()) {
        let summary = |[start, more, edge]: [u16; 3]| {
            let start_seq = u64::from(start);
            let (i, j) = (u64::from(edge), u64::from(edge) + 1);
            Summary { start_seq, end_seq: start_seq + u64::from(more), start_edge: Edge { i, j } }
        };
        let (old, new) = (summary(a), summary(b));
        let change = SummaryChange::between(old, new);
        prop_assert_eq!(SummaryChange::from_json(&change.to_json()).unwrap().apply(old), new);
        let response = |summary| AddTipsResponse { view_uri: "https://h/t".into(), summary };
        let patched = patch::apply(Kind::Merge, &response(old).to_json(), &change.to_json(), &Limits::default()).unwrap();
        prop_assert_eq!(AddTipsResponse::from_json(&patched).unwrap(), response(new));
    }

    /// No input of a peer is our end.
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, text in "[{}\\[\\]\",:a-z0-9 -]{0,60}") {
        for input in [&bytes[..], text.as_bytes()] {
            _ = UpdateStreamReq::control_from_json(input);
            _ = TipsReq::from_json(input);
            _ = AddTipsResponse::from_json(input);
            _ = push::Status::from_json(input);
            _ = ServerMessage::from_json(input);
            _ = Decoder::new(1 << 10).push(input, |_| ());
        }
    }
}
