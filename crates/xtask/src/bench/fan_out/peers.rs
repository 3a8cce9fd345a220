//! The servers that are measured beside ours: nchan (an nginx module, the fastest fan-out known to us) and mosquitto (MQTT over
//! WebSocket, the least memory for a client). Each with its own folder and ports, in its fastest configuration known to us.
use super::{
    crowd::{Reading, Script},
    wire::{Next, Protocol, masked},
};
use crate::bench::servers::{self, Server};
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

/// Whether what the peers need is installed.
pub fn check() -> Result<()> {
    let missing: Vec<&str> = [
        (Path::new("/usr/lib/nginx/modules/ngx_nchan_module.so").exists(), "libnginx-mod-nchan"),
        (Path::new("/usr/sbin/nginx").exists(), "nginx"),
        (Path::new("/usr/sbin/mosquitto").exists(), "mosquitto"),
    ]
    .into_iter()
    .filter_map(|(there, package)| (!there).then_some(package))
    .collect();
    ensure!(missing.is_empty(), "peers are missing; apt-get install {}", missing.join(" "));
    Ok(())
}

/// nchan with one channel, two workers.
pub fn nchan(scratch: &Path) -> Result<Server> {
    let folder = scratch.join("nchan");
    fs::create_dir_all(&folder)?;
    let address = servers::free()?;
    let (common, place) = (servers::nginx_common(&folder), folder.display());
    let configuration = format!(
        "load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
{}
worker_processes 2; worker_rlimit_nofile 20000;
events {{ worker_connections 19900; multi_accept on; }}
http {{
{}
access_log off; tcp_nopush on; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 600s; nchan_max_reserved_memory 512M;
server {{
  listen {address} reuseport backlog=4096;
  location /pub {{ nchan_publisher; nchan_channel_id $arg_c; nchan_message_buffer_length 20; nchan_message_timeout 5m;
    client_max_body_size 64m; client_body_buffer_size 1m; }}
  location /sub {{ nchan_subscriber eventsource websocket longpoll; nchan_channel_id $arg_c; nchan_subscriber_first_message newest; }}
}}
}}
",
        common.0, common.1
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration)?;
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-c").arg(&file).arg("-e").arg(format!("{place}/start.log"));
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("nginx")?;
    let server = Server::new(child, address);
    server.connectable()?;
    Ok(server)
}

/// How a client of nchan follows the channel.
pub fn nchan_script(address: SocketAddr, protocol: &Protocol) -> Script {
    let head = format!("GET /sub?c=1 HTTP/1.1\r\nHost: {address}\r\n");
    let (opening, protocol) = match protocol {
        Protocol::Sse => (format!("{head}Accept: text/event-stream\r\n\r\n"), Protocol::Sse),
        Protocol::WebSocket { .. } => (format!("{head}{UPGRADE}\r\n"), Protocol::WebSocket { greeting: Vec::new() }),
        Protocol::LongPoll(_) => (format!("{head}\r\n"), Protocol::LongPoll(Next::Validators { head })),
        Protocol::Push => unreachable!("nchan pushes nothing on HTTP/2"),
    };
    Script { address, opening: opening.into_bytes(), protocol, reading: Reading::Eager }
}

/// What asks for a WebSocket (RFC 6455 section 4.1).
pub const UPGRADE: &str =
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Publishes to the channel of nchan.
pub fn nchan_publish(address: SocketAddr, body: &[u8]) -> Result<()> {
    let head = format!("POST /pub?c=1 HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 20"), "nchan answered {}", answer.lines().next().unwrap_or_default());
    Ok(())
}

/// mosquitto with WebSocket clients.
pub fn mosquitto(scratch: &Path) -> Result<Server> {
    let folder = scratch.join("mosquitto");
    fs::create_dir_all(&folder)?;
    // The listener without WebSocket is there because 2.0.11 does not start without one.
    // It binds its WebSocket port on all addresses: a port below those that the clients of a crowd took for themselves on theirs.
    let port = (21_000..32_000).find(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok()).context("no port is free")?;
    let (address, other) = (SocketAddr::from((Ipv4Addr::LOCALHOST, port)), servers::free()?);
    let root = if servers::is_root() { "user root\n" } else { "" };
    let configuration = format!(
        "{root}persistence false\nmax_queued_messages 0\nmax_inflight_messages 0\nallow_anonymous true\nlog_dest stderr\nlog_type error\nlistener {} 127.0.0.1\nlistener {}\nprotocol websockets\n",
        other.port(),
        address.port()
    );
    let file = folder.join("mosquitto.conf");
    fs::write(&file, configuration)?;
    let mut command = Command::new("/usr/sbin/mosquitto");
    command.arg("-c").arg(&file);
    let log = fs::File::create(folder.join("log"))?;
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().context("mosquitto")?;
    let server = Server::new(child, address);
    server.connectable()?;
    Ok(server)
}

/// CONNECT of MQTT 3.1.1: clean session, no keep-alive, no name.
const MQTT_CONNECT: &[u8] = &[0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 0];
/// SUBSCRIBE to the topic `t` with QoS 0.
const MQTT_SUBSCRIBE: &[u8] = &[0x82, 6, 0, 1, 0, 1, b't', 0];

/// How a client of mosquitto follows the topic.
pub fn mosquitto_script(address: SocketAddr) -> Script {
    let opening = format!("GET / HTTP/1.1\r\nHost: {address}\r\n{UPGRADE}Sec-WebSocket-Protocol: mqtt\r\n\r\n").into_bytes();
    let greeting = masked(2, &[MQTT_CONNECT, MQTT_SUBSCRIBE].concat());
    Script { address, opening, protocol: Protocol::WebSocket { greeting }, reading: Reading::Eager }
}

/// Publishes to the topic.
pub fn mosquitto_publish(address: SocketAddr, body: &[u8]) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(&mosquitto_script(address).opening)?;
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer)?;
    ensure!(answer[..read].starts_with(b"HTTP/1.1 101"), "mosquitto takes no WebSocket");
    stream.write_all(&masked(2, MQTT_CONNECT))?;
    ensure!(stream.read(&mut answer)? > 0, "mosquitto sent no CONNACK");
    let mut packet = vec![0x30];
    let mut length = body.len() + 3;
    while length > 127 {
        packet.push(128 | (length & 127) as u8);
        length >>= 7;
    }
    packet.push(length as u8);
    packet.extend_from_slice(&[0, 1, b't']);
    packet.extend_from_slice(body);
    let mut frame = vec![0x82, 0xff];
    frame.extend_from_slice(&(packet.len() as u64).to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    stream.write_all(&[frame, packet].concat())?;
    // The answer to a PINGREQ says that the broker took what came before it.
    stream.write_all(&masked(2, &[0xc0, 0]))?;
    let read = stream.read(&mut answer)?;
    ensure!(answer[..read].ends_with(&[0xd0, 0]), "mosquitto sent no PINGRESP");
    Ok(())
}
