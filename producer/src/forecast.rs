//! How long podcasts will take: by what the fleet has learnt of its engines and voices, and by how much it does at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::durations::{Doer, Doers, Durations, Left, left_ms};
use common::request::{Accepted, ChosenEngines, expected_chars};
use common::store::durations;
use common::store::reading::Summary;
use common::work::Kind;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::Env;

/// How often what was learnt is read again.
const REFRESH: Duration = Duration::from_secs(5);
/// Characters of a segment, before there are any.
const USUAL_SEGMENT: f64 = 150.0;

/// What is known at the moment. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forecast(Arc<Mutex<Arc<Known>>>);

#[derive(Debug, Default)]
struct Known {
    durations: Durations,
    /// Tasks of each kind that the fleet does at a time.
    permits: BTreeMap<Kind, u32>,
    /// Podcasts that share them.
    running: u32,
}

impl Forecast {
    fn known(&self) -> Arc<Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How long the whole fleet will be busy with a podcast, if it has learnt enough to say so.
    pub(crate) fn work(&self, accepted: &Accepted) -> Option<Duration> {
        self.known().work(&accepted.engines, expected_chars(&accepted.request) as f64)
    }

    /// Seconds until a podcast is likely to be finished. `unspoken`: speakers and characters of its segments.
    pub(crate) fn left_seconds(&self, podcast: &Summary, unspoken: &[(String, i32)]) -> Option<f64> {
        self.known().left_seconds(podcast, unspoken)
    }
}

impl Known {
    fn work(&self, engines: &ChosenEngines, chars: f64) -> Option<Duration> {
        let segments = (chars / USUAL_SEGMENT).max(1.0);
        let doer = Doer::new(Kind::Tts, &engines.tts, "");
        let ms = segments * self.durations.expected_ms(&doer, chars / segments)?;
        let at_a_time = f64::from((*self.permits.get(&Kind::Tts)?).max(1));
        Some(Duration::from_secs_f64((ms / at_a_time / 1_000.0).clamp(0.001, 24.0 * 3_600.0)))
    }

    /// A podcast's share of what the fleet does at a time.
    fn share(&self, kind: Kind) -> u32 {
        (self.permits.get(&kind).copied().unwrap_or(1) / self.running.max(1)).max(1)
    }

    fn left_seconds(&self, podcast: &Summary, unspoken: &[(String, i32)]) -> Option<f64> {
        let Summary { progress, engines, speakers, .. } = podcast;
        if progress.chapters_total == 0 {
            return None;
        }
        let voice = |name: &str| {
            speakers.iter().find(|speaker| speaker.name == name).map(|speaker| speaker.voice.clone())
        };
        let speech: Vec<(String, f64)> = unspoken
            .iter()
            .map(|(speaker, chars)| (voice(speaker).unwrap_or_default(), f64::from(*chars)))
            .collect();
        let count = |number: i32| u32::try_from(number).unwrap_or(0);
        let (written, scripts) =
            (count(progress.chapters_written), count(progress.chapters_total - progress.chapters_written));
        let mean = speech.iter().map(|(_, chars)| chars).sum::<f64>() / speech.len().max(1) as f64;
        let mean = if speech.is_empty() { USUAL_SEGMENT } else { mean };
        let left = Left {
            scripts,
            writers: self.share(Kind::Script),
            chapter_chars: mean * f64::from(progress.segments_total) / f64::from(written.max(1)),
            speech,
            speakers: self.share(Kind::Tts),
            mixes: count(progress.chapters_total - progress.chapters_mixed),
        };
        let doers = Doers { script: &engines.script, tts: &engines.tts, mix: engines.engine(Kind::Mix) };
        left_ms(&self.durations, doers, &left).map(|ms| ms / 1_000.0)
    }
}

/// Reads what was learnt, again and again until shutdown. Without the database what is known stays.
pub(crate) async fn run(env: Arc<Env>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(REFRESH);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        let read = env.store.run(async |client| {
            Ok(Known {
                durations: Durations::known(durations::load(client).await?),
                permits: durations::permits(client).await?,
                running: durations::running(client).await?,
            })
        });
        match read.await {
            Ok(known) => *env.forecast.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(known),
            Err(error) => tracing::debug!(error = format!("{error:#}"), "what was learnt cannot be read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_what_the_fleet_needs_for_it() {
        let engines =
            ChosenEngines { outline: "w".into(), script: "w".into(), tts: "e".into(), mix: "builtin".into() };
        let mut known = Known { permits: [(Kind::Tts, 4)].into(), running: 1, ..Known::default() };
        assert_eq!(known.work(&engines, 1_500.0), None, "nothing is known yet");
        for _ in 0..10 {
            known.durations.observe(Doer::new(Kind::Tts, "e", "v"), 150.0, 800.0);
        }
        assert_eq!(known.work(&engines, 1_500.0), Some(Duration::from_secs(2)));
        assert_eq!(known.work(&engines, 10.0), Some(Duration::from_secs_f64(0.8 / 15.0 / 4.0)));
        assert_eq!((known.share(Kind::Tts), known.share(Kind::Script)), (4, 1));
    }
}
