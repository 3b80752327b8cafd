//! Cancelling: the mirror of completing. Both are conditional on the podcast's lock; the first commit wins, and the loser is
//! told how it ended.

use common::store::podcasts::{self, State as PodcastState};
use common::store::tasks::{self, State};
use common::store::{Store, events};
use common::wire::Hint;
use uuid::Uuid;

/// How a wish to cancel ended.
#[derive(Debug)]
pub(crate) enum Cancelled {
    /// By this call; watchers are to be told.
    Now(Box<Hint>),
    Before,
    /// It had ended otherwise, as completed or failed.
    TooLate(PodcastState),
    Unknown,
}

pub(crate) async fn cancel(store: &Store, tenant: &str, id: Uuid) -> anyhow::Result<Cancelled> {
    store
        .run(async |client| {
            let tx = client.transaction().await?;
            let Some(mut podcast) = podcasts::lock_of(&tx, tenant, id).await? else {
                return Ok(Cancelled::Unknown);
            };
            match podcast.state {
                PodcastState::Running => {}
                PodcastState::Cancelled => return Ok(Cancelled::Before),
                ended @ (PodcastState::Completed | PodcastState::Failed) => {
                    return Ok(Cancelled::TooLate(ended));
                }
            }
            podcast.state = PodcastState::Cancelled;
            let event = events::next(&mut podcast, "cancelled");
            tasks::put_away(&tx, &[id], State::Cancelled).await?;
            podcasts::save(&tx, &[&podcast]).await?;
            events::insert(&tx, std::slice::from_ref(&event)).await?;
            tx.commit().await?;
            Ok(Cancelled::Now(Box::new(events::hint(event))))
        })
        .await
}
