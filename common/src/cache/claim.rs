//! Claims: who does a piece of work that others want, too. A claim ends by itself when nobody keeps it, so the death of its
//! holder delays the others and never stops them. Without Redis nobody knows of anybody, and the work is done twice.

use std::cell::Cell;
use std::time::Duration;

use super::{Cache, LEFT};

/// A claim dies this long after its holder last kept it.
const CLAIM_LASTS: Duration = Duration::from_secs(10);
/// Beside the budget of 40 ms: a task waits for its cache for at most 50 ms in all.
const RELEASING: Duration = Duration::from_millis(10);
/// How often a holder keeps it.
const KEPT_EVERY: Duration = Duration::from_millis(2_500);

/// A piece of work, and who does it.
#[derive(Clone, Debug)]
pub struct Claim {
    pub key: String,
    /// Worker, task and attempt: nobody else's.
    pub holder: String,
}

/// What became of a wish to do a piece of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// It is ours to do. Also when the cache did not answer: whether it noted the claim is not known then.
    Here,
    /// Its result has come meanwhile.
    Known(Vec<u8>),
    /// Somebody is at it.
    Elsewhere,
}

/// Also takes it again where it is gone, with a cache that was flushed; never from somebody else.
const KEEP: &str = "local holder = redis.call('get', KEYS[1])
if not holder then return redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2]) and 1 end
if holder == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end
return 0";
const RELEASE: &str =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0";

impl Cache {
    /// Claims a piece of work and looks for its result, in one trip: whoever held the claim before has put the result first.
    pub async fn claim(&self, claim: &Claim, result: &str) -> Claimed {
        let Some(shared) = &self.shared else { return Claimed::Here };
        let answer: Option<(Option<String>, Option<Vec<u8>>)> = shared
            .try_within(async |mut connection| {
                let mut pipeline = redis::pipe();
                pipeline.cmd("SET").arg(&claim.key).arg(&claim.holder).arg("NX");
                pipeline.arg("PX").arg(milliseconds(CLAIM_LASTS));
                pipeline.get(result);
                pipeline.query_async(&mut connection).await
            })
            .await;
        match answer {
            Some((_, Some(known))) => Claimed::Known(known),
            Some((None, None)) => Claimed::Elsewhere,
            Some((Some(_), None)) | None => Claimed::Here,
        }
    }

    /// Does the work while it keeps the claim, and gives the claim up afterwards, whatever the work came to.
    pub async fn keeping<T>(&self, claim: &Claim, work: impl Future<Output = T>) -> T {
        let done = tokio::select! {
            biased;
            done = work => done,
            never = self.keep(claim) => match never {},
        };
        self.release(claim).await;
        done
    }

    /// It goes on for as long as the work, so each round has a budget of its own: nobody waits for it.
    async fn keep(&self, claim: &Claim) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(KEPT_EVERY).await;
            let lasts = milliseconds(CLAIM_LASTS).to_string();
            self.within_budget(self.run::<i64>(KEEP, &[&claim.key], &[&claim.holder, &lasts])).await;
        }
    }

    /// Gives a claim up. That is worth a little more than the task's budget: others would wait until the claim ends by itself.
    pub async fn release(&self, claim: &Claim) {
        let left = LEFT.try_with(Cell::get).unwrap_or_default().max(RELEASING);
        LEFT.scope(Cell::new(left), self.run::<i64>(RELEASE, &[&claim.key], &[&claim.holder])).await;
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
