//! Equal work is done once in the whole fleet. Whoever comes second does not wait with a permit: his ticket goes back and comes
//! again when the work is done, when its doer has failed or died, or after a while to look.

use std::time::Duration;

use common::cache::{Claim, Claimed};
use common::class::Class;
use common::wire::Ticket;
use common::work::Price;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Done;
use crate::Env;
use crate::failure::Failure;

/// Whoever waits looks again after this long. The collector sends him sooner, as soon as it hears of the end of the work.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// A result in the cache, with what it took to make.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Remembered<T> {
    #[serde(flatten)]
    pub(super) result: T,
    #[serde(default)]
    pub(super) paid: Price,
}

/// What makes a piece of work the same as another one: tenant, kind, and the hash of everything that changes its result.
pub(super) struct Work<'a> {
    env: &'a Env,
    ticket: &'a Ticket,
    hash: &'a str,
}

impl<'a> Work<'a> {
    pub(super) fn new(env: &'a Env, ticket: &'a Ticket, hash: &'a str) -> Work<'a> {
        Work { env, ticket, hash }
    }

    fn result_key(&self) -> String {
        result_key(self.ticket, self.hash)
    }

    /// The result, if the cache has it.
    pub(super) async fn known<T: DeserializeOwned>(&self) -> Option<Remembered<T>> {
        serde_json::from_slice(&self.env.cache.get(&self.result_key()).await?).ok()
    }

    pub(super) async fn remember<T: Serialize>(&self, result: &T, paid: Price) {
        let remembered = Remembered { result, paid };
        if let (Some(time_to_live), Ok(json)) =
            (common::cache::time_to_live(self.ticket.kind), serde_json::to_vec(&remembered))
        {
            self.env.cache.put(&self.result_key(), &json, time_to_live).await;
        }
    }

    /// What the cache remembers is not there any more.
    pub(super) async fn forget(&self) {
        self.env.cache.remove(&self.result_key()).await;
    }

    /// Does `work`, unless somebody does the same at the moment or has just done it: `known` makes the answer of his result.
    pub(super) async fn once<T: DeserializeOwned>(
        &self,
        known: impl AsyncFnOnce(Remembered<T>) -> Result<Done, Failure>,
        work: impl Future<Output = Result<Done, Failure>>,
    ) -> Result<Done, Failure> {
        let Ticket { task, attempt, .. } = self.ticket;
        let holder = format!("{}/{task}/{attempt}", self.env.id);
        let claim = Claim { key: format!("{}:claim", self.result_key()), holder };
        let claimed = self.env.cache.claim(&claim, &self.result_key()).await;
        let counted = |result| {
            metrics::counter!("podfleet_equal_work_total", "kind" => self.ticket.kind.as_str(), "result" => result)
                .increment(1);
        };
        match claimed {
            Claimed::Here => {
                counted("begun");
                self.env.cache.keeping(&claim, work).await
            }
            Claimed::Elsewhere => {
                counted("awaited");
                let failure =
                    Failure::new(Class::Returned, "another worker does the same work at the moment");
                Err(Failure { retry_after: Some(LOOK_AGAIN), ..failure })
            }
            Claimed::Known(json) => {
                counted("known");
                self.env.cache.release(&claim).await;
                match serde_json::from_slice(&json) {
                    Ok(remembered) => known(remembered).await,
                    // Of another version's making.
                    Err(_) => work.await,
                }
            }
        }
    }
}

/// Keys begin with the tenant: nothing is shared between tenants.
pub(super) fn result_key(ticket: &Ticket, hash: &str) -> String {
    format!("podfleet:{}:{}:{hash}", ticket.tenant, ticket.kind)
}
