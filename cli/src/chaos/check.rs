//! What must hold when everything is at rest again.
//!
//! | invariant | where it is checked |
//! |---|---|
//! | 1. an accepted request is one podcast that ends once, and leaves that end only by an audited replay | [`ends`], [`NOTHING`] (ends, replays), [`stay_ended`] |
//! | 2. key and body name the podcast; another body under the key is refused | [`super::application`] under load, [`NOTHING`] (keys) |
//! | 3. a completed podcast has every segment, in order, once, and lasts what they last | [`NOTHING`] (segments), [`audio`] |
//! | 4. nothing is acked before it is committed or confirmed | by what it leads to: [`at_rest`] and [`ends`], with crash points on both sides of every commit and confirm |
//! | 5. a segment is paid for twice only if the first call's end is not known | [`payments`] |
//! | 6. at rest nothing is on its way | [`at_rest`], [`NOTHING`] (tasks) |
//! | 7. a wiped broker or cache changes no final state | [`stay_ended`] |
//! | 8. memory stays bounded | [`memory`] |

mod audio;
mod payments;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio_postgres::Client;
use uuid::Uuid;

use super::load::{Log, Submitted};
use super::watch::Seen;
use super::world::World;
use crate::output::remark;

/// No process of a role may ever take more: ten times what one takes at rest in a build for tests.
const MOST_MEMORY_MIB: u64 = 512;

/// Whatever still moves then goes round in circles.
const LONGEST_UNTIL_REST: Duration = Duration::from_secs(45 * 60);

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
const NOTHING: [(&str, &str); 8] = [
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
        "podcasts ended more often than they began",
        "select podcast_id::text from events group by podcast_id
         having count(*) filter (where event in ('completed', 'failed', 'cancelled')) <> 1 + count(*) filter (where event = 'replayed')",
    ),
    (
        "podcasts left an end without a replay, or were replayed without an end",
        "select distinct podcast_id::text from (
             select podcast_id, event, lag(event) over (partition by podcast_id order by seq) as before
             from events where event in ('completed', 'failed', 'cancelled', 'replayed')) as ends
         where case event when 'replayed' then before is distinct from 'failed' else before is not null and before <> 'replayed' end",
    ),
    (
        "replays are not in the audit trail",
        "select podcast_id::text from events where event = 'replayed' group by podcast_id
         having count(*) <> (select count(*) from audit where action in ('dead_letter.replay', 'dead_letter.edit_replay')
                                                         and after -> 'podcast' ->> 'id' = podcast_id::text)",
    ),
    (
        "failed podcasts have no open dead letter",
        "select id::text from podcasts p where state = 'failed'
         and not exists (select from dead_letters d where d.podcast_id = p.id and d.state = 'open')",
    ),
    (
        "keys stand for several podcasts",
        "select idempotency_key from podcasts group by tenant, idempotency_key having count(*) > 1",
    ),
];

pub(super) async fn everything(
    world: &World,
    log: &Log,
    seen: &Seen,
    copied: &BTreeMap<Uuid, usize>,
    rest: Duration,
) -> anyhow::Result<Findings> {
    let database = world.database().await?;
    let mut findings = Findings { violations: log.complaints.clone(), ..Findings::default() };
    if let Err(error) = at_rest(world, &database, rest).await {
        findings.violations.push(format!("{error:#}"));
    }
    remark("checking, and listening to every episode");
    for (what, sql) in NOTHING {
        let rows = database.query(sql, &[]).await.context(what)?;
        if !rows.is_empty() {
            let first: Vec<String> = rows.iter().take(3).map(|row| row.get(0)).collect();
            findings.violations.push(format!("{what}: {} ({})", rows.len(), first.join(", ")));
        }
    }
    let states = ends(&database, &log.submitted, &mut findings).await?;
    stay_ended(seen, &states, &mut findings);
    memory(seen, &mut findings);
    audio::listen(world, &database, &mut findings).await?;
    payments::check(world, &database, copied, &mut findings).await?;
    Ok(findings)
}

/// Waits for as long as anything moves: a slow machine is no defect of the fleet.
async fn at_rest(world: &World, database: &Client, rest: Duration) -> anyhow::Result<()> {
    const SQL: &str = "select (select count(*) from podcasts where state = 'running')
                            + (select count(*) from tasks where state in ('ready', 'scheduled', 'dispatched')),
                              (select count(*) from attempts where class <> 'interrupted')";
    let started = Instant::now();
    let (mut moved, mut before) = (Instant::now(), -1);
    loop {
        let row = database.query_one(SQL, &[]).await?;
        let (running, done): (i64, i64) = (row.get(0), row.get(1));
        let queues = world.servers.rabbitmq.queues("/").await?;
        let waiting: Vec<&str> =
            queues.iter().filter(|queue| queue.messages > 0).map(|queue| queue.name.as_str()).collect();
        if running == 0 && waiting.is_empty() {
            return Ok(());
        }
        if done != before {
            (moved, before) = (Instant::now(), done);
        }
        if moved.elapsed() > rest || started.elapsed() > LONGEST_UNTIL_REST.max(rest) {
            let for_s = moved.elapsed().as_secs();
            bail!(
                "not at rest: {running} podcasts and tasks, messages in {waiting:?}; nothing has moved for {for_s} s"
            );
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Every request that was accepted is one podcast, under the id that was told, in a final state. Returns all states.
async fn ends(
    database: &Client,
    submitted: &[Submitted],
    findings: &mut Findings,
) -> anyhow::Result<BTreeMap<Uuid, String>> {
    let rows = database.query("select idempotency_key, id, state from podcasts", &[]).await?;
    let podcasts: BTreeMap<String, (Uuid, String)> =
        rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
    let mut keys = BTreeSet::new();
    for one in submitted {
        keys.insert(one.key.as_str());
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
    for (key, (id, state)) in podcasts.iter().filter(|(key, _)| !keys.contains(key.as_str())) {
        findings.violations.push(format!("{id} ({key}, {state}) is a podcast that nobody was told of"));
    }
    Ok(podcasts.into_values().collect())
}

/// What was seen to be completed or cancelled while faults happened, wiped brokers and caches among them, still is.
fn stay_ended(seen: &Seen, states: &BTreeMap<Uuid, String>, findings: &mut Findings) {
    for (id, before) in &seen.ended {
        let now = states.get(id);
        if now != Some(before) {
            findings.violations.push(format!("{id} was {before} and is {now:?}"));
        }
    }
}

fn memory(seen: &Seen, findings: &mut Findings) {
    for (role, peak) in seen.peak_mib.iter().filter(|(_, peak)| **peak > MOST_MEMORY_MIB) {
        findings.violations.push(format!("a {role} took {peak} MiB; at most {MOST_MEMORY_MIB} are allowed"));
    }
}
