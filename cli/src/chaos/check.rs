//! What must hold when everything is at rest again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use loadtest::providers::{Outcome, decode_numbers, number_in};
use tokio::process::Command;
use tokio_postgres::Client;
use uuid::Uuid;

use super::load::Submitted;
use super::world::World;

/// Of what ffmpeg decodes to.
const RATE: u32 = 24_000;
/// Audio may differ from the sum of its parts by one per cent, and by the frames of the encoder.
const TOLERANCE_MS: f64 = 300.0;

#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    pub(super) states: BTreeMap<String, usize>,
    pub(super) lost: usize,
    pub(super) duplicated: usize,
    pub(super) paid_twice_known: usize,
    pub(super) paid_twice_unexplained: usize,
    pub(super) violations: Vec<String>,
}

/// Statements that must find nothing.
const NOTHING: [(&str, &str); 6] = [
    ("tasks are on their way at rest", "select id::text from tasks where state in ('ready', 'scheduled', 'dispatched')"),
    (
        "completed podcasts have segments that were not spoken exactly once",
        "select id::text from podcasts p where state = 'completed' and (
            segments_done <> segments_total or chapters_mixed <> chapters_total
            or segments_total <> (select count(*) from segments s where s.podcast_id = p.id)
            or segments_total <> (select count(*) from tasks t where t.podcast_id = p.id and kind = 'tts' and t.state = 'done')
            or (select count(*) from tasks t where t.podcast_id = p.id and kind = 'join' and t.state = 'done') <> 1)",
    ),
    (
        "podcasts have gaps in their events",
        "select id::text from podcasts p where event_seq <> (select count(*) from events e where e.podcast_id = p.id)",
    ),
    (
        "podcasts ended more than once",
        "select podcast_id::text from events where event in ('completed', 'failed', 'cancelled') group by podcast_id having count(*) <> 1",
    ),
    (
        "failed podcasts have no dead letter",
        "select id::text from podcasts p where state = 'failed' and not exists (select from dead_letters d where d.podcast_id = p.id)",
    ),
    ("keys stand for several podcasts", "select idempotency_key from podcasts group by idempotency_key having count(*) > 1"),
];

pub(super) async fn everything(
    world: &World,
    submitted: &[Submitted],
    rest: Duration,
) -> anyhow::Result<Findings> {
    let database = world.database().await?;
    let mut findings = Findings::default();
    if let Err(error) = at_rest(world, &database, rest).await {
        findings.violations.push(format!("{error:#}"));
    }
    for (what, sql) in NOTHING {
        let rows = database.query(sql, &[]).await.context(what)?;
        if !rows.is_empty() {
            let first: Vec<String> = rows.iter().take(3).map(|row| row.get(0)).collect();
            findings.violations.push(format!("{what}: {} ({})", rows.len(), first.join(", ")));
        }
    }
    ends(&database, submitted, &mut findings).await?;
    listen(world, &database, &mut findings).await?;
    payments(world, &database, &mut findings).await?;
    Ok(findings)
}

