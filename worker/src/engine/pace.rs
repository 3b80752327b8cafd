//! How fast voices really speak: measured on every segment, so that the next chapter is written to a length that fits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::cache::Cache;
use common::config::Config;
use common::work::Brief;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// Fewer segments of one voice say more about their texts than about the voice.
const ENOUGH_SEGMENTS: f64 = 5.0;
/// Older segments fade: what is kept of a voice weighs at most as much as this many.
const MOST_SEGMENTS: f64 = 200.0;
/// Segments of a voice between two writes to the cache.
const FLUSH_EVERY: u32 = 4;
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Voices this process remembers.
const MOST_VOICES: usize = 1_000;
/// A measured pace outside of this, relative to what was planned, is a fault of measuring.
const PLAUSIBLE: std::ops::RangeInclusive<f64> = 0.4..=2.5;
/// A plan takes turns to be this long, which is two or three sentences.
const TURN_MS: f64 = 8_000.0;
/// A voice that could not be heard is not tried again for so long.
const REST: Duration = Duration::from_secs(60);

/// Units that fill a minute of an episode, a silence after each turn included, by the settings it was accepted with.
pub fn planned(brief: &Brief) -> f64 {
    let silence_ms = f64::from(brief.pace.pauses.turn_ms);
    f64::from(brief.pace.rate(&brief.language)) * TURN_MS / (TURN_MS + silence_ms)
}

/// Sums over the segments of one voice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sums {
    units: f64,
    ms: f64,
    segments: f64,
}

impl Sums {
    fn add(&mut self, other: Sums) {
        self.units += other.units;
        self.ms += other.ms;
        self.segments += other.segments;
        if self.segments > MOST_SEGMENTS {
            let fade = MOST_SEGMENTS / self.segments;
            *self = Sums { units: self.units * fade, ms: self.ms * fade, segments: MOST_SEGMENTS };
        }
    }

    /// Units that fill a minute of an episode, with a pause after each segment.
    fn per_minute(self, pause_ms: f64) -> Option<f64> {
        let ms = self.ms + self.segments * pause_ms;
        (self.segments >= ENOUGH_SEGMENTS && ms > 0.0).then(|| self.units * 60_000.0 / ms)
    }
}

/// What this process has measured, and what the cache knows of the rest of the fleet. Without a cache each process learns
/// by itself.
#[derive(Debug)]
pub(crate) struct Measured {
    cache: Cache,
    local: Mutex<HashMap<String, Voice>>,
    /// Voices that are being heard, and until when one that could not be is left alone.
    hearing: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<Instant>>>>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Voice {
    /// Known, from the cache and from here.
    all: Sums,
    /// Measured here and not written yet.
    fresh: Sums,
    unwritten: u32,
}

impl Measured {
    pub(crate) fn new(cache: Cache) -> Arc<Measured> {
        Arc::new(Measured { cache, local: Mutex::default(), hearing: Mutex::default() })
    }

    fn local(&self) -> std::sync::MutexGuard<'_, HashMap<String, Voice>> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A segment of `units` lasted `ms`.
    pub(crate) async fn observe(&self, voice: &VoiceName, units: f64, ms: u64) {
        self.add(voice.key(), Sums { units, ms: ms as f64, segments: 1.0 }, false).await;
    }

    /// Has a voice that is not known yet say a sample, which answers with its units and how many milliseconds it took. Whoever
    /// asks meanwhile waits for it.
    pub(crate) async fn hear(
        &self,
        voice: &VoiceName,
        sample: impl Future<Output = Result<(f64, u64), Failure>>,
    ) {
        let turn = {
            let mut hearing = self.hearing.lock().unwrap_or_else(PoisonError::into_inner);
            if hearing.len() >= MOST_VOICES {
                hearing.clear();
            }
            hearing.entry(voice.key()).or_default().clone()
        };
        let mut rests_until = turn.lock().await;
        if self.sums(voice).await.segments >= ENOUGH_SEGMENTS
            || rests_until.is_some_and(|until| until > Instant::now())
        {
            return;
        }
        match sample.await {
            Ok((units, ms)) if ms > 0 => {
                // It says as much about the voice as a few turns of the usual length would.
                let scale = ENOUGH_SEGMENTS * TURN_MS / ms as f64;
                let sums = Sums { units: units * scale, ms: ms as f64 * scale, segments: ENOUGH_SEGMENTS };
                self.add(voice.key(), sums, true).await;
            }
            Ok(_) | Err(_) => *rests_until = Instant::now().checked_add(REST),
        }
    }

