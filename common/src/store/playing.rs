//! What of a podcast can be heard already.

use deadpool_postgres::Client;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::chapters::pause_by_name;
use crate::work::{MixResult, Pause, SpeechResult};

/// A podcast as far as it concerns whoever listens and has come to one of its segments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Place {
    pub running: bool,
    /// Number of the podcast's last event.
    pub seq: i64,
    pub chapters: i32,
    /// The chapter's script is complete, with so many segments.
    pub written: bool,
    pub segments: i32,
    /// The chapter is mixed.
    pub mix: Option<MixResult>,
    /// The segment is spoken, and followed by this silence.
    pub speech: Option<(SpeechResult, Pause)>,
    /// The segment is left out.
    pub gap: bool,
}

/// Where a listener of this generation is; none without such a podcast.
pub async fn place(
    client: &Client,
    tenant: &str,
    podcast: Uuid,
    generation: i32,
    (chapter, segment): (i32, i32),
) -> anyhow::Result<Option<Place>> {
    let select = client
        .prepare_cached(
            "select p.state = 'running', p.event_seq, p.chapters_total, coalesce(c.written, false),
                    coalesce(c.segments_total, 0), c.mix, t.result, s.pause,
                    coalesce(s.place = 'gap', false)
             from podcasts p
             left join chapters c on c.podcast_id = p.id and c.generation = $3 and c.chapter = $4
             left join segments s on s.podcast_id = p.id and s.generation = $3 and s.chapter = $4 and s.segment = $5
             left join tasks t on t.podcast_id = $2 and t.generation = $3 and t.kind = 'tts' and t.chapter = $4
                              and t.segment = $5 and t.state = 'done'
             where p.tenant = $1 and p.id = $2",
        )
        .await?;
    let Some(row) = client.query_opt(&select, &[&tenant, &podcast, &generation, &chapter, &segment]).await?
    else {
        return Ok(None);
    };
    let speech: Option<Json<SpeechResult>> = row.try_get(6)?;
    let pause: Option<&str> = row.try_get(7)?;
    Ok(Some(Place {
        running: row.try_get(0)?,
        seq: row.try_get(1)?,
        chapters: row.try_get(2)?,
        written: row.try_get(3)?,
        segments: row.try_get(4)?,
        mix: row.try_get::<_, Option<Json<MixResult>>>(5)?.map(|json| json.0),
        gap: row.try_get(8)?,
        speech: speech.zip(pause).map(|(speech, pause)| (speech.0, pause_by_name(pause))),
    }))
}
