//! What was paid for, by the speech servers' own ledgers, against what the fleet knows of its attempts.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use loadtest::providers::{Endpoint, Outcome};
use tokio_postgres::Client;
use uuid::Uuid;

use super::Findings;
use crate::chaos::world::World;

/// A call lies a little inside its attempt, and both are timed by different processes.
const SLACK: SignedDuration = SignedDuration::from_millis(250);

pub(super) async fn check(
    world: &World,
    database: &Client,
    copied: &BTreeMap<Uuid, usize>,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    for (task, payments) in by_task(world)?.into_iter().filter(|(_, payments)| payments.len() > 1) {
        let attempts = unanswered(database, task).await?;
        let copies = copied.get(&task).copied().unwrap_or_default();
        let again = payments.len() - 1;
        let known = known(&payments, &attempts, copies);
        findings.paid_twice_known += known;
        if known < again {
            findings.paid_twice_unexplained += again - known;
            findings.violations.push(format!(
                "task {task} was paid for {} times ({payments:?}); of its attempts these did not answer: {attempts:?}",
                payments.len()
            ));
        }
    }
    Ok(())
}

/// When the calls began that were answered, by task, in order.
fn by_task(world: &World) -> anyhow::Result<BTreeMap<Uuid, Vec<Timestamp>>> {
    let mut paid: BTreeMap<Uuid, Vec<Timestamp>> = BTreeMap::new();
    for ledger in world.provider.ledgers() {
        anyhow::ensure!(ledger.total == ledger.calls.len() as u64, "a ledger has forgotten calls");
        // A script may take several calls, as many as its parts and what was wrong with them ask for.
        let speech = ledger.calls.iter().filter(|call| call.endpoint == Endpoint::Speech);
        for call in speech.filter(|call| call.outcome == Outcome::Answered) {
            let key = call.idempotency_key.as_deref().unwrap_or_default();
            let task = key.get(..36).and_then(|task| task.parse().ok());
            let task = task.context("a call without the task's id in its idempotency key")?;
            paid.entry(task).or_default().push(call.started_at);
        }
    }
    for payments in paid.values_mut() {
        payments.sort_unstable();
    }
    Ok(paid)
}

/// An attempt that began and did not give its result.
#[derive(Debug)]
struct Unanswered {
    attempt: i32,
    /// Nobody knows how it ended: its worker is gone, or its ticket or answer is. Otherwise its worker said that it failed.
    vanished: bool,
    started_at: Timestamp,
    finished_at: Timestamp,
    /// When the fleet knew of it.
    known_at: Timestamp,
}

async fn unanswered(database: &Client, task: Uuid) -> anyhow::Result<Vec<Unanswered>> {
    let select = "select attempt, class = 'interrupted', started_at, finished_at, recorded_at from attempts
                  where task_id = $1 and class in ('interrupted', 'timeout', 'transient') order by recorded_at";
    let rows = database.query(select, &[&task]).await?;
    Ok(rows
        .iter()
        .map(|row| Unanswered {
            attempt: row.get(0),
            vanished: row.get(1),
            started_at: row.get(2),
            finished_at: row.get(3),
            known_at: row.get(4),
        })
        .collect())
}

/// How many of the payments after the first are explained. The one with the number n needs n attempts before it that the fleet
/// knew, when it was made, to have begun and not to have answered; one whose worker said that it failed counts only if something was
/// paid while it ran. Copies of a ticket that the nemesis sent may each pay, too.
fn known(payments: &[Timestamp], attempts: &[Unanswered], copies: usize) -> usize {
    let paid = |attempt: &Unanswered| {
        let ran = attempt.started_at - SLACK..=attempt.finished_at + SLACK;
        attempt.vanished || payments.iter().any(|payment| ran.contains(payment))
    };
    let explains: Vec<&Unanswered> = attempts.iter().filter(|attempt| paid(attempt)).collect();
    let before = |payment: Timestamp| {
        let known = explains.iter().filter(|attempt| attempt.known_at <= payment);
        known.map(|attempt| attempt.attempt).collect::<BTreeSet<i32>>().len()
    };
    let again = payments.iter().enumerate().skip(1);
    again.filter(|(number, payment)| before(**payment) + copies >= *number).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    fn attempt(attempt: i32, vanished: bool, ran: (i64, i64), known: i64) -> Unanswered {
        Unanswered { attempt, vanished, started_at: at(ran.0), finished_at: at(ran.1), known_at: at(known) }
    }

    #[test]
    fn a_second_payment_needs_an_attempt_that_vanished_before_it() {
        let payments = [at(1_000), at(9_000)];
        assert_eq!(known(&payments, &[], 0), 0);
        assert_eq!(known(&payments, &[attempt(1, true, (900, 5_000), 5_000)], 0), 1);
        assert_eq!(known(&payments, &[attempt(1, true, (900, 9_500), 9_500)], 0), 0, "known only after");
        assert_eq!(known(&payments, &[], 1), 1, "a ticket that was copied");
    }

    #[test]
    fn an_attempt_that_failed_explains_only_what_was_paid_while_it_ran() {
        let payments = [at(1_000), at(9_000)];
        assert_eq!(known(&payments, &[attempt(1, false, (900, 2_000), 2_100)], 0), 1);
        assert_eq!(known(&payments, &[attempt(2, false, (3_000, 4_000), 4_100)], 0), 0);
    }

    #[test]
    fn each_attempt_explains_one_payment() {
        let payments = [at(1_000), at(2_000), at(9_000)];
        let one = attempt(1, true, (900, 1_500), 1_500);
        let same = attempt(1, true, (900, 1_600), 1_600);
        assert_eq!(known(&payments, &[one, same], 0), 1);
    }
}
