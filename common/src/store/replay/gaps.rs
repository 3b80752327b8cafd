//! Segments that a podcast is finished without: they could not be spoken, there is silence in their place, and the transcript says so.

use deadpool_postgres::Transaction;
use uuid::Uuid;

use super::rows::{self, TaskOfPodcast};
use super::{Impossible, Without};
use crate::store::podcasts::Podcast;
use crate::store::tasks::State;
use crate::work::Kind;

/// Those that are left out, by chapter and segment.
pub(super) fn find(without: Without<'_>, rows: &[TaskOfPodcast]) -> Result<Vec<(i32, i32)>, Impossible> {
    let mut given_up: Vec<(i32, i32)> = rows
        .iter()
        .filter(|task| task.row.kind == Kind::Tts && task.row.state == State::Dead)
        .map(|task| (task.row.chapter, task.segment))
        .collect();
    given_up.sort_unstable();
    match without {
        Without::Nothing => Ok(Vec::new()),
        Without::AllGivenUp if given_up.is_empty() => {
            let remedy = "Replay it: what was given up is no segment, and nothing can be made without it";
            Err(Impossible { reason: "no segment of it was given up".into(), remedy: remedy.into() })
        }
        Without::AllGivenUp => Ok(given_up),
        Without::These(wanted) => match wanted.iter().find(|place| !given_up.contains(place)) {
            Some((chapter, segment)) => Err(Impossible {
                reason: format!("chapter {chapter}, segment {segment} was not given up"),
                remedy: "Leave out only what could not be spoken; its dead letters tell".into(),
            }),
            None => Ok(wanted.to_vec()),
        },
    }
}

/// Their tasks are done, without a result. A chapter of nothing but gaps is none.
pub(super) async fn leave_out(
    tx: &Transaction<'_>,
    podcast: &Podcast,
    rows: &mut [TaskOfPodcast],
    gaps: &[(i32, i32)],
) -> anyhow::Result<Option<Impossible>> {
    if gaps.is_empty() {
        return Ok(None);
    }
    let left_out = |task: &&mut TaskOfPodcast| {
        task.row.kind == Kind::Tts && gaps.contains(&(task.row.chapter, task.segment))
    };
    let mut ids: Vec<Uuid> = Vec::with_capacity(gaps.len());
    for task in rows.iter_mut().filter(left_out) {
        task.row.state = State::Done;
        ids.push(task.row.id);
    }
    rows::finish_without_result(tx, podcast.id, &ids).await?;
    rows::mark_gaps(tx, podcast, gaps).await?;
    let silent = rows::silent_chapter(tx, podcast).await?;
    Ok(silent.map(|chapter| Impossible {
        reason: format!("nothing would be left of chapter {chapter}"),
        remedy: "Repair what is in its way and replay it, or edit what could not be spoken".into(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::replay::revive::TaskRow;
    use crate::topology::Lane;

    fn speech(chapter: i32, segment: i32, state: State) -> TaskOfPodcast {
        let row = TaskRow {
            id: Uuid::now_v7(),
            kind: Kind::Tts,
            chapter,
            state,
            lane: Lane::Normal,
            interruptions: 0,
            last_class: None,
        };
        TaskOfPodcast { row, engine: String::new(), segment, parts: 0 }
    }

    #[test]
    fn only_what_was_given_up_can_be_left_out() {
        let rows = [speech(0, 0, State::Done), speech(1, 3, State::Dead), speech(0, 1, State::Dead)];
        assert_eq!(find(Without::Nothing, &rows), Ok(vec![]));
        assert_eq!(find(Without::AllGivenUp, &rows), Ok(vec![(0, 1), (1, 3)]));
        assert_eq!(find(Without::These(&[(1, 3)]), &rows), Ok(vec![(1, 3)]));
        let refused = find(Without::These(&[(1, 3), (0, 0)]), &rows).unwrap_err();
        assert!(refused.reason.contains("chapter 0, segment 0"), "{refused:?}");
        assert!(find(Without::AllGivenUp, &rows[..1]).is_err());
    }
}
