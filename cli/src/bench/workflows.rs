//! Workflows of tasks that do nothing: in the peers' shape, in turn with the peers, and in a podcast's own.

use loadtest::noop::{self, Amount, Figures};
use loadtest::providers::{Provider, Settings};
use loadtest::report::{Measured, median};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Results;
use super::peers::{Peer, Peers};
use crate::args::loadtest::Bench;
use crate::load::stage::{Setup, Stage};

/// 1 → 5 → 25 → 1 has no mixes, 1 → 5 → 25 → 5 → 1 has.
const PEERS_SHAPE: (&str, usize) = ("none", 32);
const OWN_SHAPE: (&str, usize) = ("builtin", 37);
/// A round beside the peers is shorter: there are several.
const BESIDE_PEERS: usize = 2;

pub(super) async fn measure(
    options: &Bench,
    results: &mut Results,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let amount = Amount { alone: options.alone, saturated: options.workflows };
    let peers_shape = {
        let stage = start(options, PEERS_SHAPE.0, shutdown).await?;
        let measured = pairs(options, amount, &stage, results).await;
        stage.stop(measured.is_ok()).await?;
        measured?
    };
    let stage = start(options, OWN_SHAPE.0, shutdown).await?;
    let own = noop::measure(&stage.fleet.api, &stage.broker(), amount, OWN_SHAPE.1).await;
    stage.stop(own.is_ok()).await?;
    let own = own?;
    results.value("noop_own_shape_per_s", own.workflows_per_second);
    // The floor was measured in another part of the same run.
    let quorum = results.figures.get("quorum_per_s").and_then(|floor| floor.value);
    let tasks: Vec<f64> = peers_shape.iter().map(|figures| figures.tasks_per_second).collect();
    results.set("fleet_tasks_per_s", Measured::value(median(&tasks)).against(quorum));
    results.raw.insert("workflows".to_owned(), json!({"peers_shape": peers_shape, "own_shape": own}));
    Ok(())
}

async fn start(options: &Bench, mix: &str, shutdown: &CancellationToken) -> anyhow::Result<Stage> {
    let configuration = format!(
        "[defaults]\noutline = \"noop\"\nscript = \"noop\"\ntts = \"noop\"\nmix = \"{mix}\"\n\
         [worker]\nconcurrency = 64\n[collector]\nmixers = 16\n"
    );
    let setup = Setup { producers: 1, workers: options.workers, collectors: 1, ..Setup::default() };
    // Nobody asks it anything.
    let provider = Provider::start(Settings::default()).await?;
    Stage::with_configuration(&setup, provider, Some(&configuration), shutdown).await
}

/// Ours, and each peer's, round by round on the same servers; ratios are those of a round.
async fn pairs(
    options: &Bench,
    amount: Amount,
    stage: &Stage,
    results: &mut Results,
) -> anyhow::Result<Vec<Figures>> {
    let ours = async |amount| noop::measure(&stage.fleet.api, &stage.broker(), amount, PEERS_SHAPE.1).await;
    if !options.peers {
        let figures = ours(amount).await?;
        let reason = "the peers were not run; PEERS=1 runs them in turn with ours";
        let alone = Measured::value(figures.alone_p50_ms).because(reason);
        let rate = Measured::value(figures.workflows_per_second).because(reason);
        results.set("noop_alone_ms", alone.clone());
        results.set("noop_alone_celery_ms", alone);
        results.set("noop_bullmq_per_s", rate.clone());
        results.set("noop_celery_per_s", rate);
        return Ok(vec![figures]);
    }
    let servers = stage.fleet.servers().ok_or_else(|| anyhow::anyhow!("the peers need private servers"))?;
    let peers = Peers::start(servers, stage.folder()).await?;
    let shorter = Amount { alone: amount.alone / BESIDE_PEERS, saturated: amount.saturated / BESIDE_PEERS };
    let (mut own, mut celery, mut bullmq) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        own.push(ours(shorter).await?);
        celery.push(peers.measure(Peer::Celery).await?);
        bullmq.push(peers.measure(Peer::BullMq).await?);
    }
    peers.stop().await?;
    let of = |figures: &[Figures], value: fn(&Figures) -> f64| figures.iter().map(value).collect::<Vec<_>>();
    let (alone, rate) = (of(&own, |f| f.alone_p50_ms), of(&own, |f| f.workflows_per_second));
    let middle = |values: &[f64]| median(values);
    let column = |peer: &[super::peers::Speed], value: fn(&super::peers::Speed) -> f64| {
        middle(&peer.iter().map(value).collect::<Vec<_>>())
    };
    let reference = |ours: &[f64], peer: &[super::peers::Speed], value: fn(&super::peers::Speed) -> f64| {
        // The reference that gives the median of the rounds' own ratios.
        let ratios: Vec<f64> = ours.iter().zip(peer).map(|(ours, peer)| ours / value(peer)).collect();
        middle(ours).zip(middle(&ratios)).map(|(ours, ratio)| ours / ratio)
    };
    results.set(
        "noop_alone_ms",
        Measured::value(middle(&alone)).against(reference(&alone, &bullmq, |s| s.alone_ms)),
    );
    results.set(
        "noop_alone_celery_ms",
        Measured::value(middle(&alone)).against(reference(&alone, &celery, |s| s.alone_ms)),
    );
    results.set(
        "noop_bullmq_per_s",
        Measured::value(middle(&rate)).against(reference(&rate, &bullmq, |s| s.per_second)),
    );
    results.set(
        "noop_celery_per_s",
        Measured::value(middle(&rate)).against(reference(&rate, &celery, |s| s.per_second)),
    );
    let bars = |own: &[f64], value: fn(&super::peers::Speed) -> f64| {
        [
            ("Podfleet, every step durable", middle(own).unwrap_or(0.0)),
            ("BullMQ, nothing on disk", column(&bullmq, value).unwrap_or(0.0)),
            ("Celery, persistent messages", column(&celery, value).unwrap_or(0.0)),
        ]
    };
    results.bars("A workflow 1 → 5 → 25 → 1 alone, median", "ms", None, &bars(&alone, |s| s.alone_ms));
    results.bars("The same, saturated: workflows a second", "/s", None, &bars(&rate, |s| s.per_second));
    results.raw.insert("peers".to_owned(), json!({"podfleet": own, "celery": celery, "bullmq": bullmq}));
    Ok(own)
}
