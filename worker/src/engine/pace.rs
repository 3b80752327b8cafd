//! How fast voices really speak: measured on every segment, so that the next chapter is written to a length that fits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::cache::Cache;
use common::config::Config;
use common::work::Brief;
use serde::{Deserialize, Serialize};

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
        Arc::new(Measured { cache, local: Mutex::default() })
    }

    fn local(&self) -> std::sync::MutexGuard<'_, HashMap<String, Voice>> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A segment of `units` lasted `ms`.
    pub(crate) async fn observe(&self, voice: &VoiceName, units: f64, ms: u64) {
        let seen = Sums { units, ms: ms as f64, segments: 1.0 };
        let key = voice.key();
        let flush = {
            let mut local = self.local();
            if local.len() >= MOST_VOICES && !local.contains_key(&key) {
                local.clear();
            }
            let voice = local.entry(key.clone()).or_default();
            voice.all.add(seen);
            voice.fresh.add(seen);
            voice.unwritten += 1;
            (voice.unwritten >= FLUSH_EVERY).then(|| {
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
            Known::Measured { measured, voices, pause_ms } => {
                let mut factors = Vec::new();
                for voice in voices {
                    factors
                        .extend(measured.sums(voice).await.per_minute(*pause_ms).map(|pace| pace / planned));
                }
                factors.retain(|factor| PLAUSIBLE.contains(factor));
                (!factors.is_empty()).then(|| factors.iter().sum::<f64>() / factors.len() as f64)
            }
        }
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
        assert_eq!(pace.factor(160.0).await, Some(1.125), "two speakers share the time");
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