    async fn add(&self, key: String, seen: Sums, at_once: bool) {
        let flush = {
            let mut local = self.local();
            if local.len() >= MOST_VOICES && !local.contains_key(&key) {
                local.clear();
            }
            let voice = local.entry(key.clone()).or_default();
            voice.all.add(seen);
            voice.fresh.add(seen);
            voice.unwritten += 1;
            (at_once || voice.unwritten >= FLUSH_EVERY).then(|| {
                voice.unwritten = 0;
                std::mem::take(&mut voice.fresh)
            })
        };
        if let Some(fresh) = flush {
            // Two processes that write at the same time lose one's few segments; the next ones make up for it.
            let mut all = self.cached(&key).await.unwrap_or_default();
            all.add(fresh);
            if let Ok(json) = serde_json::to_vec(&all) {
                self.cache.put(&key, &json, KEPT).await;
            }
            self.local().entry(key).or_default().all = all;
        }
    }

    async fn sums(&self, voice: &VoiceName) -> Sums {
        let key = voice.key();
        let known = self.local().get(&key).map(|voice| voice.all).unwrap_or_default();
        if known.segments >= ENOUGH_SEGMENTS {
            return known;
        }
        self.cached(&key).await.filter(|cached| cached.segments > known.segments).unwrap_or(known)
    }

    async fn cached(&self, key: &str) -> Option<Sums> {
        let sums: Sums = serde_json::from_slice(&self.cache.get(key).await?).ok()?;
        [sums.units, sums.ms, sums.segments].iter().all(|sum| sum.is_finite() && *sum >= 0.0).then_some(sums)
    }
}

/// Whose pace it is.
#[derive(Clone, Debug)]
pub(crate) struct VoiceName {
    pub(crate) engine: String,
    pub(crate) identity: String,
    pub(crate) voice: String,
    pub(crate) language: String,
}

impl VoiceName {
    pub(crate) fn new(config: &Config, engine: &str, voice: &str, language: &str) -> VoiceName {
        VoiceName {
            engine: engine.to_owned(),
            identity: config.engines.get(engine).map(|engine| engine.identity()).unwrap_or_default(),
            voice: voice.to_owned(),
            language: language.to_owned(),
        }
    }

    fn key(&self) -> String {
        let name = [&self.engine, &self.identity, &self.voice, &self.language].map(String::as_str).join("\0");
        format!("podfleet:pace:{}", blake3::hash(name.as_bytes()).to_hex())
    }
}

/// The pace of a podcast's voices, as well as it is known at the moment it is asked for.
#[derive(Clone, Debug, Default)]
pub struct Pace(Known);

#[derive(Clone, Debug, Default)]
enum Known {
    #[default]
    Nothing,
    Fixed(f64),
    Measured {
        measured: Arc<Measured>,
        voices: Vec<VoiceName>,
        pause_ms: f64,
    },
}

impl Pace {
    /// Always this many units a minute.
    pub fn fixed(per_minute: f64) -> Pace {
        Pace(Known::Fixed(per_minute))
    }

    pub(crate) fn of(measured: Arc<Measured>, voices: Vec<VoiceName>, pause_ms: u32) -> Pace {
        Pace(Known::Measured { measured, voices, pause_ms: f64::from(pause_ms) })
    }

    /// How much more is said in a minute than the `planned` units, where that is measured and plausible.
    pub async fn factor(&self, planned: f64) -> Option<f64> {
        match &self.0 {
            Known::Nothing => None,
            Known::Fixed(per_minute) => Some(per_minute / planned),
            Known::Measured { pause_ms, .. } => self.compared(*pause_ms, planned).await,
        }
    }

    /// Units a minute, silences not counted, where that is measured and plausible.
    pub(crate) async fn per_minute(&self, brief: &Brief) -> Option<u32> {
        let usual = f64::from(brief.pace.rate(&brief.language));
        let factor = self.compared(0.0, usual).await?;
        Some((factor * usual).round().max(1.0) as u32)
    }

