//! Attempts: what each dispatch came to.

use deadpool_postgres::Transaction;

use crate::wire::Outcome;

/// An answered dispatch, with what the task knows of itself.
#[derive(Clone, Debug)]
pub struct NewAttempt<'a> {
    pub outcome: &'a Outcome,
    pub principal: &'a str,
    pub engine: &'a str,
}

pub async fn insert(tx: &Transaction<'_>, new: &[NewAttempt<'_>]) -> anyhow::Result<()> {
    if new.is_empty() {
        return Ok(());
    }
    let insert = tx
        .prepare_cached(
            "insert into attempts (podcast_id, task_id, attempt, part, tenant, principal, kind, engine, class, worker,
                                   started_at, finished_at, units, cost_micros, cached, message)
             select * from unnest($1::uuid[], $2::uuid[], $3::int[], $4::int[], $5::text[], $6::text[], $7::text[], $8::text[],
                                  $9::text[], $10::text[], $11::timestamptz[], $12::timestamptz[], $13::bigint[],
                                  $14::bigint[], $15::bool[], $16::text[])",
        )
        .await?;
    let outcomes: Vec<&Outcome> = new.iter().map(|attempt| attempt.outcome).collect();
    tx.execute(
        &insert,
        &[
            &outcomes.iter().map(|o| o.podcast).collect::<Vec<_>>(),
            &outcomes.iter().map(|o| o.task).collect::<Vec<_>>(),
            &outcomes.iter().map(|o| o.attempt).collect::<Vec<_>>(),
            &outcomes.iter().map(|o| o.part).collect::<Vec<_>>(),
            &outcomes.iter().map(|o| &o.tenant).collect::<Vec<_>>(),
            &new.iter().map(|a| a.principal).collect::<Vec<_>>(),
            &outcomes.iter().map(|o| o.kind.as_str()).collect::<Vec<_>>(),
            &new.iter().map(|a| a.engine).collect::<Vec<_>>(),
            &outcomes.iter().map(|o| o.class.as_str()).collect::<Vec<_>>(),
            &outcomes.iter().map(|o| &o.worker).collect::<Vec<_>>(),
            &outcomes.iter().map(|o| o.started_at).collect::<Vec<_>>(),
            &outcomes.iter().map(|o| o.finished_at).collect::<Vec<_>>(),
            &outcomes.iter().map(|o| o.units).collect::<Vec<_>>(),
            &outcomes.iter().map(|o| o.cost_micros).collect::<Vec<_>>(),
            &outcomes.iter().map(|o| o.cached).collect::<Vec<_>>(),
            &outcomes.iter().map(|o| o.error.as_ref().map(|e| e.message.as_str())).collect::<Vec<_>>(),
        ],
    )
    .await?;
    Ok(())
}

/// Which of these are recorded already: they came a second time, because their first delivery was committed and not acked.
pub async fn are_recorded(tx: &Transaction<'_>, outcomes: &[&Outcome]) -> anyhow::Result<Vec<bool>> {
    if outcomes.is_empty() {
        return Ok(Vec::new());
    }
    let select = tx
        .prepare_cached(
            "select exists (select from attempts a
                            where a.podcast_id = n.podcast and a.task_id = n.task and a.attempt = n.attempt and a.part = n.part
                              and a.class = n.class and a.worker = n.worker and a.started_at = n.started_at)
             from unnest($1::uuid[], $2::uuid[], $3::int[], $4::int[], $5::text[], $6::text[], $7::timestamptz[])
                  with ordinality n (podcast, task, attempt, part, class, worker, started_at, place)
             order by n.place",
        )
        .await?;
    let rows = tx
        .query(
            &select,
            &[
                &outcomes.iter().map(|o| o.podcast).collect::<Vec<_>>(),
                &outcomes.iter().map(|o| o.task).collect::<Vec<_>>(),
                &outcomes.iter().map(|o| o.attempt).collect::<Vec<_>>(),
                &outcomes.iter().map(|o| o.part).collect::<Vec<_>>(),
                &outcomes.iter().map(|o| o.class.as_str()).collect::<Vec<_>>(),
                &outcomes.iter().map(|o| &o.worker).collect::<Vec<_>>(),
                &outcomes.iter().map(|o| o.started_at).collect::<Vec<_>>(),
            ],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
