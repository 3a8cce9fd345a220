//! Notifications to many subscribers, beside h2load, which does nothing but POST the same body to the same web server.
use super::{
    Effort, Spread,
    exchange::request,
    fan_out::ours::Ours,
    page::Row,
    servers::{self, Server},
    usage::{self, Cpu},
};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Connections of both to the web server.
const CONNECTIONS: usize = 8;
const EVENT_BYTES: usize = 1 << 10;

/// 10,000 subscriptions to one resource.
pub fn measure(program: &Path, scratch: &Path, effort: Effort) -> Result<Vec<Row>> {
    let (count, rounds) = if effort == Effort::Full { (10_000, 9) } else { (1_000, 3) };
    let sink = sink(scratch)?;
    let mut ours = Ours::start(program, scratch, 0, EVENT_BYTES)?;
    let (public, pid) = (ours.server.http1, ours.server.pid());
    // What a notification looks like, for the other to send.
    let sample = sample(&mut ours)?;
    let body = scratch.join("notification.json");
    fs::write(&body, &sample)?;

    thread::sleep(Duration::from_millis(300));
    let resident = usage::resident_bytes(pid);
    let mut taken = Taken::by(&sink)?;
    for _ in 0..count {
        subscribe(public, sink.http1.port())?;
    }
    taken.until(count)?;
    thread::sleep(Duration::from_millis(300));
    let each_bytes = usage::resident_bytes(pid).saturating_sub(resident) as f64 / count as f64;

    let (mut rates, mut peers, mut per_notification) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        peers.push(h2load(sink.http1, &body, count)?);
        let (mut taken, cpu, started) = (Taken::by(&sink)?, Cpu::of(pid), Instant::now());
        ours.publish(EVENT_BYTES)?;
        taken.until(count)?;
        rates.push(count as f64 / started.elapsed().as_secs_f64());
        per_notification.push(Cpu::of(pid).seconds_since(&cpu) * 1e6 / count as f64);
    }
    let (rates, peers, cpu) = (Spread::of(&mut rates), Spread::of(&mut peers), Spread::of(&mut per_notification));
    drop(ours);
    let beside = beside_bad_ones(program, scratch, &sink, count, rounds)?;
    Ok(vec![
        Row {
            what: format!("webhook, {count} subscriptions to one sink: notifications in a second"),
            target: ">= 0.80 of h2load".into(),
            ours: rates.show_in("/s", 0),
            peer: format!("h2load {}", peers.show_in("/s", 0)),
            ratio: format!("{:.2}", rates.median / peers.median),
        },
        Row { what: "  CPU of one".into(), target: String::new(), ours: cpu.show_in("us", 1), peer: String::new(), ratio: String::new() },
        Row {
            what: "  memory of a subscription".into(),
            target: "< 1 KiB".into(),
            ours: format!("{:.2} KiB", each_bytes / 1024.0),
            peer: String::new(),
            ratio: String::new(),
        },
        beside,
    ])
}

/// Contacts that do not answer: half of them refuse connections, the others take them and say nothing.
const BAD_CONTACTS: usize = 300;