async fn at_rest(world: &World, database: &Client, rest: Duration) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        let running: i64 = database
            .query_one(
                "select (select count(*) from podcasts where state = 'running')
                      + (select count(*) from tasks where state in ('ready', 'scheduled', 'dispatched'))",
                &[],
            )
            .await?
            .get(0);
        let queues = world.servers.rabbitmq.queues("/").await?;
        let waiting: Vec<&str> =
            queues.iter().filter(|queue| queue.messages > 0).map(|queue| queue.name.as_str()).collect();
        if running == 0 && waiting.is_empty() {
            return Ok(());
        }
        if started.elapsed() > rest {
            bail!("not at rest after {rest:?}: {running} podcasts and tasks, messages in {waiting:?}");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Every request that was accepted is one podcast, under the id that was told, in a final state.
async fn ends(database: &Client, submitted: &[Submitted], findings: &mut Findings) -> anyhow::Result<()> {
    let rows = database.query("select idempotency_key, id, state from podcasts", &[]).await?;
    let podcasts: BTreeMap<String, (Uuid, String)> =
        rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
    for one in submitted {
        match podcasts.get(&one.key) {
            Some((id, state)) if *id == one.id && state != "running" => {
                *findings.states.entry(state.clone()).or_default() += 1;
                if one.cancelled && state != "cancelled" {
                    findings.violations.push(format!("{} was cancelled and is {state}", one.id));
                }
            }
            other => {
                findings.lost += 1;
                findings.violations.push(format!("{} ({}) is lost: {other:?}", one.id, one.key));
            }
        }
    }
    if rows.len() != submitted.len() {
        findings.violations.push(format!("{} podcasts for {} requests", rows.len(), submitted.len()));
    }
    Ok(())
}

/// Each segment of each episode sounds once, in its place, and the episode lasts as long as its parts.
async fn listen(world: &World, database: &Client, findings: &mut Findings) -> anyhow::Result<()> {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
    let api = world.apis.first().context("an API")?;
    let completed =
        database.query("select id from podcasts where state = 'completed' order by id", &[]).await?;
    let file = world.folder().join("episode.mp3");
    for id in completed.iter().map(|row| row.get::<_, Uuid>(0)) {
        let url = format!("{api}/v1/podcasts/{id}/audio");
        let audio = http.get(url).send().await?.error_for_status()?.bytes().await?;
        std::fs::write(&file, &audio)?;
        let samples = decode(&file).await?;
        let heard: Vec<u16> = decode_numbers(&samples, RATE).iter().map(|mark| mark.number).collect();
        let parts = parts(database, id).await?;
        if heard != parts.numbers {
            let unique: BTreeSet<&u16> = parts.numbers.iter().collect();
            findings.duplicated += usize::from(heard.len() > parts.numbers.len() && unique.len() > 1);
            findings.violations.push(format!("{id}: heard {heard:?}, wanted {:?}", parts.numbers));
        }
        let lasts_ms = samples.len() as f64 * 1000.0 / f64::from(RATE);
        if (lasts_ms - parts.lasts_ms).abs() > parts.lasts_ms * 0.01 + TOLERANCE_MS {
            findings.violations.push(format!("{id} lasts {lasts_ms} ms, its parts {} ms", parts.lasts_ms));
        }
    }
    Ok(())
}

struct Parts {
    numbers: Vec<u16>,
    lasts_ms: f64,
}

async fn parts(database: &Client, id: Uuid) -> anyhow::Result<Parts> {
    let rows = database
        .query(
            "select s.text, (t.result ->> 'samples')::float8 / 24 + case s.pause when 'sentence' then 350 when 'paragraph' then 700
                    when 'chapter' then 1200 else 450 end
             from segments s join tasks t on t.podcast_id = s.podcast_id and t.generation = s.generation and t.kind = 'tts'
                                          and t.chapter = s.chapter and t.segment = s.segment
             where s.podcast_id = $1 order by s.chapter, s.segment",
            &[&id],
        )
        .await?;
    Ok(Parts {
        numbers: rows.iter().map(|row| number_in(row.get(0)).unwrap_or(0)).collect(),
        lasts_ms: rows.iter().map(|row| row.get::<_, f64>(1)).sum(),
    })
}

async fn decode(file: &std::path::Path) -> anyhow::Result<Vec<f32>> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(file)
        .args(["-f", "f32le", "-ac", "1", "-ar", &RATE.to_string(), "-"])
        .output()
        .await
        .context("ffmpeg was not found; run `make setup`")?;
    ensure!(output.status.success(), "ffmpeg: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

/// A segment that was paid for more than once is explained when as many of its attempts are known to have begun and not to have
/// answered.
async fn payments(world: &World, database: &Client, findings: &mut Findings) -> anyhow::Result<()> {
    let mut paid: BTreeMap<Uuid, i64> = BTreeMap::new();
    for ledger in world.ledgers() {
        for call in ledger.calls.iter().filter(|call| call.outcome == Outcome::Answered) {
            let key = call.idempotency_key.as_deref().unwrap_or_default();
            let task = key.get(..36).and_then(|task| task.parse().ok());
            *paid.entry(task.context("a call without the task's id in its idempotency key")?).or_default() +=
                1;
        }
    }
    let select = "select count(distinct attempt) from attempts
                  where task_id = $1 and class in ('interrupted', 'timeout', 'transient')";
    for (task, payments) in paid.into_iter().filter(|(_, payments)| *payments > 1) {
        let unanswered: i64 = database.query_one(select, &[&task]).await?.get(0);
        let known = unanswered.min(payments - 1);
        findings.paid_twice_known += usize::try_from(known)?;
        if known < payments - 1 {
            findings.paid_twice_unexplained += usize::try_from(payments - 1 - known)?;
            findings
                .violations
                .push(format!("task {task} was paid {payments} times, {unanswered} attempts did not answer"));
        }
    }
    Ok(())
}
