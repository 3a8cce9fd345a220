//! A socket over a connection in memory, under a clock that moves when everybody waits.
use super::*;
use crate::listen::wire::Line;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    task::JoinHandle,
};

const INTERVAL: Duration = Duration::from_secs(30);
const PING: [u8; 2] = [0x89, 0];
/// A pong of a client without payload, masked with zeros.
const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];
/// Alarms go off a little late.
const LATE: Duration = Duration::from_millis(500);

/// Says what it was given, once.
struct Mute(Option<Bytes>);

impl Socket for Mute {
    fn poll_say(&mut self, _: &mut Context<'_>) -> Poll<Say> {
        self.0.take().map_or(Poll::Pending, |text| Poll::Ready(Say::Text(text)))
    }

    fn hear(&mut self, _: Heard) -> Result<(), (u16, &'static str)> {
        Ok(())
    }
}

/// The client's end of a connection with room for so many bytes under way.
fn open(room_bytes: usize, says: Option<Bytes>, limits: &Limits) -> (DuplexStream, JoinHandle<bool>) {
    let (client, server) = tokio::io::duplex(room_bytes);
    let budget = Budget::new(limits.client_bytes_max);
    let socket = Box::new(Mute(says));
    (client, tokio::spawn(WebSocket::new(Line::new(server, false), socket, Unsent::default(), Bytes::new(), limits, &budget, ())))
}

fn limits() -> Limits {
    Limits { ping_interval: INTERVAL, ..Limits::default() }
}

async fn pinged(client: &mut DuplexStream) {
    let mut frame = [0; 2];
    client.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame, PING);
}

fn is_just_after(then: Instant, time: Duration) {
    let past = then.elapsed();
    assert!(past >= time && past < time + LATE, "{past:?} where {time:?} were due");
}

/// "Ping every 30 s; a peer silent for two intervals is dropped", whenever in an interval it was heard last.
#[tokio::test(start_paused = true)]
async fn who_is_silent_for_two_intervals_is_left() {
    for late in [Duration::ZERO, Duration::from_secs(1), INTERVAL - Duration::from_secs(1)] {
        let (mut client, socket) = open(1 << 10, None, &limits());
        for _ in 0..4 {
            let begin = Instant::now();
            pinged(&mut client).await;
            is_just_after(begin, INTERVAL);
            client.write_all(&PONG).await.unwrap();
        }
        tokio::time::sleep(late).await;
        client.write_all(&PONG).await.unwrap();
        let heard = Instant::now();
        assert!(!socket.await.unwrap());
        is_just_after(heard, 2 * INTERVAL);
    }
}

/// A pong at the last moment is one.
#[tokio::test(start_paused = true)]
async fn who_speaks_within_two_intervals_stays() {
    let (mut client, socket) = open(1 << 10, None, &limits());
    for _ in 0..10 {
        tokio::time::sleep(2 * INTERVAL - Duration::from_millis(1)).await;
        client.write_all(&PONG).await.unwrap();
    }
    assert!(!socket.is_finished());
}

/// While something is unsent nothing is read, so nobody is silent.
#[tokio::test(start_paused = true)]
async fn who_takes_long_is_not_silent() {
    let limits = Limits { stall_time_max: 10 * INTERVAL, ..limits() };
    let (mut client, socket) = open(8, Some(Bytes::from_static(&[b'a'; 64])), &limits);
    tokio::time::sleep(5 * INTERVAL).await;
    let mut message = [0; 66];
    client.read_exact(&mut message).await.unwrap();
    pinged(&mut client).await;
    let taken = Instant::now();
    assert!(!socket.await.unwrap());
    is_just_after(taken, 2 * INTERVAL);
}