/// Whether those who answer wait for the three in ten that do not.
fn beside_bad_ones(program: &Path, scratch: &Path, sink: &Server, count: u64, rounds: usize) -> Result<Row> {
    let mut ours = Ours::start(program, scratch, 0, EVENT_BYTES)?;
    let public = ours.server.http1;
    let good = count * 7 / 10;
    let mut taken = Taken::by(sink)?;
    for _ in 0..good {
        subscribe(public, sink.http1.port())?;
    }
    taken.until(good)?;
    let last_ms = |ours: &mut Ours| -> Result<Spread> {
        let mut times = Vec::new();
        for _ in 0..rounds {
            let (mut taken, started) = (Taken::by(sink)?, Instant::now());
            ours.publish(EVENT_BYTES)?;
            taken.until(good)?;
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
        Ok(Spread::of(&mut times))
    };
    let alone = last_ms(&mut ours)?;
    let contacts: Vec<TcpListener> = (0..BAD_CONTACTS).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let ports: Vec<u16> = contacts.iter().map(|contact| Ok(contact.local_addr()?.port())).collect::<Result<_>>()?;
    let hanging: Vec<TcpListener> = contacts.into_iter().step_by(2).collect();
    for at in 0..count - good {
        subscribe(public, ports[at as usize % BAD_CONTACTS])?;
    }
    let beside = last_ms(&mut ours)?;
    drop(hanging);
    Ok(Row {
        what: format!("  to the last of {good} when 3 of 10 subscribers fail or hang"),
        target: "as without them".into(),
        ours: beside.show_in("ms", 0),
        peer: format!("without {}", alone.show_in("ms", 0)),
        ratio: format!("{:.2}", beside.median / alone.median),
    })
}

/// nginx that takes every notification and does nothing with it.
fn sink(scratch: &Path) -> Result<Server> {
    let (address, folder) = (servers::free()?, scratch.join("webhook-sink"));
    fs::create_dir_all(&folder)?;
    let (common, temp) = servers::nginx_common(&folder);
    let configuration = format!(
        "{common}
worker_processes 1; worker_rlimit_nofile 10000;
events {{ worker_connections 4000; }}
http {{
{temp}
access_log off; keepalive_requests 100000000; keepalive_timeout 600s;
server {{ listen {address}; location = /notification {{ return 200; }} location = /status {{ stub_status; }} }}
}}
"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration)?;
    let program = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
    let child = Command::new(program)
        .args(["-c".as_ref(), file.as_os_str(), "-e".as_ref(), folder.join("start.log").as_os_str()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("nginx")?;
    let server = Server::new(child, address);
    server.connectable()?;
    Ok(server)
}

fn subscribe(public: SocketAddr, port: u16) -> Result<String> {
    let wish = json!({"event-types": ["CostMap"], "expires": 86_400, "incremental": true, "resource-id": "fan-costs",
        "contactaddr": {"ipv4": [{"addr": "127.0.0.1", "port": port}]}});
    let fields = [("content-type", "application/alto-subscribeinput+json")];
    let answer = request(public, "POST", "/subscription", &fields, wish.to_string().as_bytes())?;
    ensure!(answer.status == 200, "{}", String::from_utf8_lossy(&answer.body));
    let answer: serde_json::Value = serde_json::from_slice(&answer.body)?;
    Ok(answer["subscrid"].as_str().context("no subscrid")?.to_owned())
}

/// The body of a notification of a change.
fn sample(ours: &mut Ours) -> Result<Vec<u8>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let public = ours.server.http1;
    let subscrid = subscribe(public, listener.local_addr()?.port())?;
    let (stream, _) = listener.accept()?;
    let (mut reader, mut stream) = (BufReader::new(stream.try_clone()?), stream);
    let mut next = || -> Result<Vec<u8>> {
        let mut length = 0;
        loop {
            let mut line = String::new();
            ensure!(reader.read_line(&mut line)? > 0, "no notification");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        Ok(body)
    };
    next()?;
    ours.publish(EVENT_BYTES)?;
    let sample = next()?;
    let body = json!({"subscrid": subscrid}).to_string();
    request(public, "POST", "/unsubscribe", &[("content-type", "application/alto-subscriptiondata+json")], body.as_bytes())?;
    next()?;
    Ok(sample)
}

/// What the web server takes.
struct Taken<'a> {
    sink: &'a Server,
    /// Requests when it began to be counted, and questions for that since.
    before: u64,
    asked: u64,
}

impl<'a> Taken<'a> {
    /// From now on.
    fn by(sink: &'a Server) -> Result<Self> {
        Ok(Self { sink, before: requests(sink)?, asked: 0 })
    }

    /// Waits for so many notifications. Every 2 ms: to ask the server under test more than that would measure the answers.
    fn until(&mut self, expected: u64) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            self.asked += 1;
            let taken = requests(self.sink)? - self.before - self.asked;
            if taken >= expected {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{taken} of {expected} notifications after a minute");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// All that were ever sent to it, this one included.
fn requests(sink: &Server) -> Result<u64> {
    let status = String::from_utf8(request(sink.http1, "GET", "/status", &[], b"")?.body)?;
    let counts = status.lines().nth(2).context("no counts")?;
    Ok(counts.split_whitespace().nth(2).context("no count of requests")?.parse()?)
}

/// Requests in a second, of one thread.
fn h2load(sink: SocketAddr, body: &Path, count: u64) -> Result<f64> {
    let out = Command::new("h2load")
        .args(["--h1", "-t", "1", "-c", &CONNECTIONS.to_string(), "-n", &count.to_string(), "-d"])
        .arg(body)
        .args(["-H", "content-type: application/alto-notificationdata+json", &format!("http://{sink}/notification")])
        .output()
        .context("h2load (apt-get install nghttp2-client)")?;
    let text = String::from_utf8_lossy(&out.stdout);
    ensure!(text.contains(&format!("{count} succeeded")), "h2load: {text}");
    // "finished in 412.34ms, 24251.86 req/s, 1.23MB/s"
    let rate = text.lines().find(|line| line.starts_with("finished in")).and_then(|line| line.split(", ").nth(1));
    let rate = rate.and_then(|rate| rate.strip_suffix(" req/s")).with_context(|| format!("h2load: {text}"))?;
    Ok(rate.parse()?)
}
