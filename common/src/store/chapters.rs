//! Chapters with their fan-in counters, and the segments in them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail};
use deadpool_postgres::Transaction;
use serde::Serialize;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::work::{JoinChapter, MixResult, MixSegment, Pause, Place, SpeechResult};

/// Silence in place of a segment that is left out: 600 ms at 24 kHz.
const GAP_SAMPLES: u64 = 14_400;

/// A chapter of a locked podcast. What a transaction changes is changed here and written by [`save`].
#[derive(Clone, Debug, Serialize)]
pub struct Chapter {
    #[serde(skip)]
    pub podcast_id: Uuid,
    #[serde(skip)]
    pub generation: i32,
    #[serde(skip)]
    pub chapter: i32,
    pub written: bool,
    pub segments_total: i32,
    pub segments_done: i32,
    pub mix: Option<MixResult>,
}

#[derive(Clone, Debug)]
pub struct NewChapter {
    pub podcast_id: Uuid,
    pub generation: i32,
    pub chapter: i32,
    pub tenant: String,
    pub principal: String,
    pub title: String,
}

#[derive(Clone, Debug)]
pub struct NewSegment {
    pub podcast_id: Uuid,
    pub generation: i32,
    pub chapter: i32,
    pub segment: i32,
    pub tenant: String,
    pub principal: String,
    pub speaker: String,
    pub text: String,
    pub pause: Pause,
    pub place: Place,
}

pub async fn insert(tx: &Transaction<'_>, new: &[NewChapter]) -> anyhow::Result<()> {
    if new.is_empty() {
        return Ok(());
    }
    let insert = tx
        .prepare_cached(
            "insert into chapters (podcast_id, generation, chapter, tenant, principal, title)
             select * from unnest($1::uuid[], $2::int[], $3::int[], $4::text[], $5::text[], $6::text[])",
        )
        .await?;
    tx.execute(
        &insert,
        &[
            &new.iter().map(|c| c.podcast_id).collect::<Vec<_>>(),
            &new.iter().map(|c| c.generation).collect::<Vec<_>>(),
            &new.iter().map(|c| c.chapter).collect::<Vec<_>>(),
            &new.iter().map(|c| &c.tenant).collect::<Vec<_>>(),
            &new.iter().map(|c| &c.principal).collect::<Vec<_>>(),
            &new.iter().map(|c| &c.title).collect::<Vec<_>>(),
        ],
    )
    .await?;
    Ok(())
}

pub async fn insert_segments(tx: &Transaction<'_>, new: &[NewSegment]) -> anyhow::Result<()> {
    if new.is_empty() {
        return Ok(());
    }
    let insert = tx
        .prepare_cached(
            "insert into segments (podcast_id, generation, chapter, segment, tenant, principal, speaker, text, pause,
                                   place)
             select * from unnest($1::uuid[], $2::int[], $3::int[], $4::int[], $5::text[], $6::text[], $7::text[],
                                  $8::text[], $9::text[], $10::text[])",
        )
        .await?;
    tx.execute(
        &insert,
        &[
            &new.iter().map(|s| s.podcast_id).collect::<Vec<_>>(),
            &new.iter().map(|s| s.generation).collect::<Vec<_>>(),
            &new.iter().map(|s| s.chapter).collect::<Vec<_>>(),
            &new.iter().map(|s| s.segment).collect::<Vec<_>>(),
            &new.iter().map(|s| &s.tenant).collect::<Vec<_>>(),
            &new.iter().map(|s| &s.principal).collect::<Vec<_>>(),
            &new.iter().map(|s| &s.speaker).collect::<Vec<_>>(),
            &new.iter().map(|s| &s.text).collect::<Vec<_>>(),
            &new.iter().map(|s| pause_name(s.pause)).collect::<Vec<_>>(),
            &new.iter().map(|s| s.place.as_str()).collect::<Vec<_>>(),
        ],
    )
    .await?;
    Ok(())
}

/// The chapters of locked podcasts, without their titles.
pub async fn of_podcasts(tx: &Transaction<'_>, podcast_ids: &[Uuid]) -> anyhow::Result<Vec<Chapter>> {
    let select = tx
        .prepare_cached(
            "select podcast_id, generation, chapter, written, segments_total, segments_done, mix
             from chapters where podcast_id = any($1)",
        )
        .await?;
    let rows = tx.query(&select, &[&podcast_ids]).await?;
    rows.iter()
        .map(|row| {
            Ok(Chapter {
                podcast_id: row.try_get(0)?,
                generation: row.try_get(1)?,
                chapter: row.try_get(2)?,
                written: row.try_get(3)?,
                segments_total: row.try_get(4)?,
                segments_done: row.try_get(5)?,
                mix: row.try_get::<_, Option<Json<MixResult>>>(6)?.map(|json| json.0),
            })
        })
        .collect()
}