    /// The voices' pace with this pause after each segment, as a part of the `usual` one. Speakers share the words.
    async fn compared(&self, pause_ms: f64, usual: f64) -> Option<f64> {
        let Known::Measured { measured, voices, .. } = &self.0 else { return None };
        let mut minutes = Vec::new();
        for voice in voices {
            let factor = measured.sums(voice).await.per_minute(pause_ms).map(|pace| pace / usual);
            minutes.extend(factor.filter(|factor| PLAUSIBLE.contains(factor)).map(f64::recip));
        }
        (!minutes.is_empty()).then(|| minutes.len() as f64 / minutes.iter().sum::<f64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voice(voice: &str) -> VoiceName {
        VoiceName { engine: "e".into(), identity: "i".into(), voice: voice.into(), language: "en".into() }
    }

    fn measured() -> Arc<Measured> {
        Measured::new(Cache::new(&common::config::Cache { url: String::new(), budget_ms: 50 }).unwrap())
    }

    #[test]
    fn plans_leave_room_for_silences() {
        let brief = serde_json::json!({"language": "en", "format": "dialogue", "speakers": [],
                                       "pace": {"per_minute": 170, "pauses": {"turn_ms": 500}}});
        assert_eq!(planned(&serde_json::from_value(brief).unwrap()), 160.0);
    }

    #[tokio::test]
    async fn the_pace_is_what_the_speech_lasted() {
        let measured = measured();
        let pace = Pace::of(measured.clone(), vec![voice("slow"), voice("quick")], 500);
        assert_eq!(pace.factor(160.0).await, None, "nothing is measured yet");
        for _ in 0..4 {
            measured.observe(&voice("slow"), 20.0, 9_500).await;
        }
        assert_eq!(pace.factor(160.0).await, None, "four segments are not enough");
        measured.observe(&voice("slow"), 20.0, 9_500).await;
        // 20 words in 9.5 s and half a second of silence: 120 a minute.
        assert_eq!(pace.factor(160.0).await, Some(0.75));
        for _ in 0..9 {
            measured.observe(&voice("quick"), 40.0, 9_500).await;
        }
        assert_eq!(pace.factor(160.0).await, Some(1.0), "two speakers share the words");
    }

    #[tokio::test]
    async fn a_voice_is_heard_once_and_one_that_cannot_be_is_left_alone() {
        let measured = measured();
        let heard = std::sync::atomic::AtomicU32::new(0);
        let sample = |answer: Result<(f64, u64), Failure>| async {
            heard.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tokio::task::yield_now().await;
            answer
        };
        let (one, other) = (voice("one"), voice("other"));
        // 60 words in 20 s are 180 a minute; with half a second of silence after each eight, 169.4.
        let all = (0..5).map(|_| measured.hear(&one, sample(Ok((60.0, 20_000)))));
        futures_util::future::join_all(all).await;
        assert_eq!(heard.load(std::sync::atomic::Ordering::Relaxed), 1);
        let pace = Pace::of(measured.clone(), vec![one.clone()], 500);
        assert!((pace.factor(160.0).await.unwrap() - 169.4 / 160.0).abs() < 0.001);
        for _ in 0..5 {
            measured.hear(&other, sample(Err(Failure::transient("gone")))).await;
        }
        assert_eq!(heard.load(std::sync::atomic::Ordering::Relaxed), 2);
        assert_eq!(Pace::of(measured, vec![other], 500).factor(160.0).await, None);
    }

    #[tokio::test]
    async fn a_pace_that_cannot_be_is_not_believed() {
        let measured = measured();
        for _ in 0..10 {
            measured.observe(&voice("v"), 1_000.0, 10).await;
        }
        assert_eq!(Pace::of(measured, vec![voice("v")], 0).factor(190.0).await, None);
    }

    #[test]
    fn what_is_old_fades() {
        let mut sums = Sums::default();
        for _ in 0..1_000 {
            sums.add(Sums { units: 10.0, ms: 10_000.0, segments: 1.0 });
        }
        for _ in 0..400 {
            sums.add(Sums { units: 20.0, ms: 10_000.0, segments: 1.0 });
        }
        assert_eq!(sums.segments, MOST_SEGMENTS);
        assert!(sums.per_minute(0.0).unwrap() > 105.0, "{sums:?}");
    }
}
