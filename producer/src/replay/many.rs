//! Replays of many letters, taken forward in steps by whichever producer looks first. Everything that must not be forgotten
//! is in the database: a producer that dies in between leaves a claim that ends by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::access::Role;
use common::store::replay::bulk::{self, Claimed, MOST_TRIES};
use common::store::replay::steps::{self, Next};
use common::store::{audit, audit::NewAudit, replay};
use serde_json::json;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Replayed, Wish};
use crate::accept::{Intake, Refusal};
use crate::{Caller, Env};

/// How often running replays are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long one replay is taken forward before the next one has its turn; well within a claim.
const TURN: Duration = Duration::from_secs(5);

/// Until shutdown.
pub(crate) async fn run(env: Arc<Env>, intake: Intake, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        if !env.readiness.is_ready() {
            continue;
        }
        if let Err(error) = look(&env, &intake, &shutdown).await {
            tracing::warn!(error = format!("{error:#}"), "replays could not be taken forward; trying again");
        }
    }
}

async fn look(env: &Env, intake: &Intake, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let stranded = env
        .store
        .run(async |client| {
            let tx = client.transaction().await?;
            let stranded = replay::release_stranded(&tx).await?;
            tx.commit().await?;
            Ok(stranded)
        })
        .await?;
    if stranded > 0 {
        tracing::warn!(tasks = stranded, "tasks of replayed podcasts had been put aside; they go on");
        metrics::counter!("podfleet_reconciler_repairs_total", "reason" => "stranded").increment(stranded);
    }
    while !shutdown.is_cancelled() {
        let Some(claimed) = env.store.run(async |client| bulk::claim(client).await).await? else {
            return Ok(());
        };
        let taken = forward(env, intake, &claimed, shutdown).await;
        env.store.run(async |client| bulk::let_go(client, claimed.id).await).await?;
        taken?;
    }
    Ok(())
}

/// Takes one replay as far as its steps and its rate allow.
async fn forward(
    env: &Env,
    intake: &Intake,
    claimed: &Claimed,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let started = Instant::now();
    while started.elapsed() < TURN && !shutdown.is_cancelled() {
        let look = env.store.run(async |client| bulk::look(client, claimed.id).await).await?;
        match steps::decide(look) {
            Next::Wait => return Ok(()),
            Next::Advance => {
                env.store.run(async |client| bulk::advance(client, claimed.id, look.step).await).await?;
            }
            Next::Replay(_) => {
                if !env.store.run(async |client| bulk::take_turn(client, claimed.id).await).await? {
                    return Ok(());
                }
                let next = env.store.run(async |client| bulk::next_letter(client, claimed.id).await).await?;
                if let Some((letter, tries)) = next {
                    replay_one(env, intake, claimed, letter, tries).await?;
                }
            }
            Next::Stop(why) => return end(env, claimed, "stopped", Some(&why)).await,
            Next::Finish => return end(env, claimed, "completed", None).await,
        }
    }
    Ok(())
}

async fn replay_one(
    env: &Env,
    intake: &Intake,
    claimed: &Claimed,
    letter: Uuid,
    tries: i16,
) -> anyhow::Result<()> {
    // Whoever began it was asked for this role.
    let (tenant, principal) = (claimed.tenant.clone(), claimed.principal.clone());
    let caller = Caller { tenant, principal, role: Role::Support, key: None, requests_per_minute: None };
    let wish =
        Wish { caller: &caller, letter, reason: &claimed.reason, edited: None, many: Some(claimed.id) };
    let (state, detail) = match super::one(env, intake, wish).await {
        Ok(Replayed::Resumed(_) | Replayed::Accepted { .. }) => return Ok(()),
        Ok(Replayed::Settled(settled)) => {
            ("skipped", format!("{} was first: it is {} since {}", settled.by, settled.state, settled.at))
        }
        Ok(Replayed::Unknown) => ("skipped", "it is gone".to_owned()),
        Ok(Replayed::Impossible(impossible)) => ("skipped", impossible.reason),
        Ok(Replayed::Faulty(faults)) => {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            ("skipped", format!("it would be refused again: {}", faults.join("; ")))
        }
        Err(error) if matches!(error.downcast_ref(), Some(Refusal::Limited(_))) => {
            ("skipped", format!("{error}; the letter is open still"))
        }
        Err(error) if tries >= MOST_TRIES && is_lasting(&error) => {
            tracing::error!(error = format!("{error:#}"), %letter, "a dead letter cannot be replayed");
            (
                "failed",
                format!("it could not be replayed in {tries} tries; the log of the producer tells more"),
            )
        }
        Err(error) => return Err(error),
    };
    env.store.run(async |client| bulk::pass_over(client, claimed.id, letter, state, &detail).await).await
}

/// Whether another try comes to the same: the database refuses what it is given. One that is away comes back, and so does an
/// intake that is busy.
fn is_lasting(error: &anyhow::Error) -> bool {
    let code = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<tokio_postgres::Error>())
        .and_then(|error| error.code());
    let refused = code.is_some_and(|code| {
        ["22", "23", "42", "54", "XX"].iter().any(|class| code.code().starts_with(class))
    });
    refused
        || matches!(error.downcast_ref(), Some(Refusal::Unstorable))
        || error.chain().any(|cause| cause.is::<serde_json::Error>())
}

async fn end(env: &Env, claimed: &Claimed, state: &'static str, remark: Option<&str>) -> anyhow::Result<()> {
    let entry = NewAudit {
        tenant: &claimed.tenant,
        principal: &claimed.principal,
        action: "replay.end",
        subject: subject(claimed.id),
        reason: remark,
        before: Some(json!({"replay": "running"})),
        after: Some(json!({"replay": state})),
    };
    env.store
        .run(async |client| {
            let tx = client.transaction().await?;
            if bulk::end(&tx, &claimed.tenant, claimed.id, state, remark).await? {
                audit::insert(&tx, &entry).await?;
                tx.commit().await?;
                tracing::info!(replay = %claimed.id, state, remark, "a replay of many letters has ended");
            }
            Ok(())
        })
        .await
}

/// What the audit trail calls a replay of many.
pub(crate) fn subject(replay: Uuid) -> String {
    format!("replay/{replay}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again() {
        assert!(!is_lasting(&Refusal::Overloaded.into()));
        assert!(!is_lasting(&Refusal::Unavailable.into()));
        assert!(!is_lasting(&anyhow::anyhow!("PostgreSQL did not finish within 12s")));
        assert!(is_lasting(&Refusal::Unstorable.into()));
        let unreadable = serde_json::from_str::<bool>("{").unwrap_err();
        assert!(is_lasting(&anyhow::Error::from(unreadable).context("reading a task's input")));
    }
}
