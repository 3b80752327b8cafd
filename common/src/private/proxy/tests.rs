use super::*;

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

/// Long enough to say "nothing arrives" on a busy machine that would have delivered it.
const SILENCE: Duration = Duration::from_millis(150);

struct Line {
    proxy: FaultProxy,
    upstream: TcpListener,
}

impl Line {
    async fn new() -> Self {
        let upstream = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = FaultProxy::start(upstream.local_addr().unwrap()).await.unwrap();
        Line { proxy, upstream }
    }

    async fn connect(&self) -> (TcpStream, TcpStream) {
        let client = self.dial().await;
        let (server, _) = self.upstream.accept().await.unwrap();
        (client, server)
    }

    async fn dial(&self) -> TcpStream {
        TcpStream::connect(self.proxy.addr()).await.unwrap()
    }
}

async fn send(from: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).await.unwrap();
}

async fn expect(at: &mut TcpStream, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    at.read_exact(&mut got).await.unwrap();
    assert_eq!(got, bytes);
}

async fn expect_silence(at: &mut TcpStream) {
    assert!(timeout(SILENCE, at.read_u8()).await.is_err(), "something arrived");
}

async fn expect_reset(at: &mut TcpStream) {
    assert_eq!(at.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

async fn expect_end(at: &mut TcpStream) {
    assert_eq!(at.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn pass_carries_both_ways_and_passes_the_end_on() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    send(&mut client, b"request").await;
    expect(&mut server, b"request").await;
    client.shutdown().await.unwrap();
    expect_end(&mut server).await;
    send(&mut server, b"answer").await;
    expect(&mut client, b"answer").await;
    drop(server);
    expect_end(&mut client).await;
}

#[tokio::test]
async fn pass_carries_megabytes_unchanged() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    let sent: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(3_000_000).collect();
    let expected = sent.clone();
    let sending = tokio::spawn(async move {
        send(&mut client, &sent).await;
        client
    });
    expect(&mut server, &expected).await;
    sending.await.unwrap();
}

#[tokio::test]
async fn delay_is_kept_each_way_and_can_be_ended() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    line.proxy.set(Fault::Delay { ms: 100, jitter_ms: 20 });
    let start = Instant::now();
    send(&mut client, b"a").await;
    expect(&mut server, b"a").await;
    assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());
    send(&mut server, b"b").await;
    expect(&mut client, b"b").await;
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());

    line.proxy.set(Fault::Delay { ms: 60_000, jitter_ms: 0 });
    line.proxy.set(Fault::Pass);
    send(&mut client, b"c").await;
    expect(&mut server, b"c").await;
}

#[tokio::test]
async fn jitter_keeps_the_order() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    line.proxy.set(Fault::Delay { ms: 0, jitter_ms: 30 });
    for byte in 0..50 {
        send(&mut client, &[byte]).await;
        tokio::task::yield_now().await;
    }
    expect(&mut server, &(0..50).collect::<Vec<u8>>()).await;
}

#[tokio::test]
async fn a_blackhole_swallows_old_and_new_connections_until_it_heals() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    line.proxy.set(Fault::Blackhole);
    send(&mut client, b"hello").await;
    expect_silence(&mut server).await;
    let mut newer = line.dial().await;
    send(&mut newer, b"anyone?").await;
    assert!(timeout(SILENCE, line.upstream.accept()).await.is_err(), "the server saw a connection");
    expect_silence(&mut newer).await;

    line.proxy.set(Fault::Pass);
    expect(&mut server, b"hello").await;
    let (mut late, _) = line.upstream.accept().await.unwrap();
    expect(&mut late, b"anyone?").await;
}

#[tokio::test]
async fn a_blackhole_hides_the_end_of_a_stream() {
    let line = Line::new().await;
    let (client, mut server) = line.connect().await;
    line.proxy.set(Fault::Blackhole);
    drop(client);
    expect_silence(&mut server).await;
}

#[tokio::test]
async fn a_blackhole_after_some_bytes_is_silent_both_ways() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    send(&mut client, b"before").await;
    expect(&mut server, b"before").await;
    line.proxy.set(Fault::BlackholeAfter(3));
    send(&mut client, b"abcdef").await;
    expect(&mut server, b"abc").await;
    expect_silence(&mut server).await;
    send(&mut server, b"answer").await;
    expect_silence(&mut client).await;
    line.proxy.set(Fault::Pass);
    expect(&mut server, b"def").await;
    expect(&mut client, b"answer").await;
}

#[tokio::test]
async fn reset_ends_old_and_new_connections_with_an_error() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    line.proxy.set(Fault::Reset);
    expect_reset(&mut client).await;
    expect_reset(&mut server).await;
    let mut newer = line.dial().await;
    expect_reset(&mut newer).await;
    assert!(timeout(SILENCE, line.upstream.accept()).await.is_err(), "the server saw a connection");
}

#[tokio::test]
async fn half_close_ends_only_what_the_client_hears() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    line.proxy.set(Fault::HalfClose);
    expect_end(&mut client).await;
    send(&mut client, b"still here").await;
    expect(&mut server, b"still here").await;
    send(&mut server, b"into the void").await;
    drop(client);
    expect_end(&mut server).await;
}

#[tokio::test]
async fn bandwidth_is_limited() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    line.proxy.set(Fault::Bandwidth(100_000));
    let start = Instant::now();
    send(&mut client, &[7; 40_000]).await;
    expect(&mut server, &[7; 40_000]).await;
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(340), "{took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn truncate_delivers_exactly_so_much_and_then_the_end() {
    let line = Line::new().await;
    line.proxy.set(Fault::Truncate(10));
    let (mut client, mut server) = line.connect().await;
    send(&mut client, b"get").await;
    expect(&mut server, b"get").await;
    send(&mut server, &[1; 100_000]).await;
    expect(&mut client, &[1; 10]).await;
    expect_end(&mut client).await;
    expect_end(&mut server).await;
}

#[tokio::test]
async fn cut_all_resets_what_is_there_and_lets_new_connections_in() {
    let line = Line::new().await;
    let (mut client, mut server) = line.connect().await;
    line.proxy.cut_all();
    expect_reset(&mut client).await;
    expect_reset(&mut server).await;
    let (mut client, mut server) = line.connect().await;
    send(&mut client, b"again").await;
    expect(&mut server, b"again").await;
}

#[tokio::test]
async fn cut_all_reaches_connections_in_a_blackhole() {
    let line = Line::new().await;
    line.proxy.set(Fault::Blackhole);
    let mut client = line.dial().await;
    expect_silence(&mut client).await;
    line.proxy.cut_all();
    expect_reset(&mut client).await;
}

#[tokio::test]
async fn a_dead_upstream_is_a_reset() {
    let line = Line::new().await;
    drop(line.upstream);
    let mut client = TcpStream::connect(line.proxy.addr()).await.unwrap();
    expect_reset(&mut client).await;
}

#[tokio::test]
async fn stop_and_drop_close_the_port_and_the_connections() {
    let line = Line::new().await;
    let (_client, mut server) = line.connect().await;
    let addr = line.proxy.addr();
    line.proxy.stop().await;
    assert!(TcpStream::connect(addr).await.is_err());
    expect_end(&mut server).await;

    let line = Line::new().await;
    let (_client, mut server) = line.connect().await;
    drop(line.proxy);
    expect_end(&mut server).await;
}
