//! A server with cost maps of about 10 KB, 1 MB and 10 MB, to be measured: `altoload get --url http://127.0.0.1:6671/resources/cost-1000 ...`.
//! Arguments: address, then certificate and key files for TLS.
use history::{Change, Guard, Limits, Publisher};
use server::{NoSources, Options, Server, TlsFiles};
use std::{fmt::Write, sync::Arc, time::SystemTime};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:6671".into());
    let tls = arguments.next().zip(arguments.next()).map(|(certificate, key)| TlsFiles::new(certificate, key));
    let publisher = Arc::new(Publisher::new(Limits::default(), Guard::default()));
    let mut changes = Vec::new();
    for pids in [31, 310, 1000] {
        let (network, cost) = documents(pids);
        for (id, text) in [(format!("network-{pids}"), network), (format!("cost-{pids}"), cost)] {
            let document = alto::Document::parse(text.as_bytes(), None).expect("it is a map");
            changes.push(Change::Put { id: id.parse().expect("a resource id"), document });
        }
    }
    publisher.apply(changes, SystemTime::now(), true).expect("the maps fit together");
    // A free port for operators: whoever measures may have a server running already.
    let admin = Some(([127, 0, 0, 1], 0).into());
    let options = Options { public: vec![address.parse().expect("ADDRESS:PORT")], admin, tls, ..Options::default() };
    let server = Server::bind(options, publisher.clone(), Arc::new(NoSources)).expect("the address is free");
    for (id, version) in &publisher.current().versions {
        eprintln!("http://{}/resources/{id} {} bytes", server.public_addresses()[0], version.body.len());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(server.run(std::future::pending())).expect("it serves");
}

/// A network map of `pids` PIDs and a cost map between them all.
fn documents(pids: usize) -> (String, String) {
    let mut network = format!(r#"{{"meta":{{"vtag":{{"resource-id":"network-{pids}","tag":"1"}}}},"network-map":{{"#);
    let mut cost = format!(
        r#"{{"meta":{{"dependent-vtags":[{{"resource-id":"network-{pids}","tag":"1"}}],"cost-type":{{"cost-mode":"numerical","cost-metric":"routingcost"}}}},"cost-map":{{"#
    );
    let comma = |at: usize| if at == 0 { "" } else { "," };
    for from in 0..pids {
        write!(network, "{}\"p{from}\":{{\"ipv4\":[\"10.{}.{}.0/24\"]}}", comma(from), from / 256, from % 256).expect("memory");
        write!(cost, "{}\"p{from}\":{{", comma(from)).expect("memory");
        for to in 0..pids {
            write!(cost, "{}\"p{to}\":{}", comma(to), (from * 7919 + to * 104_729) % 1000).expect("memory");
        }
        cost.push('}');
    }
    network.push_str("}}");
    cost.push_str("}}");
    (network, cost)
}