/// Writes what has changed of the chapters of locked podcasts.
pub async fn save(tx: &Transaction<'_>, chapters: &[&Chapter]) -> anyhow::Result<()> {
    if chapters.is_empty() {
        return Ok(());
    }
    // One object instead of a statement a chapter: the database finds a key in it without walking through all of them.
    let update = tx
        .prepare_cached(
            "update chapters set (written, segments_total, segments_done, mix) =
                 (select s.written, s.segments_total, s.segments_done, s.mix
                  from jsonb_to_record($2::jsonb -> (podcast_id::text || '/' || generation || '/' || chapter))
                       as s (written boolean, segments_total integer, segments_done integer, mix jsonb))
             where podcast_id = any($1) and $2::jsonb ? (podcast_id::text || '/' || generation || '/' || chapter)",
        )
        .await?;
    let podcasts: BTreeSet<Uuid> = chapters.iter().map(|chapter| chapter.podcast_id).collect();
    let podcasts: Vec<Uuid> = podcasts.into_iter().collect();
    let saved: BTreeMap<String, &Chapter> = chapters
        .iter()
        .map(|chapter| {
            (format!("{}/{}/{}", chapter.podcast_id, chapter.generation, chapter.chapter), *chapter)
        })
        .collect();
    tx.execute(&update, &[&podcasts, &Json(saved)]).await?;
    Ok(())
}

/// The spoken segments of a full chapter, in order: what a mix needs.
pub async fn spoken_segments(
    tx: &Transaction<'_>,
    podcast_id: Uuid,
    generation: i32,
    chapter: i32,
) -> anyhow::Result<Vec<MixSegment>> {
    let select = tx
        .prepare_cached(
            "select s.segment, s.speaker, s.text, s.pause, t.result, s.place
             from segments s
             join tasks t on t.podcast_id = s.podcast_id and t.generation = s.generation and t.kind = 'tts'
                         and t.chapter = s.chapter and t.segment = s.segment
             where s.podcast_id = $1 and s.generation = $2 and s.chapter = $3 and t.podcast_id = $1
             order by s.segment",
        )
        .await?;
    let rows = tx.query(&select, &[&podcast_id, &generation, &chapter]).await?;
    rows.iter()
        .map(|row| {
            let segment: i32 = row.try_get(0)?;
            let place = Place::parse(row.try_get(5)?).unwrap_or_default();
            let speech = row.try_get::<_, Option<Json<SpeechResult>>>(4)?.map(|json| json.0);
            let (audio, samples) = match speech {
                _ if place == Place::Gap => (String::new(), GAP_SAMPLES),
                Some(speech) => (speech.audio, speech.samples),
                None => bail!("segment {segment} of a full chapter has no speech"),
            };
            Ok(MixSegment {
                segment: u32::try_from(segment)?,
                speaker: row.try_get(1)?,
                text: row.try_get(2)?,
                pause: pause_by_name(row.try_get(3)?),
                place,
                audio,
                samples,
            })
        })
        .collect()
}

/// The mixed chapters of a podcast, in order: what the join needs.
pub async fn mixed_chapters(
    tx: &Transaction<'_>,
    podcast_id: Uuid,
    generation: i32,
) -> anyhow::Result<Vec<JoinChapter>> {
    let select = tx
        .prepare_cached(
            "select title, mix from chapters where podcast_id = $1 and generation = $2 order by chapter",
        )
        .await?;
    let rows = tx.query(&select, &[&podcast_id, &generation]).await?;
    rows.iter()
        .map(|row| {
            let mix = row.try_get::<_, Option<Json<MixResult>>>(1)?.context("a chapter has no mix")?.0;
            Ok(JoinChapter { title: row.try_get(0)?, mix })
        })
        .collect()
}

fn pause_name(pause: Pause) -> &'static str {
    match pause {
        Pause::Sentence => "sentence",
        Pause::Turn => "turn",
        Pause::Paragraph => "paragraph",
        Pause::Chapter => "chapter",
    }
}

pub(super) fn pause_by_name(name: &str) -> Pause {
    match name {
        "sentence" => Pause::Sentence,
        "paragraph" => Pause::Paragraph,
        "chapter" => Pause::Chapter,
        _ => Pause::Turn,
    }
}
