//! The worst moment for a connection to die: COMMIT is sent, and nobody hears what became of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use loadtest::providers::{Latency, Provider, Settings};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use crate::audio::expect_every_number_once;
use crate::faults::SPOKEN;
use crate::fleet::{Fleet, Servers, Setup, numbered_article, until};

/// Passes everything on, until it is told to let a COMMIT through and then be silent, both ways.
struct Severing {
    address: SocketAddr,
    /// How many connections are still to be severed.
    wanted: Arc<AtomicUsize>,
    _serving: AbortOnDropHandle<()>,
}

impl Severing {
    async fn start(upstream: SocketAddr) -> anyhow::Result<Severing> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, wanted) = (listener.local_addr()?, Arc::new(AtomicUsize::new(0)));
        let shared = wanted.clone();
        let serving = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(pass(client, upstream, shared.clone()));
            }
        });
        Ok(Severing { address, wanted, _serving: AbortOnDropHandle::new(serving) })
    }
}

async fn pass(client: TcpStream, upstream: SocketAddr, wanted: Arc<AtomicUsize>) -> std::io::Result<()> {
    let server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let forth = async {
        let mut buffer = vec![0; 64 * 1024];
        // A read may end in the middle of the word.
        let mut seen = Vec::new();
        loop {
            let count = from_client.read(&mut buffer).await?;
            to_server.write_all(&buffer[..count]).await?;
            seen.extend_from_slice(&buffer[..count]);
            let commits = seen.windows(7).any(|word| word == b"COMMIT\0");
            seen.drain(..seen.len().saturating_sub(6));
            let takes = |left: usize| left.checked_sub(1);
            if count == 0
                || commits && wanted.fetch_update(Ordering::AcqRel, Ordering::Acquire, takes).is_ok()
            {
                return std::io::Result::Ok(count > 0);
            }
        }
    };
    let back = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = from_server.read(&mut buffer).await?;
            if count == 0 {
                return std::io::Result::Ok(());
            }
            to_client.write_all(&buffer[..count]).await?;
        }
    };
    let severed = tokio::select! {
        severed = forth => severed?,
        ended = back => { ended?; false }
    };
    if severed {
        // The server commits; its answer is not read, and the connection stays open.
        std::future::pending::<()>().await;
    }
    Ok(())
}

pub(crate) async fn a_commit_without_an_answer_counts_once(servers: &Arc<Servers>) -> anyhow::Result<()> {
    // Slow enough that most is still to be spoken when the first segment is there.
    let latency = Latency::Fixed(Duration::from_millis(500));
    let provider = Provider::start(Settings::default().speech_latency(latency)).await?;
    let setup = Setup { producers: 0, collectors: 0, ..Setup::default() }.with("WORKER__CONCURRENCY", 2);
    let mut fleet = Fleet::start(servers, "severed", setup.with_speech_server(&provider.url())).await?;
    let direct = fleet.database().to_owned();
    let at =
        direct.split('@').nth(1).and_then(|rest| rest.split('/').next()).context("an address")?.to_owned();
    let severing = async || {
        let proxy = Severing::start(at.parse()?).await?;
        let url = direct.replace(&at, &proxy.address.to_string());
        anyhow::Ok((proxy, url))
    };
    let (before_producer, producers_url) = severing().await?;
    let (before_collector, collectors_url) = severing().await?;
    fleet.spawn("collector", &[("PODFLEET__DATABASE__URL", &collectors_url)]).await?;
    fleet.spawn_producer(&[("PODFLEET__DATABASE__URL", &producers_url)]).await?;

    // A request: not promised, but there. Under its key it is found.
    let post = async || {
        let request = fleet.http.post(format!("{}/v1/podcasts", fleet.api)).header("idempotency-key", "k");
        let response = request.json(&numbered_article(2, 6)).send().await?;
        anyhow::Ok((response.status().as_u16(), response.json::<Value>().await?))
    };
    before_producer.wanted.store(1, Ordering::Release);
    until("a COMMIT that is severed", async || {
        let asked = Instant::now();
        let (status, answer) = post().await?;
        // A producer that did not get as far as that promises nothing, either.
        ensure!(
            status == 503 && asked.elapsed() < Duration::from_secs(9),
            "{status} {:?} {answer}",
            asked.elapsed()
        );
        Ok((before_producer.wanted.load(Ordering::Acquire) == 0).then_some(()))
    })
    .await?;
    ensure!(fleet.count("select count(*) from podcasts").await? == 1, "it was committed all the same");
    let id = until("acceptance", async || {
        let (status, answer) = post().await?;
        ensure!(status == 202 || status == 503, "{status} {answer}");
        Ok(answer["id"].as_str().map(str::to_owned))
    })
    .await?;
    ensure!(fleet.count("select count(*) from podcasts").await? == 1, "one podcast");

    // Outcomes: committed, but not acked, so they come again and change nothing.
    fleet.until_count(SPOKEN, |spoken| spoken >= 1).await?;
    before_collector.wanted.store(1, Ordering::Release);
    fleet.completed(&id).await?;
    ensure!(before_collector.wanted.load(Ordering::Acquire) == 0, "no COMMIT of the collector passed");
    expect_every_number_once(&fleet, &id).await?;
    ensure!(provider.ledger().answers_by_text().values().all(|count| *count == 1), "paid once");
    let log = std::fs::read_to_string(&fleet.role("collector").log)?;
    ensure!(log.contains("the collector's session ended"), "it noticed");
    ensure!(json!(fleet.podcast(&id).await?["state"]) == "completed");
    fleet.at_rest().await?;
    fleet.stop().await
}
