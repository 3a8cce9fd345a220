//! How long a replica takes for a small patch of a large cost map: `cargo run --release -p client --example apply_patches [PIDS]`.
#![allow(clippy::print_stdout, clippy::unwrap_used)]
use client::{
    Limits,
    replica::{
        Via,
        core::{Action, Core, Event, Followed, Since, Update},
    },
};
use std::{fmt::Write, time::Instant};

fn main() {
    let pids: usize = std::env::args().nth(1).map_or(1000, |text| text.parse().unwrap());
    let mut text = String::from(
        r#"{"meta":{"dependent-vtags":[{"resource-id":"net","tag":"n"}],"vtag":{"resource-id":"costs","tag":"t0"},"cost-type":{"cost-mode":"numerical","cost-metric":"routingcost"}},"cost-map":{"#,
    );
    for row in 0..pids {
        write!(text, "{}\"p{row:04}\":{{", if row > 0 { "," } else { "" }).unwrap();
        for column in 0..pids {
            write!(text, "{}\"p{column:04}\":{}", if column > 0 { "," } else { "" }, (row * 7 + column * 13) % 1000).unwrap();
        }
        text.push('}');
    }
    text.push_str("}}");
    let followed =
        Followed { resource: "costs".parse().unwrap(), input: None, media_type: "application/alto-costmap+json".into(), wanted: true };
    let now = Instant::now();
    let mut core = Core::new(now, vec![followed], vec![Via::WebSocket], Limits::default(), 1);
    let drain = |core: &mut Core| {
        let mut last = None;
        while let Some(action) = core.poll_action() {
            assert!(!matches!(action, Action::Tell(client::replica::Notice::Resynchronising { .. })), "{action:?}");
            if let Action::Deliver(change) = action {
                last = Some(change);
            }
        }
        last
    };
    drain(&mut core);
    let update = |seq: u64, media_type: &str, body: String| {
        Event::Update(Update {
            index: 0,
            since: Since::Seq(seq - 1),
            seq: Some(seq),
            tag: Some(format!("t{}", seq - 1).parse().unwrap()),
            media_type: media_type.into(),
            body: body.into(),
        })
    };
    let bytes = text.len();
    let began = Instant::now();
    core.handle_event(now, 1, update(1, "application/alto-costmap+json", text));
    drain(&mut core).unwrap();
    println!("full copy of {:.1} MB: {:.1} ms", bytes as f64 / 1e6, began.elapsed().as_secs_f64() * 1e3);
    for (cells, held) in [(10, false), (10, true), (pids * pids / 100, false), (pids * pids / 100, true)] {
        let mut times = Vec::new();
        let mut kept = None;
        for round in 0..20u64 {
            let seq = core.copy(0).unwrap().seq.unwrap() + 1;
            let mut patch = format!(r#"{{"meta":{{"vtag":{{"tag":"t{}"}}}},"cost-map":{{"#, seq - 1);
            let per_row = (cells / pids).max(1);
            for row in 0..cells / per_row {
                write!(patch, "{}\"p{row:04}\":{{", if row > 0 { "," } else { "" }).unwrap();
                for cell in 0..per_row {
                    let column = (cell * 97 + row) % pids;
                    write!(patch, "{}\"p{column:04}\":{}", if cell > 0 { "," } else { "" }, round + 2000).unwrap();
                }
                patch.push('}');
            }
            patch.push_str("}}");
            let event = update(seq, "application/merge-patch+json", patch);
            let began = Instant::now();
            core.handle_event(now, 1, event);
            let change = drain(&mut core).unwrap();
            times.push(began.elapsed().as_secs_f64() * 1e3);
            kept = if held { Some(change) } else { None };
        }
        drop(kept);
        times.sort_by(f64::total_cmp);
        println!("patch of {cells} costs{}: {:.2} ms", if held { ", version before still read" } else { "" }, times[times.len() / 2]);
    }
}
